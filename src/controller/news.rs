//! What is new about a resource: a change that a reconciliation goes by, and that this process did not make itself. Its own
//! writes come back by the watch, and would cost each resource a second reconciliation.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource as _, ResourceExt as _};

use super::{context::name_of, watched::Guarded};
use crate::{
    crd::{
        TofuStateBackendStatus,
        conditions::{LOCK_STALE, TYPES},
    },
    registry::ResourceName,
};

/// A part of a resource that the controller writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Finalizers,
    /// `status.headEpoch`.
    Epoch,
    /// The controller's part of the status.
    Status,
}

const PARTS: usize = 3;

/// What was seen of each resource, and what this process wrote.
#[derive(Default)]
pub(super) struct News(Mutex<HashMap<ResourceName, Known>>);

#[derive(Default)]
struct Known {
    uid: String,
    /// What others write; `None` before it was seen.
    asked: Option<u64>,
    parts: [u64; PARTS],
    /// What this process wrote last of each part.
    own: [Option<u64>; PARTS],
}

impl News {
    /// Takes note of a resource as the watch has it; answers whether it has to be reconciled.
    pub(super) fn look(&self, object: &Guarded) -> bool {
        let (asked, parts) = (asked(object), parts(object));
        let uid = object.uid().unwrap_or_default();
        let mut all = self.all();
        let known = all.entry(name_of(object)).or_default();
        if known.uid != uid {
            *known = Known { uid, ..Known::default() };
        }
        let mut news = known.asked != Some(asked);
        known.asked = Some(asked);
        for ((new, old), own) in parts.iter().zip(&mut known.parts).zip(&mut known.own) {
            if new != old {
                *old = *new;
                if *own != Some(*new) {
                    news = true;
                    // It may be set back by another replica.
                    *own = None;
                }
            }
        }
        news
    }

    /// This process is about to write a part.
    pub(super) fn writes(&self, name: &ResourceName, uid: Option<&str>, part: Part, value: u64) {
        if let Some(known) = self.all().get_mut(name).filter(|known| Some(known.uid.as_str()) == uid)
            && let Some(own) = known.own.get_mut(part as usize)
        {
            *own = Some(value);
        }
    }

    /// It is not there any more.
    pub(super) fn remove(&self, name: &ResourceName) {
        self.all().remove(name);
    }

    /// Forgets all but these, and answers those with their uids.
    pub(super) fn retain(&self, there: impl Fn(&ResourceName) -> bool) -> Vec<(ResourceName, String)> {
        let mut gone = Vec::new();
        self.all().retain(|name, known| {
            let stays = there(name);
            if !stays {
                gone.push((name.clone(), known.uid.clone()));
            }
            stays
        });
        gone
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ResourceName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a value that goes into a part.
pub(super) fn sum(of: &impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    of.hash(&mut hash);
    hash.finish()
}

/// Of the controller's part of a status.
pub(super) fn sum_of_status(status: &TofuStateBackendStatus) -> u64 {
    let ours = |one: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| TYPES.contains(&one.type_.as_str());
    let mut conditions: Vec<_> = status.conditions.iter().flatten().filter(ours).collect();
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    let all = (status.observed_generation, conditions, &status.endpoints, &status.openbao, &status.last_handled);
    sum(&serde_json::to_string(&all).unwrap_or_default())
}

fn parts(object: &Guarded) -> [u64; PARTS] {
    let status = object.0.as_ref().ok().and_then(|resource| resource.status.as_ref());
    let mut parts = [0; PARTS];
    parts[Part::Finalizers as usize] = sum(&object.meta().finalizers);
    parts[Part::Epoch as usize] = sum(&status.and_then(|status| status.head_epoch.as_deref()));
    parts[Part::Status as usize] = status.map_or(0, sum_of_status);
    parts
}

/// What others write, as far as a reconciliation goes by it: not what the HTTP backend tells of each lock and write.
fn asked(object: &Guarded) -> u64 {
    let metadata = object.meta();
    let mut hash = DefaultHasher::new();
    (metadata.generation, &metadata.annotations, metadata.deletion_timestamp.is_some()).hash(&mut hash);
    object.0.is_ok().hash(&mut hash);
    if let Ok(resource) = &object.0
        && let Some(status) = &resource.status
        && (metadata.deletion_timestamp.is_some() || resource.spec.lock.stale_after.is_some())
    {
        let lock = status.lock.as_ref();
        (status.locked, lock.and_then(|lock| lock.id.as_ref())).hash(&mut hash);
        // Its holder wrote: it is stale no more.
        let stale = status.condition(LOCK_STALE).is_some_and(|found| found.status == "True");
        let written = status.state.as_ref().filter(|_| stale);
        written.and_then(|state| state.version).hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::{Value, json};

    use super::*;
    use crate::crd::TofuStateBackend;

    fn object(change: Value) -> Guarded {
        let mut all = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
            "metadata": {"name": "app", "namespace": "team", "uid": "1", "generation": 1, "finalizers": ["tofustate.io/state"]},
            "spec": {"path": "team/app"},
            "status": {"observedGeneration": 1, "endpoints": {"internal": "x"}, "headEpoch": "e", "headRevision": 1, "locked": false},
        });
        json_patch(&mut all, &change);
        DeserializeGuard(Ok(serde_json::from_value::<TofuStateBackend>(all).unwrap()))
    }

    fn json_patch(target: &mut Value, change: &Value) {
        match change {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| json_patch(&mut target[name], value)),
            other => *target = other.clone(),
        }
    }

    fn endpoint(text: &str) -> Value {
        json!({"status": {"endpoints": {"internal": text}}})
    }

    #[test]
    fn what_this_process_wrote_is_no_news_and_what_others_wrote_is() {
        let news = News::default();
        assert!(news.look(&object(json!({}))) && !news.look(&object(json!({}))));
        // The HTTP backend's part.
        assert!(!news.look(&object(json!({"status": {"headRevision": 2, "locked": true}}))));
        for others in [
            json!({"metadata": {"generation": 2}}),
            json!({"metadata": {"generation": 2, "annotations": {"a": "b"}}}),
            json!({"metadata": {"finalizers": []}}),
            json!({"status": {"headEpoch": "f"}}),
            endpoint("y"),
        ] {
            assert!(news.look(&object(others.clone())) && !news.look(&object(others.clone())), "{others}");
            assert!(news.look(&object(json!({}))), "{others}");
        }
        let writes = |text: &str| {
            let Ok(resource) = object(endpoint(text)).0 else { unreachable!() };
            let sum = sum_of_status(&resource.status.unwrap());
            news.writes(&name_of(&object(json!({}))), Some("1"), Part::Status, sum);
        };
        writes("own");
        assert!(!news.look(&object(endpoint("own"))));
        // Somebody else tampers with it; it is put right; another replica does the same later.
        assert!(news.look(&object(endpoint("theirs"))));
        writes("own");
        assert!(!news.look(&object(endpoint("own"))));
        assert!(news.look(&object(endpoint("theirs"))) && news.look(&object(endpoint("own"))));
        // Of another resource of that name nothing was written.
        writes("last");
        assert!(news.look(&object(json!({"metadata": {"uid": "2"}, "status": {"endpoints": {"internal": "last"}}}))));
    }

    #[test]
    fn those_that_are_gone_are_told_with_their_uids() {
        let news = News::default();
        news.look(&object(json!({})));
        news.look(&object(json!({"metadata": {"name": "other", "uid": "2"}})));
        let gone: Vec<_> = news.retain(|name| name.name == "app");
        assert_eq!(gone.iter().map(|(name, uid)| (&*name.name, &**uid)).collect::<Vec<_>>(), [("other", "2")]);
        assert!(!news.look(&object(json!({}))));
        news.remove(&name_of(&object(json!({}))));
        assert!(news.look(&object(json!({}))), "it came anew");
    }
}
