//! The CustomResourceDefinition as it is installed: what the types derive, plus what a derive cannot say. The committed
//! copy in deploy/crds is this text, and a test compares them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::{TofuStateBackend, rules};

/// The CustomResourceDefinition of TofuStateBackend.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut crd = TofuStateBackend::crd();
    for version in &mut crd.spec.versions {
        version.additional_printer_columns = Some(COLUMNS.map(column).into());
        if let Some(root) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            tidy(root);
            root.x_kubernetes_validations = Some(rules::root());
        }
    }
    crd
}

/// The CustomResourceDefinition as YAML, as `tofustate crd` prints it.
///
/// # Errors
/// None that the types can cause.
pub fn yaml() -> Result<String, serde_yaml::ser::Error> {
    let body = serde_yaml::to_string(&definition())?;
    Ok(format!("# Printed by `tofustate crd`; do not edit. The fields are defined in src/crd.\n{body}"))
}

/// What `kubectl get` shows: name, type, where it stands, what it is. Those of [`WIDE`] only with
/// `-o wide`.
const COLUMNS: [(&str, &str, &str, &str); 12] = [
    ("Path", "string", ".spec.path", "The state's path"),
    ("Locked By", "string", ".status.lock.who", "Who holds the lock, as the client says (user@host)"),
    ("Operation", "string", ".status.lock.operation", "What the holder of the lock is doing"),
    ("Since", "date", ".status.lock.since", "How long the lock is held"),
    ("Serial", "integer", ".status.state.serial", "Serial of the current state"),
    (
        "Ready",
        "string",
        r#".status.conditions[?(@.type=="Ready")].status"#,
        "Whether the state can be used; a lock does not change it",
    ),
    ("Age", "date", ".metadata.creationTimestamp", "How long ago this resource was created"),
    (
        "Lock ID",
        "string",
        ".status.lock.id",
        "Id of the lock, for tofu force-unlock or the annotation tofustate.io/force-unlock",
    ),
    ("Size", "integer", ".status.state.size", "Size of the current state in bytes"),
    ("Versions", "integer", ".status.state.versions", "How many versions are kept"),
    ("Endpoint", "string", ".status.endpoints.internal", "The state's address inside the cluster"),
    (
        "Message",
        "string",
        r#".status.conditions[?(@.type=="Ready")].message"#,
        "What is missing, where the state is not ready",
    ),
];
const WIDE: [&str; 5] = ["Lock ID", "Size", "Versions", "Endpoint", "Message"];

fn column((name, type_, path, text): (&str, &str, &str, &str)) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: path.to_owned(),
        description: Some(text.to_owned()),
        priority: WIDE.contains(&name).then_some(1),
        format: None,
    }
}

/// The derive makes each `Option` nullable; without that, the API server takes an explicit null for absent, so there is
/// one way to say nothing, and CEL's `has` sees it. And the derive keeps the line breaks of doc comments, which
/// `kubectl explain` would print between its own.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(text) = &mut schema.description {
        *text = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    for property in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
}
