//! What all reconciliations share: the connections, and what is known of each resource as long as the process lives.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    time::Instant,
};

use super::{
    cluster::{CallError, Cluster},
    conditions::Findings,
    events::Events,
    lease::Lead,
    ledger::Ledger,
    links::Links,
    listed::Listed,
    news::News,
    packed::Packed,
    report::Reporter,
    restored::Restored,
    run::First,
    status::Said,
    validate::Annotations,
    watch::reference,
    watched::{Former, Watched},
    written::Written,
};
use crate::{
    crd::{LastHandled, OpenBaoStatus, TofuStateBackend, TofuStateBackendStatus},
    openbao::OpenBaoStores,
    registry::{Backend, Registry, ResourceName, Tenancy, open::Opener},
    store::{
        Budget, Settings, State, StatePath, machine_time,
        owners::{self, Claimant},
    },
    telemetry::ControllerMetrics,
};

/// How often it is told that resources wait for the store.
const TELL: Duration = Duration::from_secs(60);

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names the installation in the store.
    pub instance: String,
    /// What decides which paths a namespace may register.
    pub tenancy: Tenancy,
    /// The operator's own namespace.
    pub namespace: String,
    /// Where the HTTP backend is reached from inside the cluster.
    pub internal_url: String,
    /// And from outside.
    pub external_url: Option<String>,
    /// The file with the CA of its certificate, PEM, that clients need.
    pub ca_file: Option<PathBuf>,
    /// Clients are told to lock by POST and unlock by DELETE.
    pub lock_by_post: bool,
    /// How many reconciliations are made at a time.
    pub workers: u16,
    /// How often everything of a resource is looked at again.
    pub resync: Duration,
    /// How long the Lease is good after the leader renewed it.
    pub lease: Duration,
    /// Hears whether this replica is the leader.
    pub lead: Lead,
    /// How long the deletion of a resource that retains its state waits for OpenBao.
    pub release_wait: Duration,
}

/// What all reconciliations share.
pub(super) struct Context {
    pub(super) options: Options,
    pub(super) cluster: Cluster,
    pub(super) lead: Lead,
    pub(super) registry: Arc<Registry>,
    pub(super) paths: Opener,
    pub(super) openbao: OpenBaoStores,
    pub(super) events: Events,
    pub(super) reporter: Reporter,
    pub(super) resources: Store<Watched>,
    pub(super) former: Former,
    pub(super) namespaces: Store<PartialObjectMeta<Namespace>>,
    pub(super) news: News,
    pub(super) links: Links,
    pub(super) listed: Listed,
    pub(super) written: Written,
    pub(super) restored: Restored,
    /// Asks for a look at all resources.
    pub(super) everything: Notify,
    /// The first look at all of them began.
    pub(super) began: AtomicBool,
    /// Resources to be reconciled soon.
    pub(super) queue: UnboundedSender<ObjectRef<Watched>>,
    pub(super) held: Mutex<HashMap<ResourceName, Arc<tokio::sync::Mutex<Held>>>>,
    pub(super) first: First,
    pub(super) metrics: ControllerMetrics,
    /// When it was last told that resources wait for the store.
    pub(super) waiting: Mutex<Option<Instant>>,
}

/// What is known of a resource as long as the process lives.
#[derive(Default)]
pub(super) struct Held {
    pub(super) uid: String,
    /// How often the cluster had gone back to an earlier time when it was seen as it is reconciled.
    pub(super) restored: u64,
    /// Its state and claim, as this process has it open.
    pub(super) open: Option<(State, u64)>,
    /// What came of the last look at the store.
    pub(super) checked: Option<Checked>,
    /// Until when what the status says of the store is good enough: once for each process, and each time that it leads.
    pub(super) record: Option<Instant>,
    /// As one that does not lead: whose it was found to be in the store, by its claim, and until when that is good enough.
    pub(super) standing: Option<(u64, Instant)>,
    /// This process led when it was reconciled last.
    pub(super) led: bool,
    /// The settings that the state has.
    pub(super) settings: Option<Settings>,
    pub(super) ledger: Ledger,
    /// What the registry has.
    pub(super) backend: Option<Arc<Backend>>,
    /// Of the status that was applied last what Events and requests go by: what the watch shows may be older.
    pub(super) applied: Option<Applied>,
    /// Since when its deletion finds the store away.
    pub(super) away_since: Option<Instant>,
    /// Reconciliations in a row that failed.
    pub(super) failures: u32,
    /// Since when.
    pub(super) failing: Option<Instant>,
    /// It does not decode, and that was told.
    pub(super) undecodable: bool,
}

/// What is kept of a status that was applied.
pub(super) struct Applied {
    said: Said,
    last_handled: Option<Packed<LastHandled>>,
}

impl Held {
    /// Takes note of the status that is applied; answers what the one before said.
    pub(super) fn applies(&mut self, status: &TofuStateBackendStatus) -> Option<Said> {
        let last_handled = status.last_handled.as_ref().and_then(Packed::new);
        let applied = Applied { said: Said::of(status), last_handled };
        self.applied.replace(applied).map(|before| before.said)
    }

    /// What came of requests, as far as it was told.
    pub(super) fn handled(&self, resource: &TofuStateBackend) -> Option<LastHandled> {
        match &self.applied {
            Some(applied) => applied.last_handled.as_ref().and_then(Packed::get),
            None => resource.status.as_ref().and_then(|status| status.last_handled.clone()),
        }
    }
}

/// What came of a look at the store.
#[derive(Clone)]
pub(super) struct Checked {
    /// When the store is looked at again.
    pub(super) until: Instant,
    pub(super) generation: Option<i64>,
    pub(super) good: bool,
    pub(super) findings: Findings,
    pub(super) openbao: Option<OpenBaoStatus>,
}

/// Why a reconciliation came to nothing, and is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A call of the API server.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The store is away: nothing of the resource is touched.
    #[error("the store does not answer: {0}")]
    Away(String),
}

impl Context {
    pub(super) fn held(&self, name: &ResourceName) -> Arc<tokio::sync::Mutex<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    /// Lets go of what is known of a resource that is gone, unless it came anew meanwhile.
    pub(super) fn drop_held(&self, name: &ResourceName, held: &Arc<tokio::sync::Mutex<Held>>) {
        let mut all = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(held) == 2 {
            all.remove(name);
        }
    }

    /// What the Namespace object of a resource says.
    pub(super) fn namespace(&self, name: &str) -> Option<Annotations> {
        let found = self.namespaces.get(&ObjectRef::new(name))?;
        found.metadata.annotations.clone()
    }

    pub(super) fn claimant(&self, resource: &TofuStateBackend) -> Claimant {
        let ResourceName { namespace, name } = name_of(resource);
        Claimant { instance: self.options.instance.clone(), namespace, name, uid: resource.metadata.uid.clone() }
    }

    /// Whom the path of a resource belongs to.
    pub(super) async fn standing(
        &self,
        resource: &TofuStateBackend,
        path: &StatePath,
    ) -> Result<owners::Standing, owners::ClaimError> {
        let (entries, who) = (self.paths.stores().owners(), self.claimant(resource));
        owners::standing(&*entries, path, &who, &mut Budget::new(super::LOOK)).await
    }

    /// Asks for a resource to be reconciled soon.
    pub(super) fn wake(&self, name: &ResourceName) {
        // The queue's end is the end of the process.
        let _ = self.queue.send(reference(name));
    }

    /// Asks for all of them.
    pub(super) fn all(&self) {
        self.everything.notify_one();
    }

    /// Asks for those that want this path too.
    pub(super) fn wake_others(&self, of: &ResourceName, path: &str) {
        self.links.of_path(path).iter().filter(|name| *name != of).for_each(|name| self.wake(name));
    }

    /// The other resources that want this path, as they are.
    pub(super) fn rivals(&self, of: &TofuStateBackend) -> Vec<TofuStateBackend> {
        let (own, all) = (name_of(of), self.links.of_path(&of.spec.path));
        let others = all.iter().filter(|name| **name != own);
        let found = others.filter_map(|name| self.resources.get(&reference(name)));
        found.filter_map(|found| found.get().ok()).collect()
    }

    /// A resource as it is to be served: its last version that was not suspended, with the status of now. Of a suspended one
    /// that this process has not seen otherwise, the version that there is has to do.
    pub(super) fn active(&self, object: &Arc<TofuStateBackend>) -> Arc<TofuStateBackend> {
        if object.spec.suspend
            && let Some(former) = self.former.get(&object.metadata)
        {
            return Arc::new(TofuStateBackend { status: object.status.clone(), ..former });
        }
        object.clone()
    }

    /// Serves a resource's path so.
    pub(super) fn publish(&self, held: &mut Held, backend: Backend) {
        let same = held.backend.as_ref().is_some_and(|old| {
            old.state.is(&backend.state) && old.former == backend.former && same_people(old, &backend)
        });
        if same {
            return;
        }
        let (path, resource) = (backend.path().clone(), backend.resource.clone());
        let new = held.backend.is_none();
        let backend = Arc::new(backend);
        self.registry.set(&path, Some(backend.clone()));
        held.backend = Some(backend);
        if new {
            tracing::info!(%resource, %path, "served");
        }
    }

    /// Tells the state in the status of its resource from now on. `compare`: looks at the head whatever the status says.
    pub(super) fn follow(&self, held: &Held, resource: &TofuStateBackend, state: &State, compare: bool) {
        self.reporter.follow(resource, state, compare, held.restored);
    }

    /// Does not serve its path any more, if it did.
    pub(super) fn unpublish(&self, held: &mut Held) {
        let Some(old) = held.backend.take() else { return };
        self.reporter.forget(&old.resource);
        let path: &StatePath = old.path();
        // Another may have it by now.
        if self.registry.get(path).is_some_and(|there| Arc::ptr_eq(&there, &old)) {
            self.registry.set(path, None);
            tracing::info!(resource = %old.resource, %path, "not served any more");
        }
    }

    /// A resource waits for the store. One line a minute tells of all that do.
    pub(super) fn waits(&self, resource: &ResourceName, why: &str) {
        let mut told = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL) {
            *told = Some(Instant::now());
            tracing::warn!(%resource, why, "resources wait for the store: this one, and maybe others");
        }
    }

    /// The time, in whole seconds as a status has it.
    pub(super) fn now() -> Timestamp {
        let now = machine_time();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }
}

fn same_people(a: &Backend, b: &Backend) -> bool {
    a.credentials.len() == b.credentials.len()
        && a.credentials
            .iter()
            .zip(&b.credentials)
            .all(|(a, b)| a.identity == b.identity && a.role == b.role && a.hash.matches(&b.hash))
}

/// A resource by namespace and name.
pub(super) fn name_of(resource: &impl kube::ResourceExt) -> ResourceName {
    ResourceName { namespace: resource.namespace().unwrap_or_default(), name: resource.name_any() }
}
