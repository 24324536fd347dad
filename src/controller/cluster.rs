//! The connection to the cluster, and how its calls are made: within a time, with errors that say what was being done and
//! show nothing of what was sent or got.

use std::time::Duration;

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Client, Config, Error, Resource,
    api::{ApiResource, DynamicObject, ListParams},
    client::ClientBuilder,
    core::PartialObjectMeta,
    runtime::watcher,
};
use tokio::time::timeout;
use tower::layer::layer_fn;

use super::limited::Limited;
use crate::{crd::TofuStateBackend, rate::Rate, telemetry::KubernetesMetrics};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(30);

/// A cluster. Cloning shares it.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// For what must not wait for a turn.
    urgent: Client,
    namespace: String,
    /// The namespaces that are watched; none: all of them.
    watched: Vec<String>,
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nothing says where it is.
    #[error(
        "there is no cluster to work in: neither KUBECONFIG (nor ~/.kube/config) nor a Pod's ServiceAccount can be used: {0}"
    )]
    Config(String),
    /// What says so cannot be used.
    #[error("the cluster's configuration cannot be used: {0}")]
    Client(String),
}

/// Why a call of the API server came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {message}")]
pub struct CallError {
    /// What was being done, and on which object.
    pub doing: String,
    /// What was seen.
    pub message: String,
    /// The HTTP status, where the API server answered.
    pub status: Option<u16>,
}

impl CallError {
    /// The API server answered that it will not do it: the same call would come to the same.
    #[must_use]
    pub fn refused(&self) -> bool {
        matches!(self.status, Some(400..=499)) && !matches!(self.status, Some(401 | 408 | 409 | 429))
    }

    fn new(doing: &str, error: &Error) -> Self {
        let (message, status) = match error {
            Error::Api(status) => (status.message.clone(), Some(status.code)),
            other => (unanswered(other), None),
        };
        Self { doing: doing.to_owned(), message, status }
    }
}

/// Why a call had no answer, with its causes, and without anything of what was sent or got.
pub(super) fn unanswered(error: &Error) -> String {
    match error {
        // The text may repeat a value.
        Error::SerdeError(_) => "the answer cannot be read".to_owned(),
        Error::Service(error) => chain(error.as_ref()),
        other => chain(other),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    text
}

/// Makes a call within its time.
pub(super) async fn call<T>(doing: &str, work: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(CALL, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(CallError::new(doing, &error)),
        Err(_) => {
            let message = format!("the API server did not answer within {CALL:?}");
            Err(CallError { doing: doing.to_owned(), message, status: None })
        }
    }
}

impl Cluster {
    /// The cluster that KUBECONFIG or `~/.kube/config` names, or the one that this process runs in. Nothing is asked yet.
    /// `watched`: the namespaces whose resources are seen; none: all of them. `rate` limits all calls but those for the
    /// Lease.
    ///
    /// # Errors
    /// There is none, or what names it cannot be used.
    pub async fn connect(
        mut watched: Vec<String>,
        rate: &Rate,
        metrics: &KubernetesMetrics,
    ) -> Result<Self, ClusterError> {
        watched.sort();
        watched.dedup();
        let config = Config::infer().await.map_err(|error| ClusterError::Config(chain(&error)))?;
        let namespace = config.default_namespace.clone();
        let client = |rate: Rate| {
            let built = ClientBuilder::try_from(config.clone()).map_err(|error| ClusterError::Client(chain(&error)))?;
            Ok(built.with_layer(&layer_fn(|inner| Limited::new(inner, rate.clone(), metrics.clone()))).build())
        };
        Ok(Self { client: client(rate.clone())?, urgent: client(Rate::default())?, namespace, watched })
    }

    /// What answers the calls is the test's own.
    #[cfg(test)]
    pub(super) fn of_test(client: Client) -> Self {
        Self { urgent: client.clone(), client, namespace: String::new(), watched: Vec::new() }
    }

    /// The namespace that this process is in, by its ServiceAccount or its kubeconfig.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Resources as they are, whether or not they decode.
    pub(super) fn raw(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<TofuStateBackend>(&()))
    }

    /// As [`Self::of`], without waiting for a turn.
    pub(super) fn at_once<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.urgent.clone(), namespace)
    }

    /// Whether the resources of a namespace are seen.
    pub(super) fn watches(&self, namespace: &str) -> bool {
        self.watched.is_empty() || self.watched.iter().any(|watched| watched == namespace)
    }

    /// All objects of a kind, where all namespaces are seen.
    pub(super) fn everywhere<K>(&self) -> Option<Api<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.watched.is_empty().then(|| Api::all(self.client.clone()))
    }

    /// What a watch of a kind asks: once for all namespaces, or for each that is watched.
    pub(super) fn watched<K>(&self, config: &watcher::Config) -> Vec<(Api<K>, watcher::Config)>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if self.watched.is_empty() {
            return vec![(Api::all(self.client.clone()), config.clone())];
        }
        self.watched.iter().map(|namespace| (self.of(namespace), config.clone())).collect()
    }

    /// The same for the Namespace objects, each by its name: the right to see them can be for these names alone.
    pub(super) fn watched_namespaces(&self) -> Vec<(Api<PartialObjectMeta<Namespace>>, watcher::Config)> {
        let all = || Api::all(self.client.clone());
        if self.watched.is_empty() {
            return vec![(all(), watcher::Config::default())];
        }
        let by_name = |name: &String| watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.watched.iter().map(|name| (all(), by_name(name))).collect()
    }

    pub(super) fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Whether resources can be listed: the definition is installed, and the operator may. What keeps it from it, where
    /// not.
    pub(super) async fn serves_resources(&self) -> Result<(), String> {
        for (resources, _) in self.watched::<PartialObjectMeta<TofuStateBackend>>(&watcher::Config::default()) {
            Self::serves(&resources).await?;
        }
        Ok(())
    }

    async fn serves(resources: &Api<PartialObjectMeta<TofuStateBackend>>) -> Result<(), String> {
        let listed = call("listing tofustates", resources.list(&ListParams::default().limit(1))).await;
        listed.map(drop).map_err(|error| match error.status {
            Some(404) => {
                "the cluster does not know TofuStateBackends: tofustate crd | kubectl apply --server-side -f -"
                    .to_owned()
            }
            Some(403) => format!(
                "{}: bind the role of the operator to its ServiceAccount, in each namespace of --watch-namespaces or in all",
                error.message
            ),
            _ => error.to_string(),
        })
    }
}
