//! What an API server does with an object before it stores it, as far as this schema uses it: nulls are dropped, defaults
//! filled in, then types and bounds checked, then CEL. No tests.

use std::sync::LazyLock;

use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde_json::{Value, json};

/// The schema of the one version.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(tofustate::crd::definition()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

/// A schema whose rules are compiled once.
pub(crate) struct Checker {
    schema: Value,
    compiled: CompiledSchema,
}

impl Checker {
    /// The whole resource.
    pub(crate) fn whole() -> Self {
        Self::of(SCHEMA.clone())
    }

    /// One field, by the names that lead to it; `[]` is the items of a list.
    pub(crate) fn field(names: &[&str]) -> Self {
        let mut at = &*SCHEMA;
        for name in names {
            at = if *name == "[]" { &at["items"] } else { &at["properties"][*name] };
        }
        assert!(at.is_object(), "no field {names:?}");
        Self::of(at.clone())
    }

    /// The rules alone, without any default filled in.
    pub(crate) fn rules_of(schema: &Value) -> Self {
        fn strip(schema: &mut Value) {
            if let Some(node) = schema.as_object_mut() {
                node.remove("default");
                node.get_mut("properties")
                    .and_then(Value::as_object_mut)
                    .into_iter()
                    .flatten()
                    .for_each(|(_, p)| strip(p));
                node.get_mut("items").into_iter().for_each(strip);
            }
        }
        let mut schema = schema.clone();
        strip(&mut schema);
        Self::of(schema)
    }

    fn of(schema: Value) -> Self {
        Self { compiled: compile_schema(&schema), schema }
    }

    /// The object with its defaults, or everything that is wrong with it.
    pub(crate) fn admit(&self, object: &Value, old: Option<&Value>) -> Result<Value, Vec<String>> {
        let mut object = object.clone();
        defaults(&self.schema, &mut object);
        let mut wrong = Vec::new();
        structural(&self.schema, &object, "", &mut wrong);
        // As in the API server: rules are not run over values of other types than they were written for.
        if wrong.is_empty()
            && let Err(errors) = Validator::new().validate_compiled(&self.compiled, &object, old)
        {
            wrong.extend(errors.iter().map(|e| format!("{}: {}", e.field_path, e.message)));
        }
        if wrong.is_empty() { Ok(object) } else { Err(wrong) }
    }
}

/// A resource with this spec.
pub(crate) fn resource(spec: Value) -> Value {
    json!({"apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": "net"}, "spec": spec})
}

/// Drops nulls (no field here is nullable) and fills in defaults from the outside in, so that a default is itself filled in, as the API server does (kube's
/// `apply_defaults` stops at the first).
fn defaults(schema: &Value, value: &mut Value) {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            if !object.contains_key(name) && !property["default"].is_null() {
                object.insert(name.clone(), property["default"].clone());
            }
            if let Some(field) = object.get_mut(name) {
                defaults(property, field);
            }
        }
    }
    for item in value.as_array_mut().into_iter().flatten() {
        defaults(&schema["items"], item);
    }
}

fn structural(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let mut fail = |what: &str| wrong.push(format!("{at}: {what}"));
    let bound = |name: &str| schema[name].as_f64();
    let type_ok = match schema["type"].as_str().expect(at) {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        other => panic!("{at}: type {other}"),
    };
    if !type_ok {
        return fail("wrong type");
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        fail("not one of the values");
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as f64;
        if bound("maxLength").is_some_and(|max| length > max) || bound("minLength").is_some_and(|min| length < min) {
            fail("length");
        }
        if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            fail("no date-time");
        }
    }
    if let Some(number) = value.as_f64()
        && (bound("maximum").is_some_and(|max| number > max) || bound("minimum").is_some_and(|min| number < min))
    {
        fail("out of bounds");
    }
    if let Some(items) = value.as_array() {
        if bound("maxItems").is_some_and(|max| items.len() as f64 > max) {
            fail("too many");
        }
        for key in schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut seen = std::collections::BTreeSet::new();
            if !items.iter().all(|item| seen.insert(item[key].to_string())) {
                fail("duplicate");
            }
        }
        for (n, item) in items.iter().enumerate() {
            structural(&schema["items"], item, &format!("{at}[{n}]"), wrong);
        }
    } else if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                wrong.push(format!("{at}.{name}: required"));
            }
        }
        for (name, field) in object {
            match schema["properties"].get(name) {
                Some(property) => structural(property, field, &format!("{at}.{name}"), wrong),
                // These three every resource has without the schema saying so.
                None if at.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) => {}
                None => wrong.push(format!("{at}.{name}: unknown field")),
            }
        }
    }
}
