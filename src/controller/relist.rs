//! A watch that begins with a list again after each failure. To go on where it was would show nothing of a cluster whose etcd
//! was set back to a backup meanwhile: the API server takes the watch to have seen what is not there any more.

use std::fmt::Debug;

use futures_util::{StreamExt as _, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{Config, DefaultBackoff, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::time::{Duration, Instant, sleep};

use super::scope::Watch;

/// How long a watch has to last until its failure is the first one.
const LASTS: Duration = Duration::from_secs(60);

/// Watches these objects, for ever. After a failure it pauses, longer each time in a row: a list whose watch is refused at once
/// is one, too.
pub(super) fn relisting<'a, K>(api: Api<K>, config: Config) -> Watch<'a, K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let begin = move || watcher(api.clone(), config.clone()).boxed();
    let first = (begin(), DefaultBackoff::default(), None, false);
    let seen = stream::unfold((begin, first), |(begin, (mut events, mut pauses, mut listed, failed))| async move {
        if failed {
            let lasted = listed.take().is_some_and(|listed: Instant| listed.elapsed() >= LASTS);
            if lasted {
                pauses = DefaultBackoff::default();
            }
            sleep(pauses.next()?).await;
            events = begin();
        }
        let next = events.next().await?;
        match next {
            Ok(Event::InitDone) => listed = Some(Instant::now()),
            // It watches.
            Ok(Event::Apply(_) | Event::Delete(_)) => pauses = DefaultBackoff::default(),
            _ => {}
        }
        let failed = next.is_err();
        Some((next, (begin, (events, pauses, listed, failed))))
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
    use crate::controller::scope::Seen;

    /// A watch of a server that answers what this says to each request: whether it is one to watch, and how many came before.
    fn watched(
        answers: impl Fn(bool, usize) -> bool + Send + Sync + 'static,
    ) -> (Watch<'static, ConfigMap>, Arc<Mutex<Vec<&'static str>>>) {
        let asked: Arc<Mutex<Vec<&str>>> = Arc::default();
        let told = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut asked = told.lock().unwrap();
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let good = answers(watches, asked.len());
            asked.push(if watches { "watch" } else { "list" });
            let list = json!({
                "apiVersion": "v1", "kind": "ConfigMapList", "metadata": {"resourceVersion": "7"},
                "items": [{"metadata": {"name": "a", "namespace": "n", "resourceVersion": "5"}}],
            });
            let answer = Response::new(Full::new(Bytes::from(list.to_string())));
            std::future::ready(if good { Ok(answer) } else { Err(io::Error::other("away")) })
        });
        let api = Api::<ConfigMap>::namespaced(Client::new(service, "n"), "n");
        (relisting(api, Config::default()), asked)
    }

    fn name(seen: &Seen<ConfigMap>) -> &'static str {
        match seen {
            Ok(Event::Init) => "begins",
            Ok(Event::InitApply(_)) => "one",
            Ok(Event::InitDone) => "all",
            Ok(Event::Apply(_) | Event::Delete(_)) => "change",
            Err(_) => "failed",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_listed_again() {
        let (watch, asked) = watched(|watches, before| !watches && before != 2);
        let events: Vec<_> = watch.map(|seen| name(&seen)).take(10).collect().await;
        let listed = ["begins", "one", "all", "failed"];
        assert_eq!(events, [&listed[..], &["begins", "failed"], &listed].concat());
        assert_eq!(*asked.lock().unwrap(), ["list", "watch", "list", "list", "watch"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_whose_watch_is_refused_is_not_made_again_at_once() {
        let (watch, _) = watched(|watches, _| !watches);
        let began = Instant::now();
        let failed: Vec<_> = watch.filter(|seen| std::future::ready(seen.is_err())).take(7).collect().await;
        assert_eq!(failed.len(), 7);
        // By the clock of the test: six times the first pause would be less.
        assert!(began.elapsed() > Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
