//! What is watched: resources as they are, and of Secrets, ConfigMaps and Namespaces the metadata. Each change asks for the
//! resources that it may concern.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::Ordering,
};

use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Api, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, store::Writer},
        watcher::{Config, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc::UnboundedSender, watch};
use tracing::{info, warn};

use super::{
    context::{Context, name_of},
    objects::MANAGED_BY,
    relist::relisting,
    scope::{Watch, together},
    watched::{Guarded, Watched, version},
};
use crate::registry::ResourceName;

/// Where changes are told.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) queue: UnboundedSender<ObjectRef<Watched>>,
    /// Resources that are not there any more, by name and uid: one of the same name may have come since.
    pub(super) gone: UnboundedSender<(ResourceName, String)>,
}

/// Follows the resources.
pub(super) async fn resources(
    context: &Context,
    mut writer: Writer<Watched>,
    told: &Told,
    stop: watch::Receiver<bool>,
) {
    let mut listed: HashSet<ResourceName> = HashSet::new();
    // What is news in a list is asked for at its end: until then the store has what was seen before.
    let mut news: Vec<ObjectRef<Watched>> = Vec::new();
    let each = |event: Event<Guarded>, restored: u64| {
        if let Event::Apply(object) | Event::InitApply(object) = &event {
            let before = context.resources.get(&reference(&name_of(object)));
            if let Some(before) = before.as_ref().filter(|before| before.restored == restored) {
                context.restored.compare(before.version, version(object), restored);
            }
            context.former.look(object, before.as_deref());
        }
        writer.apply_watcher_event(&Watched::event(&event, restored));
        let changed = |object: &Guarded| {
            context.links.set(object);
            // Before the first look none is followed.
            if let Ok(resource) = &object.0
                && context.began.load(Ordering::Acquire)
            {
                context.reporter.stands(resource, restored);
            }
            context.news.look(object).then(|| reference(&name_of(object)))
        };
        let ask = |resource| drop(told.queue.send(resource));
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                news.extend(changed(&object));
                listed.insert(name_of(&object));
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut listed);
                for (name, uid) in context.news.retain(|name| listed.contains(name)) {
                    context.links.remove(&name);
                    context.former.remove(&name);
                    let _ = told.gone.send((name, uid));
                }
                news.drain(..).for_each(ask);
            }
            Event::Apply(object) => changed(&object).into_iter().for_each(ask),
            Event::Delete(object) => {
                let name = name_of(&object);
                context.news.remove(&name);
                context.links.remove(&name);
                context.former.remove(&name);
                let _ = told.gone.send((name, object.uid().unwrap_or_default()));
            }
        }
    };
    follow(context, "tofustates", context.cluster.watched(&Config::default()), each, stop).await;
}

/// A resource of this name, for what keeps resources.
pub(super) fn reference(name: &ResourceName) -> ObjectRef<Watched> {
    ObjectRef::new(&name.name).within(&name.namespace)
}

/// Follows the Namespaces: which paths their resources may have is said there.
pub(super) async fn namespaces(
    context: &Context,
    mut writer: Writer<PartialObjectMeta<Namespace>>,
    told: &Told,
    stop: watch::Receiver<bool>,
) {
    let mut seen: HashMap<String, u64> = HashMap::new();
    let each = |event: Event<PartialObjectMeta<Namespace>>, _| {
        writer.apply_watcher_event(&event);
        if let Event::Apply(found) | Event::InitApply(found) = event {
            let mut hash = DefaultHasher::new();
            found.metadata.annotations.hash(&mut hash);
            let (name, mark) = (found.name_any(), hash.finish());
            if seen.insert(name.clone(), mark).is_some_and(|old| old != mark) {
                for object in context.resources.state() {
                    if object.namespace().as_deref() == Some(&*name) {
                        let _ = told.queue.send(ObjectRef::from_obj(&*object));
                    }
                }
            }
        }
    };
    follow(context, "namespaces", context.cluster.watched_namespaces(), each, stop).await;
}

/// Follows the Secrets: those that specs name, and those that are written for them. `listed` hears of the first list.
pub(super) async fn secrets(context: &Context, told: &Told, listed: &watch::Sender<bool>, stop: watch::Receiver<bool>) {
    let each = |event: Event<PartialObjectMeta<Secret>>, _| {
        let Some(found) = changed(event, context, listed) else { return };
        concern(context, told, &found);
    };
    follow(context, "secrets", context.cluster.watched(&Config::default()), each, stop).await;
}

/// Follows the ConfigMaps that are written. `listed` hears of the first list.
pub(super) async fn configs(context: &Context, told: &Told, listed: &watch::Sender<bool>, stop: watch::Receiver<bool>) {
    let each = |event: Event<PartialObjectMeta<ConfigMap>>, _| {
        let Some(found) = changed(event, context, listed) else { return };
        // Its name is that of the connection Secret.
        concern(context, told, &found);
    };
    let ours = Config::default().labels(&format!("{}={}", MANAGED_BY.0, MANAGED_BY.1));
    follow(context, "configmaps", context.cluster.watched(&ours), each, stop).await;
}

/// The object that changed. After a list nobody knows what changed before it: each resource is asked
/// for, and reads what it goes by.
fn changed<K>(event: Event<K>, context: &Context, listed: &watch::Sender<bool>) -> Option<K> {
    match event {
        Event::Apply(found) | Event::Delete(found) => return Some(found),
        Event::InitDone => {
            listed.send_replace(true);
            // Before the first look nobody goes by anything.
            if context.began.load(Ordering::Acquire) {
                context.all();
            }
        }
        Event::Init | Event::InitApply(_) => {}
    }
    None
}

/// Asks for the resources that a Secret concerns, or the ConfigMap of that name.
fn concern<K: Resource<DynamicType = ()>>(context: &Context, told: &Told, found: &K) {
    let (namespace, name) = (found.namespace().unwrap_or_default(), found.name_any());
    context.listed.changed(&namespace, &name);
    if !context.written.is_news(found) {
        return;
    }
    for resource in context.links.of_secret(&namespace, &name) {
        let _ = told.queue.send(reference(&resource));
    }
}

/// Follows a kind until `stop`. While the API server is away it goes on with what was seen. `each` hears, too, how often the
/// cluster had gone back to an earlier time when the watch began that tells: it may tell of a time before that.
async fn follow<K>(
    context: &Context,
    what: &'static str,
    watched: Vec<(Api<K>, Config)>,
    mut each: impl FnMut(Event<K>, u64),
    mut stop: watch::Receiver<bool>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Of thousands of objects who wrote which field when is more than all the rest, and nobody asks for it.
    let lean = |object: &mut K| object.managed_fields_mut().clear();
    let begin = || {
        let watches = watched.iter().cloned();
        let watches = watches.map(|(api, config)| Box::pin(relisting(api, config).modify(lean)) as Watch<'_, K>);
        together(watches.collect())
    };
    let mut restored = context.restored.subscribe();
    let mut times = *restored.borrow_and_update();
    let mut events = begin();
    let mut failed = false;
    loop {
        let next = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            // The context has the sender.
            _ = restored.changed() => {
                times = *restored.borrow_and_update();
                events = begin();
                continue;
            }
            next = events.try_next() => next,
        };
        match next {
            Ok(Some(event)) => {
                let answered = !matches!(event, Event::Init);
                if answered && std::mem::take(&mut failed) {
                    info!(what, "watched again");
                }
                each(event, times);
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
