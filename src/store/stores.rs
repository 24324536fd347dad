//! Which store an entry is asked of: a state may have one with a credential of its own, that reaches no other state.

use std::sync::Arc;

use super::{Kv, StatePath, head::Owner};

/// Where owner entries and states are kept.
pub trait Stores: Send + Sync {
    /// For owner entries. Nothing else is asked of it, but of a path that nobody has won yet.
    fn owners(&self) -> Arc<dyn Kv>;

    /// For the entries of one path, which `owner` has won. Nothing is read or written by this call: what the store needs
    /// first, such as a credential, it gets when it is first asked.
    fn state(&self, path: &StatePath, owner: &Owner) -> Arc<dyn Kv>;
}

/// One store with one right for everything, such as the embedded one.
#[derive(Clone)]
pub struct OneStore(pub Arc<dyn Kv>);

impl Stores for OneStore {
    fn owners(&self) -> Arc<dyn Kv> {
        self.0.clone()
    }

    fn state(&self, _: &StatePath, _: &Owner) -> Arc<dyn Kv> {
        self.0.clone()
    }
}
