//! What the API server does with a TofuStateBackend before it stores one, for manifests that never meet one: nulls are
//! dropped, defaults filled in, types and bounds checked, then the CEL rules, transitions included. The schema is the
//! one that is installed. What `metadata` may hold is not here: no schema says it.
//!
//! Messages name a field and what to write, never what stands there: a credential may have slipped into a wrong place.

use std::{collections::BTreeSet, fmt, sync::LazyLock};

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

use super::{TofuStateBackend, definition};

/// How deep messages follow a value; deeper than the schema is.
const REPORTED: usize = 100;

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Where: `spec.access[0].name`; empty for the resource as a whole.
    pub field: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sep = if self.field.is_empty() { "" } else { ": " };
        write!(f, "{}{sep}{}", self.field, self.message)
    }
}

/// The resource that `object` describes, with its defaults, if an API server would take it. `old`: what it replaces. A
/// `status` is passed over, as the API server does where somebody applies one.
///
/// ```
/// use tofustate::crd::admit;
/// let object = |path| serde_json::json!({"metadata": {"name": "net"}, "spec": {"path": path}});
/// let resource = admit(&object("team-a/net"), None).unwrap();
/// assert_eq!(resource.spec.max_size, "256Mi");
/// let wrong = admit(&object("team-a/other"), Some(&resource)).unwrap_err();
/// assert!(wrong[0].field == "spec.path" && wrong[0].message.contains("cannot be changed"));
/// ```
///
/// # Errors
/// Everything that is wrong with it; never empty.
pub fn admit(object: &Value, old: Option<&TofuStateBackend>) -> Result<TofuStateBackend, Vec<Violation>> {
    // Without its schema nothing may pass.
    let admission = ADMISSION.as_ref().ok_or_else(|| one("", "the schema cannot be read: a fault of tofustate"))?;
    admission.admit(object, old)
}

struct Admission {
    schema: Value,
    compiled: CompiledSchema,
}

static ADMISSION: LazyLock<Option<Admission>> = LazyLock::new(|| {
    let crd = serde_json::to_value(definition()).ok()?;
    let mut schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema")?.clone();
    schema.get_mut("properties")?.as_object_mut()?.remove("status");
    Some(Admission { compiled: compile_schema(&schema), schema })
});

impl Admission {
    fn admit(&self, object: &Value, old: Option<&TofuStateBackend>) -> Result<TofuStateBackend, Vec<Violation>> {
        let mut object = object.clone();
        if let Some(fields) = object.as_object_mut() {
            fields.remove("status");
            fields.insert("apiVersion".to_owned(), json!("tofustate.io/v1alpha1"));
            fields.insert("kind".to_owned(), json!("TofuStateBackend"));
        }
        defaults(&self.schema, &mut object);
        let mut wrong = Vec::new();
        structure(&self.schema, &object, "", &mut wrong);
        // As in the API server: rules are not run over values of other types than they were written for.
        if wrong.is_empty() {
            let old = old.and_then(|old| serde_json::to_value(old).ok());
            if let Err(errors) = Validator::new().validate_compiled(&self.compiled, &object, old.as_ref()) {
                wrong.extend(errors.iter().map(|e| violation(e.field_path.trim_start_matches('.'), &e.message)));
            }
        }
        if !wrong.is_empty() {
            wrong.sort();
            wrong.dedup();
            return Err(wrong);
        }
        serde_json::from_value(object).map_err(|_| one("", "this does not decode; compare it with the reference"))
    }
}

fn violation(field: &str, message: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), message: message.into() }
}

fn one(field: &str, message: &str) -> Vec<Violation> {
    vec![violation(field, message)]
}

/// Drops nulls (no field here is nullable) and fills in defaults from the outside in, so that a default is itself filled
/// in, as the API server does (kube's `apply_defaults` stops at the first).
fn defaults(schema: &Value, value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(default) = property.get("default")
                && !object.contains_key(name)
            {
                object.insert(name.clone(), default.clone());
            }
            if let Some(field) = object.get_mut(name) {
                defaults(property, field);
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array_mut(), schema.get("items")) {
        items.iter_mut().for_each(|item| defaults(schema, item));
    }
}

/// Types, bounds, required and unknown fields.
fn structure(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<Violation>) {
    if wrong.len() >= REPORTED {
        return;
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or("known value");
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        _ => false,
    };
    if !fits {
        wrong.push(violation(at, wrong_type(wanted, value)));
        return;
    }
    match value {
        Value::String(text) => text_bounds(schema, text, at, wrong),
        Value::Number(number) => {
            let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
            let (least, most) = (bound("minimum"), bound("maximum"));
            let number = number.as_f64().unwrap_or_default();
            if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
                let least = least.map_or_else(String::new, |least| format!(" from {least}"));
                let most = most.map_or_else(String::new, |most| format!(" to {most}"));
                wrong.push(violation(at, format!("write a number{least}{most}")));
            }
        }
        Value::Array(items) => list(schema, items, at, wrong),
        Value::Object(fields) => {
            let required = schema.get("required").and_then(Value::as_array);
            for name in required.into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    wrong.push(violation(&join(at, name), "this field is required"));
                }
            }
            for (name, field) in fields {
                match schema.get("properties").and_then(|known| known.get(name)) {
                    Some(property) => structure(property, field, &join(at, name), wrong),
                    // These three every resource has without the schema saying so.
                    None if at.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) => {}
                    None => wrong.push(unknown(schema, name, at)),
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// What a wrong type is called: a text that YAML takes for something else is the usual case.
#[must_use]
pub fn wrong_type(wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let quote =
        if wanted == "string" && ["a boolean", "a number"].contains(&found) { "; put it in quotes" } else { "" };
    format!("this must be of type {wanted} and is {found}{quote}")
}

fn text_bounds(schema: &Value, text: &str, at: &str, wrong: &mut Vec<Violation>) {
    let allowed = schema.get("enum").and_then(Value::as_array);
    if let Some(allowed) = allowed
        && !allowed.iter().any(|value| value == text)
    {
        let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        wrong.push(violation(at, format!("write one of {}", names.join(", "))));
    }
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let length = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    if let Some(least) = bound("minLength").filter(|least| length < *least) {
        wrong.push(violation(at, format!("write at least {least} characters")));
    }
    if let Some(most) = bound("maxLength").filter(|most| length > *most) {
        wrong.push(violation(at, format!("write at most {most} characters; these are {length}")));
    }
}

fn list(schema: &Value, items: &[Value], at: &str, wrong: &mut Vec<Violation>) {
    if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
        && u64::try_from(items.len()).unwrap_or(u64::MAX) > most
    {
        wrong.push(violation(at, format!("write at most {most} entries; these are {}", items.len())));
        return;
    }
    let Some(of) = schema.get("items") else { return };
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    for key in keys.into_iter().flatten().filter_map(Value::as_str) {
        let mut seen = BTreeSet::new();
        for (n, item) in items.iter().enumerate() {
            if !seen.insert(item.get(key).map(Value::to_string)) {
                wrong.push(violation(&format!("{at}[{n}].{key}"), "an earlier entry has this already"));
            }
        }
    }
    for (n, item) in items.iter().enumerate() {
        structure(of, item, &format!("{at}[{n}]"), wrong);
    }
}

fn unknown(schema: &Value, name: &str, at: &str) -> Violation {
    let known = schema.get("properties").and_then(Value::as_object);
    let known: Vec<&str> = known.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let shown: String = name.chars().take(80).collect();
    violation(&join(at, &shown), format!("unknown field; known here: {}", known.join(", ")))
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": "net"}, "spec": spec});
        admit(&object, None).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn defaults_are_filled_in_and_nulls_and_status_passed_over() {
        let object = json!({"metadata": {"name": "net"}, "status": {"locked": "x"}, "spec": {"path": "a", "lock": null, "retention": {"maxAge": null}}});
        let resource = admit(&object, None).unwrap();
        assert_eq!(resource.spec, crate::crd::TofuStateBackendSpec::new("a"));
    }

    #[test]
    fn every_wrong_field_is_named_and_no_value_is_shown() {
        let said = wrong(json!({
            "path": "a", "suspend": "hunter2", "maxSize": 7, "acess": [], "retention": {"maxVersions": 201, "deletionPolicy": "hunter2"},
            "access": [{"name": "ci", "role": "hunter2", "secretRef": {}}, {"name": "ci", "role": "ReadOnly", "secretRef": "hunter2"}],
        }));
        let expected = [
            "spec.access[0].role: write one of ReadOnly, ReadWrite",
            "spec.access[0].secretRef.name: this field is required",
            "spec.access[1].name: an earlier entry has this already",
            "spec.access[1].secretRef: this must be of type object and is a string",
            "spec.acess: unknown field; known here: access, accessTokenSecretRef, connectionSecretName, lock, maxSize, path, retention, suspend",
            "spec.maxSize: this must be of type string and is a number; put it in quotes",
            "spec.retention.deletionPolicy: write one of Retain, Delete",
            "spec.retention.maxVersions: write a number from 1 to 200",
            "spec.suspend: this must be of type boolean and is a string",
        ];
        assert_eq!(said, expected);
        for spec in [json!({"path": "hunter2 "}), json!({"path": "a", "maxSize": "hunter2"}), json!("hunter2")] {
            let said = wrong(spec);
            assert!(!said.is_empty() && said.iter().all(|line| !line.contains("hunter2")), "{said:?}");
        }
    }

    #[test]
    fn rules_of_the_whole_and_of_transitions_are_run() {
        let said = wrong(json!({"path": "a", "accessTokenSecretRef": {"name": "net-tofustate"}}));
        assert!(said.len() == 1 && said[0].contains("is written by tofustate"), "{said:?}");
        let old = TofuStateBackend::new("net", crate::crd::TofuStateBackendSpec::new("a"));
        let object = json!({"metadata": {"name": "net"}, "spec": {"path": "b"}});
        let said = admit(&object, Some(&old)).unwrap_err();
        assert_eq!((said.len(), said[0].field.as_str()), (1, "spec.path"), "{said:?}");
    }
}
