//! docs/threat-model.md: what a stolen login of the operator can do in OpenBao, and where that ends.

use std::fs;

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, state},
    bao::{Api, Setup, fixture},
    standalone::{Standalone, writer},
};

/// The statuses of these calls.
fn statuses(api: &Api, calls: &[(&str, &str, Value)]) -> Vec<u16> {
    calls.iter().map(|(method, path, body)| api.ask(method, path, body).unwrap().status).collect()
}

#[test]
fn a_stolen_login_of_the_operator_is_root_of_its_namespace_and_of_no_other() {
    let test = "a_stolen_login_of_the_operator_is_root_of_its_namespace_and_of_no_other";
    let Some(server) = (Setup { openbao_only: true, ..Setup::default() }).start(test) else { return };
    let root = server.api();
    // What else is in that OpenBao.
    fixture::mount(&root, "other", &json!({}));
    root.must("POST", "other/data/secret", &json!({"data": {"of": "others"}}));
    root.must("PUT", "sys/namespaces/sibling", &Value::Null);
    fixture::mount(&root.in_namespace("sibling"), "other", &json!({}));
    root.in_namespace("sibling").must("POST", "other/data/secret", &json!({"data": {"of": "others"}}));
    let token = server.bootstrap("prod", &["--namespace", "tofu"]);
    let mut states = Standalone::on(&server, "prod", &token);
    states.env("BAO_NAMESPACE", "tofu");
    states.register("team/app", "");
    states.start();
    ask("POST", &states.url("team/app")).token(&writer("team/app")).body(state(1, 100)).send().is(200);

    // By its policy alone: no state, no right of others.
    let stolen = fs::read_to_string(token).unwrap();
    let thief = root.with_token(stolen.trim()).in_namespace("tofu");
    let none = json!({});
    let refused = [
        ("GET", "states/data/team/app", Value::Null),
        ("POST", "states/data/team/app", json!({"data": {}, "options": {"cas": 1}})),
        ("LIST", "states/metadata/", Value::Null),
        ("GET", "sys/mounts", Value::Null),
        ("PUT", "sys/policies/acl/other", json!({"policy": ""})),
        ("PUT", "sys/policies/acl/tofustate-operator-prod", json!({"policy": ""})),
        ("POST", "auth/token/create", none),
    ];
    assert_eq!(statuses(&thief, &refused), [403; 7]);

    // By a policy of its own making: all of the namespace.
    let all = json!({"capabilities": ["create", "read", "update", "delete", "list", "sudo"]});
    let policy = json!({"policy": json!({"path": {"*": all}}).to_string()});
    thief.must("PUT", "sys/policies/acl/tofustate/prod/x", &policy);
    let made = thief.must("POST", "auth/token/create/tofustate-prod", &json!({"policies": ["tofustate/prod/x"]}));
    let made = root.with_token(made["auth"]["client_token"].as_str().expect("a token"));
    let inside = made.in_namespace("tofu");
    let calls = [
        ("GET", "states/data/team/app", Value::Null),
        ("GET", "sys/mounts", Value::Null),
        ("PUT", "sys/policies/acl/other", policy.clone()),
        ("DELETE", "states/metadata/.versions/team:app/none", Value::Null),
    ];
    let done = statuses(&inside, &calls);
    assert!(done.iter().all(|status| (200..300).contains(status)), "{done:?}");

    // And nothing outside of it.
    let secret = [
        ("GET", "other/data/secret", Value::Null),
        ("GET", "sys/mounts", Value::Null),
        ("LIST", "sys/namespaces", Value::Null),
    ];
    assert_eq!(statuses(&made, &secret), [403; 3]);
    assert_eq!(statuses(&made.in_namespace("sibling"), &secret), [403; 3]);

    // What the page says to do: with its policy the token loses everything.
    root.in_namespace("tofu").must("DELETE", "sys/policies/acl/tofustate/prod/x", &Value::Null);
    assert_eq!(statuses(&inside, &calls[..2]), [403; 2]);
    states.terminate();
}
