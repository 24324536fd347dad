//! Which paths are served, and to whom: path to backend, with the hashes of its credentials, its state and its limits.
//! Filled from a folder (`folder`) or from the cluster. No HTTP, no Kubernetes client.

mod credential;
pub mod folder;
pub mod open;
mod tenancy;
pub mod token;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

pub use crate::store::Redacted;
use crate::store::{State, StatePath};
pub use credential::{Credential, CredentialHash, Former, MOST_FORMER, Role, SaltedHash, WEAK_TOKEN, identity};
pub use tenancy::Tenancy;

/// A resource by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A registered path.
pub struct Backend {
    /// The resource that registers it.
    pub resource: ResourceName,
    /// The state.
    pub state: State,
    /// Who may use it.
    pub credentials: Vec<Credential>,
    /// Who may still end the run whose lock they hold.
    pub former: Vec<Former>,
}

impl Backend {
    /// The path.
    #[must_use]
    pub fn path(&self) -> &StatePath {
        self.state.path()
    }
}

type Backends = HashMap<StatePath, Arc<Backend>>;

/// All registered paths, replaced as a whole or one by one while requests look them up. The lock is held for a look at the
/// table or one change of it: a copy of thousands for each of them would take longer than all the rest.
#[derive(Default)]
pub struct Registry {
    backends: RwLock<Backends>,
    loaded: AtomicBool,
}

impl Registry {
    /// The backend of a path.
    #[must_use]
    pub fn get(&self, path: &StatePath) -> Option<Arc<Backend>> {
        self.read().get(path).cloned()
    }

    /// All backends, by path.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Backend>> {
        let mut all: Vec<_> = self.read().values().cloned().collect();
        all.sort_by(|a, b| a.path().cmp(b.path()));
        all
    }

    /// Whether what should be registered is known. Before that nobody is told that a path is not.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// Sets the backend of its path, or takes it away.
    pub fn set(&self, path: &StatePath, backend: Option<Arc<Backend>>) {
        let mut all = self.write();
        let old = match backend {
            Some(backend) => all.insert(path.clone(), backend),
            None => all.remove(path),
        };
        drop(all);
        // Not while others wait.
        drop(old);
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Backends> {
        self.backends.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Backends> {
        self.backends.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What should be registered is: from now on a path that is not here is not registered.
    pub fn loaded(&self) {
        self.loaded.store(true, Ordering::Release);
    }

    /// Replaces all backends at once.
    pub fn replace(&self, backends: impl IntoIterator<Item = Arc<Backend>>) {
        let all = backends.into_iter().map(|backend| (backend.path().clone(), backend)).collect();
        let old = std::mem::replace(&mut *self.write(), all);
        drop(old);
        self.loaded.store(true, Ordering::Release);
    }
}
