//! `watchNamespaces`: served are the resources of those namespaces, by rights in these alone.

use serde_json::json;
use tofustate_e2e::{
    bao,
    kube::{OPERATOR_NAMESPACE, tofustates},
};

use crate::world::World;

#[test]
fn only_the_watched_namespaces_are_served_and_only_there_it_may() {
    let test = "only_the_watched_namespaces_are_served_and_only_there_it_may";
    let Some(world) = World::start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let api = world.cluster.api();
    for namespace in ["team-a", "team-b", "elsewhere"] {
        world.cluster.namespace(namespace);
    }
    world.install(&["--set", "config.instance=prod,tls.plainHttp=true,watchNamespaces={team-a,team-b}"]);
    let mut operator = world.operator(&server);
    operator.env("TOFUSTATE_WATCH_NAMESPACES", "team-b,team-a");
    world.create("team-a", "before");
    operator.start();
    for (namespace, name) in [("elsewhere", "app"), ("team-a", "app"), ("team-b", "app")] {
        world.create(namespace, name);
    }
    for (namespace, name) in [("team-a", "before"), ("team-a", "app"), ("team-b", "app")] {
        world.until_ready(&operator, namespace, name);
    }
    // What came before those was not looked at; and its path is nobody's here.
    let elsewhere = api.get(&format!("{}/app", tofustates("elsewhere"))).unwrap();
    assert_eq!(elsewhere["status"]["conditions"], json!(null), "{elsewhere:#}");
    assert!(elsewhere["metadata"]["finalizers"].is_null(), "{elsewhere:#}");
    let as_operator = world.cluster.operator();
    for (namespace, status) in [("team-a", 200), ("team-b", 200), ("elsewhere", 403)] {
        for path in [format!("/api/v1/namespaces/{namespace}/secrets"), tofustates(namespace)] {
            assert_eq!(as_operator.ask("GET", &path, &json!(null)).unwrap().status, status, "{path}");
        }
    }
    for path in ["/api/v1/secrets", "/api/v1/namespaces", "/apis/tofustate.io/v1alpha1/tofustates"] {
        assert_eq!(as_operator.ask("GET", path, &json!(null)).unwrap().status, 403, "{path}");
    }

    // Each goes on for itself: changes in one, a Secret that is lost in the other, a namespace's annotation, an end.
    let secret = "/api/v1/namespaces/team-b/secrets/app-tofustate";
    let uid = api.get(secret).unwrap()["metadata"]["uid"].clone();
    api.delete(secret).done();
    api.until(secret, "it is made anew", |found| found["metadata"]["uid"] != uid);
    let before = format!("{}/before", tofustates("team-a"));
    api.delete(&before).done();
    api.until_gone(&before);
    world.until_ready(&operator, "team-a", "app");

    // A namespace that is watched no more keeps its tokens: the operator sees no more whether its resources are there.
    let kept = || {
        let kept = api.get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets")).unwrap();
        kept["items"].as_array().unwrap().iter().filter(|kept| kept["type"] == "tofustate.io/token").count()
    };
    assert_eq!(kept(), 2);
    operator.terminate();
    operator.env("TOFUSTATE_WATCH_NAMESPACES", "team-a");
    operator.start();
    world.create("team-a", "later");
    world.until_ready(&operator, "team-a", "later");
    assert_eq!(kept(), 3);
    assert!(!operator.said().contains("ended the token"), "{}", operator.said());
}

#[test]
fn a_namespace_where_it_may_not_is_named() {
    let test = "a_namespace_where_it_may_not_is_named";
    let Some(world) = World::start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    world.cluster.namespace("team-a");
    world.install(&["--set", "config.instance=prod,tls.plainHttp=true,watchNamespaces={team-a}"]);
    let mut operator = world.operator(&server);
    operator.env("TOFUSTATE_WATCH_NAMESPACES", "team-a,team-b");
    operator.launch();
    let said = operator.await_shut("team-b");
    assert!(said.contains("--watch-namespaces"), "{said}");
}
