//! The admission policies as the chart installs them under another name and for some namespaces: each refuses and admits, and
//! none keeps a finalizer from going.

use serde_json::{Value, json};
use tofustate_e2e::{
    chart::CHART,
    kube::{Api, tofustates},
    wait,
};

use crate::world::World;

fn object(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
        "metadata": {"name": name}, "spec": {"path": path},
    })
}

/// A user with these ClusterRoles, once they hold.
fn user(world: &World, name: &str, roles: &[&str]) -> Api {
    world.cluster.service_account("team-a", name);
    for role in roles {
        world.cluster.bind(role, "team-a", name);
    }
    let user = world.cluster.api().with_token(&world.cluster.token("team-a", name, &[]));
    user.until(&tofustates("team-a"), "the user has rights", |_| true);
    user
}

#[test]
fn each_policy_refuses_and_admits_under_the_names_of_the_release() {
    let test = "each_policy_refuses_and_admits_under_the_names_of_the_release";
    let Some(world) = World::start(test) else { return };
    let api = world.cluster.api();
    for namespace in ["team-a", "elsewhere"] {
        world.cluster.namespace(namespace);
    }
    let values = "config.instance=prod,tls.plainHttp=true,config.tenancy=Annotation,watchNamespaces={team-a}";
    world.helm.must(&["install", "states", CHART, "-n", "states", "--create-namespace", "--set", values]);
    world.cluster.await_crds();
    let create = |namespace: &str, name: &str, path: &str| {
        api.create(&format!("{}?dryRun=All", tofustates(namespace)), &object(name, path))
    };

    // Tenancy, by the ConfigMap of the release.
    let config = api.get("/api/v1/namespaces/states/configmaps/states-tofustate-tenancy").unwrap();
    assert_eq!(config["data"]["tenancy"], "Annotation");
    let refused = |says: &str, mut ask: Box<dyn FnMut() -> tofustate_e2e::kube::Answer + '_>| {
        wait::until(says, || {
            let answer = ask();
            let message = answer.body["message"].as_str().unwrap_or_default().to_owned();
            if answer.status == 403 && message.contains(says) { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    };
    refused("does not say which paths it may register", Box::new(|| create("team-a", "net", "shared/net")));
    let prefixes = json!({"metadata": {"annotations": {"tofustate.io/path-prefixes": "shared"}}});
    api.merge("/api/v1/namespaces/team-a", &prefixes).done();
    wait::until("the prefix is known", || {
        let answer = create("team-a", "net", "shared/net");
        if answer.status == 201 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    create("team-a", "net", "other/net").refused(403);
    // Another namespace is another release's.
    create("elsewhere", "net", "anything").done();

    // Deletion while locked.
    let mut net = object("net", "shared/net");
    net["metadata"]["finalizers"] = json!(["tofustate.io/state"]);
    api.create(&tofustates("team-a"), &net).done();
    let net = format!("{}/net", tofustates("team-a"));
    let locked = |to: bool| {
        let lock = if to { json!({"id": "7c0e", "who": "ann@laptop"}) } else { Value::Null };
        api.merge(&format!("{net}/status"), &json!({"status": {"locked": to, "lock": lock}})).done();
    };
    locked(true);
    refused("is locked by ann@laptop", Box::new(|| api.delete(&format!("{net}?dryRun=All"))));

    // The verbs, by the roles of the release.
    let editor = user(&world, "editor", &["states-tofustate-edit"]);
    let breaker = user(&world, "breaker", &["states-tofustate-edit", "states-tofustate-unlock"]);
    for (annotation, value) in [("force-unlock", "7c0e"), ("rollback-to", "1@2")] {
        let patch = json!({"metadata": {"annotations": {format!("tofustate.io/{annotation}"): value}}});
        let says = "such as states-tofustate-unlock";
        refused(says, Box::new(|| editor.merge(&format!("{net}?dryRun=All"), &patch)));
        breaker.merge(&net, &patch).done();
    }
    // What stands there asks for nothing new.
    editor.merge(&net, &json!({"metadata": {"labels": {"team": "a"}}})).done();
    // Nor may a user write a status.
    editor.merge(&format!("{net}/status"), &json!({"status": {"locked": false}})).refused(403);

    // On its way out, locked again, under a tenancy that does not allow it any more: its finalizer goes all the same, by the
    // operator's own rights.
    locked(false);
    api.delete(&net).done();
    locked(true);
    api.merge("/api/v1/namespaces/team-a", &json!({"metadata": {"annotations": null}})).done();
    let operator = api.with_token(&world.cluster.token("states", "states-tofustate", &[]));
    operator.merge(&net, &json!({"metadata": {"finalizers": null}})).done();
    api.until_gone(&net);
}
