//! This program as a server, in a process of its own: ours as `tofustate standalone` has it, but over a store of our choice,
//! and those that it is held against. It says its address, and ends with its standard input.

use std::{collections::HashMap, io::Read as _, net::TcpListener, path::Path, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    middleware::{Next, from_fn},
};
use tofustate::{
    http::{App, HttpOptions, ServerOptions, router, serve},
    registry::{Backend, Credential, CredentialHash, Registry, ResourceName, Role},
    store::{Budget, EmbeddedKv, Engine, EngineOptions, Kv, Registration, Settings, StatePath, head::Owner},
    telemetry::{self, EngineMetrics, HttpMetrics},
};
use tokio::sync::watch;

use crate::{TOKEN, bare, paced::Paced, sink};

/// How many states ours has.
pub(crate) const STATES: usize = 16;

pub(crate) fn run(arguments: &[String]) {
    // As `tofustate` itself does; it may have one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let asked: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime.block_on(async move {
        match asked.as_slice() {
            ["echo"] => beside(listener, bare::echo()).await,
            ["files", folder] => beside(listener, bare::files(Path::new(folder).to_owned())).await,
            ["sink"] => beside(listener, sink::router()).await,
            ["memory"] => ours(listener, Arc::new(EmbeddedKv::in_memory().unwrap())).await,
            ["disk", folder] => ours(listener, Arc::new(EmbeddedKv::open(Path::new(folder)).unwrap())).await,
            other => panic!("{other:?}"),
        }
    });
}

/// The end of standard input.
async fn told_to_end() {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

async fn beside(listener: TcpListener, router: axum::Router) {
    listener.set_nonblocking(true).unwrap();
    tokio::select! {
        () = bare::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router) => {}
        () = told_to_end() => {}
    }
}

/// The parts of `tofustate standalone`, logs and traces among them. The store's clock goes on with each UNLOCK, by as much
/// as real runs are apart.
async fn ours(listener: TcpListener, kv: Arc<dyn Kv>) {
    let telemetry = telemetry::start().unwrap();
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let registry = Arc::new(Registry::default());
    let (mut backends, mut clocks) = (Vec::new(), HashMap::new());
    for number in 0..STATES {
        let kv = Arc::new(Paced::new(kv.clone(), false));
        let (path, name) = (format!("bench/s{number}"), format!("s{number}"));
        let owner =
            Owner { instance: "main".into(), namespace: "bench".into(), name: name.clone(), claim: 1, released: false };
        let state = engine.open(Registration {
            path: StatePath::parse(&path).unwrap(),
            kv: kv.clone(),
            owner,
            mark: None,
            settings: Settings::default(),
        });
        state.register(&mut Budget::new(Duration::from_secs(25))).await.unwrap();
        clocks.insert(format!("/{path}"), kv);
        let hash = CredentialHash::of(TOKEN);
        let credentials = vec![Credential { identity: "token".to_owned(), role: Role::ReadWrite, hash }];
        let resource = ResourceName { namespace: "bench".to_owned(), name };
        backends.push(Arc::new(Backend { resource, state, credentials }));
    }
    registry.replace(backends);
    let clocks = Arc::new(clocks);
    let pace = from_fn(move |request: Request, next: Next| {
        if request.method().as_str() == "UNLOCK"
            && let Some(kv) = clocks.get(request.uri().path())
        {
            kv.next();
        }
        next.run(request)
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
