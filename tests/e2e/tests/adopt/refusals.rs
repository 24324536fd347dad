//! What is not adopted, what is said of it, and that nothing changes.

use std::time::Duration;

use serde_json::{Value, json};
use tofustate_e2e::{
    bao::{Setup, fixture},
    proxy::{self, Fault},
    wait,
};

use crate::{
    old::{Old, SECRET, state},
    world::{path, private, said},
};

#[test]
fn a_state_that_is_locked_in_the_old_service_is_left_alone() {
    let Some(old) = Old::start("a_state_that_is_locked_in_the_old_service_is_left_alone") else { return };
    old.put("team/app", &json!({ "state": state(7, 10) }));
    let info = json!({
        "ID": "8c3a", "Who": "ada\u{1b}[2J@desk", "Operation": "OperationTypeApply", "Created": "2026-01-01T00:00:00Z",
        "Info": SECRET,
    });
    for lock in [json!({ "lock": info.to_string() }), info.clone(), json!({ "held": true })] {
        old.put("team/app.lock", &lock);
        let text = old.refused("team/app", "app", &[]);
        assert!(text.contains("locked in the old service: states/team/app.lock is there"), "{text}");
        assert!(text.contains("stop the old service") && !text.contains('\u{1b}'), "{text}");
        let named = text.contains("held by ada\\u{1b}[2J@desk (operation OperationTypeApply, since 2026-01-01");
        assert_eq!(named, lock["held"].is_null(), "{text}");
        assert_eq!(old.refused("team/app", "app", &["--dry-run"]), text);
    }
    // Released as KV v2 does it: the entry is there, its version is deleted.
    old.world.api().must("DELETE", "states/data/team/app.lock", &Value::Null);
    old.must("team/app");
    old.serves("team/app", "app", state(7, 10).as_bytes());
}

#[test]
fn what_is_no_state_is_left_alone() {
    let Some(old) = Old::start("what_is_no_state_is_left_alone") else { return };
    for (data, says) in [
        (json!({ "user": SECRET, "port": 7 }), "the fields [port: number, user: text]"),
        (json!({ "state": SECRET }), "the one field [state: text], whose text is no state"),
        (json!({ "document": SECRET }), "the one field [document: text], whose text is no state"),
        (json!({}), "no fields"),
        (json!({ "state": state(7, 10), "md5": SECRET }), "the fields [md5: text, state: text]"),
        (json!({ "version": 4, "serial": SECRET }), "and is no state: the body's \"serial\""),
    ] {
        old.put("team/app", &data);
        for more in [&[][..], &["--dry-run"]] {
            let text = old.refused("team/app", "app", more);
            assert!(text.contains(says) && text.contains("A state is adopted from"), "{says}: {text}");
        }
    }
    // A head of a release to come, and a damaged one.
    for (head, says) in
        [(json!({"format": 3, "epoch": "x"}), "format 3"), (json!({"format": 1, "epoch": "x"}), "damaged")]
    {
        old.put("team/app", &json!({ "document": head.to_string() }));
        let text = old.refused("team/app", "app", &[]);
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn what_is_not_there_is_no_state() {
    let Some(old) = Old::start("what_is_not_there_is_no_state") else { return };
    let text = old.refused("team/none", "none", &[]);
    assert!(text.contains("there is no entry states/team/none"), "{text}");
    let api = old.world.api();
    old.put("team/app", &json!({ "state": state(7, 10) }));
    api.must("DELETE", "states/data/team/app", &Value::Null);
    let text = old.refused("team/app", "app", &[]);
    assert!(text.contains("its version 1 was deleted") && text.contains("bao kv undelete"), "{text}");
    assert!(text.contains("`bao kv metadata delete states/team/app` makes the path free"), "{text}");
    api.must("POST", "states/undelete/team/app", &json!({"versions": [1]}));
    assert!(old.adopt_with("team/app", "app", &["--dry-run"]).status.success());
    api.must("PUT", "states/destroy/team/app", &json!({"versions": [1]}));
    let text = old.refused("team/app", "app", &[]);
    assert!(text.contains("its version 1 was destroyed"), "{text}");
}

#[test]
fn a_path_of_another_is_left_to_it() {
    let Some(old) = Old::start("a_path_of_another_is_left_to_it") else { return };
    old.put("team/app", &json!({ "state": state(7, 10) }));
    let owner = |name: &str| {
        json!({"format": 1, "instance": "prod", "namespace": "team", "name": name, "claim": 3}).to_string()
    };
    old.put(".owners/team:app", &json!({ "document": owner("first") }));
    for more in [&[][..], &["--dry-run"]] {
        let text = old.refused("team/app", "app", more);
        assert!(text.contains("the path belongs to team/first of instance prod (claim 3)"), "{text}");
        assert!(text.contains("`bao kv metadata delete -mount=states .owners/team:app`"), "{text}");
    }
    old.put(".owners/team:app", &json!({ "document": "{}" }));
    assert!(old.refused("team/app", "app", &[]).contains("the owner entry .owners/team:app is damaged"));
    // Claimed already, as by a server that found the old entry: that is no other.
    old.put(".owners/team:app", &json!({ "document": owner("app") }));
    old.must("team/app");
    let text = old.refused("team/app", "other", &[]);
    assert!(
        text.contains("a state of tofustate's already, and belongs to team/app of instance prod (claim 3)"),
        "{text}"
    );
    old.serves("team/app", "app", state(7, 10).as_bytes());
}

/// A try for the wrong resource that is refused after it claimed the path, and what its successor says to do.
#[test]
fn a_claim_of_a_mistaken_try_is_undone_as_it_says() {
    let test = "a_claim_of_a_mistaken_try_is_undone_as_it_says";
    let Some(old) = Old::of(test, Setup { proxied: true, ..Setup::default() }) else { return };
    old.put("team/app", &json!({ "state": state(7, 10) }));
    let proxy = old.world.server.proxy(0);
    let keeps = |method: &str, path: &str| method == "POST" && path.starts_with("/v1/states/data/.versions/");
    proxy.script(keeps, [Some(Fault::HoldRequest(Duration::from_secs(4)))]);
    let mut mistaken = old.spawn("team/app", "wrong");
    wait::until("the path is claimed", || {
        if proxy.injected().is_empty() { Err("nothing is kept yet".to_owned()) } else { Ok(()) }
    });
    old.put("team/app.lock", &json!({ "lock": r#"{"ID":"8c3a","Who":"ada@desk"}"# }));
    assert!(!mistaken.wait().status.success());
    proxy::injected(test, [proxy]);
    let api = old.world.api();
    api.must("DELETE", "states/metadata/team/app.lock", &Value::Null);
    let text = old.refused("team/app", "app", &[]);
    assert!(text.contains("the path belongs to team/wrong of instance prod"), "{text}");
    let undo = text.split_once("`bao kv metadata delete -mount=states ").unwrap().1;
    let key = undo.split_once('`').unwrap().0;
    api.must("DELETE", &format!("states/metadata/{key}"), &Value::Null);
    old.must("team/app");
    old.serves("team/app", "app", state(7, 10).as_bytes());
}

#[test]
fn arguments_that_fit_no_resource_are_refused() {
    let Some(old) = Old::start("arguments_that_fit_no_resource_are_refused") else { return };
    old.put("other/app", &json!({ "state": state(7, 10) }));
    let text = old.refused("other/app", "app", &[]);
    assert!(text.contains("the first segment of other/app is not the namespace team") && text.contains("--tenancy"));
    assert!(old.adopt_with("other/app", "app", &["--tenancy", "Open", "--dry-run"]).status.success());
    for (key, name, says) in [
        ("team/App", "app", "is no path of a state"),
        ("team/app.lock", "app", "is no path of a state"),
        ("team/app", "App", "no name that Kubernetes gives"),
    ] {
        let text = old.refused(key, name, &[]);
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_mount_that_is_not_set_up_is_refused() {
    let Some(old) = Old::start("a_mount_that_is_not_set_up_is_refused") else { return };
    let api = old.world.api();
    old.put("team/app", &json!({ "state": state(7, 10) }));
    for (wrong, says) in [
        (
            json!({"cas_required": false, "max_versions": 5}),
            "cas_required is false and should be true, max_versions is 5",
        ),
        (
            json!({"cas_required": true, "max_versions": 1, "delete_version_after": "1h"}),
            "delete_version_after is 1h0m0s",
        ),
    ] {
        api.must("POST", "states/config", &wrong);
        let text = old.refused("team/app", "app", &[]);
        assert!(text.contains(says) && text.contains("bootstrap --existing-entries"), "{text}");
    }
    let right = json!({"cas_required": true, "max_versions": 1, "delete_version_after": "-1s"});
    api.must("POST", "states/config", &right);

    // The same for one entry.
    api.must("POST", "states/metadata/team/app", &json!({"delete_version_after": "720h"}));
    let text = old.refused("team/app", "app", &[]);
    assert!(text.contains("deleted 720h0m0s after it is written"), "{text}");
    api.must("POST", "states/metadata/team/app", &json!({"delete_version_after": "0s"}));

    let text = old.refused("team/app", "app", &["--mount", "none"]);
    assert!(text.contains("the KV v2 mount none is missing"), "{text}");
    old.must("team/app");
    old.serves("team/app", "app", state(7, 10).as_bytes());
}

#[test]
fn a_token_needs_the_rights_that_are_documented_and_no_more() {
    let Some(old) = Old::start("a_token_needs_the_rights_that_are_documented_and_no_more") else { return };
    let api = old.world.api();
    old.put("team/app", &json!({ "state": state(7, 10) }));
    let file = old.world.folder.path().join("admin");
    let with = |policy: &str| {
        private(&file, &fixture::token(&api, &[policy]).secret);
        let all = ["--instance", "prod", "--namespace", "team", "--name", "app", "--admin-token-file", path(&file)];
        let mut command = crate::world::clean(std::process::Command::new(tofustate_e2e::standalone::binary()));
        command.args(["adopt", "team/app", "--openbao-addr", &old.world.server.url(0)]).args(all);
        tofustate_e2e::process::Process::spawn("tofustate adopt", &mut command).wait()
    };
    fixture::policy(&api, "none", &json!({"path": {"states/config": {"capabilities": ["read"]}}}));
    let before = old.everything();
    let refused = with("none");
    assert!(!refused.status.success() && said(&refused).contains("docs/migration.md"), "{}", said(&refused));
    assert_eq!(old.everything(), before);
    // As docs/migration.md has them.
    let rights = json!({"path": {
        "states/config": {"capabilities": ["read"]},
        "states/data/*": {"capabilities": ["create", "read", "update"]},
        "states/metadata/*": {"capabilities": ["read", "list"]},
    }});
    fixture::policy(&api, "adopt", &rights);
    for says in ["adopted for team/app", "already adopted"] {
        let done = with("adopt");
        assert!(done.status.success() && said(&done).contains(says), "{}", said(&done));
    }
    old.serves("team/app", "app", state(7, 10).as_bytes());
}
