//! Specs and texts with what becomes of them, for whoever decides: the schema as kube's CEL reads it, our own parsers, and
//! (in `tests/e2e`) a real API server. One table, so that they are asked the same.

use serde_json::{Value, json};

/// A spec that is refused.
pub(crate) struct Refused {
    pub(crate) spec: Value,
    /// A part of what is said here.
    pub(crate) said: &'static str,
    /// A part of what an API server says: the same where it is a rule's message.
    pub(crate) server: &'static str,
}

fn rule(spec: Value, said: &'static str) -> Refused {
    Refused { spec, said, server: said }
}

fn bound(spec: Value, said: &'static str, server: &'static str) -> Refused {
    Refused { spec, said, server }
}

fn with(name: &str, value: Value) -> Value {
    let mut spec = json!({"path": "team/net"});
    spec[name] = value;
    spec
}

fn access(name: &str, key: &str) -> Value {
    with("access", json!([{"name": name, "role": "ReadOnly", "secretRef": {"name": "s", "key": key}}]))
}

/// Every CEL rule and every bound of the spec is broken by one of these.
pub(crate) fn refused() -> Vec<Refused> {
    vec![
        bound(json!({}), "path: required", "spec.path: Required value"),
        bound(json!({"path": null}), "path: required", "spec.path: Required value"),
        bound(json!({"path": 5}), "path: wrong type", "spec.path in body must be of type string"),
        bound(json!({"path": ""}), "path: length", "spec.path in body should be at least 1 chars long"),
        bound(json!({"path": "a".repeat(201)}), "path: length", "spec.path: Too long: may not be more than 200"),
        rule(json!({"path": "Team/net"}), "write 1 to 8 segments"),
        rule(json!({"path": "1/2/3/4/5/6/7/8/9"}), "write 1 to 8 segments"),
        rule(json!({"path": "a..b"}), "'..' is not allowed"),
        rule(json!({"path": "lock"}), "which lock URLs use"),
        rule(json!({"path": "a/lock"}), "which lock URLs use"),
        rule(json!({"path": "a/b.lock"}), "which lock URLs use"),
        bound(
            with("accessTokenSecretRef", json!({})),
            "accessTokenSecretRef.name: required",
            "spec.accessTokenSecretRef.name: Required value",
        ),
        rule(with("accessTokenSecretRef", json!({"name": "Under_score"})), "write the name of a Secret"),
        bound(
            with("accessTokenSecretRef", json!({"name": "a".repeat(254)})),
            "accessTokenSecretRef.name: length",
            "spec.accessTokenSecretRef.name: Too long: may not be more than 253",
        ),
        rule(with("accessTokenSecretRef", json!({"name": "s", "key": "a b"})), "write a key of a Secret"),
        rule(with("accessTokenSecretRef", json!({"name": "s", "key": "..a"})), "write a key of a Secret"),
        bound(
            with("accessTokenSecretRef", json!({"name": "s", "key": ""})),
            "accessTokenSecretRef.key: length",
            "spec.accessTokenSecretRef.key in body should be at least 1 chars long",
        ),
        rule(with("accessTokenSecretRef", json!({"name": "net-tofustate"})), "names <name>-tofustate"),
        rule(
            json!({"path": "a", "accessTokenSecretRef": {"name": "s"}, "connectionSecretName": "s"}),
            "name the same Secret",
        ),
        rule(with("connectionSecretName", json!("-a")), "write the name of a Secret"),
        bound(
            with("connectionSecretName", json!("")),
            "connectionSecretName: length",
            "spec.connectionSecretName in body should be at least 1 chars long",
        ),
        rule(access("a.b", "k"), "write a name of lower-case letters"),
        bound(
            access(&"a".repeat(64), "k"),
            "access[0].name: length",
            "spec.access[0].name: Too long: may not be more than 63",
        ),
        rule(access("a", "/"), "write a key of a Secret"),
        bound(
            with("access", json!([{"name": "a", "role": "Admin", "secretRef": {"name": "s"}}])),
            "role: not one of",
            "spec.access[0].role: Unsupported value: \"Admin\": supported values: \"ReadOnly\", \"ReadWrite\"",
        ),
        bound(
            with("access", json!([{"name": "a", "role": "ReadOnly"}])),
            "secretRef: required",
            "spec.access[0].secretRef: Required value",
        ),
        bound(
            with("access", json!([{"name": "a", "secretRef": {"name": "s"}}])),
            "role: required",
            "spec.access[0].role: Required value",
        ),
        bound(
            with("access", json!(vec![json!({"name": "a", "role": "ReadOnly", "secretRef": {"name": "s"}}); 2])),
            "access: duplicate",
            "spec.access[1]: Duplicate value: {\"name\":\"a\"}",
        ),
        bound(
            with(
                "access",
                (0..33)
                    .map(|n| json!({"name": n.to_string(), "role": "ReadOnly", "secretRef": {"name": "s"}}))
                    .collect(),
            ),
            "access: too many",
            "spec.access: Too many: 33: must have at most 32 items",
        ),
        bound(
            with("retention", json!({"maxVersions": 0})),
            "maxVersions: out of bounds",
            "maxVersions in body should be greater than or equal to 1",
        ),
        bound(
            with("retention", json!({"maxVersions": 201})),
            "maxVersions: out of bounds",
            "maxVersions in body should be less than or equal to 200",
        ),
        rule(with("retention", json!({"maxBytes": "1Ei"})), "write a size such as"),
        rule(with("retention", json!({"maxBytes": "0Gi"})), "at least one byte"),
        bound(
            with("retention", json!({"maxBytes": 5})),
            "maxBytes: wrong type",
            "spec.retention.maxBytes in body must be of type string",
        ),
        rule(with("retention", json!({"maxAge": "30d"})), "write a duration such as"),
        rule(with("retention", json!({"maxAge": "0h0m"})), "write a duration above zero"),
        bound(
            with("retention", json!({"deletionPolicy": "Keep"})),
            "deletionPolicy: not one of",
            "supported values: \"Retain\", \"Delete\"",
        ),
        rule(with("lock", json!({"staleAfter": "soon"})), "write a duration such as"),
        rule(with("lock", json!({"staleAfter": "0s"})), "write a duration above zero"),
        rule(with("lock", json!({"staleAction": "Release"})), "needs staleAfter, the age"),
        rule(
            with("lock", json!({"staleAction": "Release", "staleAfter": "59m59s"})),
            "needs a staleAfter of 1h or more",
        ),
        bound(
            with("lock", json!({"staleAction": "Notify"})),
            "staleAction: not one of",
            "supported values: \"None\", \"Release\"",
        ),
        bound(
            with("lock", json!({"clientForceUnlock": "Ask"})),
            "clientForceUnlock: not one of",
            "supported values: \"Allow\", \"Deny\"",
        ),
        bound(
            with("lock", json!({"required": "yes"})),
            "required: wrong type",
            "spec.lock.required in body must be of type boolean",
        ),
        rule(with("maxSize", json!("lots")), "write a size such as"),
        rule(with("maxSize", json!("0")), "at least one byte"),
        bound(with("suspend", json!("true")), "suspend: wrong type", "spec.suspend in body must be of type boolean"),
        bound(with("no-such-field", json!(1)), "unknown field", "unknown field \"spec.no-such-field\""),
    ]
}

/// Specs of which some are refused for what their fields say together.
pub(crate) fn specs() -> Vec<Value> {
    let mut specs = vec![
        json!({"path": "a", "accessTokenSecretRef": {"name": "net-tofustate"}}),
        json!({"path": "a", "accessTokenSecretRef": {"name": "net-tofustate"}, "connectionSecretName": "x"}),
        json!({"path": "a", "accessTokenSecretRef": {"name": "x"}, "connectionSecretName": "x"}),
        json!({"path": "a", "retention": {"maxVersions": 0}}),
        json!({"path": "a", "retention": {"maxVersions": -1}}),
        json!({"path": "a", "retention": {"maxVersions": 200}}),
        json!({"path": "a", "retention": {"maxVersions": 201}}),
    ];
    let entries = |names: std::ops::Range<usize>| -> Value {
        names.map(|n| json!({"name": format!("a{}", n % 33), "role": "ReadOnly", "secretRef": {"name": "s"}})).collect()
    };
    for names in [0..1, 0..32, 0..33, 32..34, 33..35] {
        specs.push(json!({"path": "a", "access": entries(names)}));
    }
    specs.push(everything("a"));
    specs
}

/// A spec with every field set, to something other than its default.
pub(crate) fn everything(path: &str) -> Value {
    json!({
        "path": path,
        "accessTokenSecretRef": {"name": "mine", "key": "password"},
        "connectionSecretName": "net.out",
        "access": [
            {"name": "reader", "role": "ReadOnly", "secretRef": {"name": "r"}},
            {"name": "ci-2", "role": "ReadWrite", "secretRef": {"name": "r", "key": "ci"}},
        ],
        "retention": {"maxVersions": 200, "maxBytes": "1.5Gi", "maxAge": "720h", "deletionPolicy": "Delete"},
        "lock": {"required": true, "staleAfter": "1h", "staleAction": "Release", "clientForceUnlock": "Deny"},
        "maxSize": "1048576",
        "suspend": true,
    })
}

fn texts(written: &[&str]) -> Vec<String> {
    written.iter().map(ToString::to_string).collect()
}

/// Paths, good and bad.
pub(crate) fn paths() -> Vec<String> {
    let long = |n: usize| "a".repeat(n);
    let mut paths = texts(&[
        "",
        "a",
        "a/b",
        "1/2/3/4/5/6/7/8",
        "1/2/3/4/5/6/7/8/9",
        "/a",
        "a/",
        "a//b",
        "/",
        "A",
        "a_",
        "_a",
        "a.b",
        "a..b",
        "a.",
        ".a",
        "a/./b",
        "a/../b",
        "lock",
        "lock/a",
        "a/lock",
        "a.lock",
        "a.lock/b",
        "a/b.lock",
        "locks",
        "xlock",
        "a-lock",
        "a:b",
        "a b",
        " a",
        "a\n",
        "\na",
        "a\u{0}",
        "ä",
        "ａ",
        "a/b?c",
        "a%2fb",
        ".versions/a",
        ".owners",
        "a\\b",
        "-",
        "a-",
    ]);
    paths.extend([long(200), long(201), "ä".repeat(200), "ä".repeat(101), format!("{}/lock", long(195))]);
    paths
}

/// Sizes, good and bad.
pub(crate) fn sizes() -> Vec<String> {
    let mut sizes = texts(&[
        "",
        "1",
        "0",
        "00",
        "01",
        "256Mi",
        "1.5Gi",
        "1.5",
        ".5Gi",
        "1.Gi",
        "1..2Gi",
        "0.0Gi",
        "0.000001k",
        "0.0000001k",
        "1e3",
        "-1",
        "+1",
        "1m",
        "1K",
        "1Ei",
        "1E",
        "1 Gi",
        "1Gi\n",
        "\n1Gi",
        "Gi",
        ".",
        "...",
        "1i",
        "१",
    ]);
    for digits in 1..=20 {
        for suffix in ["", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi"] {
            sizes.push(format!("{}{suffix}", "9".repeat(digits)));
            sizes.push(format!("1.{}{suffix}", "9".repeat(digits)));
        }
    }
    sizes
}

/// Durations, good and bad.
pub(crate) fn durations() -> Vec<String> {
    texts(&[
        "",
        "0",
        "1",
        "1h",
        "0h",
        "1h30m",
        "30m1h",
        "5ms",
        "5m5s",
        "5m5ms",
        "1d",
        "1.5h",
        "-1h",
        "99999h",
        "100000h",
        "99999ms99999ms99999ms99999ms",
        "1h1h1h1h",
        "1h1h1h1h1h",
        "1h\n",
        " 1h",
        "1H",
        "hms",
        "0h1ms",
        "00000h",
        "1µs",
        "mm",
    ])
}
