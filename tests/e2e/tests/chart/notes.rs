//! What helm prints after an install: commands that can be pasted, for these values.

use std::process::Command;

use tofustate_e2e::{chart::CHART, kube::OPERATOR_NAMESPACE, standalone::binary};

use crate::{
    rendered,
    world::{World, values},
};

/// The notes of a release that is not made.
fn notes(world: &World, args: &[&str]) -> String {
    let all = ["install", "tofustate", CHART, "--namespace", OPERATOR_NAMESPACE, "--dry-run=client"];
    let said = world.helm.must(&[&all, args].concat());
    said.split_once("\nNOTES:\n").unwrap_or_else(|| panic!("no notes: {said}")).1.to_owned()
}

#[test]
fn the_notes_say_what_these_values_make_of_the_next_step() {
    let Some(world) = rendered::cluster("the_notes_say_what_these_values_make_of_the_next_step") else { return };
    let full = notes(&world, &["--values", &values("full")]);
    for says in [
        "kubectl -n tofustate get configmap openbao-ca -o jsonpath='{.data.ca\\.crt}' >openbao-ca.crt",
        "BAO_CACERT=openbao-ca.crt tofustate bootstrap --instance prod --openbao-addr 'https://bao-0.openbao-internal.openbao.svc:8200, https://bao-1.openbao-internal.openbao.svc:8300' --namespace 'tofu' --admin-token-file admin-token",
        "--operator-token-file operator-token",
        "Put what is in operator-token into tofustate/operator, as token, of what the ClusterSecretStore openbao reads",
        "the ExternalSecret tofustate-openbao brings it here",
        "kubectl annotate namespace team-a tofustate.io/path-prefixes=team-a",
        "kubectl -n tofustate describe pods -l app.kubernetes.io/instance=tofustate",
        "metadata: {name: app, namespace: \"team-a\"}",
    ] {
        assert!(full.contains(says), "{says}: {full}");
    }
    assert!(!full.contains("kubernetes-auth") && !full.contains("create secret"), "{full}");

    let set = "rbac.authDelegator=true,config.auth.kubernetes.audience=https://kubernetes.default.svc,config.auth.kubernetes.role=mine,config.baoCa.secret=bao,config.baoMount=kv";
    let outside = notes(&world, &["--values", &values("secret"), "--set", set]);
    for says in [
        "kubectl -n tofustate get secret bao -o jsonpath='{.data.ca\\.crt}' | base64 -d >openbao-ca.crt",
        "kubectl -n tofustate get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' >cluster-ca.crt",
        "--mount 'kv'",
        "--kubernetes-audience https://kubernetes.default.svc --kubernetes-role 'mine' \\\n     --kubernetes-host \"$(kubectl config view",
        "--kubernetes-ca-file cluster-ca.crt",
    ] {
        assert!(outside.contains(says), "{says}: {outside}");
    }
    assert!(!outside.contains("tofustate.io/path-prefixes"), "{outside}");

    // Each option is one of the program.
    let help = Command::new(binary()).args(["bootstrap", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for notes in [&full, &outside] {
        let (_, command) = notes.split_once("tofustate bootstrap ").unwrap();
        let (command, _) = command.split_once("\n\n").unwrap();
        let options = command.split_whitespace().filter(|word| word.starts_with("--") && *word != "--minify");
        for option in options {
            let name = option.split('=').next().unwrap();
            assert!(help.contains(name), "{name} is no option of bootstrap");
        }
    }
}
