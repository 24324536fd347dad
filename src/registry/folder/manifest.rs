//! From documents to manifests of the kinds that are read, each checked as the API server would. Knows one file at a time:
//! what manifests mean to each other is in `resolve`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    metadata,
    report::{Kind, Place, Problem, Reason},
    secret::SecretManifest,
    yaml::Document,
};
use crate::crd::{self, GROUP, TofuStateBackend, VERSION, Violation, annotations, is_label, is_subdomain, wrong_type};
use crate::registry::ResourceName;

/// Where a manifest without one belongs.
pub(super) const DEFAULT_NAMESPACE: &str = "default";
/// How deep Lists in Lists are followed.
const LISTS: usize = 4;

/// A TofuStateBackend that holds together.
#[derive(Debug)]
pub(super) struct BackendManifest {
    pub(super) resource: TofuStateBackend,
    pub(super) settings: crd::Settings,
}

/// What a Namespace says.
#[derive(Debug)]
pub(super) struct NamespaceManifest {
    /// The annotation `tofustate.io/path-prefixes`.
    pub(super) prefixes: Option<String>,
    /// The annotation `tofustate.io/adopt`.
    pub(super) adopt: Option<String>,
}

/// A manifest with a name: what it says, or what is wrong with it.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) place: Place,
    pub(super) name: ResourceName,
    pub(super) content: Result<Arc<T>, Vec<Problem>>,
}

/// So many documents of a file are told to be wrong; ...
pub(super) const MOST_PROBLEMS: usize = 20;
/// ... and so many kinds to be passed over, by name.
const MOST_KINDS: usize = 20;

/// What stands in one file.
#[derive(Debug, Default)]
pub(super) struct FileContent {
    pub(super) backends: Vec<Item<BackendManifest>>,
    pub(super) secrets: Vec<Item<SecretManifest>>,
    pub(super) namespaces: Vec<Item<NamespaceManifest>>,
    /// What has no name to go by: what this file had before is not taken for vanished.
    pub(super) nameless: Vec<Problem>,
    /// How many documents of which kind were passed over.
    pub(super) skipped: BTreeMap<String, usize>,
}

impl FileContent {
    pub(super) fn read(place: &Place, documents: Vec<Document>) -> Self {
        let mut content = Self::default();
        for Document { number, line, content: document } in documents {
            if content.nameless.len() >= MOST_PROBLEMS {
                let place = Place { file: place.file.clone(), document: Some(number), line: Some(line) };
                let message = "so much of this file is wrong that the rest is not read: mend it from the top";
                content.nameless.push(Problem::error(Reason::TooMuch, message).at(&place));
                break;
            }
            let place = Place { file: place.file.clone(), document: Some(number), line: Some(line) };
            match document {
                Ok(value) => content.document(&place, "", &value, 0),
                Err(said) => content.nameless.push(Problem::error(Reason::NotYaml, said).at(&place)),
            }
        }
        content
    }

    fn document(&mut self, place: &Place, prefix: &str, value: &Value, lists: usize) {
        if value.is_null() {
            return;
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let (Some(fields), false) = (value.as_object(), kind.is_empty()) else {
            return self.skip("no Kubernetes manifest");
        };
        match (version, kind) {
            ("v1", "List" | "SecretList" | "NamespaceList") => self.items(place, prefix, fields, lists),
            (version, "TofuStateBackendList") if version == format!("{GROUP}/{VERSION}") => {
                self.items(place, prefix, fields, lists);
            }
            ("v1", "Secret") => {
                if let Some(named) = self.name(place, prefix, Kind::Secret, fields) {
                    let item = named.item(SecretManifest::read(fields));
                    self.secrets.push(item);
                }
            }
            ("v1", "Namespace") => {
                if let Some(named) = self.name(place, prefix, Kind::Namespace, fields) {
                    let item = named.item(namespace(fields));
                    self.namespaces.push(item);
                }
            }
            (version, "TofuStateBackend") if version == format!("{GROUP}/{VERSION}") => {
                if let Some(named) = self.name(place, prefix, Kind::TofuStateBackend, fields) {
                    let item = named.item(backend(value));
                    self.backends.push(item);
                }
            }
            (version, kind)
                if version.split('/').next() == Some(GROUP)
                    || ["Secret", "Namespace", "TofuStateBackend"].contains(&kind) && !version.contains('/') =>
            {
                let message = format!(
                    "tofustate reads the kinds TofuStateBackend ({GROUP}/{VERSION}), Secret and Namespace (v1); this says another apiVersion or kind"
                );
                self.nameless
                    .push(Problem::error(Reason::InvalidSpec, message).at(place).field(format!("{prefix}kind")));
            }
            (_, kind) => self.skip(&format!("kind {}", kind.chars().take(80).collect::<String>())),
        }
    }

    fn skip(&mut self, what: &str) {
        let known = self.skipped.contains_key(what) || self.skipped.len() < MOST_KINDS;
        let what = if known { what } else { "other kinds" };
        *self.skipped.entry(what.to_owned()).or_default() += 1;
    }

    fn items(&mut self, place: &Place, prefix: &str, fields: &Map<String, Value>, lists: usize) {
        let fault = match fields.get("items") {
            Some(Value::Array(items)) if lists < LISTS => {
                for (n, item) in items.iter().enumerate() {
                    self.document(place, &format!("{prefix}items[{n}]."), item, lists + 1);
                }
                return;
            }
            None | Some(Value::Null) => return,
            Some(Value::Array(_)) => "Lists in Lists in Lists: write one".to_owned(),
            Some(other) => wrong_type("array", other),
        };
        self.nameless.push(Problem::error(Reason::InvalidSpec, fault).at(place).field(format!("{prefix}items")));
    }

    /// The name of a manifest; without one, nothing can be said of it.
    fn name(&mut self, place: &Place, prefix: &str, kind: Kind, fields: &Map<String, Value>) -> Option<Named> {
        let none = Map::new();
        let metadata = fields.get("metadata").and_then(Value::as_object).unwrap_or(&none);
        let mut wrong = Vec::new();
        let mut text = |field: &str| match metadata.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                wrong.push((format!("metadata.{field}"), wrong_type("string", other)));
                None
            }
        };
        let (name, namespace) = (text("name").unwrap_or_default(), text("namespace").filter(|name| !name.is_empty()));
        let namespace = if kind == Kind::Namespace {
            String::new()
        } else {
            namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned())
        };
        let fits = if kind == Kind::Namespace { is_label(&name) } else { is_subdomain(&name) };
        if wrong.is_empty() && !fits {
            let found = if name.is_empty() { "the name is missing: write" } else { "this is no name: write" };
            let message =
                format!("{found} lower-case letters, digits and '-' that begin and end with a letter or a digit");
            wrong.push(("metadata.name".to_owned(), message));
        }
        if kind != Kind::Namespace && !is_label(&namespace) {
            let message = "this is no namespace: write at most 63 lower-case letters, digits and '-'".to_owned();
            wrong.push(("metadata.namespace".to_owned(), message));
        }
        if wrong.is_empty() {
            let name = ResourceName { namespace, name };
            let metadata = metadata::faults(metadata);
            return Some(Named { place: place.clone(), prefix: prefix.to_owned(), kind, name, metadata });
        }
        for (field, message) in wrong {
            let message = format!("{kind}: {message}");
            self.nameless
                .push(Problem::error(Reason::InvalidSpec, message).at(place).field(format!("{prefix}{field}")));
        }
        None
    }
}

struct Named {
    place: Place,
    prefix: String,
    kind: Kind,
    name: ResourceName,
    metadata: Vec<Violation>,
}

impl Named {
    fn item<T>(self, content: Result<T, Vec<Violation>>) -> Item<T> {
        let Self { place, prefix, kind, name, metadata: mut wrong } = self;
        let content = content.map_err(|more| wrong.extend(more));
        let content = match content {
            Ok(content) if wrong.is_empty() => Ok(Arc::new(content)),
            _ => Err(problems(wrong, &prefix, kind, &name, &place)),
        };
        Item { place, name, content }
    }
}

/// Violations as problems of a manifest.
pub(super) fn problems(
    wrong: Vec<Violation>,
    prefix: &str,
    kind: Kind,
    name: &ResourceName,
    place: &Place,
) -> Vec<Problem> {
    let problem = |Violation { field, message }| {
        let field = if field.is_empty() { field } else { format!("{prefix}{field}") };
        Problem::error(Reason::InvalidSpec, message).at(place).of(kind, name).field(field)
    };
    wrong.into_iter().map(problem).collect()
}

fn backend(value: &Value) -> Result<BackendManifest, Vec<Violation>> {
    let resource = crd::admit(value, None)?;
    match resource.settings() {
        Ok(settings) => Ok(BackendManifest { resource, settings }),
        // The schema admits nothing that these do not; were it otherwise, the value still would not be shown.
        Err(wrong) => {
            Err(wrong.0.into_iter().map(|error| Violation { field: error.field, message: error.expected }).collect())
        }
    }
}

fn namespace(fields: &Map<String, Value>) -> Result<NamespaceManifest, Vec<Violation>> {
    let annotations = fields.get("metadata").and_then(|metadata| metadata.get("annotations"));
    let annotation = |name: &str| annotations.and_then(|all| all.get(name)).and_then(Value::as_str).map(str::to_owned);
    Ok(NamespaceManifest { prefixes: annotation(annotations::PATH_PREFIXES), adopt: annotation(annotations::ADOPT) })
}

#[cfg(test)]
mod tests {
    use super::{super::yaml, *};

    fn read(text: &str) -> FileContent {
        FileContent::read(&Place::file("net.yaml".as_ref()), yaml::documents(text))
    }

    const GOOD: &str =
        "apiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {name: net}\nspec: {path: default/net}\n";

    #[test]
    fn kinds_are_told_apart_and_lists_followed() {
        let content = read(&format!(
            "{GOOD}---\napiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: a}}\nstringData: {{token: x}}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: a, annotations: {{tofustate.io/adopt: a/b}}}}\n---\napiVersion: apps/v1\nkind: Deployment\n---\nreplicas: 3\n---\n- x\n---\napiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Secret, metadata: {{name: t}}, data: {{a: '?'}}}}\n- {{apiVersion: v1, kind: List, items: [{{apiVersion: v1, kind: Secret, metadata: {{name: u}}}}]}}\n"
        ));
        let names: Vec<String> = content.secrets.iter().map(|item| item.name.to_string()).collect();
        assert_eq!(names, ["a/s", "default/t", "default/u"]);
        assert_eq!(content.backends[0].name.to_string(), "default/net");
        assert_eq!(content.backends[0].content.as_ref().unwrap().settings.path.as_str(), "default/net");
        assert_eq!(content.namespaces[0].content.as_ref().unwrap().adopt.as_deref(), Some("a/b"));
        assert_eq!(content.skipped.values().sum::<usize>(), 3, "{:?}", content.skipped);
        assert!(content.nameless.is_empty(), "{:?}", content.nameless);
        let wrong = content.secrets[1].content.as_ref().unwrap_err();
        assert_eq!(wrong[0].field.as_deref(), Some("items[0].data.a"));
        assert_eq!(wrong[0].place.as_ref().unwrap().document, Some(7));
    }

    #[test]
    fn what_has_no_usable_name_is_reported() {
        for (change, field) in [
            (("{name: net}", "{}"), "metadata.name"),
            (("{name: net}", "{name: 7}"), "metadata.name"),
            (("{name: net}", "{name: ../net}"), "metadata.name"),
            (("{name: net}", "{name: net, namespace: a/b}"), "metadata.namespace"),
            (("{name: net}", "{name: net, namespace: [a]}"), "metadata.namespace"),
            (("v1alpha1", "v1"), "kind"),
            (("TofuStateBackend", "TofuStateBackends"), "kind"),
        ] {
            let content = read(&GOOD.replace(change.0, change.1));
            assert_eq!(content.nameless.len(), 1, "{change:?}: {:?}", content.nameless);
            assert_eq!(content.nameless[0].field.as_deref(), Some(field), "{change:?}");
            assert!(content.backends.is_empty());
        }
    }

    #[test]
    fn everything_wrong_with_one_is_named() {
        let text =
            GOOD.replace("{name: net}", "{name: net, label: x, annotations: {a: 1}}").replace("path: d", "pth: d");
        let content = read(&text);
        let wrong = content.backends[0].content.as_ref().unwrap_err();
        let fields: Vec<_> = wrong.iter().filter_map(|problem| problem.field.as_deref()).collect();
        assert_eq!(fields, ["metadata.annotations[a]", "metadata.label", "spec.path", "spec.pth"]);
        assert_eq!(
            wrong[2].to_string(),
            "net.yaml, document 1 (line 1): TofuStateBackend default/net: spec.path: this field is required (InvalidSpec)"
        );
    }
}
