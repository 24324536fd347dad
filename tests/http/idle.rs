//! 41: connections that are open and do nothing, whatever they send.

use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tofustate::http::{BodyTimes, HttpOptions, ServerOptions, ServerTimes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::{
    ask::{ask, basic},
    live::{DEADLINE, Live, absolute},
    world::{PATH, Setup, TOKEN, World, large_state},
};

async fn start(world: &World, idle: u64) -> Live {
    let idle = Duration::from_millis(idle);
    let times = ServerTimes { head: idle, idle, ..ServerTimes::default() };
    Live::start(&world.router, ServerOptions { times, ..ServerOptions::default() }).await
}

/// Asks for the state over a socket that takes little at a time.
async fn reading(live: &Live) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8_192).unwrap();
    let mut stream = socket.connect(live.address).await.unwrap();
    let auth = basic(TOKEN);
    let request = format!("GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn c41_http2_that_only_answers_pings() {
    let world = World::new().await;
    let live = start(&world, 400).await;
    for asks in [0, 1] {
        let io = TokioIo::new(live.tcp().await);
        let (mut sender, connection) = http2::handshake::<_, _, Body>(TokioExecutor::new(), io).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..asks {
            let answer = sender.send_request(absolute(ask("GET", &format!("/{PATH}")).request)).await.unwrap();
            assert_eq!(answer.status(), 404);
        }
        let ended = timeout(DEADLINE, connection).await;
        assert!(ended.is_ok(), "it is closed after {asks} requests");
    }
    live.connections(0).await;
    live.stop().await;
}

#[tokio::test]
async fn c41_an_answer_that_is_read_byte_by_byte() {
    let world = World::new().await;
    world.post(None, large_state(1, 16 << 20)).await.is_ok();
    let live = start(&world, 400).await;
    let mut stream = reading(&live).await;
    let crawling = tokio::spawn(async move {
        let mut byte = [0];
        while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
            sleep(Duration::from_millis(10)).await;
        }
    });
    live.connections(1).await;
    live.connections(0).await;
    crawling.abort();
    live.stop().await;
}

/// Of one namespace sixteen are answered at a time. Those who do not take their answers give way to others.
#[tokio::test]
async fn c41_readers_that_stall_keep_nobody_out() {
    let body = BodyTimes { idle: Duration::from_millis(300), ..BodyTimes::default() };
    let options = HttpOptions { body, ..HttpOptions::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    let state = large_state(1, 6 << 20);
    world.post(None, state.clone()).await.is_ok();
    let live = start(&world, 60_000).await;
    let mut stalled = Vec::new();
    for _ in 0..40 {
        stalled.push(reading(&live).await);
    }
    live.connections(40).await;
    let answer = live.send(false, ask("GET", &format!("/{PATH}")).request).await.unwrap();
    assert!(answer.status == 200 && answer.text() == state);
    // What they had not taken does not come any more.
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, stalled[0].read_to_end(&mut rest)).await.expect("it ends");
    assert!(rest.len() < state.len(), "{}", rest.len());
    drop(stalled);
    live.stop().await;
}

/// The whole takes longer than a connection may be idle.
#[tokio::test]
async fn c41_a_slow_reader_gets_all_of_it() {
    let world = World::new().await;
    let state = large_state(1, 8 << 20);
    world.post(None, state.clone()).await.is_ok();
    let live = start(&world, 2_000).await;
    let mut stream = reading(&live).await;
    let (began, mut all) = (Instant::now(), Vec::new());
    let mut piece = vec![0; state.len() / 12];
    loop {
        let read = timeout(DEADLINE, stream.read_exact(&mut piece)).await.expect("more comes");
        if read.is_err() {
            break;
        }
        all.extend_from_slice(&piece);
        sleep(Duration::from_millis(250)).await;
    }
    assert!(began.elapsed() > Duration::from_secs(2));
    let text = String::from_utf8_lossy(&all);
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    // The last piece is no whole one.
    assert!(body.len() > state.len() / 12 * 11 && state.starts_with(body), "{} of {}", body.len(), state.len());
    live.stop().await;
}
