//! `--check`, and the same look with the operator's own token: after each thing was removed or changed, exactly that is said,
//! nothing is changed, and bootstrap mends it.

use serde_json::{Value, json};
use tofustate::openbao::{
    Token,
    setup::{Report, State, check_own},
};
use tofustate_e2e::bao::{Api, fixture};

use crate::world::{POLICY, ROLE, World, off, run, said, token};

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
