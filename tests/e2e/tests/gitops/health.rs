//! How a resource is, over its life, as Argo CD and Flux read it.

use std::fs;

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info},
    kube::{condition, is_true, kstatus, tofustates},
    tools::{GITOPS, KUBECTL},
};

use crate::world::{World, asked, example, objects};

#[test]
fn argo_cd_and_flux_read_each_resource_as_it_is() {
    let test = "argo_cd_and_flux_read_each_resource_as_it_is";
    let Some(gitops) = GITOPS.for_test(test) else { return };
    let Some(mut world) = World::prepare(test) else { return };
    let lua = example("argocd/health.lua");
    let reads = |object: &Value, argo: &str, flux: &str| {
        let (health, said) = asked(&gitops, &["health", &lua], object);
        assert_eq!(health, argo, "Argo CD: {said}: {object:#}");
        let (status, why) = asked(&gitops, &["kstatus"], object);
        assert_eq!(status, flux, "Flux: {why}: {object:#}");
        // What the other tests go by says the same.
        assert_eq!(format!("{:?}", kstatus(object).0), flux);
        said
    };
    let create = |world: &World, name: &str, path: &str| {
        let object = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": name}, "spec": {"path": path},
        });
        world.cluster.api().create(&tofustates("team"), &object).done()
    };
    world.cluster.namespace("team");
    // Nobody looked at it yet.
    let new = create(&world, "app", "team/app");
    assert_eq!(reads(&new, "Progressing", "InProgress"), "Waiting for tofustate");
    world.operator.start();
    let good = |found: &Value| condition(found, "Ready").is_some_and(is_true);
    let current = |found: &Value| found["status"]["observedGeneration"] == found["metadata"]["generation"];
    let ready = world.until("team", "app", "it is ready", |found| good(found) && current(found));
    reads(&ready, "Healthy", "Current");

    // One that wants the same path: somebody has to choose another.
    create(&world, "other", "team/app");
    let stalled = |found: &Value| condition(found, "Stalled").is_some_and(is_true);
    let refused = world.until("team", "other", "it is stalled", stalled);
    assert!(reads(&refused, "Degraded", "Failed").contains("team/app"), "{refused:#}");

    // One whose Secret is not there yet: that may come.
    let waits = json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": "waits"},
        "spec": {"path": "team/waits", "accessTokenSecretRef": {"name": "later"}},
    });
    world.cluster.api().create(&tofustates("team"), &waits).done();
    let waits = world.until("team", "waits", "it says what is missing", |found| {
        condition(found, "CredentialsReady").is_some_and(|found| found["reason"] == "SecretNotFound") && current(found)
    });
    let said = reads(&waits, "Progressing", "InProgress");
    assert!(said.contains("later"), "{said}");

    // Suspended is a health of its own in Argo CD.
    let path = format!("{}/app", tofustates("team"));
    let changed = world.cluster.api().merge(&path, &json!({"spec": {"suspend": true}})).done();
    let seen = world.until("team", "app", "the suspension is seen", |found| current(found) && good(found));
    assert!(changed["metadata"]["generation"] != ready["metadata"]["generation"]);
    reads(&seen, "Suspended", "Current");
    world.cluster.api().merge(&path, &json!({"spec": {"suspend": false}})).done();
    world.until("team", "app", "it goes on", |found| current(found) && good(found));

    // Locked is as healthy as before. Deleted meanwhile, past the policy that would refuse it: it waits, and says for whom.
    let secret = world.cluster.api().get("/api/v1/namespaces/team/secrets/app-tofustate").unwrap();
    let token = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        String::from_utf8(STANDARD.decode(secret["data"]["TF_HTTP_PASSWORD"].as_str().unwrap()).unwrap()).unwrap()
    };
    let of = |method: &str| ask(method, &world.operator.url("team/app")).token(&token);
    of("LOCK").body(lock_info("a-run")).send().is(200);
    let locked = world.until("team", "app", "its lock is shown", |found| found["status"]["locked"] == true);
    reads(&locked, "Healthy", "Current");
    let bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/tofustate-deletion";
    world.cluster.api().delete(bindings).done();
    tofustate_e2e::wait::until("the deletion is not refused any more", || {
        let answer = world.cluster.api().delete(&path);
        if matches!(answer.status, 200..300) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let going = world.until("team", "app", "it waits for the unlock", stalled);
    assert!(!reads(&going, "Degraded", "Terminating").is_empty());
    of("UNLOCK").body(lock_info("a-run")).send().is(200);
    world.cluster.api().until_gone(&path);
    assert!(!world.server.url(0).is_empty());
}

/// Each part of what an object may lack, which no operator would leave out.
#[test]
fn the_lua_takes_an_object_that_lacks_anything() {
    let Some(gitops) = GITOPS.for_test("the_lua_takes_an_object_that_lacks_anything") else { return };
    let lua = example("argocd/health.lua");
    let health = |object: Value| asked(&gitops, &["health", &lua], &object).0;
    let metadata = json!({"generation": 2});
    for status in
        [json!(null), json!({}), json!({"observedGeneration": -1}), json!({"observedGeneration": 1, "conditions": []})]
    {
        assert_eq!(health(json!({"metadata": metadata, "spec": {}, "status": status})), "Progressing");
    }
    let ready = json!([{"type": "Ready", "status": "True", "message": "all is well"}]);
    let old = json!({"metadata": metadata, "spec": {}, "status": {"observedGeneration": 1, "conditions": ready}});
    assert_eq!(health(old), "Progressing", "what is said is about another generation");
    let now = json!({"metadata": metadata, "spec": {}, "status": {"observedGeneration": 2, "conditions": ready}});
    assert_eq!(health(now), "Healthy");
}

/// Waves of Applications wait by this, which Argo CD does not bring itself.
#[test]
fn an_application_is_as_healthy_as_it_says() {
    let Some(gitops) = GITOPS.for_test("an_application_is_as_healthy_as_it_says") else { return };
    let lua = example("argocd/application-health.lua");
    let health = |object: Value| asked(&gitops, &["health", &lua], &object);
    for none in [json!({}), json!({"status": null}), json!({"status": {}}), json!({"status": {"health": {}}})] {
        assert_eq!(health(none).0, "Progressing");
    }
    for status in ["Healthy", "Degraded", "Suspended"] {
        let said = health(json!({"status": {"health": {"status": status, "message": "so it is"}}}));
        assert_eq!(said, (status.to_owned(), "so it is".to_owned()));
    }
}

#[test]
fn the_config_map_of_argo_cd_has_the_same_lua() {
    let test = "the_config_map_of_argo_cd_has_the_same_lua";
    if KUBECTL.for_test(test).is_none() {
        return;
    }
    let Some(cluster) = tofustate_e2e::kube::Setup::default().start(test) else { return };
    let config = objects(&cluster.kubectl(), example("argocd/argocd-cm.yaml").as_ref()).remove(0);
    for (kind, file) in
        [("tofustate.io_TofuStateBackend", "health.lua"), ("argoproj.io_Application", "application-health.lua")]
    {
        let lua = config["data"][format!("resource.customizations.health.{kind}")].as_str().unwrap();
        assert_eq!(lua, fs::read_to_string(example(&format!("argocd/{file}"))).unwrap());
    }
}
