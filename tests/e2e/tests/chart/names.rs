//! Names: what is made of the release's, and those that YAML would take for something else than a text.

use serde_json::{Value, json};
use tofustate_e2e::{
    chart::{CHART, LEAST},
    kube::OPERATOR_NAMESPACE,
};

use crate::{
    rendered,
    world::{World, helm, one},
};

/// The objects of a release of this name, as the API server would take them.
fn objects(world: &World, release: &str, args: &[&str]) -> Vec<Value> {
    let text = world.helm.must(&[&["template", release, CHART, "-n", OPERATOR_NAMESPACE], args].concat());
    let file = world.cluster.folder().join("release.yaml");
    std::fs::write(&file, text).unwrap();
    world.would_apply(file.to_str().unwrap())
}

#[test]
fn a_release_that_no_service_can_be_called_after_is_told_what_to_do() {
    let Some((helm, _home)) = helm("a_release_that_no_service_can_be_called_after_is_told_what_to_do") else { return };
    for (release, name) in [("1prod", "1prod-tofustate"), ("a.b", "a.b-tofustate"), ("7.tofustate", "7.tofustate")] {
        let said = helm.fails(&[&["template", release, CHART], LEAST].concat());
        let says = format!("fullnameOverride: the release {release} makes \"{name}\", which no Service can be called");
        assert!(said.contains(&says), "{says}: {said}");
        helm.must(&[&["template", release, CHART, "--set", "fullnameOverride=prod"], LEAST].concat());
    }
}

/// A name has 40 letters at most, of which the last may be what no name ends in.
#[test]
fn a_long_name_is_cut_to_one_that_the_api_server_takes() {
    let Some(world) = rendered::cluster("a_long_name_is_cut_to_one_that_the_api_server_takes") else { return };
    for (length, end) in [(39, "-x"), (38, "--x"), (39, ".x"), (45, "")] {
        let release = format!("{:a<length$}{end}", "tofustate-");
        let name = release[..length.min(40)].to_owned();
        let all = objects(&world, &release, LEAST);
        assert_eq!(one(&all, "Service", &name)["metadata"]["labels"]["app.kubernetes.io/instance"], release.as_str());
    }
}

#[test]
fn names_that_are_no_texts_to_yaml_are_names_all_the_same() {
    let Some(world) = rendered::cluster("names_that_are_no_texts_to_yaml_are_names_all_the_same") else { return };
    for (release, short, any) in
        [("123", "true", "1e3"), ("null", "no", "0x1f"), ("1e3", "null", "123"), ("true", "y", "null")]
    {
        let names = [
            ("nameOverride", short),
            ("fullnameOverride", short),
            ("serviceAccount.name", any),
            ("priorityClassName", any),
            ("imagePullSecrets[0].name", any),
            ("config.instance", any),
            ("config.auth.token.secretName", any),
            ("config.auth.token.key", any),
            ("config.baoCa.configMap", any),
            ("config.baoCa.key", any),
            ("tls.secretName", any),
            ("tls.caKey", any),
            ("externalSecret.secretStoreRef.name", any),
            ("externalSecret.remoteRef.key", any),
            ("externalSecret.remoteRef.property", any),
            ("ingress.className", any),
            ("ingress.host", any),
            ("ingress.tlsSecretName", any),
            ("podLabels.team", any),
            ("tests.image", any),
        ];
        let names = names.map(|(value, name)| format!("{value}={name}")).join(",");
        let parts = "config.auth.method=token,externalSecret.enabled=true,ingress.enabled=true,networkPolicy.enabled=true,httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway,metrics.serviceMonitor.enabled=true";
        let all = objects(&world, release, &["--set-string", &names, "--set", parts]);

        let labels = json!({
            "app.kubernetes.io/name": short, "app.kubernetes.io/instance": release,
            "app.kubernetes.io/component": "operator",
        });
        let deployment = &one(&all, "Deployment", short)["spec"];
        assert_eq!(deployment["selector"]["matchLabels"], labels);
        assert_eq!(one(&all, "Service", short)["spec"]["selector"], labels);
        for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
            let spec = &one(&all, kind, short)["spec"];
            let selector = if kind == "NetworkPolicy" { &spec["podSelector"] } else { &spec["selector"] };
            assert_eq!(selector["matchLabels"], labels, "{kind}");
        }
        let pod = &deployment["template"]["spec"];
        let volume = |name: &str| pod["volumes"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        for (what, is) in [
            ("priority", &pod["priorityClassName"]),
            ("account", &pod["serviceAccountName"]),
            ("pull", &pod["imagePullSecrets"][0]["name"]),
            ("token", &volume("openbao-token")["secret"]["secretName"]),
            ("its key", &volume("openbao-token")["secret"]["items"][0]["key"]),
            ("CA", &volume("openbao-ca")["configMap"]["name"]),
            ("tls", &volume("tls")["secret"]["secretName"]),
            ("label", &deployment["template"]["metadata"]["labels"]["team"]),
        ] {
            assert_eq!(is, any, "{what}");
        }
        one(&all, "ServiceAccount", any);
        let binding = one(&all, "RoleBinding", &format!("{short}-operator-tokens"));
        assert_eq!(binding["subjects"][0]["name"], any);
        let external = &one(&all, "ExternalSecret", any)["spec"];
        assert_eq!(external["data"], json!([{"secretKey": any, "remoteRef": {"key": any, "property": any}}]));
        assert_eq!((&external["secretStoreRef"]["name"], &external["target"]["name"]), (&json!(any), &json!(any)));
        let ingress = &one(&all, "Ingress", short)["spec"];
        assert_eq!(ingress["tls"], json!([{"hosts": [any], "secretName": any}]));
        assert_eq!(ingress["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"], short);
        assert_eq!(one(&all, "HTTPRoute", short)["spec"]["rules"][0]["backendRefs"][0]["name"], short);
        one(&all, "ServiceMonitor", short);
        let test = &one(&all, "Pod", &format!("{short}-test"))["spec"];
        assert_eq!(test["containers"][0]["image"], any);
        let secret = &test["volumes"][0]["secret"];
        assert_eq!((&secret["secretName"], &secret["items"][0]["key"]), (&json!(any), &json!(any)));

        // Where cert-manager makes the certificate, and a Service leads to the metrics.
        let names = format!("fullnameOverride={short},tls.certManager.issuerRef.name={any},config.instance={any}");
        let parts = "tls.certManager.enabled=true,metrics.service=true";
        let all = objects(&world, release, &["--set-string", &names, "--set", parts]);
        assert_eq!(one(&all, "Certificate", short)["spec"]["issuerRef"]["name"], any);
        let account = &one(&all, "Deployment", short)["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(account, short);
    }
}
