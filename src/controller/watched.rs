//! A resource as the watch had it last, as text: thousands are kept, and each is looked at seldom. And what was gone by before
//! one was suspended, or did not decode any more.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{
    Resource,
    api::ObjectMeta,
    core::{DeserializeGuard, NamespaceResourceScope, error_boundary::InvalidObject},
    runtime::watcher::Event,
};

use super::{context::name_of, packed::Packed};
use crate::{crd::TofuStateBackend, registry::ResourceName};

/// A resource as it is watched: one that does not decode any more is told of, and keeps no other from being seen.
pub(super) type Guarded = DeserializeGuard<TofuStateBackend>;

/// A resource as the watch had it last.
#[derive(Clone)]
pub(super) struct Watched {
    /// Its name and namespace, and no more.
    metadata: ObjectMeta,
    content: Content,
    /// How often the cluster had gone back to an earlier time when the watch began that told of it.
    pub(super) restored: u64,
    /// The resourceVersion, where it is a number.
    pub(super) version: Option<u64>,
}

#[derive(Clone)]
enum Content {
    Good(Packed<TofuStateBackend>),
    /// It does not decode.
    Invalid(Box<InvalidObject>),
}

impl Watched {
    pub(super) fn new(object: &Guarded, restored: u64) -> Self {
        let content = match &object.0 {
            Ok(resource) => Packed::new(resource).map(Content::Good),
            Err(found) => Some(Content::Invalid(Box::new(found.clone()))),
        };
        let content = content.unwrap_or_else(|| Content::Invalid(unreadable(object.meta())));
        let (name, namespace) = (object.meta().name.clone(), object.meta().namespace.clone());
        Self {
            metadata: ObjectMeta { name, namespace, ..ObjectMeta::default() },
            content,
            restored,
            version: version(object),
        }
    }

    /// The same of what a watch tells.
    pub(super) fn event(told: &Event<Guarded>, restored: u64) -> Event<Self> {
        match told {
            Event::Apply(object) => Event::Apply(Self::new(object, restored)),
            Event::Delete(object) => Event::Delete(Self::new(object, restored)),
            Event::InitApply(object) => Event::InitApply(Self::new(object, restored)),
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
        }
    }

    /// The resource.
    ///
    /// # Errors
    /// It does not decode.
    pub(super) fn get(&self) -> Result<TofuStateBackend, Box<InvalidObject>> {
        match &self.content {
            Content::Good(packed) => packed.get().ok_or_else(|| unreadable(&self.metadata)),
            Content::Invalid(found) => Err(found.clone()),
        }
    }
}

/// The resourceVersion of a resource, where it is a number.
pub(super) fn version(object: &Guarded) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

/// What every decoded resource has a form of, and is read from again.
fn unreadable(metadata: &ObjectMeta) -> Box<InvalidObject> {
    Box::new(InvalidObject { error: "it has no form as JSON".to_owned(), metadata: metadata.clone() })
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TofuStateBackend::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TofuStateBackend::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TofuStateBackend::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TofuStateBackend::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The last versions to go by, of resources that are suspended now, or do not decode any more.
#[derive(Default)]
pub(super) struct Former(Mutex<HashMap<ResourceName, TofuStateBackend>>);

impl Former {
    /// A resource was seen, and `before` it so.
    pub(super) fn look(&self, object: &Guarded, before: Option<&Watched>) {
        let name = name_of(object);
        if is_gone_by(object) {
            self.all().remove(&name);
            return;
        }
        let before = before.and_then(|before| before.get().ok()).filter(|before| !before.spec.suspend);
        if let Some(before) = before {
            self.all().insert(name, before);
        }
    }

    /// The last version to go by of one that is not gone by as it is; `None` where this process saw none.
    pub(super) fn get(&self, metadata: &ObjectMeta) -> Option<TofuStateBackend> {
        let (namespace, name) = (metadata.namespace.clone()?, metadata.name.clone()?);
        let found = self.all().get(&ResourceName { namespace, name }).cloned();
        // Another of the name may have come in its place.
        found.filter(|found| found.metadata.uid == metadata.uid)
    }

    /// It is not there any more.
    pub(super) fn remove(&self, name: &ResourceName) {
        self.all().remove(name);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ResourceName, TofuStateBackend>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_gone_by(object: &Guarded) -> bool {
    object.0.as_ref().is_ok_and(|resource| !resource.spec.suspend)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(uid: &str, path: &str, suspend: bool) -> Value {
        json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": "app", "namespace": "team", "uid": uid, "resourceVersion": "1"},
            "spec": {"path": path, "suspend": suspend},
            "status": {"locked": true, "headEpoch": "e", "headRevision": 3},
        })
    }

    fn guarded(object: Value) -> Guarded {
        serde_json::from_value(object).unwrap()
    }

    fn good(uid: &str, path: &str, suspend: bool) -> Guarded {
        guarded(object(uid, path, suspend))
    }

    fn bad() -> Guarded {
        let mut object = object("1", "team/bad", false);
        object["spec"]["maxSize"] = json!({"no": "quantity"});
        guarded(object)
    }

    #[test]
    fn a_resource_is_the_same_again_and_one_that_does_not_decode_says_why() {
        let Ok(resource) = good("1", "team/app", false).0 else { unreachable!() };
        let watched = Watched::new(&DeserializeGuard(Ok(resource.clone())), 0);
        assert_eq!(name_of(&watched).to_string(), "team/app");
        let again = watched.get().unwrap();
        assert_eq!(serde_json::to_value(&again).unwrap(), serde_json::to_value(&resource).unwrap());
        let fault = Watched::new(&bad(), 0).get().unwrap_err();
        assert!(fault.metadata.uid.as_deref() == Some("1") && !fault.error.is_empty(), "{fault:?}");
    }

    #[test]
    fn the_last_version_that_was_gone_by_is_remembered_as_long_as_another_is_not() {
        let former = Former::default();
        let seen = |object: Guarded, before: Option<Guarded>| {
            former.look(&object, before.map(|before| Watched::new(&before, 0)).as_ref());
            former.get(object.meta()).map(|found| found.spec.path)
        };
        assert_eq!(seen(good("1", "team/a", false), None), None);
        assert_eq!(seen(good("1", "team/b", true), None), None, "it was never seen otherwise");
        assert_eq!(seen(good("1", "team/b", true), Some(good("1", "team/a", false))), Some("team/a".to_owned()));
        assert_eq!(seen(good("1", "team/c", true), Some(good("1", "team/b", true))), Some("team/a".to_owned()));
        assert_eq!(seen(bad(), Some(good("1", "team/c", true))), Some("team/a".to_owned()));
        assert_eq!(seen(good("2", "team/d", true), None), None, "another resource of the name");
        assert_eq!(seen(good("1", "team/e", false), Some(bad())), None);
        assert_eq!(seen(bad(), Some(good("1", "team/e", false))), Some("team/e".to_owned()));
        former.remove(&name_of(&bad()));
        assert_eq!(former.get(bad().meta()), None);
    }
}
