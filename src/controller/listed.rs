//! Connection Secrets and their ConfigMaps as lists have them, while all resources are looked at: a page of hundreds takes the
//! API server little longer than one object. Pages are read as they are needed and each object is given out once, so that
//! there are few of them at a time. One that changed since the look began is not given out: it is read by itself.

use std::{
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Resource, ResourceExt as _, api::ListParams};
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use super::{
    cluster::{Cluster, call},
    objects::{MANAGED_BY, OF_UID},
    packed::Packed,
};

/// How many objects are listed at a time.
const PAGE: u32 = 250;

/// What the lists have.
#[derive(Default)]
pub(super) struct Listed {
    /// One reads pages at a time.
    pages: tokio::sync::Mutex<Option<Pages>>,
    found: Mutex<Found>,
}

struct Pages {
    secrets: Cursor,
    configs: Cursor,
}

/// How far a list was read. The API server lists by `<namespace>/<name>`.
enum Cursor {
    Begin,
    At { last: String, token: String },
    End,
}

#[derive(Default)]
struct Found {
    /// All resources are being looked at.
    active: bool,
    secrets: HashMap<String, Packed<Secret>>,
    configs: HashMap<String, Packed<ConfigMap>>,
    changed: HashSet<String>,
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl Listed {
    /// All resources are looked at from now on: the lists begin anew.
    pub(super) async fn begin(&self) {
        let mut pages = self.pages.lock().await;
        *self.found() = Found { active: true, ..Found::default() };
        *pages = Some(Pages { secrets: Cursor::Begin, configs: Cursor::Begin });
    }

    /// All were.
    pub(super) async fn end(&self) {
        let mut pages = self.pages.lock().await;
        *self.found() = Found::default();
        *pages = None;
    }

    /// A Secret or a ConfigMap of this name changed: what the lists have of it may be older.
    pub(super) fn changed(&self, namespace: &str, name: &str) {
        let mut found = self.found();
        if found.active {
            let key = key(namespace, name);
            found.secrets.remove(&key);
            found.configs.remove(&key);
            found.changed.insert(key);
        }
    }

    /// What the lists have under this name. None is not that there is none: then it has to be read.
    pub(super) async fn take(
        &self,
        cluster: &Cluster,
        namespace: &str,
        name: &str,
    ) -> (Option<Secret>, Option<ConfigMap>) {
        let key = key(namespace, name);
        if !self.found().active {
            return (None, None);
        }
        if let Some(pages) = &mut *self.pages.lock().await {
            pages.secrets.reach(cluster, &key, |page| self.put(page, |found| &mut found.secrets)).await;
            pages.configs.reach(cluster, &key, |page| self.put(page, |found| &mut found.configs)).await;
        }
        let mut found = self.found();
        let (secret, config) = (found.secrets.remove(&key), found.configs.remove(&key));
        drop(found);
        (secret.and_then(|found| found.get()), config.and_then(|found| found.get()))
    }

    fn put<K>(&self, page: Vec<K>, of: impl Fn(&mut Found) -> &mut HashMap<String, Packed<K>>)
    where
        K: Resource + Serialize + DeserializeOwned,
    {
        let mut found = self.found();
        for mut object in page {
            let key = key(&object.namespace().unwrap_or_default(), &object.name_any());
            if found.active && !found.changed.contains(&key) {
                object.managed_fields_mut().clear();
                of(&mut found).extend(Packed::new(&object).map(|object| (key, object)));
            }
        }
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cursor {
    /// Reads pages until this key is behind.
    async fn reach<K>(&mut self, cluster: &Cluster, key: &str, put: impl Fn(Vec<K>))
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let labels = format!("{}={},{OF_UID}", MANAGED_BY.0, MANAGED_BY.1);
        loop {
            let mut params = ListParams::default().labels(&labels).limit(PAGE);
            match self {
                Self::Begin => {}
                Self::At { last, token } if last.as_str() < key => params.continue_token = Some(token.clone()),
                Self::At { .. } | Self::End => return,
            }
            let doing = format!("listing each {}", K::kind(&()));
            // Of some namespaces each object is read by itself.
            let Some(api) = cluster.everywhere::<K>() else {
                *self = Self::End;
                return;
            };
            let page = match call(&doing, api.list(&params)).await {
                Ok(page) => page,
                Err(error) => {
                    // Each is read by itself.
                    debug!(%error, "a list came to its end early");
                    *self = Self::End;
                    return;
                }
            };
            let last = page.items.last().map(|last| self::key(&last.namespace().unwrap_or_default(), &last.name_any()));
            put(page.items);
            *self = match (last, page.metadata.continue_.filter(|token| !token.is_empty())) {
                (Some(last), Some(token)) => Self::At { last, token },
                _ => Self::End,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::{Value, json};

    use super::*;

    /// An API server with these Secrets and no ConfigMaps, in pages of two; each call is noted.
    fn cluster(names: &'static [(&str, &str)], calls: &Arc<Mutex<Vec<String>>>) -> Cluster {
        let calls = calls.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let uri = request.uri().to_string();
            calls.lock().unwrap().push(uri.clone());
            let begin: usize = uri.split("continue=").nth(1).map_or(0, |token| token.parse().unwrap());
            let of: &[(&str, &str)] = if uri.contains("/secrets") { names } else { &[] };
            let page: Vec<Value> = of.iter().skip(begin).take(2).map(|(namespace, name)| {
                json!({"metadata": {"namespace": namespace, "name": name, "managedFields": [{"manager": "m"}]}})
            }).collect();
            let next = if begin + 2 < of.len() { (begin + 2).to_string() } else { String::new() };
            let list = json!({"metadata": {"continue": next}, "items": page}).to_string();
            async move { Ok::<_, Infallible>(Response::new(Body::from(list.into_bytes()))) }
        });
        Cluster::of_test(Client::new(service, "default"))
    }

    #[tokio::test]
    async fn pages_are_read_as_they_are_needed_and_each_object_is_given_out_once() {
        let calls = Arc::default();
        // As etcd has them: by the bytes of the key.
        let names = &[("a-b", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("c", "x")];
        let (cluster, listed) = (cluster(names, &calls), Listed::default());
        let secret = async |namespace: &str, name: &str| listed.take(&cluster, namespace, name).await.0;
        assert!(secret("a", "x").await.is_none() && calls.lock().unwrap().is_empty(), "nobody looks at all");
        listed.begin().await;
        listed.changed("b", "y");
        assert!(
            secret("a", "x").await.is_some_and(|found| found.metadata.managed_fields.is_none_or(|all| all.is_empty()))
        );
        let read = || calls.lock().unwrap().iter().filter(|call| call.contains("/secrets")).count();
        assert!(calls.lock().unwrap()[0].contains("limit=250"), "{calls:?}");
        assert_eq!(read(), 1);
        assert!(secret("a", "x").await.is_none(), "it is given out once");
        assert!(secret("c", "x").await.is_some());
        assert_eq!(read(), 3);
        assert!(secret("b", "x").await.is_some(), "it was read before");
        assert!(secret("b", "y").await.is_none(), "it changed since");
        assert!(secret("a-b", "x").await.is_some());
        listed.changed("c", "x");
        assert!(secret("d", "none").await.is_none());
        assert_eq!(read(), 3, "there are no more pages");
        listed.begin().await;
        assert!(secret("b", "y").await.is_some(), "it is another look");
        listed.changed("b", "x");
        assert!(secret("b", "x").await.is_none(), "it changed since it was listed");
        listed.end().await;
        assert!(secret("a", "x").await.is_none());
    }
}
