//! Which replica runs the controller: the one that holds the Lease `tofustate-<instance>`. One that cannot renew it stops by
//! its own clock before another takes it.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::{ObjectMeta, PostParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    cluster::{CallError, Cluster, call},
    context::Context,
    restored::Restored,
};
use crate::store::{BootClock, Clock as _, machine_time};

/// Until when this replica holds the Lease, by [`BootClock`]. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Lead {
    until: Arc<watch::Sender<Option<Duration>>>,
    /// It was asked once.
    asked: Arc<watch::Sender<bool>>,
}

impl Lead {
    /// Whether this replica is the one that runs the controller, now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until.borrow().is_some_and(|until| BootClock.boot() < until)
    }

    /// Works only while it is: no step of `work` is begun after. `None`: that ended first.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match self.holds() {
            true => work.as_mut().poll(context).map(Some),
            false => Poll::Ready(None),
        })
        .await
    }

    /// Waits until it was asked once who holds it.
    pub(super) async fn asked(&self) {
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    /// Waits until it is.
    pub(super) async fn gained(&self) {
        let mut until = self.until.subscribe();
        while !self.holds() && until.changed().await.is_ok() {}
    }

    /// Waits until it is not any more.
    pub(super) async fn lost(&self) {
        loop {
            let Some(until) = *self.until.borrow() else { return };
            match until.checked_sub(BootClock.boot()) {
                Some(left) if !left.is_zero() => sleep(left).await,
                _ => return,
            }
        }
    }
}

/// The replica's part in the election.
pub(super) struct Election {
    pub(super) cluster: Cluster,
    pub(super) namespace: String,
    /// The Lease's.
    pub(super) name: String,
    /// Names the replica; no other has it, nor had it.
    pub(super) identity: String,
    /// How long the Lease is good after it was renewed.
    pub(super) duration: Duration,
    pub(super) lead: Lead,
    pub(super) restored: Restored,
}

/// What others said of the Lease, and when that was first seen, by [`BootClock`].
struct Seen {
    holder: Option<String>,
    renewed: Option<MicroTime>,
    at: Duration,
}

/// What is to be done about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is this replica's.
    Renew,
    /// It is nobody's, or its holder is gone.
    Take,
    /// It is another's.
    Wait,
}

/// `quiet`: for how long the Lease was seen as it is.
fn step(lease: &LeaseSpec, identity: &str, quiet: Duration) -> Step {
    let good = Duration::from_secs(lease.lease_duration_seconds.unwrap_or_default().max(1).unsigned_abs().into());
    match lease.holder_identity.as_deref().unwrap_or_default() {
        "" => Step::Take,
        holder if holder == identity => Step::Renew,
        _ if quiet > good => Step::Take,
        _ => Step::Wait,
    }
}

impl Election {
    pub(super) fn of(context: &Context) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            cluster: context.cluster.clone(),
            namespace: context.options.namespace.clone(),
            name: format!("tofustate-{}", context.options.instance),
            identity: format!("{host}_{:016x}", rand::random::<u64>()),
            duration: context.options.lease,
            lead: context.lead.clone(),
            restored: context.restored.clone(),
        }
    }

    /// Takes part until `stop`, then gives the Lease up, so that another has it at once.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut seen = None;
        let mut said: Option<CallError> = None;
        let mut led = false;
        loop {
            let began = BootClock.boot();
            // An answer that takes longer is of no use: the Lease would be at its end.
            let done = match timeout(self.duration / 3, self.attempt(&mut seen)).await {
                Ok(done) => done,
                Err(_) => Err(self.fault("the API server did not answer in time")),
            };
            match done {
                Ok(holds) => {
                    self.lead.until.send_replace(holds.then(|| began + self.duration.mul_f64(2.0 / 3.0)));
                    said = None;
                }
                Err(error) => {
                    if said.as_ref().is_none_or(|said| said.message != error.message) {
                        warn!(lease = self.name, %error, "the Lease cannot be had or renewed: who holds it runs the controller, the others serve");
                        said = Some(error);
                    }
                }
            }
            self.lead.asked.send_replace(true);
            if led != self.lead.holds() {
                led = !led;
                info!(lease = self.name, identity = self.identity, leads = led, "{}", Self::says(led));
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = sleep(self.duration.div_f64(7.5).mul_f64(rand::random_range(0.9..1.1))) => {}
            }
        }
        self.release().await;
    }

    fn says(leads: bool) -> &'static str {
        if leads { "this replica runs the controller" } else { "another replica runs the controller, or none" }
    }

    fn fault(&self, message: &str) -> CallError {
        let doing = format!("renewing the Lease {}/{}", self.namespace, self.name);
        CallError { doing, message: message.to_owned(), status: None }
    }

    /// One look; answers whether the Lease is this replica's.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, CallError> {
        let api = self.cluster.at_once::<Lease>(&self.namespace);
        let doing = format!("reading the Lease {}/{}", self.namespace, self.name);
        let Some(lease) = call(&doing, api.get_opt(&self.name)).await? else {
            let lease = self.taken(ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() }, None);
            let doing = format!("creating the Lease {}/{}", self.namespace, self.name);
            return self.won(call(&doing, api.create(&PostParams::default(), &lease)).await);
        };
        self.restored.look(lease.metadata.resource_version.as_deref());
        let spec = lease.spec.unwrap_or_default();
        let now = BootClock.boot();
        let same = |seen: &&Seen| (&seen.holder, &seen.renewed) == (&spec.holder_identity, &spec.renew_time);
        let since = seen.as_ref().filter(same).map_or(now, |seen| seen.at);
        *seen = Some(Seen { holder: spec.holder_identity.clone(), renewed: spec.renew_time.clone(), at: since });
        let step = step(&spec, &self.identity, now.saturating_sub(since));
        if step == Step::Wait {
            return Ok(false);
        }
        let doing = format!("renewing the Lease {}/{}", self.namespace, self.name);
        let former = Some(spec);
        let lease = self.taken(lease.metadata, former);
        // Of the version that was read: of two that take it one does.
        self.won(call(&doing, api.replace(&self.name, &PostParams::default(), &lease)).await)
    }

    /// A write that another's came before is no fault: the Lease is that replica's.
    fn won(&self, done: Result<Lease, CallError>) -> Result<bool, CallError> {
        match done {
            Ok(lease) => {
                self.restored.look(lease.metadata.resource_version.as_deref());
                Ok(true)
            }
            Err(error) if error.status == Some(409) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The Lease as this replica's.
    fn taken(&self, mut metadata: ObjectMeta, former: Option<LeaseSpec>) -> Lease {
        metadata.managed_fields = None;
        let now = MicroTime(machine_time());
        let mut spec = former.unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            spec.acquire_time = Some(now.clone());
            let before = spec.holder_identity.is_some();
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(before.into()));
        }
        spec.holder_identity = Some(self.identity.clone());
        spec.lease_duration_seconds = Some(i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX));
        spec.renew_time = Some(now);
        Lease { metadata, spec: Some(spec) }
    }

    /// Gives the Lease up, where it is this replica's. Where that fails it ends by itself.
    async fn release(&self) {
        self.lead.until.send_replace(None);
        let api = self.cluster.at_once::<Lease>(&self.namespace);
        let done = timeout(self.duration / 3, async {
            let doing = format!("giving the Lease {}/{} up", self.namespace, self.name);
            let Some(mut lease) = call(&doing, api.get_opt(&self.name)).await? else { return Ok(()) };
            let Some(spec) = &mut lease.spec else { return Ok(()) };
            if spec.holder_identity.as_deref() != Some(&self.identity) {
                return Ok(());
            }
            spec.holder_identity = Some(String::new());
            call(&doing, api.replace(&self.name, &PostParams::default(), &lease)).await.map(drop)
        });
        match done.await {
            Ok(Err(error)) => warn!(%error, "another replica takes the Lease when it ends"),
            Err(_) => {
                warn!(lease = self.name, "the API server does not answer: another replica takes the Lease when it ends")
            }
            Ok(Ok(())) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_of_nobody_and_of_who_was_quiet_for_longer_than_it_lasts() {
        let spec = |holder: Option<&str>, seconds: Option<i32>| LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: seconds,
            ..LeaseSpec::default()
        };
        let after = Duration::from_secs;
        for (lease, quiet, wanted) in [
            (spec(None, None), after(0), Step::Take),
            (spec(Some(""), Some(15)), after(0), Step::Take),
            (spec(Some("me"), Some(15)), after(60), Step::Renew),
            (spec(Some("other"), Some(15)), after(15), Step::Wait),
            (spec(Some("other"), Some(15)), after(16), Step::Take),
            (spec(Some("other"), Some(-5)), after(1), Step::Wait),
            (spec(Some("other"), None), after(2), Step::Take),
        ] {
            assert_eq!(step(&lease, "me", quiet), wanted, "{lease:?} {quiet:?}");
        }
    }

    #[tokio::test]
    async fn no_step_is_begun_after_the_end_of_the_lease() {
        let lead = Lead::default();
        assert!(!lead.holds());
        assert_eq!(lead.during(async { 1 }).await, None);
        lead.until.send_replace(Some(BootClock.boot() + Duration::from_secs(60)));
        assert_eq!(lead.during(async { 1 }).await, Some(1));
        let ends = lead.clone();
        let done = lead.during(async move {
            ends.until.send_replace(Some(Duration::ZERO));
            tokio::task::yield_now().await;
            unreachable!("the Lease is lost");
        });
        assert_eq!(done.await, None::<()>);
        lead.lost().await;
    }
}
