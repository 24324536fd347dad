//! Several releases: each set of values as one that is really there, and two of them in one cluster.

use serde_json::json;
use tofustate_e2e::{
    chart::CHART,
    kube::{OPERATOR_NAMESPACE, tofustates},
};

use crate::{
    rendered,
    world::{SETS, World, values},
};

const CRD: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tofustates.tofustate.io";

/// The kinds and names of a release's objects, as the API server has them.
fn there(world: &World, release: &str, namespace: &str) -> Vec<String> {
    let manifest = world.helm.must(&["get", "manifest", release, "--namespace", namespace]);
    let file = world.cluster.folder().join(format!("{namespace}-{release}.yaml"));
    std::fs::write(&file, manifest).unwrap();
    let said = world.cluster.kubectl().must(&["get", "--output=name", "-f", file.to_str().unwrap()]);
    said.lines().map(str::to_owned).collect()
}

#[test]
fn each_set_of_values_is_a_release_that_comes_and_goes() {
    let Some(world) = rendered::cluster("each_set_of_values_is_a_release_that_comes_and_goes") else { return };
    for set in SETS {
        let args = ["install", "tofustate", CHART, "--namespace", OPERATOR_NAMESPACE, "--values", &values(set)];
        world.helm.must(&args);
        let objects = there(&world, "tofustate", OPERATOR_NAMESPACE);
        let least = if set == "minimal" { 2 } else { 15 };
        assert!(objects.len() >= least, "{set}: {objects:?}");
        // Nothing is another when the same comes again.
        world.helm.must(&["upgrade", "tofustate", CHART, "--namespace", OPERATOR_NAMESPACE, "--values", &values(set)]);
        assert_eq!(there(&world, "tofustate", OPERATOR_NAMESPACE), objects, "{set}");
        world.helm.must(&["uninstall", "tofustate", "--namespace", OPERATOR_NAMESPACE]);
        assert!(world.cluster.api().get(CRD).is_some(), "{set}");
    }
}

/// One brings the definition. Each has namespaces of its own, in which its policies are for its resources alone.
#[test]
fn several_releases_live_in_one_cluster() {
    let Some(world) = World::start("several_releases_live_in_one_cluster") else { return };
    for namespace in ["team-a", "team-b", "elsewhere"] {
        world.cluster.namespace(namespace);
    }
    let first = ["--set", "config.instance=first,tls.plainHttp=true,watchNamespaces={team-a}"];
    let second = ["--set", "config.instance=second,tls.plainHttp=true,config.tenancy=Open,watchNamespaces={team-b}"];
    world.install(&first);
    let other = ["install", "second", CHART, "--namespace", "tofustate-second", "--create-namespace"];
    // The definition is the first one's.
    let said = world.helm.fails(&[&other[..], &second].concat());
    assert!(
        said.contains("CustomResourceDefinition \"tofustates.tofustate.io\"") && said.contains("invalid ownership"),
        "{said}"
    );
    // And a name in the cluster is that of one release.
    let same = ["install", "tofustate", CHART, "--namespace", "tofustate-second", "--create-namespace"];
    let said = world.helm.fails(&[&same[..], &second, &["--set", "crds.install=false"]].concat());
    assert!(said.contains("invalid ownership"), "{said}");
    world.helm.must(&[&other[..], &second, &["--set", "crds.install=false"]].concat());

    // The tenancy of each is for its own namespaces; where nobody watches, nobody refuses.
    let api = world.cluster.api();
    let create = |namespace: &str, name: &str| {
        let object = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": name}, "spec": {"path": format!("shared/{name}")},
        });
        api.create(&tofustates(namespace), &object)
    };
    tofustate_e2e::wait::until("the policies are in force", || {
        let answer = create("team-a", "a");
        if answer.status == 403 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    create("team-b", "b").done();
    create("elsewhere", "c").done();

    // The first goes, and takes nothing of the second's away, nor the definition.
    let objects = there(&world, "second", "tofustate-second");
    world.helm.must(&["uninstall", "tofustate", "--namespace", OPERATOR_NAMESPACE]);
    assert_eq!(there(&world, "second", "tofustate-second"), objects);
    assert!(api.get(&format!("{}/b", tofustates("team-b"))).is_some());
    // It takes the definition over.
    let upgrade = ["upgrade", "second", CHART, "--namespace", "tofustate-second", "--take-ownership"];
    world.helm.must(&[&upgrade[..], &second].concat());
    let owner = api.get(CRD).unwrap()["metadata"]["annotations"]["meta.helm.sh/release-name"].clone();
    assert_eq!(owner, "second");
}
