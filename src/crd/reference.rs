//! The definition as a page for people (docs/api.md): what `tofustate crd --markdown` prints. Made from the schema alone, so
//! that page, `kubectl explain` and what the API server takes say the same. A test compares the committed page.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use super::definition;

/// The reference of all fields, as Markdown.
#[must_use]
pub fn reference() -> String {
    let crd = definition();
    let names = &crd.spec.names;
    let mut page = String::from(
        "<!-- Printed by `tofustate crd --markdown` (`make docs`); do not edit. The fields are defined in src/crd. -->\n# API reference\n\n",
    );
    let short = names.short_names.iter().flatten().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    for version in &crd.spec.versions {
        let _ = writeln!(
            page,
            "Kind `{}`, `apiVersion: {}/{}`, namespaced. kubectl knows it as {}, {short}.\n",
            names.kind,
            crd.spec.group,
            version.name,
            code(&names.plural),
        );
        columns(&mut page, version);
        let Some(root) = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()) else {
            continue;
        };
        for part in ["spec", "status"] {
            let Some(schema) = root.properties.as_ref().and_then(|fields| fields.get(part)) else { continue };
            let _ = writeln!(page, "\n## {part}\n{}\n", text(schema));
            page.push_str("| field | type | default | |\n|---|---|---|---|\n");
            fields(&mut page, part, schema);
        }
        rules(&mut page, root);
    }
    page.push_str(
        "\nAnnotations: [operator.md](operator.md#annotations). Conditions and their reasons: [operations.md](operations.md#conditions).\n",
    );
    page
}

fn columns(page: &mut String, version: &CustomResourceDefinitionVersion) {
    page.push_str("## What `kubectl get` shows\n\n| column | field | |\n|---|---|---|\n");
    for column in version.additional_printer_columns.iter().flatten() {
        let wide = if column.priority.unwrap_or_default() > 0 { " (`-o wide`)" } else { "" };
        let text = cell(column.description.as_deref().unwrap_or_default());
        let _ = writeln!(page, "| {}{wide} | `{}` | {text} |", column.name, column.json_path.trim_start_matches('.'));
    }
}

/// One row a field, each before those inside of it.
fn fields(page: &mut String, at: &str, schema: &JSONSchemaProps) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let at = format!("{at}.{name}");
        let items = match &field.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items.as_ref()),
            _ => None,
        };
        let type_ = match items {
            Some(items) => format!("list of {}", kind(items)),
            None => kind(field),
        };
        let default = match &field.default {
            Some(default) if default.0 != Value::Object(serde_json::Map::new()) => code(&default.0.to_string()),
            _ if required.contains(name) => "required".to_owned(),
            _ => String::new(),
        };
        let _ = writeln!(page, "| `{at}` | {type_} | {default} | {}{} |", text(field), bounds(field));
        match (items, &field.additional_properties) {
            (Some(items), _) => fields(page, &format!("{at}[]"), items),
            (None, Some(JSONSchemaPropsOrBool::Schema(values))) => fields(page, &format!("{at}.*"), values),
            (None, _) => fields(page, &at, field),
        }
    }
}

fn kind(schema: &JSONSchemaProps) -> String {
    let plain = schema.type_.as_deref().unwrap_or("any");
    match (&schema.enum_, schema.format.as_deref()) {
        (Some(values), _) => {
            values.iter().map(|value| code(value.0.as_str().unwrap_or("?"))).collect::<Vec<_>>().join(", ")
        }
        (None, Some(format)) if plain == "string" => format.to_owned(),
        _ => plain.to_owned(),
    }
}

/// What the schema asks of a value, in words.
fn bounds(schema: &JSONSchemaProps) -> String {
    let number = |what: &str, value: Option<String>| value.map(|value| format!("{what} {value}"));
    let all = [
        number("from", schema.minimum.map(|least| least.to_string())),
        number("to", schema.maximum.map(|most| most.to_string())),
        number("characters at least", schema.min_length.map(|least| least.to_string())),
        number("characters at most", schema.max_length.map(|most| most.to_string())),
        number("entries at most", schema.max_items.map(|most| most.to_string())),
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    let said = if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) };
    format!("{said}{}", messages(schema))
}

/// The messages of the rules of a schema, which is what a person reads where one is broken.
fn messages(schema: &JSONSchemaProps) -> String {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    let said: Vec<String> = rules.filter_map(|rule| rule.message.as_deref()).map(cell).collect();
    if said.is_empty() { String::new() } else { format!(" Rules: {}.", said.join("; ")) }
}

fn rules(page: &mut String, root: &JSONSchemaProps) {
    let rules = root.x_kubernetes_validations.iter().flatten();
    let said: Vec<&str> = rules.filter_map(|rule| rule.message.as_deref()).collect();
    if !said.is_empty() {
        page.push_str("\n## Rules between fields\n");
        said.iter().for_each(|rule| {
            let _ = writeln!(page, "- {rule}");
        });
    }
}

fn text(schema: &JSONSchemaProps) -> String {
    cell(schema.description.as_deref().unwrap_or_default())
}

/// As it may stand in a table.
fn cell(text: &str) -> String {
    text.replace("\n\n", " ").replace('\n', " ").replace('|', "\\|").replace('<', "&lt;")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}
