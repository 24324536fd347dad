//! Events: what a person should see beside an object. One that cannot be written is logged and forgotten.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Resource as _, api::PostParams};
use tracing::debug;

use super::{
    cluster::{Cluster, call},
    status::MANAGER,
};
use crate::{
    crd::{TofuStateBackend, TofuStateBackendSpec},
    store::machine_time,
};

/// The longest note that the API server takes, in bytes.
const MAX_NOTE: usize = 1024;

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Warning,
}

/// Writes events.
pub(super) struct Events {
    cluster: Cluster,
    /// This process.
    instance: String,
}

impl Events {
    pub(super) fn new(cluster: Cluster) -> Self {
        let pod = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).ok();
        let instance = pod.filter(|name| !name.is_empty()).unwrap_or_else(|| MANAGER.to_owned());
        Self { cluster, instance: instance.chars().take(128).collect() }
    }

    /// About a resource.
    pub(super) async fn of(&self, resource: &TofuStateBackend, kind: Kind, reason: &str, note: &str) {
        self.about(resource.object_ref(&()), kind, reason, note).await;
    }

    /// About a resource of which no more than this can be read.
    pub(super) async fn of_any(&self, metadata: &ObjectMeta, kind: Kind, reason: &str, note: &str) {
        let mut bare = TofuStateBackend::new("", TofuStateBackendSpec::new(""));
        bare.metadata = metadata.clone();
        self.of(&bare, kind, reason, note).await;
    }

    /// About the operator itself, beside its namespace.
    pub(super) async fn own(&self, namespace: &str, kind: Kind, reason: &str, note: &str) {
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Namespace".to_owned()),
            name: Some(namespace.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        };
        self.about(reference, kind, reason, note).await;
    }

    async fn about(&self, regarding: ObjectReference, kind: Kind, reason: &str, note: &str) {
        let namespace = regarding.namespace.clone().unwrap_or_default();
        let now = machine_time();
        let name = format!("{}.{:x}", regarding.name.as_deref().unwrap_or_default(), rand::random::<u64>());
        let event = Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.clone()), ..ObjectMeta::default() },
            action: Some(reason.to_owned()),
            reason: Some(reason.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(cut(note)),
            regarding: Some(regarding),
            reporting_controller: Some("tofustate.io/operator".to_owned()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(format!("{kind:?}")),
            ..Event::default()
        };
        let events = self.cluster.of::<Event>(&namespace);
        if let Err(error) = call("writing an Event", events.create(&PostParams::default(), &event)).await {
            debug!(%error, reason, "an Event could not be written");
        }
    }
}

fn cut(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.get(..end).unwrap_or_default().to_owned()
}
