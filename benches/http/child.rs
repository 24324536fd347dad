//! This program as a server, in a process of its own: ours as `tofustate standalone` has it, but over a store of our choice,
//! and those that it is held against. It says its address, and ends with its standard input.

use std::{net::TcpListener, path::Path, sync::Arc};

use tofustate::store::{EmbeddedKv, OneStore};

use crate::{
    bare,
    ours::{ours, told_to_end},
    sink,
};

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
            ["memory"] => embedded(listener, EmbeddedKv::in_memory().unwrap()).await,
            ["disk", folder] => embedded(listener, EmbeddedKv::open(Path::new(folder)).unwrap()).await,
            other => panic!("{other:?}"),
        }
    });
}

async fn beside(listener: TcpListener, router: axum::Router) {
    listener.set_nonblocking(true).unwrap();
    tokio::select! {
        () = bare::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router) => {}
        () = told_to_end() => {}
    }
}

async fn embedded(listener: TcpListener, kv: EmbeddedKv) {
    ours(listener, (0..STATES).map(|number| format!("s{number}")).collect(), &OneStore(Arc::new(kv))).await;
}
