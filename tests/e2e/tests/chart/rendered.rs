//! What is rendered, as the API server takes it.

use serde_json::{Value, json};
use tofustate_e2e::{
    chart::CHART,
    kube::{Cluster, OPERATOR_NAMESPACE},
};

use crate::{
    foreign,
    world::{SETS, World, one, values},
};

/// A cluster whose namespaces take restricted Pods only.
pub(crate) fn cluster(test: &str) -> Option<World> {
    let world = World::start(test)?;
    foreign::install(&world.cluster);
    for name in [OPERATOR_NAMESPACE, "team-a", "team-b"] {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        world.cluster.api().create("/api/v1/namespaces", &namespace).done();
    }
    // Without its controller nobody makes it.
    world.cluster.service_account(OPERATOR_NAMESPACE, "default");
    Some(world)
}

#[test]
fn each_set_of_values_is_taken_by_the_api_server() {
    let Some(world) = cluster("each_set_of_values_is_taken_by_the_api_server") else { return };
    let mut kinds = Vec::new();
    for set in SETS {
        let file = world.rendered(set, &["--values", &values(set)]);
        let objects = world.would_apply(&file);
        for object in &objects {
            let kind = object["kind"].as_str().unwrap();
            assert!(object["metadata"]["uid"].is_string(), "{set}: {kind} was not looked at by the server: {object}");
            if !kinds.contains(&kind.to_owned()) {
                kinds.push(kind.to_owned());
            }
        }
        restricted(&world.cluster, &objects);
    }
    kinds.sort();
    assert_eq!(
        kinds,
        [
            "Certificate",
            "ClusterRole",
            "ClusterRoleBinding",
            "ConfigMap",
            "CustomResourceDefinition",
            "Deployment",
            "ExternalSecret",
            "HTTPRoute",
            "Ingress",
            "NetworkPolicy",
            "Pod",
            "PodDisruptionBudget",
            "Role",
            "RoleBinding",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
    );
}

/// A Pod as the Deployment makes it is admitted where only restricted ones are.
fn restricted(cluster: &Cluster, objects: &[Value]) {
    let deployment = one(objects, "Deployment", "tofustate");
    let template = &deployment["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "tofustate-", "labels": template["metadata"]["labels"]}, "spec": template["spec"],
    });
    let account = template["spec"]["serviceAccountName"].as_str().unwrap();
    if cluster.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/serviceaccounts/{account}")).is_none() {
        cluster.service_account(OPERATOR_NAMESPACE, account);
    }
    let pods = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods?dryRun=All");
    cluster.api().create(&pods, &pod).done();
    // And the namespace does look.
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let message = cluster.api().create(&pods, &pod).refused(403);
    assert!(message.contains("violates PodSecurity \"restricted:latest\""), "{message}");
}

#[test]
fn what_the_parts_say_is_what_the_values_say() {
    let Some(world) = cluster("what_the_parts_say_is_what_the_values_say") else { return };
    let of = |set: &str| world.would_apply(&world.rendered(set, &["--values", &values(set)]));
    let full = of("full");

    // The known class is told what the states need; what somebody said goes before.
    let ingress = one(&full, "Ingress", "tofustate");
    let annotation = |name: &str| &ingress["metadata"]["annotations"][format!("nginx.ingress.kubernetes.io/{name}")];
    assert_eq!(annotation("proxy-body-size"), "300m");
    for (name, value) in [
        ("proxy-request-buffering", "off"),
        ("proxy-buffering", "off"),
        ("proxy-max-temp-file-size", "0"),
        ("proxy-read-timeout", "60"),
        ("backend-protocol", "HTTPS"),
    ] {
        assert_eq!(annotation(name), value, "{name}");
    }
    assert_eq!(ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"]["name"], "https");
    let route = one(&full, "HTTPRoute", "tofustate");
    assert_eq!(route["spec"]["rules"][0]["backendRefs"][0]["port"], 8443);
    assert_eq!(route["spec"]["rules"][0]["matches"], json!([{"path": {"type": "PathPrefix", "value": "/"}}]));

    // Ports of what it talks to, each once.
    let egress = &one(&full, "NetworkPolicy", "tofustate")["spec"]["egress"][1]["ports"];
    let ports: Vec<_> = egress.as_array().unwrap().iter().map(|port| port["port"].as_i64().unwrap()).collect();
    assert_eq!(ports, [443, 6443, 8200, 8300, 4318]);

    let certificate = &one(&full, "Certificate", "tofustate")["spec"];
    assert!(certificate["dnsNames"].as_array().unwrap().contains(&json!("tofustate.tofustate.svc")), "{certificate}");
    let external = &one(&full, "ExternalSecret", "tofustate-openbao")["spec"];
    let container = &one(&full, "Deployment", "tofustate")["spec"]["template"]["spec"]["containers"][0];
    // A file: it is another when the Secret is. Only root and the Pod's group read it.
    let pod = &one(&full, "Deployment", "tofustate")["spec"]["template"]["spec"];
    let named = |list: &Value| {
        let mut all = list.as_array().unwrap().iter();
        all.find(|one| one["name"] == "openbao-token").unwrap().clone()
    };
    let folder = named(&container["volumeMounts"])["mountPath"].as_str().unwrap().to_owned();
    assert_eq!(env(container, "BAO_TOKEN_FILE")["value"], format!("{folder}/token"));
    let items = json!([{"key": external["data"][0]["secretKey"], "path": "token"}]);
    let secret = json!({"secretName": external["target"]["name"], "items": items, "defaultMode": 0o440});
    assert_eq!(named(&pod["volumes"])["secret"], secret);
    assert_eq!(pod["securityContext"]["fsGroup"], 65532);
    for (name, value) in [
        ("TOFUSTATE_WATCH_NAMESPACES", "team-a,team-b"),
        ("TOFUSTATE_LOCK_BY_POST", "true"),
        ("TOFUSTATE_INTERNAL_URL", "https://tofustate.tofustate.svc:8443"),
        ("TOFUSTATE_EXTERNAL_URL", "https://states.example.org"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.monitoring.svc:4318"),
        ("OTEL_SERVICE_NAME", "states"),
    ] {
        assert_eq!(env(container, name)["value"], value, "{name}");
    }
    // What plain HTTP has to be asked for, asked for only there.
    let named = |name: &str| container["env"].as_array().unwrap().iter().any(|variable| variable["name"] == name);
    assert!(!named("TOFUSTATE_ALLOW_PLAIN_HTTP") && !named("TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP"), "{container}");
    // Nothing for all namespaces but the names of those that are watched; where it is asked for, the review of its own token.
    let bound = |objects: &[Value]| {
        let bindings = objects.iter().filter(|object| object["kind"] == "ClusterRoleBinding");
        bindings.map(|object| object["roleRef"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bound(&full), ["tofustate-operator-namespaces"]);
    let outside = "rbac.authDelegator=true,config.auth.kubernetes.audience=https://kubernetes.default.svc";
    let reviewed = world.rendered("outside", &["--values", &values("secret"), "--set", outside]);
    let reviewed = bound(&world.would_apply(&reviewed));
    assert_eq!(reviewed, ["tofustate-operator", "tofustate-operator-namespaces", "system:auth-delegator"]);

    let minimal = of("minimal");
    let kinds: Vec<_> = minimal.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Service", "Deployment", "Pod"]);
    let container = &one(&minimal, "Deployment", "tofustate")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(env(container, "TOFUSTATE_ALLOW_PLAIN_HTTP")["value"], "true");
    assert_eq!(env(container, "BAO_ADDR")["value"], "http://openbao-active.openbao.svc:8200");
    assert_eq!(one(&minimal, "Service", "tofustate")["spec"]["ports"][0]["port"], 80);
}

fn env<'a>(container: &'a Value, name: &str) -> &'a Value {
    let mut all = container["env"].as_array().unwrap().iter();
    all.find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{name} is not set: {container:#}"))
}

/// Values that are right and yet were no objects.
#[test]
fn what_is_a_number_to_yaml_is_a_name_all_the_same() {
    let Some(world) = cluster("what_is_a_number_to_yaml_is_a_name_all_the_same") else { return };
    world.cluster.namespace("123");
    world.cluster.namespace("true");
    let set = [
        "--set-string",
        "watchNamespaces={123,true}",
        "--set",
        "updateStrategy.type=Recreate,podDisruptionBudget.maxUnavailable=50%,metrics.serviceMonitor.enabled=true",
    ];
    let objects = world.would_apply(&world.rendered("numbers", &[&["--values", &values("secret")], &set[..]].concat()));
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    let namespaces: Vec<_> = roles.map(|role| role["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(namespaces, ["123", "true", OPERATOR_NAMESPACE]);
    assert_eq!(one(&objects, "Deployment", "tofustate")["spec"]["strategy"], json!({"type": "Recreate"}));

    // A release that is called so, too; with a host that is a pattern, which is nowhere to go to.
    let args = ["template", "1e3", CHART, "-n", OPERATOR_NAMESPACE, "--values", &values("secret")];
    let route = "httpRoute.enabled=true,httpRoute.parentRefs[0].name=gateway,httpRoute.hostnames={*.example.org,states.example.org}";
    let text = world.helm.must(&[&args[..], &["--set", route, "--set", "fullnameOverride=numbers"]].concat());
    let file = world.cluster.folder().join("release.yaml");
    std::fs::write(&file, text).unwrap();
    let objects = world.would_apply(file.to_str().unwrap());
    let deployment = one(&objects, "Deployment", "numbers");
    assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/instance"], "1e3");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(env(container, "TOFUSTATE_EXTERNAL_URL")["value"], "https://states.example.org");
}
