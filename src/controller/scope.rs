//! Which namespaces are watched: all of a cluster's, or those that were chosen. What is seen in several is one stream of
//! events, as a watch of all of them would give it.

use std::{collections::HashMap, hash::Hash, pin::Pin};

use futures_util::{
    Stream, StreamExt as _,
    stream::{self, SelectAll},
};
use kube::{
    Resource,
    runtime::{
        reflector::{Lookup, ObjectRef},
        watcher::{Error, Event},
    },
};

/// What a watch tells.
pub(super) type Seen<K> = Result<Event<K>, Error>;
/// A watch that runs.
pub(super) type Watch<'a, K> = Pin<Box<dyn Stream<Item = Seen<K>> + Send + 'a>>;

/// One stream of several watches, none of which sees what another does.
pub(super) fn together<'a, K>(mut watches: Vec<Watch<'a, K>>) -> Watch<'a, K>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Send + 'a,
    ObjectRef<K>: Hash + Eq + Send,
{
    if watches.len() == 1
        && let Some(only) = watches.pop()
    {
        return only;
    }
    let count = watches.len();
    let all: SelectAll<_> =
        watches.into_iter().enumerate().map(|(at, watch)| watch.map(move |seen| (at, seen))).collect();
    let told = all.scan(Together::new(count), |known, (at, seen)| {
        let told = match seen {
            Ok(event) => known.take(at, event).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        std::future::ready(Some(stream::iter(told)))
    });
    Box::pin(told.flatten())
}

/// What each of the watches has.
struct Together<K: Lookup<DynamicType = ()>> {
    each: Vec<One<K>>,
    /// All were listed once.
    listed: bool,
}

struct One<K: Lookup<DynamicType = ()>> {
    objects: HashMap<ObjectRef<K>, K>,
    /// What a list that is under way has shown.
    listing: Option<HashMap<ObjectRef<K>, K>>,
    listed: bool,
}

impl<K> Together<K>
where
    K: Lookup<DynamicType = ()> + Clone,
    ObjectRef<K>: Hash + Eq,
{
    fn new(count: usize) -> Self {
        let one = || One { objects: HashMap::new(), listing: None, listed: false };
        Self { each: (0..count).map(|_| one()).collect(), listed: false }
    }

    /// What to tell of this. Nothing before the first list of each is there, which then are one; what a later list shows
    /// are changes: the others know nothing of it.
    fn take(&mut self, at: usize, event: Event<K>) -> Vec<Event<K>> {
        let (listed, one) = (self.listed, &mut self.each[at]);
        let news = match event {
            Event::Init => {
                one.listing = Some(HashMap::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                one.listing.get_or_insert_default().insert(ObjectRef::from_obj(&object), object.clone());
                // Also where the list breaks off: it is told of by now.
                one.objects.insert(ObjectRef::from_obj(&object), object.clone());
                vec![Event::Apply(object)]
            }
            Event::InitDone => {
                let now = one.listing.take().unwrap_or_default();
                let before = std::mem::replace(&mut one.objects, now);
                one.listed = true;
                let gone = before.into_iter().filter(|(name, _)| !one.objects.contains_key(name));
                gone.map(|(_, object)| Event::Delete(object)).collect()
            }
            Event::Apply(object) => {
                one.objects.insert(ObjectRef::from_obj(&object), object.clone());
                vec![Event::Apply(object)]
            }
            Event::Delete(object) => {
                one.objects.remove(&ObjectRef::from_obj(&object));
                vec![Event::Delete(object)]
            }
        };
        if listed {
            return news;
        }
        self.listed = self.each.iter().all(|one| one.listed);
        if !self.listed {
            return Vec::new();
        }
        let all = self.each.iter().flat_map(|one| one.objects.values().cloned().map(Event::InitApply));
        std::iter::once(Event::Init).chain(all).chain([Event::InitDone]).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::reflector;

    use super::*;

    fn object(namespace: &str, name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.name = Some(name.to_owned());
        object
    }

    /// What a store has that is told so, and what it is told.
    #[derive(Default)]
    struct Told {
        store: Option<(reflector::Store<ConfigMap>, reflector::store::Writer<ConfigMap>)>,
        events: Vec<String>,
    }

    impl Told {
        fn of(&mut self, together: &mut Together<ConfigMap>, at: usize, event: Event<ConfigMap>) {
            let (_, writer) = self.store.get_or_insert_with(reflector::store);
            for event in together.take(at, event) {
                writer.apply_watcher_event(&event);
                let name = |object: &ConfigMap| object.metadata.name.clone().unwrap();
                self.events.push(match &event {
                    Event::Init => "init".to_owned(),
                    Event::InitApply(object) => format!("listed {}", name(object)),
                    Event::InitDone => "done".to_owned(),
                    Event::Apply(object) => format!("applied {}", name(object)),
                    Event::Delete(object) => format!("deleted {}", name(object)),
                });
            }
        }

        fn names(&self) -> Vec<String> {
            let store = &self.store.as_ref().unwrap().0;
            let mut names: Vec<_> = store.state().iter().map(|object| object.metadata.name.clone().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_first_lists_of_all_are_one() {
        let (mut together, mut told) = (Together::new(2), Told::default());
        for event in [Event::Init, Event::InitApply(object("a", "a1")), Event::InitDone] {
            told.of(&mut together, 0, event);
        }
        // Changes while another is still being listed are in that list, too.
        told.of(&mut together, 0, Event::Apply(object("a", "a2")));
        told.of(&mut together, 0, Event::Delete(object("a", "a1")));
        told.of(&mut together, 1, Event::Init);
        assert!(told.events.is_empty(), "{:?}", told.events);
        told.of(&mut together, 1, Event::InitDone);
        assert_eq!(told.events, ["init", "listed a2", "done"]);
        assert_eq!(told.names(), ["a2"]);
    }

    #[test]
    fn a_later_list_of_one_takes_nothing_from_the_others() {
        let (mut together, mut told) = (Together::new(2), Told::default());
        for at in [0, 1] {
            let name = ["a1", "b1"][at];
            for event in [Event::Init, Event::InitApply(object(["a", "b"][at], name)), Event::InitDone] {
                told.of(&mut together, at, event);
            }
        }
        assert_eq!(told.names(), ["a1", "b1"]);
        told.events.clear();
        for event in [Event::Init, Event::InitApply(object("b", "b2")), Event::InitDone] {
            told.of(&mut together, 1, event);
        }
        assert_eq!(told.events, ["applied b2", "deleted b1"]);
        assert_eq!(told.names(), ["a1", "b2"]);
        // A list that broke off and began anew.
        for event in [Event::Init, Event::InitApply(object("b", "b3")), Event::Init, Event::InitDone] {
            told.of(&mut together, 1, event);
        }
        told.of(&mut together, 0, Event::Apply(object("a", "a2")));
        assert_eq!(told.names(), ["a1", "a2"], "b3 was gone when the list ended");
    }
}
