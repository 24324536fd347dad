//! What the operator does about changes that others make: of what it wrote, of the Secrets that it reads, in OpenBao.

use serde_json::{Value, json};
use tofustate_e2e::{ask::lock_info, kube::condition, wait};

use crate::world::{Shared, World, message};

const LONG: &str = "a-token-of-more-than-twenty-characters";

#[test]
fn what_was_written_is_put_right() {
    let Some(world) = Shared::world("what_was_written_is_put_right") else { return };
    let namespace = world.cluster.namespace("put-right");
    world.ready(&namespace, json!({}));
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate");
    let config = format!("/api/v1/namespaces/{namespace}/configmaps/app-tofustate");
    let token = world.token(&namespace, "app");
    let wrong = json!({"data": {"TF_HTTP_ADDRESS": "aHR0cDovL2Vsc2V3aGVyZQ==", "OTHER": "bW9yZQ=="}});
    world.api().merge(&secret, &wrong).done();
    world.api().until(&secret, "the address is right again", |found| {
        found["data"]["TF_HTTP_ADDRESS"] != wrong["data"]["TF_HTTP_ADDRESS"]
    });
    assert_eq!(world.token(&namespace, "app"), token);
    assert_eq!(world.values(&namespace, "app-tofustate").unwrap()["OTHER"], "more", "what is not its own stays");
    world.api().merge(&config, &json!({"data": {"backend.hcl": "x"}})).done();
    world.api().until(&config, "the ConfigMap is right again", |found| found["data"]["backend.hcl"] != "x");
    world.api().delete(&config).done();
    world.api().until(&config, "the ConfigMap is there again", |_| true);
    for field in ["labels", "ownerReferences"] {
        world.api().merge(&secret, &json!({"metadata": {field: null}})).done();
        world.api().until(&secret, &format!("{field} are there again"), |found| !found["metadata"][field].is_null());
    }
    assert_eq!(world.token(&namespace, "app"), token);
}

#[test]
fn a_deleted_connection_secret_is_made_anew_with_another_token() {
    let test = "a_deleted_connection_secret_is_made_anew_with_another_token";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("made-anew");
    world.ready(&namespace, json!({}));
    let old = world.token(&namespace, "app");
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate");
    world.api().delete(&secret).done();
    world.api().until(&secret, "it is there again", |_| true);
    let new = world.token(&namespace, "app");
    assert_ne!(new, old);
    let path = format!("{namespace}/app");
    wait::until("the new token is taken", || {
        let status = world.ask("GET", &path, &new).send().status();
        if status == 404 { Ok(()) } else { Err(status.to_string()) }
    });
    world.ask("GET", &path, &old).send().is(403);
}

#[test]
fn another_name_for_the_connection_secret_takes_the_token_along() {
    let test = "another_name_for_the_connection_secret_takes_the_token_along";
    let Some(world) = Shared::world(test) else { return };
    let namespace = world.cluster.namespace("renamed");
    world.ready(&namespace, json!({}));
    let token = world.token(&namespace, "app");
    world.change(&namespace, "app", json!({"connectionSecretName": "state"}));
    let of = |kind: &str, name: &str| format!("/api/v1/namespaces/{namespace}/{kind}/{name}");
    world.api().until(&of("secrets", "state"), "the new one is there", |_| true);
    world.api().until_gone(&of("secrets", "app-tofustate"));
    world.api().until_gone(&of("configmaps", "app-tofustate"));
    assert_eq!(world.values(&namespace, "state").unwrap()["TF_HTTP_PASSWORD"], token);
}

#[test]
fn a_token_of_the_users_is_waited_for_and_followed() {
    let Some(world) = Shared::world("a_token_of_the_users_is_waited_for_and_followed") else { return };
    let namespace = world.cluster.namespace("users-token");
    let path = format!("{namespace}/app");
    world.create(&namespace, "app", json!({"accessTokenSecretRef": {"name": "mine"}}));
    let waits = world.until_condition(&namespace, "app", "CredentialsReady", "False", "SecretNotFound");
    assert!(message(&waits, "Ready").contains("the Secret mine is not in this namespace"), "{waits:#}");
    assert_eq!(condition(&waits, "PathClaimed").unwrap()["status"], "True");
    assert!(world.values(&namespace, "app-tofustate").is_none());

    // With a newline at its end, as files have it.
    world.secret(&namespace, "mine", &[("token", &format!("{LONG}\n")), ("other", "x")]);
    world.until_ready(&namespace, "app");
    assert_eq!(world.token(&namespace, "app"), LONG);
    world.ask("GET", &path, LONG).send().is(404);

    let bad = |value: &str, reason: &str| {
        world.change_secret(&namespace, "mine", "token", value);
        let found = world.until_condition(&namespace, "app", "CredentialsReady", "False", reason);
        assert!(!found.to_string().contains("hunter2"), "{found:#}");
        wait::until("it is refused", || {
            let status = world.ask("GET", &path, LONG).send().status();
            if status == 403 { Ok(()) } else { Err(status.to_string()) }
        });
    };
    bad("", "SecretKeyNotFound");
    bad("hunter2\nhunter2-hunter2-hunter2", "InvalidToken");
    world.change_secret(&namespace, "mine", "token", "hunter2");
    let weak = world.until_condition(&namespace, "app", "CredentialsReady", "True", "WeakToken");
    assert_eq!(condition(&weak, "Ready").unwrap()["status"], "True", "{weak:#}");
    assert!(world.until_event(&namespace, "WeakToken").contains("shorter than 20"));
    world.ask("GET", &path, "hunter2").send().is(404);

    world.change(&namespace, "app", json!({"accessTokenSecretRef": {"name": "mine", "key": "none"}}));
    world.until_condition(&namespace, "app", "CredentialsReady", "False", "SecretKeyNotFound");
    let said = world.operator.said();
    assert!(!said.contains("hunter2") && !said.contains(LONG), "a token is in the log");
    // Where none is named any more, one is made: the other would live on.
    world.change(&namespace, "app", json!({"accessTokenSecretRef": null}));
    world.until_ready(&namespace, "app");
    wait::until("a token is generated", || {
        let token = world.token(&namespace, "app");
        if token.len() > 40 { Ok(()) } else { Err("it is the old one".to_owned()) }
    });
}

#[test]
fn a_secret_of_somebody_else_is_never_overwritten() {
    let Some(world) = Shared::world("a_secret_of_somebody_else_is_never_overwritten") else { return };
    let namespace = world.cluster.namespace("foreign");
    world.secret(&namespace, "app-tofustate", &[("TF_HTTP_PASSWORD", "somebody elses")]);
    world.create(&namespace, "app", json!({}));
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "NameTaken");
    assert!(message(&stalled, "CredentialsReady").contains("spec.connectionSecretName"), "{stalled:#}");
    let values = world.values(&namespace, "app-tofustate").unwrap();
    assert_eq!((values.len(), values["TF_HTTP_PASSWORD"].as_str()), (1, "somebody elses"));
    world.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate")).done();
    world.until_ready(&namespace, "app");
    assert!(world.token(&namespace, "app").len() > 40);
}

#[test]
fn a_configmap_of_somebody_else_is_never_overwritten() {
    let Some(world) = Shared::world("a_configmap_of_somebody_else_is_never_overwritten") else { return };
    let namespace = world.cluster.namespace("foreign-config");
    let all = format!("/api/v1/namespaces/{namespace}/configmaps");
    let foreign = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-tofustate"},
        "data": {"backend.hcl": "somebody elses"},
    });
    world.api().create(&all, &foreign).done();
    world.create(&namespace, "app", json!({}));
    let stalled = world.until_condition(&namespace, "app", "Stalled", "True", "NameTaken");
    assert!(message(&stalled, "CredentialsReady").contains("there is a ConfigMap app-tofustate"), "{stalled:#}");
    let at = format!("{all}/app-tofustate");
    let found = world.api().get(&at).unwrap();
    assert_eq!(found["data"], foreign["data"]);
    assert!(found["metadata"]["ownerReferences"].is_null() && found["metadata"]["labels"].is_null(), "{found:#}");
    assert!(world.values(&namespace, "app-tofustate").is_none(), "a token without the rest of it");
    world.api().delete(&at).done();
    // ConfigMaps of others are not watched.
    world.look(&namespace, "app");
    world.until_ready(&namespace, "app");
    assert!(world.api().get(&at).unwrap()["data"]["backend.hcl"].as_str().unwrap().contains("foreign-config/app"));
}

#[test]
fn further_credentials_have_their_role_and_come_and_go() {
    let Some(world) = Shared::world("further_credentials_have_their_role_and_come_and_go") else { return };
    let namespace = world.cluster.namespace("access");
    world.secret(&namespace, "readers", &[("token", "a-token-of-the-readers-of-outputs")]);
    let access = json!([{"name": "outputs", "role": "ReadOnly", "secretRef": {"name": "readers"}}]);
    world.ready(&namespace, json!({"access": access}));
    let (path, reader) = (format!("{namespace}/app"), "a-token-of-the-readers-of-outputs");
    world.ask("GET", &path, reader).send().is(404);
    world.ask("LOCK", &path, reader).body(lock_info("x")).send().is(403);
    world.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/readers")).done();
    world.until_condition(&namespace, "app", "CredentialsReady", "False", "SecretNotFound");
    wait::until("it is refused", || {
        let status = world.ask("GET", &path, reader).send().status();
        if status == 403 { Ok(()) } else { Err(status.to_string()) }
    });
    world.ask("GET", &path, &world.token(&namespace, "app")).send().is(404);
    world.change(&namespace, "app", json!({"access": []}));
    world.until_ready(&namespace, "app");
}

#[test]
fn drift_in_openbao_is_mended() {
    let Some(world) = Shared::world("drift_in_openbao_is_mended") else { return };
    let namespace = world.cluster.namespace("drift");
    let before = world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.write(&path, &token, 1);
    let accessor = before["status"]["openbao"]["tokenAccessor"].clone();
    let policy = format!("sys/policies/acl/{}", World::policy(&namespace, "app"));
    world.server.api().must("DELETE", &policy, &Value::Null);
    world.look(&namespace, "app");
    assert!(world.server.api().must("GET", &policy, &Value::Null).to_string().contains("states/data/drift/app"));
    world.server.api().must("POST", &policy, &json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}));
    world.look(&namespace, "app");
    assert!(world.server.api().must("GET", &policy, &Value::Null).to_string().contains("states/data/drift/app"));

    world.server.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": accessor}));
    let after = world.look(&namespace, "app");
    let new = after["status"]["openbao"]["tokenAccessor"].as_str().unwrap();
    assert!(accessor != new && world.server.look_up(new).is_some(), "{after:#}");
    assert_eq!(condition(&after, "Ready").unwrap()["status"], "True");
    world.write(&path, &token, 2);
}

#[test]
fn a_status_that_somebody_changed_is_put_right() {
    let Some(world) = Shared::world("a_status_that_somebody_changed_is_put_right") else { return };
    let namespace = world.cluster.namespace("tampered");
    let before = world.ready(&namespace, json!({}));
    let status = format!("{}/status", World::at(&namespace, "app"));
    let wrong = json!({"status": {
        "conditions": [{"type": "Ready", "status": "False", "reason": "Tampered", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        "endpoints": {"internal": "http://elsewhere"},
        "locked": true,
        "lock": {"id": "none", "who": "nobody"},
        "openbao": null,
    }});
    world.api().merge(&status, &wrong).done();
    let after = world.until(&namespace, "app", "the status is right again", |found| {
        condition(found, "Ready").is_some_and(|ready| ready["status"] == "True")
            && found["status"]["endpoints"] == before["status"]["endpoints"]
            && found["status"]["locked"] == false
            && found["status"]["lock"].is_null()
    });
    assert_eq!(after["status"]["openbao"]["policy"], before["status"]["openbao"]["policy"]);
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    world.write(&path, &token, 1);
}
