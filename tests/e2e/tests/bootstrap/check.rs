//! `--check`, and the same look with the operator's own token: after each thing was removed or changed, exactly that is said,
//! nothing is changed, and bootstrap mends it.

use serde_json::{Value, json};
use tofustate::openbao::{
    Token,
    setup::{Report, State, check_own},
};
use tofustate_e2e::bao::{Api, fixture};

use crate::world::{POLICY, ROLE, World, off, path, private, run, said, token};

/// One thing that happens to the set-up.
struct Harm {
    method: &'static str,
    path: String,
    body: Value,
    /// What is to be said of it.
    says: &'static str,
    /// Whether the operator's own token sees it.
    own: bool,
}

fn harms() -> Vec<Harm> {
    let harm = |method, path: &str, body, says, own| Harm { method, path: path.to_owned(), body, says, own };
    let role = format!("auth/token/roles/{ROLE}");
    let policy = format!("sys/policies/acl/{POLICY}");
    vec![
        harm("POST", "states/config", json!({"cas_required": false}), "cas_required is false and should be true", true),
        harm("POST", "states/config", json!({"max_versions": 7}), "max_versions is 7 and should be 1", true),
        harm(
            "POST",
            "states/config",
            json!({"delete_version_after": "1h"}),
            "delete_version_after is 1h0m0s and should be 0s",
            true,
        ),
        harm("DELETE", &role, Value::Null, "the token role tofustate-prod is missing", true),
        harm(
            "POST",
            &role,
            json!({"allowed_policies_glob": ["*"]}),
            "allowed_policies_glob is * and should be tofustate/prod/*",
            true,
        ),
        harm(
            "POST",
            &role,
            json!({"allowed_policies": ["admin"]}),
            "allowed_policies is admin and should be not set",
            true,
        ),
        harm("POST", &role, json!({"token_period": "1h"}), "token_period is 3600 and should be 259200", true),
        harm("POST", &role, json!({"orphan": false}), "orphan is false and should be true", true),
        harm(
            "POST",
            &role,
            json!({"token_no_default_policy": false}),
            "token_no_default_policy is false and should be true",
            true,
        ),
        harm(
            "POST",
            &role,
            json!({"token_explicit_max_ttl": "100h"}),
            "token_explicit_max_ttl is 360000 and should be 0",
            true,
        ),
        harm("DELETE", &policy, Value::Null, "the operator's policy tofustate-operator-prod is missing", false),
        harm(
            "POST",
            &policy,
            json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}),
            "its policy is another",
            false,
        ),
    ]
}

fn dump(api: &Api) -> Vec<Value> {
    let paths = ["states/config".to_owned(), format!("auth/token/roles/{ROLE}"), format!("sys/policies/acl/{POLICY}")];
    paths.iter().map(|path| api.ask("GET", path, &Value::Null).unwrap().body["data"].clone()).collect()
}

#[test]
fn each_harm_is_said_alone_and_mended() {
    let Some(world) = World::set_up("each_harm_is_said_alone_and_mended") else { return };
    let api = world.api();
    let whole = dump(&api);
    for harm in harms() {
        api.must(harm.method, &harm.path, &harm.body);
        let before = dump(&api);
        assert_ne!(before, whole, "{}", harm.says);
        let check = world.bootstrap(&["--check"]);
        let text = String::from_utf8(check.stderr).unwrap();
        assert!(!check.status.success(), "{text}");
        assert!(text.contains(harm.says) && text.matches("\n- ").count() == 1, "{}: {text}", harm.says);
        assert_eq!(dump(&api), before, "--check changes nothing");

        let own = own(&world);
        assert_eq!(own.to_string().contains(harm.says), harm.own, "{}: {own}", harm.says);
        assert!(!own.is_good(), "{}: {own}", harm.says);

        let mended = world.bootstrap(&[]);
        assert!(mended.status.success(), "{}: {}", harm.says, said(&mended));
        assert!(world.bootstrap(&["--check"]).status.success(), "{}", harm.says);
        assert!(crate::check::own(&world).is_good(), "{}", harm.says);
    }
}

/// The look with the operator's own token.
fn own(world: &World) -> Report {
    own_with(world, &token(&world.operator())).unwrap()
}

fn own_with(world: &World, token: &Token) -> Result<Report, String> {
    run(async { check_own(&world.connect(), token, &world.setup()).await.map_err(|error| error.to_string()) })
}

#[test]
fn a_mount_of_another_kind_or_none_is_said() {
    let Some(world) = World::set_up("a_mount_of_another_kind_or_none_is_said") else { return };
    let api = world.api();
    api.must("DELETE", "sys/mounts/states", &Value::Null);
    for text in [said(&world.bootstrap(&["--check"])), own(&world).to_string()] {
        assert!(text.contains("- the KV v2 mount states is missing\n"), "{text}");
        assert!(text.contains("- the config of the mount states is missing\n"), "{text}");
    }
    api.must("POST", "sys/mounts/states", &json!({"type": "kv"}));
    for text in [said(&world.bootstrap(&["--check"])), own(&world).to_string()] {
        assert!(
            text.contains("the KV v2 mount states differs: type is kv version 1 and should be kv version 2"),
            "{text}"
        );
    }
    let refused = world.bootstrap(&[]);
    assert!(!refused.status.success() && said(&refused).contains("this is not changed"), "{}", said(&refused));
}

#[test]
fn what_the_operators_token_may_do_is_asked_and_not_guessed() {
    let Some(world) = World::set_up("what_the_operators_token_may_do_is_asked_and_not_guessed") else { return };
    let api = world.api();
    let good = own(&world);
    assert!(good.is_good() && good.notes.is_empty(), "{good}");

    // Less: it is said what, and what could not be read is not called missing.
    fixture::policy(&api, "less", &json!({"path": {"sys/capabilities-self": {"capabilities": ["update"]}}}));
    let less = own_with(&world, &Token::parse(&fixture::token(&api, &["less"]).secret).unwrap()).unwrap();
    let text = less.to_string();
    assert!(text.contains("auth/token/create/tofustate-prod is deny and should be update"), "{text}");
    assert!(text.contains("the token role tofustate-prod cannot be told: this token may not read"), "{text}");
    assert!(!text.contains("missing\n"), "{text}");
    fixture::policy(&api, "least", &json!({"path": {"x": {"capabilities": ["read"]}}}));
    let least = own_with(&world, &Token::parse(&fixture::token(&api, &["least"]).secret).unwrap()).unwrap();
    assert!(least.findings.iter().all(|found| matches!(found.state, State::Unread(_))), "{least}");

    // More.
    let root = own_with(&world, &token(&world.server.root_token_file())).unwrap();
    assert!(root.is_good() && root.to_string().contains("may read or write states itself"), "{root}");

    // None.
    let dead = own_with(&world, &Token::parse("s.nothing-that-this-server-made").unwrap()).unwrap_err();
    assert!(dead.contains("does not know the token"), "{dead}");
}

#[test]
fn a_namespace_that_is_gone_is_missing() {
    let Some(world) = World::start("a_namespace_that_is_gone_is_missing", Some("team")) else { return };
    let done = world.bootstrap(&[]);
    assert!(done.status.success(), "{}", said(&done));
    world.server.api().must("DELETE", "sys/namespaces/team", &Value::Null);
    run(async {
        crate::world::until("the namespace is gone", || async {
            let text = off(|| said(&world.bootstrap(&["--check"])));
            if text.contains("- the namespace team is missing\n") && text.matches("\n- ").count() == 5 {
                return Ok(());
            }
            Err(text)
        })
        .await;
    });
}

#[test]
fn a_file_that_does_not_let_the_operator_in_is_said() {
    let Some(world) = World::set_up("a_file_that_does_not_let_the_operator_in_is_said") else { return };
    let (api, file) = (world.api(), world.operator());
    let check = || world.bootstrap(&["--check", "--operator-token-file", path(&file)]);
    let good = check();
    assert!(good.status.success() && !said(&good).contains("how the operator gets in"), "{}", said(&good));
    let unlooked = world.bootstrap(&["--check"]);
    assert!(unlooked.status.success() && said(&unlooked).contains("how the operator gets in was not looked at"));

    let what = format!("- the file of the operator's token {}", path(&file));
    let is_said = |says: &str| {
        let before = std::fs::read(&file).ok();
        let found = check();
        let text = String::from_utf8(found.stderr.clone()).unwrap();
        assert!(!found.status.success() && text.contains(&format!("{what} {says}")), "{says}: {}", said(&found));
        assert_eq!(text.matches("\n- ").count(), 1, "{text}");
        assert_eq!(std::fs::read(&file).ok(), before, "--check changes nothing");
    };
    let own = token(&file);
    api.must("POST", "auth/token/revoke", &json!({"token": own.expose()}));
    is_said("differs: its token is revoked, expired or of another server");
    fixture::policy(&api, "least", &json!({"path": {"x": {"capabilities": ["read"]}}}));
    fixture::policy(&api, "look", &json!({"path": {"auth/token/lookup-self": {"capabilities": ["read"]}}}));
    for (policies, says) in [
        (&["look"][..], "differs: its token's policy is look and should be tofustate-operator-prod"),
        (&[POLICY, "least"], "differs: its token's policy is least, tofustate-operator-prod and should be"),
        (&["least"], "differs: its token is not allowed to look at itself"),
    ] {
        private(&file, &fixture::token(&api, policies).secret);
        is_said(says);
    }
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    is_said("cannot be told: ");
    std::fs::remove_file(&file).unwrap();
    is_said("is missing");
    let mended = world.bootstrap(&["--operator-token-file", path(&file)]);
    assert!(mended.status.success(), "{}", said(&mended));
    assert!(check().status.success());
}

#[test]
fn the_admins_token_file_is_told_of_however_it_ends() {
    let Some(world) = World::start("the_admins_token_file_is_told_of_however_it_ends", None) else { return };
    let left = format!("warning: the admin's token is left behind in {}", path(&world.server.root_token_file()));
    let other = world.folder.path().join("other");
    private(&other, "notes, not a token");
    let failures = [
        (vec!["--check"], "the KV v2 mount states is missing"),
        (vec!["--operator-token-file", path(&other), "--revoke-admin-token"], "cannot be kept"),
        (vec!["--openbao-addr", "http://127.0.0.1:1"], "cannot be reached"),
    ];
    for (args, says) in failures {
        let failed = world.bootstrap(&args);
        let text = said(&failed);
        assert!(!failed.status.success() && text.contains(says), "{args:?}: {text}");
        assert!(text.contains(&left) && !text.contains("is ended"), "{args:?}: {text}");
    }
    // What was not read is no file of a token.
    let missing = world.bootstrap_with(&["--admin-token-file", "/no/such/file"]);
    assert!(!missing.status.success() && !said(&missing).contains("left behind"), "{}", said(&missing));
}
