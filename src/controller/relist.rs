//! A watch that begins with a list again after each failure. To go on where it was would show nothing of a cluster whose etcd
//! was set back to a backup meanwhile: the API server takes the watch to have seen what is not there any more.

use std::fmt::Debug;

use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{Config, DefaultBackoff, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::scope::Watch;

/// Watches these objects, for ever. After a failure it pauses, longer each time in a row.
pub(super) fn relisting<'a, K>(api: Api<K>, config: Config) -> Watch<'a, K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let first = (begin(), DefaultBackoff::default(), false);
    let seen = stream::unfold((begin, first), |(begin, (mut events, mut pauses, failed))| async move {
        if failed {
            sleep(pauses.next()?).await;
            events = begin();
        }
        let next = events.next().await?;
        if matches!(next, Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) {
            pauses = DefaultBackoff::default();
        }
        let failed = next.is_err();
        Some((next, (begin, (events, pauses, failed))))
    });
    Box::pin(seen)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Client, client::Body};
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_listed_again() {
        let asked: Arc<Mutex<Vec<&str>>> = Arc::default();
        let told = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut asked = told.lock().unwrap();
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            asked.push(if watches { "watch" } else { "list" });
            let fails = watches || asked.len() == 3;
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"},
                "items": [{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}}],
            });
            let answer = Response::new(Full::new(Bytes::from(list.to_string())));
            std::future::ready(if fails { Err(io::Error::other("away")) } else { Ok(answer) })
        });
        let api = Api::<ConfigMap>::namespaced(Client::new(service, "n"), "n");
        let events: Vec<_> = relisting(api, Config::default())
            .map(|seen| match seen {
                Ok(Event::Init) => "begins",
                Ok(Event::InitApply(_)) => "one",
                Ok(Event::InitDone) => "all",
                Ok(Event::Apply(_) | Event::Delete(_)) => "change",
                Err(_) => "failed",
            })
            .take(10)
            .collect()
            .await;
        let listed = ["begins", "one", "all", "failed"];
        assert_eq!(events, [&listed[..], &["begins", "failed"], &listed].concat());
        assert_eq!(*asked.lock().unwrap(), ["list", "watch", "list", "list", "watch"]);
    }
}
