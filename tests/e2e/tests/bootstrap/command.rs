//! The command: on an empty server, again, in namespaces, and what it refuses.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};
use tofustate_e2e::{bao::fixture, process::Process, tools, used, wait};

use crate::world::{POLICY, ROLE, World, path, private, said, token};

/// What stands for each thing in the output, in order.
const THINGS: &[&str] = &[
    "the KV v2 mount states",
    "the config of the mount states",
    "the operator's policy tofustate-operator-prod",
    "the token role tofustate-prod",
];

#[test]
fn an_empty_server_is_set_up_and_nothing_is_done_twice() {
    let Some(world) = World::start("an_empty_server_is_set_up_and_nothing_is_done_twice", None) else { return };
    let operator = world.operator();

    let check = world.bootstrap(&["--check"]);
    assert!(!check.status.success());
    let all = String::from_utf8(check.stderr.clone()).unwrap();
    for thing in THINGS {
        assert!(all.contains(&format!("- {thing} is missing\n")), "{thing}: {all}");
    }
    assert_eq!(all.lines().count(), THINGS.len() + 2, "one message, and nothing else: {all}");

    let first = world.bootstrap(&["--operator-token-file", path(&operator)]);
    assert!(first.status.success(), "{}", said(&first));
    let text = said(&first);
    let made: Vec<_> = text.lines().take(THINGS.len()).map(str::to_owned).collect();
    assert_eq!(made, THINGS.iter().map(|thing| format!("{thing}: made")).collect::<Vec<_>>(), "{text}");
    assert!(text.contains("tried with a token as states get it"), "{text}");
    assert!(text.contains("warning: without --namespace"), "{text}");
    assert!(text.contains("warning: the admin's token is left behind in "), "{text}");
    assert_eq!(fs::metadata(&operator).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = token(&operator);

    let second = world.bootstrap(&["--operator-token-file", path(&operator)]);
    let text = said(&second);
    assert!(second.status.success(), "{text}");
    assert_eq!(text.matches(": already so").count(), THINGS.len(), "{text}");
    assert!(text.contains("already there") && !text.contains("made"), "{text}");
    assert_eq!(token(&operator), kept);
    let check = world.bootstrap(&["--check"]);
    assert!(check.status.success() && said(&check).contains("is set up as tofustate needs it"), "{}", said(&check));

    // What was tried has left nothing.
    let api = world.api();
    let policies = api.must("LIST", "sys/policies/acl", &Value::Null);
    assert!(
        policies["keys"].as_array().unwrap().iter().all(|name| !name.as_str().unwrap().contains("probe")),
        "{policies}"
    );
    assert_eq!(api.ask("LIST", "states/metadata", &Value::Null).unwrap().status, 404, "the mount is empty");
    assert_eq!(world.tokens_of(POLICY).len(), 1, "the one in the file");

    // The token in the file is a period's, without a parent, with the operator's rights alone.
    let accessor = &world.tokens_of(POLICY)[0];
    let found = world.look_up(accessor).unwrap();
    assert_eq!((&found["orphan"], &found["period"]), (&json!(true), &json!(259_200)), "{found}");

    // A file with a dead token gets another.
    api.must("POST", "auth/token/revoke-accessor", &json!({ "accessor": accessor }));
    let third = world.bootstrap(&["--operator-token-file", path(&operator)]);
    assert!(third.status.success() && token(&operator) != kept, "{}", said(&third));
}

#[test]
fn a_namespace_of_its_own_is_made_in_another() {
    let Some(world) = World::start("a_namespace_of_its_own_is_made_in_another", Some("team/tofu")) else { return };
    let all = said(&world.bootstrap(&["--check"]));
    for thing in ["the namespace team", "the namespace team/tofu"].iter().chain(THINGS) {
        assert!(all.contains(&format!("- {thing} is missing\n")), "{thing}: {all}");
    }
    let operator = world.operator();
    let done = world.bootstrap(&["--operator-token-file", path(&operator)]);
    let text = said(&done);
    assert!(done.status.success(), "{text}");
    assert!(text.starts_with("the namespace team: made\nthe namespace team/tofu: made\n"), "{text}");
    assert!(!text.contains("without --namespace"), "{text}");
    assert!(said(&world.bootstrap(&["--check"])).contains("(namespace team/tofu, mount states, instance prod)"));
    assert_eq!(said(&world.bootstrap(&[])).matches(": already so").count(), THINGS.len() + 2);

    // Nothing of it is outside.
    let root = world.server.api();
    assert_eq!(root.ask("GET", &format!("auth/token/roles/{ROLE}"), &Value::Null).unwrap().status, 404);
    assert_eq!(root.ask("GET", &format!("sys/policies/acl/{POLICY}"), &Value::Null).unwrap().status, 404);
    // An admin of the namespace alone is as good: it cannot even see that the namespace is there.
    fixture::policy(
        &world.api(),
        "admin",
        &json!({"path": {"*": {"capabilities": ["create", "read", "update", "delete", "list", "sudo"]}}}),
    );
    let admin = fixture::token(&world.api(), &["admin"]);
    let file = world.folder.path().join("admin");
    private(&file, &admin.secret);
    let again = world.bootstrap_with(&["--admin-token-file", path(&file), "--revoke-admin-token"]);
    let text = said(&again);
    assert!(again.status.success() && text.matches(": already so").count() == THINGS.len() + 2, "{text}");
    assert!(text.contains("the admin's token: ended") && text.contains("the token in it is ended"), "{text}");
    assert_eq!(world.look_up(&admin.accessor), None);
    // The operator's token still is.
    let after = world.bootstrap_with(&["--check", "--admin-token-file", path(&file)]);
    assert!(said(&after).contains("does not know the token"), "{}", said(&after));
    assert_eq!(world.tokens_of(POLICY).len(), 1);
}

#[test]
fn an_admins_token_of_the_namespace_around_it_is_ended_there() {
    let test = "an_admins_token_of_the_namespace_around_it_is_ended_there";
    let Some(world) = World::start(test, Some("team/tofu")) else { return };
    let root = world.server.api();
    let all = json!({"capabilities": ["create", "read", "update", "delete", "list", "sudo"]});
    // It may end itself by the default policy's rule, which is of its own namespace only.
    let own = json!({"capabilities": ["update"]});
    fixture::policy(
        &root,
        "admin",
        &json!({"path": {
            "sys/namespaces/*": all, "team/*": all, "team/tofu/auth/token/revoke-self": {"capabilities": ["deny"]}, "auth/token/revoke-self": own,
        }}),
    );
    let admin = fixture::token(&root, &["admin"]);
    let file = world.folder.path().join("admin");
    private(&file, &admin.secret);
    let done = world.bootstrap_with(&["--admin-token-file", path(&file), "--revoke-admin-token"]);
    assert!(done.status.success() && said(&done).contains("the admin's token: ended"), "{}", said(&done));
    let answer = root.ask("POST", "auth/token/lookup-accessor", &json!({"accessor": admin.accessor})).unwrap();
    assert_ne!(answer.status, 200);
}

#[test]
fn the_rights_that_the_docs_ask_for_are_enough() {
    let Some(world) = World::start("the_rights_that_the_docs_ask_for_are_enough", Some("tofu")) else { return };
    let root = world.server.api();
    let rights = |sudo: bool| {
        let mut all = vec!["create", "read", "update", "delete", "list"];
        all.extend(sudo.then_some("sudo"));
        json!({ "capabilities": all })
    };
    fixture::policy(
        &root,
        "admin",
        &json!({"path": {
            "sys/namespaces/*": rights(false),
            "tofu/sys/mounts/*": rights(false),
            "tofu/sys/auth/*": rights(true),
            "tofu/sys/policies/acl/*": rights(false),
            "tofu/states/*": rights(false),
            "tofu/auth/token/*": rights(false),
            "tofu/auth/token/create": rights(true),
            "tofu/auth/token/create-orphan": rights(true),
            "tofu/auth/kubernetes/*": rights(false),
        "auth/token/revoke-self": rights(false),
        }}),
    );
    let admin = fixture::token(&root, &["admin"]);
    let file = world.folder.path().join("admin");
    private(&file, &admin.secret);
    let ca = world.folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&ca, rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    let operator = world.operator();
    let args = [
        "--admin-token-file",
        path(&file),
        "--operator-token-file",
        path(&operator),
        "--kubernetes-auth",
        "--kubernetes-host=https://api.example:6443",
        "--kubernetes-ca-file",
        path(&ca),
    ];
    for outcome in [": made", ": already so"] {
        let done = world.bootstrap_with(&args);
        assert!(done.status.success(), "{}", said(&done));
        assert_eq!(
            said(&done).matches(outcome).count(),
            THINGS.len() + 4 + usize::from(outcome == ": made"),
            "{}",
            said(&done)
        );
    }
    let check = world.bootstrap_with(&[&args[..2], &args[4..], &["--check"]].concat());
    assert!(check.status.success(), "{}", said(&check));
    let ended = world.bootstrap_with(&[&args[..2], &["--revoke-admin-token"]].concat());
    assert!(ended.status.success(), "{}", said(&ended));
}

#[test]
fn what_would_do_harm_or_cannot_be_is_refused() {
    let Some(world) = World::start("what_would_do_harm_or_cannot_be_is_refused", None) else { return };
    let refused = |args: &[&str], says: &str| {
        let done = world.bootstrap_with(args);
        assert!(!done.status.success() && said(&done).contains(says), "{args:?}: {}", said(&done));
    };
    let api = world.api();
    let nothing = || assert_eq!(api.ask("GET", "sys/mounts/states", &Value::Null).unwrap().status, 400);

    // Tokens.
    let file = world.folder.path().join("admin");
    let admin = ["--admin-token-file", path(&file)];
    refused(&admin, "cannot be read");
    private(&file, "s.not-a-token-of-this-server\n");
    refused(&admin, "does not know the token");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&admin, "chmod 600");
    private(&file, "two words\n");
    refused(&admin, "spaces");
    let none = fixture::token(&api, &["default"]);
    private(&file, &none.secret);
    refused(&admin, "this token may not read");
    nothing();

    // Arguments.
    let root = world.server.root_token_file();
    let admin = ["--admin-token-file", path(&root)];
    let with = |args: &[&'static str]| [&admin[..], args].concat();
    refused(&with(&["--mount", "a b"]), "TOFUSTATE_OPENBAO_MOUNT is no path");
    refused(&with(&["--kubernetes-auth", "--kubernetes-service-account", "*"]), "no name in Kubernetes");
    refused(&with(&["--kubernetes-host", "https://x"]), "--kubernetes-auth");
    refused(&with(&["--check", "--print"]), "cannot be used with");
    nothing();

    // The mount is something else, or somebody's.
    api.must("POST", "sys/mounts/one", &json!({"type": "kv"}));
    refused(&with(&["--mount", "one"]), "type is kv version 1 and should be kv version 2");
    fixture::mount(&api, "theirs", &json!({"max_versions": 5}));
    api.must("POST", "theirs/data/their/secret", &json!({"data": {"a": "b"}}));
    refused(&with(&["--mount", "theirs"]), "holds entries that are not tofustate's");
    assert_eq!(api.must("GET", "theirs/config", &Value::Null)["max_versions"], 5);
    let done = world.bootstrap(&["--mount", "theirs", "--existing-entries"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(api.must("GET", "theirs/config", &Value::Null)["max_versions"], 1);
    assert_eq!(api.must("GET", "theirs/data/their/secret", &Value::Null)["data"]["a"], "b");

    // The file for the operator's token is something else.
    let other = world.folder.path().join("other");
    private(&other, "notes, not a token");
    let done = world.bootstrap(&["--mount", "theirs", "--operator-token-file", path(&other)]);
    assert!(!done.status.success() && said(&done).contains("cannot be kept"), "{}", said(&done));
    assert_eq!(fs::read_to_string(&other).unwrap(), "notes, not a token");
    assert_eq!(world.tokens_of(POLICY).len(), 0);
}

#[test]
fn namespaces_are_asked_for_where_there_are_none() {
    let test = "namespaces_are_asked_for_where_there_are_none";
    if tools::OPENBAO.find().is_ok_and(|server| !server.is_stand_in()) {
        used::skip(&tools::OPENBAO, test, "OpenBao has namespaces, which only the stand-in has not");
        return;
    }
    let Some(mut world) = World::start(test, None) else { return };
    world.namespace = Some("team");
    let done = world.bootstrap(&[]);
    assert!(!done.status.success() && said(&done).contains("this server has no namespaces"), "{}", said(&done));
}

#[test]
fn a_server_that_is_just_starting_is_waited_for() {
    let Some(mut world) = World::start("a_server_that_is_just_starting_is_waited_for", None) else { return };
    let root = world.server.root_token_file();
    let waits = |process: &Process| {
        wait::until("it says that it waits", || match process.stderr() {
            said if said.starts_with("tofustate: waiting for OpenBao: ") => Ok(()),
            said => Err(said),
        });
    };
    world.server.kill(0);
    let mut command = world.spawn_bootstrap(&["--admin-token-file", path(&root)]);
    waits(&command);
    world.server.restart(0);
    let done = command.wait();
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(String::from_utf8(done.stderr).unwrap().lines().count(), 1, "it says so once");

    // Not for ever.
    world.server.seal();
    let mut command = world.spawn_bootstrap(&["--admin-token-file", path(&root), "--check"]);
    waits(&command);
    let done = command.wait();
    let text = said(&done);
    assert!(!done.status.success() && text.contains("looking for the active OpenBao node: "), "{text}");
    assert_eq!(text.matches("is sealed: unseal it").count(), 2, "{text}");
}

#[test]
fn no_secret_is_shown_whatever_is_logged() {
    let Some(world) = World::start("no_secret_is_shown_whatever_is_logged", None) else { return };
    let root = token(&world.server.root_token_file());
    let operator = world.operator();
    let mut all = String::new();
    for args in [&["--operator-token-file", path(&operator)][..], &["--check"], &["--print"], &["--revoke-admin-token"]]
    {
        all += &said(&world.bootstrap(args));
    }
    all += &said(&world.bootstrap(&["--check"]));
    let operator = token(&operator);
    for secret in [root.expose(), operator.expose()] {
        assert!(!all.contains(secret), "{all}");
    }
}
