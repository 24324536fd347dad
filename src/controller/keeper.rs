//! The tokens of states as Secrets of the operator's own namespace, for all replicas: one Secret a state, changed by
//! compare-and-swap on its resourceVersion.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions},
};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::cluster::unanswered;
use crate::{
    openbao::{Instance, Keeper, KeeperError, Kept, PolicyName},
    store::Sha256Sum,
};

/// The type of the Secrets. It cannot be changed later, so a Secret of it was made by tofustate.
pub const TYPE: &str = "tofustate.io/token";
/// The label with the name of the installation.
pub const INSTANCE_LABEL: &str = "tofustate.io/instance";
/// The annotation with the resource that the token is for, for people.
pub const RESOURCE: &str = "tofustate.io/resource";

/// The key of the Secret's data.
const KEY: &str = "token.json";
/// How long one call may take, and how long it is waited before it is made again.
const CALL: Duration = Duration::from_secs(5);
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];
/// How many Secrets are listed at a time.
const PAGE: u32 = 250;

/// Secrets, one a state.
#[derive(Clone)]
pub struct SecretKeeper {
    api: Api<Secret>,
    namespace: String,
}

/// Why a call did not do what it should.
enum Trouble {
    /// The Secret is another than the one that was read.
    Moved,
    /// It may have been done, or can be done later.
    Passes(String),
    /// It comes to the same each time.
    Stays(String),
}

impl SecretKeeper {
    /// In this namespace, which is the operator's own.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// The Secret of a state, as it is now.
    async fn find(&self, of: &PolicyName) -> Result<Option<Secret>, Trouble> {
        let name = name(of);
        let found = self.call("reading", &name, self.api.get_opt(&name)).await?;
        match found.as_ref().map(|secret| secret.type_.as_deref()) {
            None | Some(Some(TYPE)) => Ok(found),
            Some(other) => Err(Trouble::Stays(format!(
                "the Secret {}/{name} was not made by tofustate, its type is {}: delete it, or give it another name",
                self.namespace,
                other.unwrap_or("none")
            ))),
        }
    }

    /// What a Secret keeps for the state.
    fn kept(&self, of: &PolicyName, secret: &Secret) -> Option<Kept> {
        let bytes = secret.data.as_ref().and_then(|data| data.get(KEY));
        let kept = bytes.and_then(|bytes| Kept::read(&bytes.0)).filter(|(policy, _)| policy == of.as_str());
        if kept.is_none() {
            let (namespace, name) = (&self.namespace, name(of));
            warn!(secret = %format_args!("{namespace}/{name}"), policy = %of, "the kept token of a state is damaged: another is made");
        }
        kept.map(|(_, kept)| kept)
    }

    /// Puts `new` in place of what was found.
    async fn put(&self, of: &PolicyName, found: Option<Secret>, new: Option<&Kept>) -> Result<(), Trouble> {
        let name = name(of);
        let post = PostParams::default();
        let filled = |metadata: ObjectMeta, kept: &Kept| {
            let bytes = kept.written(of).map_err(|error| Trouble::Stays(error.to_string()))?.into_inner();
            Ok(Secret {
                metadata: labelled(metadata, of),
                type_: Some(TYPE.to_owned()),
                data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(bytes))])),
                ..Secret::default()
            })
        };
        match (found, new) {
            (None, None) => Ok(()),
            (None, Some(new)) => {
                let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
                let secret = filled(metadata, new)?;
                self.call("creating", &name, self.api.create(&post, &secret)).await.map(drop)
            }
            (Some(found), Some(new)) => {
                let secret = filled(found.metadata, new)?;
                self.call("changing", &name, self.api.replace(&name, &post, &secret)).await.map(drop)
            }
            (Some(found), None) => {
                let ObjectMeta { uid, resource_version, .. } = found.metadata;
                let params = DeleteParams::default().preconditions(Preconditions { resource_version, uid });
                self.call("deleting", &name, self.api.delete(&name, &params)).await.map(drop)
            }
        }
    }

    async fn call<T>(
        &self,
        doing: &str,
        name: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Trouble> {
        let about = |said: &str| format!("{doing} the Secret {}/{name}: {said}", self.namespace);
        match timeout(CALL, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Error::Api(status))) if status.is_conflict() || status.is_already_exists() => Err(Trouble::Moved),
            Ok(Err(Error::Api(status))) if status.is_not_found() && doing != "creating" => Err(Trouble::Moved),
            Ok(Err(Error::Api(status))) => {
                let said = about(&status.message);
                Err(if status.code == 429 || status.code >= 500 { Trouble::Passes(said) } else { Trouble::Stays(said) })
            }
            Ok(Err(error)) => Err(Trouble::Passes(about(&unanswered(&error)))),
            Err(_) => Err(Trouble::Passes(about(&format!("the API server did not answer within {CALL:?}")))),
        }
    }
}

#[async_trait]
impl Keeper for SecretKeeper {
    async fn load(&self, of: &PolicyName) -> Result<Option<Kept>, KeeperError> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.find(of).await {
                Ok(found) => return Ok(found.and_then(|secret| self.kept(of, &secret))),
                Err(trouble) => again(trouble, &mut pauses).await?,
            }
        }
    }

    async fn replace(&self, of: &PolicyName, old: Option<&str>, new: Option<&Kept>) -> Result<bool, KeeperError> {
        let mut pauses = PAUSES.iter();
        // Whether an earlier attempt may have done it.
        let mut sent = false;
        loop {
            let attempt = async {
                if let (None, Some(_), false) = (old, new, sent) {
                    // As a rule there is none. Where there is one, it is looked at next.
                    sent = true;
                    return self.put(of, None, new).await.map(|()| true);
                }
                let found = self.find(of).await?;
                let kept = found.as_ref().and_then(|secret| self.kept(of, secret));
                if sent && kept.as_ref() == new {
                    return Ok(true);
                }
                if kept.map(|kept| kept.accessor).as_deref() != old {
                    return Ok(false);
                }
                sent = true;
                self.put(of, found, new).await.map(|()| true)
            };
            match attempt.await {
                Ok(done) => return Ok(done),
                Err(trouble) => again(trouble, &mut pauses).await?,
            }
        }
    }

    async fn all(&self, instance: &Instance) -> Result<Vec<PolicyName>, KeeperError> {
        Ok(self.list(instance).await?.into_iter().map(|(policy, _)| policy).collect())
    }

    async fn list(&self, instance: &Instance) -> Result<Vec<(PolicyName, Kept)>, KeeperError> {
        let mut all = Vec::new();
        let mut params = ListParams::default()
            .labels(&format!("{INSTANCE_LABEL}={}", instance.as_str()))
            .fields(&format!("type={TYPE}"))
            .limit(PAGE);
        loop {
            let page = match self.call("listing", "*", self.api.list(&params)).await {
                Ok(page) => page,
                Err(trouble) => return Err(trouble.into()),
            };
            let data = page.items.iter().filter_map(|secret| secret.data.as_ref()?.get(KEY));
            let kept = data.filter_map(|bytes| Kept::read(&bytes.0));
            all.extend(kept.filter_map(|(policy, kept)| Some((PolicyName::parse(instance, &policy)?, kept))));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(all),
            }
        }
    }
}

/// Waits before the next attempt, where there is one.
async fn again(trouble: Trouble, pauses: &mut std::slice::Iter<'_, Duration>) -> Result<(), KeeperError> {
    match (&trouble, pauses.next()) {
        (Trouble::Stays(_), _) | (_, None) => Err(trouble.into()),
        (_, Some(pause)) => {
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            Ok(())
        }
    }
}

impl From<Trouble> for KeeperError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Moved => Self::Passes("its Secret is changed all the time by somebody".to_owned()),
            Trouble::Passes(said) => Self::Passes(said),
            Trouble::Stays(said) => Self::Stays(said),
        }
    }
}

/// The name of a state's Secret. A hash: a policy's name may be longer than a Secret's, and has slashes.
#[must_use]
pub fn name(of: &PolicyName) -> String {
    let sum = Sha256Sum::of(of.as_str().as_bytes()).to_string();
    format!("tofustate-token-{}", &sum[..40])
}

/// With the labels and annotations that tell what it is; others stay.
fn labelled(mut metadata: ObjectMeta, of: &PolicyName) -> ObjectMeta {
    let instance = of.as_str().split('/').nth(1).unwrap_or_default();
    let (namespace, name) = of.resource();
    let labels = metadata.labels.get_or_insert_default();
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "tofustate".to_owned());
    labels.insert(INSTANCE_LABEL.to_owned(), instance.to_owned());
    metadata.annotations.get_or_insert_default().insert(RESOURCE.to_owned(), format!("{namespace}/{name}"));
    metadata.managed_fields = None;
    metadata
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use http::{Method, Request, Response};
    use http_body_util::{BodyExt as _, Full};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::{crd::is_subdomain, openbao::Token};

    /// One Secret, and an answer that is lost: that of the write of this number, before it was done or after.
    #[derive(Default)]
    struct Server {
        secret: Option<Value>,
        writes: u64,
        lose: Option<(u64, bool)>,
    }

    impl Server {
        fn take(&mut self, method: &Method, body: Value) -> io::Result<Response<Full<Bytes>>> {
            let answer = |code: u16, body: &Value| Response::builder().status(code).body(Full::from(body.to_string()));
            let status =
                |code: u16, reason: &str| answer(code, &json!({"code": code, "reason": reason, "message": ""}));
            if method == Method::GET {
                let found = self.secret.as_ref().map_or_else(|| status(404, "NotFound"), |secret| answer(200, secret));
                return found.map_err(io::Error::other);
            }
            self.writes += 1;
            let lose = self.lose.filter(|(number, _)| *number == self.writes);
            if lose.is_some_and(|(_, done)| !done) {
                return Err(io::Error::other("lost before"));
            }
            let done = match (method, &self.secret) {
                (&Method::POST, Some(_)) => status(409, "AlreadyExists"),
                (&Method::PUT, Some(is))
                    if is["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] =>
                {
                    status(409, "Conflict")
                }
                (&Method::DELETE, _) => {
                    self.secret = None;
                    answer(200, &json!({"status": "Success"}))
                }
                _ => {
                    let mut body = body;
                    body["metadata"]["resourceVersion"] = json!(self.writes.to_string());
                    self.secret = Some(body.clone());
                    answer(200, &body)
                }
            };
            if lose.is_some() { Err(io::Error::other("lost after")) } else { done.map_err(io::Error::other) }
        }
    }

    fn keeper(server: &Arc<Mutex<Server>>) -> SecretKeeper {
        let server = server.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
                let body = serde_json::from_slice(&bytes).unwrap_or_default();
                server.lock().unwrap().take(&head.method, body)
            }
        });
        SecretKeeper::new(Client::new(service, "tofustate"), "tofustate")
    }

    fn kept(accessor: &str) -> Kept {
        let token = Token::parse(&format!("s.{accessor}")).unwrap();
        Kept { token, accessor: accessor.to_owned(), retired: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_whose_answer_was_lost_is_found_again_or_made_again() {
        let of = policy("prod", "team", "app");
        let (a, b) = (kept("a"), kept("b"));
        for done in [true, false] {
            for lose in 1..=4 {
                let server = Arc::new(Mutex::new(Server { lose: Some((lose, done)), ..Server::default() }));
                let keeper = keeper(&server);
                assert_eq!(keeper.replace(&of, None, Some(&a)).await, Ok(true), "{lose} {done}");
                assert_eq!(keeper.replace(&of, None, Some(&b)).await, Ok(false), "{lose} {done}");
                assert_eq!(keeper.replace(&of, Some("a"), Some(&b)).await, Ok(true), "{lose} {done}");
                assert_eq!(keeper.load(&of).await, Ok(Some(b.clone())));
                assert_eq!(keeper.replace(&of, Some("b"), None).await, Ok(true), "{lose} {done}");
                assert_eq!(keeper.load(&of).await, Ok(None));
                // The second is refused: that its answer was lost is found out by reading.
                assert_eq!(server.lock().unwrap().writes, if done || lose == 2 { 4 } else { 5 });
            }
        }
    }

    fn policy(instance: &str, namespace: &str, name: &str) -> PolicyName {
        PolicyName::new(&Instance::parse(instance).unwrap(), namespace, name).unwrap()
    }

    #[test]
    fn a_name_is_one_of_a_secret_whatever_the_resource_and_each_has_its_own() {
        let long = "n".repeat(253);
        let policies = [
            policy("prod", "team", "app"),
            policy("prod", "team", &long),
            policy("a", "b", "c"),
            policy("a", "b", "c.d"),
        ];
        let names: std::collections::BTreeSet<_> = policies.iter().map(name).collect();
        assert_eq!(names.len(), policies.len());
        assert!(names.iter().all(|name| is_subdomain(name) && name.len() == 56), "{names:?}");
        // Secrets that are there are found by it: it may never change.
        assert_eq!(name(&policies[0]), "tofustate-token-24abb1e168f46b15980d726213e70420101c8592");
    }

    #[test]
    fn what_others_wrote_on_a_secret_stays() {
        let theirs = || Some(BTreeMap::from([("team".to_owned(), "x".to_owned())]));
        let metadata = ObjectMeta { labels: theirs(), annotations: theirs(), ..ObjectMeta::default() };
        let metadata = labelled(metadata, &policy("prod", "team", "app"));
        let (labels, annotations) = (metadata.labels.unwrap(), metadata.annotations.unwrap());
        assert_eq!((&*labels["team"], &*labels[INSTANCE_LABEL]), ("x", "prod"));
        assert_eq!((&*annotations["team"], &*annotations[RESOURCE]), ("x", "team/app"));
    }
}
