//! One cluster for tests that leave each other alone, each in namespaces of its own: a cluster takes seconds to come up.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use super::{Cluster, Setup};
use crate::tools;

static RUNNING: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A cluster that other tests of this process use too. It ends with the last of them that has it.
pub struct Shared(Arc<Cluster>);

impl Shared {
    /// The cluster that runs, else a new one; with the CustomResourceDefinition. None where a program for it is not there.
    pub fn cluster(test: &str) -> Option<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = running.upgrade() {
            for tool in [tools::ETCD, tools::KUBE_APISERVER, tools::KUBECTL] {
                tool.for_test(test)?;
            }
            return Some(Self(cluster));
        }
        let cluster = Arc::new(Setup { crds: true, ..Setup::default() }.start(test)?);
        *running = Arc::downgrade(&cluster);
        Some(Self(cluster))
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The processes tell it where they end with this test; here others may go on.
        if thread::panicking() && Arc::strong_count(&self.0) > 1 {
            eprintln!("{}", self.0.tail());
        }
    }
}
