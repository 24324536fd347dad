//! Which paths a namespace may register: what the API server refuses is what `registry::Tenancy` refuses.

use serde_json::{Value, json};
use tofustate::{crd::StatePath, registry::Tenancy};
use tofustate_e2e::{
    kube::{Answer, Cluster, OPERATOR_NAMESPACE, Setup, tofustates},
    wait,
};

use crate::world::{created, installed, resource, user};

const NAMESPACE: &str = "team-a";

fn would_create(cluster: &Cluster, path: &str) -> Answer {
    cluster.api().create(&format!("{}?dryRun=All", tofustates(NAMESPACE)), &resource("net", path))
}

/// Waits until this path is admitted, or refused with this text.
fn until(cluster: &Cluster, path: &str, says: Option<&str>) -> String {
    wait::until(&format!("{path}: {says:?}"), || {
        let answer = would_create(cluster, path);
        let message = answer.body["message"].as_str().unwrap_or_default().to_owned();
        match says {
            None if answer.status == 201 => Ok(message),
            Some(says) if message.contains(says) => Ok(message),
            _ => Err(format!("{answer:?}")),
        }
    })
}

#[test]
fn a_path_begins_with_the_namespace() {
    let Some(cluster) = installed("a_path_begins_with_the_namespace") else { return };
    let namespace = cluster.namespace("team-b");
    let editor = user(&cluster, &namespace, "editor", &["tofustate-edit"]);
    let create = |path: &str| editor.create(&tofustates(&namespace), &resource("net", path));
    for path in ["team-a/net", "team-bb/net", "net/team-b", "team"] {
        let message = create(path).refused(403);
        let ours = Tenancy::Namespace.allows(&namespace, None, &StatePath::parse(path).unwrap()).unwrap_err();
        assert!(message.contains(&ours), "{message}; {ours}");
    }
    create("team-b/net").done();
}

/// All of them change the one setting of a cluster.
#[test]
fn the_tenancy_is_that_of_the_settings_and_only_asked_of_new_resources() {
    let test = "the_tenancy_is_that_of_the_settings_and_only_asked_of_new_resources";
    let Some(cluster) = (Setup { crds: true, ..Setup::default() }).start(test) else { return };
    let api = cluster.api();
    cluster.namespace(NAMESPACE);
    // From a time before the policy.
    let mut old = resource("old", "elsewhere/old");
    old["metadata"]["finalizers"] = json!(["tofustate.io/tests"]);
    api.create(&tofustates(NAMESPACE), &old).done();
    cluster.install_operator_rights();
    cluster.install_policies();
    let old = format!("{}/old", tofustates(NAMESPACE));
    api.merge(&old, &json!({"spec": {"suspend": true}})).done();
    api.merge(&format!("{old}/status"), &json!({"status": {"observedGeneration": 2}})).done();
    api.delete(&old).done();
    cluster.operator().merge(&old, &json!({"metadata": {"finalizers": null}})).done();
    api.until_gone(&old);

    let config = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/tofustate-tenancy");
    let set = |tenancy: &str| api.merge(&config, &json!({"data": {"tenancy": tenancy}})).done();
    let annotate = |prefixes: &Value| {
        let patch = json!({"metadata": {"annotations": {"tofustate.io/path-prefixes": prefixes}}});
        api.merge(&format!("/api/v1/namespaces/{NAMESPACE}"), &patch).done()
    };

    set("Annotation");
    let message = until(&cluster, "team-a/net", Some("does not say which paths it may register"));
    let path = |text: &str| StatePath::parse(text).unwrap();
    assert!(
        message.contains(&Tenancy::Annotation.allows(NAMESPACE, None, &path("team-a/net")).unwrap_err()),
        "{message}"
    );
    let paths = [
        "team-a",
        "team-a/net",
        "team-ab",
        "shared",
        "shared/network",
        "shared/network/prod",
        "shared/networks",
        "x",
        "x/y",
        "a.b/c",
    ];
    let (mut admitted, mut refused) = (0, 0);
    for (n, prefixes) in [
        " team-a/, shared/network ,x//,",
        "",
        ",",
        "/",
        " / ",
        "team-a",
        "x/y/",
        "//x",
        "\tx\n,\n team-a",
        "a.b",
        "x y",
    ]
    .iter()
    .enumerate()
    {
        // A path that says that the server has this annotation by now.
        let marker = format!("marker-{n}");
        annotate(&json!(format!("{prefixes},{marker}")));
        until(&cluster, &marker, None);
        let prefixes = format!("{prefixes},{marker}");
        for text in paths {
            let answer = would_create(&cluster, text);
            match Tenancy::Annotation.allows(NAMESPACE, Some(&prefixes), &path(text)) {
                Ok(()) => {
                    answer.done();
                    admitted += 1;
                }
                Err(ours) => {
                    let message = answer.refused(403);
                    assert!(message.contains(&ours), "{prefixes:?}: {message}; {ours}");
                    refused += 1;
                }
            }
        }
    }
    assert!(admitted >= 10 && refused >= 50, "{admitted} {refused}");
    annotate(&Value::Null);

    set("Open");
    until(&cluster, "anything/at/all", None);
    for (tenancy, says) in
        [("namespace", "says tenancy: namespace, which is none of"), ("No\nsuch", "says tenancy: No, which")]
    {
        set(tenancy);
        until(&cluster, "team-a/net", Some(says));
    }
    api.delete(&config).done();
    until(&cluster, "team-a/net", Some("no params found"));
    cluster.install_policies();
    created(api, NAMESPACE, "net");
}
