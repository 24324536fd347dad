//! Definitions of others whose objects the chart has, as far as it uses them: a field that they do not have is refused.

use serde_json::{Value, json};
use tofustate_e2e::{kube::Cluster, wait};

/// Group, version, kind, plural, the fields of the spec.
type Foreign = (&'static str, &'static str, &'static str, &'static str, Value);

fn all() -> [Foreign; 4] {
    let (text, texts, any) = (
        json!({"type": "string"}),
        json!({"type": "array", "items": {"type": "string"}}),
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    );
    let many = |fields: Value, required: &[&str]| json!({"type": "array", "items": {"type": "object", "properties": fields, "required": required}});
    let duration = json!({"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"});
    [
        (
            "cert-manager.io",
            "v1",
            "Certificate",
            "certificates",
            json!({
                "secretName": text, "dnsNames": texts, "duration": text, "renewBefore": text, "usages": texts,
                "issuerRef": {"type": "object", "required": ["name"], "properties": {"name": text, "kind": text, "group": text}},
                "privateKey": {"type": "object", "properties": {
                    "algorithm": {"type": "string", "enum": ["RSA", "ECDSA", "Ed25519"]}, "size": {"type": "integer"},
                    "rotationPolicy": {"type": "string", "enum": ["Never", "Always"]},
                }},
            }),
        ),
        (
            "gateway.networking.k8s.io",
            "v1",
            "HTTPRoute",
            "httproutes",
            json!({
                "hostnames": texts,
                "parentRefs": many(json!({"name": text, "namespace": text, "sectionName": text}), &["name"]),
                "rules": many(json!({
                    "matches": many(json!({"path": {"type": "object", "properties": {"type": text, "value": text}}}), &[]),
                    "timeouts": {"type": "object", "properties": {"request": duration, "backendRequest": duration}},
                    "backendRefs": many(json!({"name": text, "port": {"type": "integer"}}), &["name"]),
                }), &[]),
            }),
        ),
        (
            "monitoring.coreos.com",
            "v1",
            "ServiceMonitor",
            "servicemonitors",
            json!({
                "selector": any, "namespaceSelector": {"type": "object", "properties": {"matchNames": texts}},
                "endpoints": many(json!({"port": text, "path": text, "interval": duration}), &[]),
            }),
        ),
        (
            "external-secrets.io",
            "v1",
            "ExternalSecret",
            "externalsecrets",
            json!({
                "refreshInterval": text,
                "secretStoreRef": {"type": "object", "properties": {"name": text, "kind": text}},
                "target": {"type": "object", "properties": {"name": text, "creationPolicy": text}},
                "data": many(json!({
                    "secretKey": text,
                    "remoteRef": {"type": "object", "required": ["key"], "properties": {"key": text, "property": text}},
                }), &["secretKey", "remoteRef"]),
            }),
        ),
    ]
}

/// Makes them, until they are served.
pub(crate) fn install(cluster: &Cluster) {
    for (group, version, kind, plural, spec) in all() {
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {
                "name": format!("{plural}.{group}"),
                // Of a group of Kubernetes' own the API server wants to know who approved it.
                "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
            },
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "required": ["spec"],
                        "properties": {"spec": {"type": "object", "properties": spec}},
                    }},
                }],
            },
        });
        cluster.api().create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).done();
    }
    for (group, version, kind, plural, _) in all() {
        let path = format!("/apis/{group}/{version}/namespaces/default/{plural}");
        cluster.api().until(&path, "it is served", |found| found.to_string().contains(kind));
        wait::until("kubectl knows its fields", || {
            let known = cluster.api().get(&format!("/openapi/v3/apis/{group}/{version}")).unwrap_or_default();
            if known.to_string().contains(kind) { Ok(()) } else { Err(group.to_owned()) }
        });
    }
}
