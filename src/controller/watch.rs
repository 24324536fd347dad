//! What is watched: resources as they are, and of Secrets, ConfigMaps and Namespaces the metadata. Each change asks for the
//! resources that it may concern.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tracing::{info, warn};

use super::{
    cluster::Cluster,
    context::{Context, Guarded, name_of},
    credentials,
    objects::MANAGED_BY,
    scope::{Watch, together},
};
use crate::{
    crd::{TofuStateBackend, conditions::LOCK_STALE},
    registry::ResourceName,
};

/// Where changes are told.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) queue: UnboundedSender<ObjectRef<Guarded>>,
    /// Resources that are not there any more, by name and uid: one of the same name may have come since.
    pub(super) gone: UnboundedSender<(ResourceName, String)>,
}

/// What was seen of each resource: what a reconciliation goes by, and the uid.
type Seen = HashMap<ObjectRef<Guarded>, (u64, String)>;

/// Follows the resources.
pub(super) async fn resources(context: &Context, writer: Writer<Guarded>, told: &Told, stop: watch::Receiver<bool>) {
    let mut seen: Seen = HashMap::new();
    let mut listed: HashSet<ObjectRef<Guarded>> = HashSet::new();
    let each = |event: Event<Guarded>| {
        let changed = |object: &Guarded, seen: &mut Seen| {
            let (name, now) = (ObjectRef::from_obj(object), (mark(object), object.uid().unwrap_or_default()));
            if let Ok(resource) = &object.0 {
                context.status_seen(resource);
            }
            if seen.get(&name) != Some(&now) {
                seen.insert(name.clone(), now);
                let _ = told.queue.send(name.clone());
            }
            name
        };
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => drop(listed.insert(changed(&object, &mut seen))),
            Event::InitDone => seen.retain(|name, (_, uid)| {
                let there = listed.contains(name);
                if !there {
                    let namespace = name.namespace.clone().unwrap_or_default();
                    let _ = told.gone.send((ResourceName { namespace, name: name.name.clone() }, uid.clone()));
                }
                there
            }),
            Event::Apply(object) => drop(changed(&object, &mut seen)),
            Event::Delete(object) => {
                seen.remove(&ObjectRef::from_obj(&object));
                let _ = told.gone.send((name_of(&object), object.uid().unwrap_or_default()));
            }
        }
    };
    follow("tofustates", context.cluster.watched(&Config::default()), Some(writer), each, stop).await;
}

/// What a reconciliation goes by: not what the HTTP backend tells of each lock and write.
fn mark(object: &Guarded) -> u64 {
    let mut hash = DefaultHasher::new();
    let metadata = object.meta();
    (&metadata.uid, metadata.generation, &metadata.annotations, &metadata.finalizers).hash(&mut hash);
    metadata.deletion_timestamp.is_some().hash(&mut hash);
    if let Ok(resource) = &object.0
        && let Some(status) = &resource.status
    {
        let ours = (
            status.observed_generation,
            &status.conditions,
            &status.endpoints,
            &status.openbao,
            &status.last_handled,
            &status.head_epoch,
        );
        serde_json::to_string(&ours).unwrap_or_default().hash(&mut hash);
        if metadata.deletion_timestamp.is_some() || resource.spec.lock.stale_after.is_some() {
            let lock = status.lock.as_ref();
            (status.locked, lock.and_then(|lock| lock.id.as_ref())).hash(&mut hash);
            // Its holder wrote: it is stale no more.
            let stale = status.condition(LOCK_STALE).is_some_and(|found| found.status == "True");
            let written = status.state.as_ref().filter(|_| stale);
            written.and_then(|state| state.version).hash(&mut hash);
        }
    }
    hash.finish()
}

/// Follows the Namespaces: which paths their resources may have is said there.
pub(super) async fn namespaces(
    cluster: &Cluster,
    writer: Writer<PartialObjectMeta<Namespace>>,
    resources: &Store<Guarded>,
    told: &Told,
    stop: watch::Receiver<bool>,
) {
    let mut seen: HashMap<String, u64> = HashMap::new();
    let each = |event: Event<PartialObjectMeta<Namespace>>| {
        if let Event::Apply(found) | Event::InitApply(found) = event {
            let mut hash = DefaultHasher::new();
            found.metadata.annotations.hash(&mut hash);
            let (name, mark) = (found.name_any(), hash.finish());
            if seen.insert(name.clone(), mark).is_some_and(|old| old != mark) {
                concern(resources, told, &name, |_| true);
            }
        }
    };
    follow("namespaces", cluster.watched_namespaces(), Some(writer), each, stop).await;
}

/// Follows the Secrets: those that specs name, and those that are written for them.
pub(super) async fn secrets(cluster: &Cluster, resources: &Store<Guarded>, told: &Told, stop: watch::Receiver<bool>) {
    let each = |event: Event<PartialObjectMeta<Secret>>| {
        let Some(found) = changed(event, resources, told) else { return };
        let name = found.name_any();
        concern(resources, told, &found.namespace().unwrap_or_default(), |resource| {
            resource.connection_secret() == name || credentials::named(&resource.spec).contains(&name.as_str())
        });
    };
    follow("secrets", cluster.watched(&Config::default()), None, each, stop).await;
}

/// Follows the ConfigMaps that are written.
pub(super) async fn configs(cluster: &Cluster, resources: &Store<Guarded>, told: &Told, stop: watch::Receiver<bool>) {
    let each = |event: Event<PartialObjectMeta<ConfigMap>>| {
        let Some(found) = changed(event, resources, told) else { return };
        let name = found.name_any();
        let namespace = found.namespace().unwrap_or_default();
        concern(resources, told, &namespace, |resource| resource.connection_secret() == name);
    };
    let ours = Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    follow("configmaps", cluster.watched(&ours), None, each, stop).await;
}

/// The object that changed. After a list nobody knows what changed before it: each resource is asked for, and reads what
/// it goes by.
fn changed<K>(event: Event<K>, resources: &Store<Guarded>, told: &Told) -> Option<K> {
    match event {
        Event::Apply(found) | Event::Delete(found) => return Some(found),
        Event::InitDone => {
            for object in resources.state() {
                let _ = told.queue.send(ObjectRef::from_obj(&*object));
            }
        }
        Event::Init | Event::InitApply(_) => {}
    }
    None
}

/// Asks for the resources of a namespace that something concerns.
fn concern(resources: &Store<Guarded>, told: &Told, namespace: &str, by: impl Fn(&TofuStateBackend) -> bool) {
    for object in resources.state() {
        if object.namespace().as_deref() == Some(namespace) && object.0.as_ref().is_ok_and(&by) {
            let _ = told.queue.send(ObjectRef::from_obj(&*object));
        }
    }
}

/// Follows a kind until `stop`. While the API server is away it goes on with what was seen.
async fn follow<K>(
    what: &'static str,
    watched: Vec<(Api<K>, Config)>,
    mut writer: Option<Writer<K>>,
    mut each: impl FnMut(Event<K>),
    mut stop: watch::Receiver<bool>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watches =
        watched.into_iter().map(|(api, config)| Box::pin(watcher(api, config).default_backoff()) as Watch<'_, K>);
    let mut events = together(watches.collect());
    let mut failed = false;
    loop {
        let next = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            next = events.try_next() => next,
        };
        match next {
            Ok(Some(event)) => {
                if std::mem::take(&mut failed) {
                    info!(what, "watched again");
                }
                if let Some(writer) = &mut writer {
                    writer.apply_watcher_event(&event);
                }
                each(event);
            }
            Ok(None) => return,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!(what, %error, "cannot be watched: what was seen before is gone by until then");
                }
            }
        }
    }
}
