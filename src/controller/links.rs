//! Which resources a path or a Secret concerns: thousands are not looked through for each change of one.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{context::name_of, credentials, watched::Guarded};
use crate::registry::ResourceName;

/// Resources by what concerns them. What is found may be a few too many: two texts can have the same hash.
#[derive(Default)]
pub(super) struct Links(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    by: HashMap<u64, Vec<ResourceName>>,
    of: HashMap<ResourceName, Vec<u64>>,
}

fn hash(parts: &[&str]) -> u64 {
    let mut hash = DefaultHasher::new();
    parts.hash(&mut hash);
    hash.finish()
}

/// What concerns a resource; nothing concerns one that does not decode.
fn links(object: &Guarded) -> Vec<u64> {
    let Ok(resource) = &object.0 else { return Vec::new() };
    let namespace = resource.metadata.namespace.as_deref().unwrap_or_default();
    let mut all =
        vec![hash(&["path", &resource.spec.path]), hash(&["secret", namespace, &resource.connection_secret()])];
    all.extend(credentials::named(&resource.spec).into_iter().map(|name| hash(&["secret", namespace, name])));
    all.sort_unstable();
    all.dedup();
    all
}

impl Links {
    /// The resource is there, so.
    pub(super) fn set(&self, object: &Guarded) {
        self.put(&name_of(object), links(object));
    }

    /// It is not there any more.
    pub(super) fn remove(&self, name: &ResourceName) {
        self.put(name, Vec::new());
    }

    fn put(&self, name: &ResourceName, new: Vec<u64>) {
        let mut tables = self.tables();
        let old = match new.is_empty() {
            true => tables.of.remove(name),
            false => tables.of.insert(name.clone(), new.clone()),
        };
        let old = old.unwrap_or_default();
        for link in old.iter().filter(|link| !new.contains(link)) {
            if let Some(names) = tables.by.get_mut(link) {
                names.retain(|one| one != name);
                if names.is_empty() {
                    tables.by.remove(link);
                }
            }
        }
        for link in new.iter().filter(|link| !old.contains(link)) {
            // As a rule it stays the only one.
            tables.by.entry(*link).or_insert_with(|| Vec::with_capacity(1)).push(name.clone());
        }
    }

    /// The resources that want this path.
    pub(super) fn of_path(&self, path: &str) -> Vec<ResourceName> {
        self.get(hash(&["path", path]))
    }

    /// The resources whose connection Secret has this name, or whose spec names it.
    pub(super) fn of_secret(&self, namespace: &str, name: &str) -> Vec<ResourceName> {
        self.get(hash(&["secret", namespace, name]))
    }

    fn get(&self, link: u64) -> Vec<ResourceName> {
        self.tables().by.get(&link).cloned().unwrap_or_default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;

    use super::*;
    use crate::crd::{SecretKeyRef, TofuStateBackend, TofuStateBackendSpec};

    fn resource(name: &str, path: &str, secret: Option<&str>) -> Guarded {
        let mut spec = TofuStateBackendSpec::new(path);
        spec.access_token_secret_ref =
            secret.map(|name| SecretKeyRef { name: name.to_owned(), key: "token".to_owned() });
        let mut resource = TofuStateBackend::new(name, spec);
        resource.metadata.namespace = Some("team".to_owned());
        DeserializeGuard(Ok(resource))
    }

    fn names(of: Vec<ResourceName>) -> Vec<String> {
        let mut names: Vec<_> = of.into_iter().map(|name| name.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_resource_is_found_by_what_it_says_now_and_not_by_what_it_said() {
        let links = Links::default();
        links.set(&resource("a", "team/x", Some("mine")));
        links.set(&resource("b", "team/x", None));
        links.set(&resource("b", "team/x", None));
        assert_eq!(names(links.of_path("team/x")), ["a", "b"]);
        assert_eq!(names(links.of_secret("team", "mine")), ["a"]);
        assert_eq!(names(links.of_secret("team", "b-tofustate")), ["b"]);
        assert!(links.of_secret("other", "mine").is_empty() && links.of_path("mine").is_empty());
        links.set(&resource("a", "team/y", None));
        assert_eq!(
            (names(links.of_path("team/x")), names(links.of_path("team/y"))),
            (vec!["b".into()], vec!["a".into()])
        );
        assert!(links.of_secret("team", "mine").is_empty());
        let all = [name_of(&resource("a", "", None)), name_of(&resource("b", "", None))];
        all.iter().for_each(|name| links.remove(name));
        assert!(links.tables().by.is_empty() && links.tables().of.is_empty());
    }
}
