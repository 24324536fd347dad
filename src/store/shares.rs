//! Work that takes memory for as long as a client takes: bounded for the process, and half of that for one namespace, so
//! that nobody's slow clients keep all others out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Budget;

/// Places for the whole process.
pub(super) struct Shares {
    all: Arc<Semaphore>,
    each: usize,
    namespaces: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The places that one namespace may have.
pub(super) struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Shares {
    pub(super) fn new(places: usize) -> Self {
        let namespaces = Mutex::default();
        Self { all: Arc::new(Semaphore::new(places)), each: places.div_ceil(2), namespaces }
    }

    pub(super) fn of(&self, namespace: &str) -> Share {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let own = namespaces.entry(namespace.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Share { own: own.clone(), all: self.all.clone() }
    }
}

impl Share {
    /// Waits for a place; `None` where the time for that is over.
    pub(super) async fn place(&self, budget: &mut Budget) -> Option<Place> {
        let own = budget.within(self.own.clone().acquire_owned()).await.ok()?.ok()?;
        let all = budget.within(self.all.clone().acquire_owned()).await.ok()?.ok()?;
        Some(Place { _own: own, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_namespace_has_half_at_most() {
        let shares = Shares::new(4);
        let place = async |namespace: &str| shares.of(namespace).place(&mut Budget::new(Duration::from_secs(9))).await;
        let mut held = vec![place("a").await.unwrap(), place("a").await.unwrap()];
        assert!(place("a").await.is_none());
        held.extend([place("b").await.unwrap(), place("c").await.unwrap()]);
        assert!(place("d").await.is_none(), "all are taken");
        held.pop();
        assert!(place("d").await.is_some());
    }
}
