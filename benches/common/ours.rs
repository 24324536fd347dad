//! Our server in a process of its own, as `tofustate standalone` has it, but over a store of our choice.

use std::{collections::HashMap, io::Read as _, net::TcpListener, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use tofustate::{
    http::{App, HttpOptions, ServerOptions, router, serve},
    registry::{Backend, Credential, CredentialHash, Registry, ResourceName, Role},
    store::{Budget, Engine, EngineOptions, Registration, Settings, StatePath, Stores, head::Owner},
    telemetry::{self, EngineMetrics, HttpMetrics},
};
use tokio::sync::watch;

use crate::{
    client::TOKEN,
    paced::{Paced, Tally},
};

/// The end of standard input.
pub(crate) async fn told_to_end() {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

/// Serves states `bench/<name>`: the parts of `tofustate standalone`, logs and traces among them. The store's clock goes on
/// with each UNLOCK, by as much as real runs are apart. `GET /idle` answers when nothing is asked of the store any more, with
/// what was asked until then.
pub(crate) async fn ours(listener: TcpListener, names: Vec<String>, stores: &dyn Stores) {
    let telemetry = telemetry::start().unwrap();
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let registry = Arc::new(Registry::default());
    let (mut backends, mut clocks, tally) = (Vec::new(), HashMap::new(), Arc::new(Tally::default()));
    for name in names {
        let path = format!("bench/{name}");
        let owner =
            Owner { instance: "main".into(), namespace: "bench".into(), name: name.clone(), claim: 1, released: false };
        let state_path = StatePath::parse(&path).unwrap();
        let kv = Arc::new(Paced::new(stores.state(&state_path, &owner), false).counted(tally.clone()));
        let registration =
            Registration { path: state_path, kv: kv.clone(), owner, mark: None, settings: Settings::default() };
        let state = engine.open(registration);
        state.register(&mut Budget::new(Duration::from_secs(25))).await.unwrap();
        clocks.insert(format!("/{path}"), kv);
        let hash = CredentialHash::of(TOKEN);
        let credentials = vec![Credential { identity: "token".to_owned(), role: Role::ReadWrite, hash }];
        let resource = ResourceName { namespace: "bench".to_owned(), name };
        backends.push(Arc::new(Backend { resource, state, credentials, former: Vec::new() }));
    }
    registry.replace(backends);
    let clocks = Arc::new(clocks);
    let pace = from_fn(move |request: Request, next: Next| {
        let (clocks, tally) = (clocks.clone(), tally.clone());
        async move { paced(request, next, &clocks, &tally).await }
    });
    let (metrics, options) =
        (HttpMetrics::default(), HttpOptions { traces: telemetry.exports(), ..Default::default() });
    let router = router(App::new(registry, options, metrics.clone())).layer(pace);
    let (stop, stopped) = watch::channel(false);
    let background = tokio::spawn({
        let (engine, stopped) = (engine.clone(), stopped.clone());
        async move { engine.run_background(stopped).await }
    });
    let serving =
        tokio::spawn(async move { serve(listener, router, ServerOptions::default(), &metrics, stopped).await });
    told_to_end().await;
    stop.send_replace(true);
    serving.await.unwrap().unwrap();
    background.await.unwrap();
    tokio::task::spawn_blocking(|| drop(telemetry)).await.unwrap();
}

async fn paced(request: Request, next: Next, clocks: &HashMap<String, Arc<Paced>>, tally: &Tally) -> Response {
    match request.method().as_str() {
        "GET" if request.uri().path() == "/idle" => {
            tally.idle().await;
            return tally.to_string().into_response();
        }
        "UNLOCK" => {
            if let Some(kv) = clocks.get(request.uri().path()) {
                kv.next();
            }
        }
        _ => {}
    }
    next.run(request).await
}
