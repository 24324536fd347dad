//! 41: clients that stop, crawl, crowd or shout are cut off, and take nothing from others.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::{StreamExt as _, stream};
use tofustate::http::{BodyTimes, HttpOptions, ServerOptions, ServerTimes};
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

use crate::{
    ask::{ask, basic},
    live::{Live, Raw},
    wire::channel,
    world::{PATH, Setup, TOKEN, World, large_state, lock_info, state, until},
};

fn times(head: u64, idle: u64, place: u64) -> ServerOptions {
    let of = Duration::from_millis;
    let times = ServerTimes { head: of(head), idle: of(idle), place: of(place), ..ServerTimes::default() };
    ServerOptions { times, ..ServerOptions::default() }
}

/// With the times that are served with, on a clock that leaps.
#[tokio::test]
async fn c41_a_body_that_stops_or_crawls() {
    let world = World::new().await;
    tokio::time::pause();
    for method in ["POST", "LOCK", "UNLOCK"] {
        let of = |body: Body| ask(method, &format!("/{PATH}")).body(body).send(&world);
        let began = Instant::now();
        let stops = stream::iter([Ok::<_, std::io::Error>(Bytes::from("{"))]).chain(stream::pending());
        let sentence = of(Body::from_stream(stops)).await.is_error(408, "too_slow");
        assert!(sentence.contains("30 seconds"), "{sentence}");
        assert_eq!(began.elapsed().as_secs(), 30);

        let began = Instant::now();
        let a_byte_a_second = stream::repeat(()).take(3_600).then(|()| async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(Bytes::from(" "))
        });
        of(Body::from_stream(a_byte_a_second)).await.is_error(408, "too_slow");
        assert!(began.elapsed() < Duration::from_secs(33), "{:?}", began.elapsed());

        // Nothing comes, again and again.
        let began = Instant::now();
        let nothing = stream::repeat(()).take(3_600).then(|()| async {
            sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(Bytes::new())
        });
        of(Body::from_stream(nothing)).await.is_error(408, "too_slow");
        assert!(began.elapsed() < Duration::from_secs(62), "{:?}", began.elapsed());
    }
    tokio::time::resume();
    assert_eq!(world.stored().await, None);
}

#[tokio::test]
async fn c41_a_slow_line_is_no_attack() {
    let world = World::new().await;
    let body = large_state(1, 60_000);
    let pieces: Vec<_> = body.as_bytes().chunks(1_100).map(Bytes::copy_from_slice).collect();
    let last = pieces.len() - 1;
    tokio::time::pause();
    let slow = stream::iter(pieces.into_iter().enumerate()).then(move |(at, piece)| async move {
        sleep(Duration::from_secs(1)).await;
        if at == last {
            // The store has no clock that leaps.
            tokio::time::resume();
        }
        Ok::<_, std::io::Error>(piece)
    });
    world.post(None, Body::from_stream(slow)).await.is_ok();
    assert_eq!(world.stored().await.unwrap(), body.as_bytes());
}

#[tokio::test]
async fn c41_an_upload_that_stops_on_the_wire() {
    let body =
        BodyTimes { idle: Duration::from_millis(300), drain: Duration::from_millis(100), ..BodyTimes::default() };
    let options = HttpOptions { body, ..HttpOptions::default() };
    let world = World::with(Setup { options, ..Setup::default() }).await;
    world.post(None, state(1)).await.is_ok();
    let live = Live::start(&world.router, ServerOptions::default()).await;
    for http2 in [false, true] {
        let (pieces, body) = channel();
        let request = ask("POST", &format!("/{PATH}")).body(body).request;
        pieces.send(Bytes::from(large_state(2, 400_000)[..250_000].to_owned())).await.unwrap();
        live.send(http2, request).await.unwrap().is_error(408, "too_slow");
        until("its parts are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    }
    assert_eq!(world.get().await.text(), state(1));
    // The connection is not kept either.
    let mut raw = live.raw().await;
    let auth = basic(TOKEN);
    raw.write(format!("LOCK /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: 9\r\n\r\n{{"))
        .await;
    raw.answer().await.unwrap().is_error(408, "too_slow");
    assert!(raw.is_closed().await);
    live.connections(0).await;
    live.stop().await;
}

#[tokio::test]
async fn c41_connections_that_send_nothing() {
    let world = World::new().await;
    let live = Live::start(&world.router, times(300, 600, 5_000)).await;
    let mut silent = live.raw().await;
    assert!(silent.is_closed().await);
    // Nothing after a first request.
    let mut idle = live.raw().await;
    idle.write(format!("GET /{PATH}/ HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    idle.answer().await.unwrap().is(400);
    assert!(idle.is_closed().await);
    // The preface of HTTP/2, and no answer to a PING.
    let mut preface = live.tcp().await;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(crate::live::DEADLINE, preface.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "it is closed");
    live.connections(0).await;
    live.stop().await;
}

#[tokio::test]
async fn c41_a_head_that_crawls() {
    let world = World::new().await;
    let live = Live::start(&world.router, times(400, 60_000, 5_000)).await;
    for begin in ["GET /team/app HTTP/1.1\r\nX: ", "GET /team", "P"] {
        let mut raw = live.raw().await;
        raw.write(begin).await;
        until("it is cut off", async || {
            sleep(Duration::from_millis(20)).await;
            raw.try_write("x").await.is_err()
        })
        .await;
    }
    live.connections(0).await;
    live.stop().await;
}

#[tokio::test]
async fn c40_too_many_connections() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    let options = ServerOptions { connections: 2, ..times(60_000, 60_000, 300) };
    let live = Live::start(&world.router, options).await;
    let get = format!("GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", basic(TOKEN));
    let (first, second) = (live.raw().await, live.raw().await);
    live.connections(2).await;
    let mut third = live.raw().await;
    third.try_write(&get).await.ok();
    assert!(third.is_closed().await, "it waited in vain");
    // One that waits gets the place that is left.
    let mut fourth = live.raw().await;
    fourth.write(&get).await;
    drop(first);
    fourth.answer().await.unwrap().is(200);
    drop((second, fourth));
    live.connections(0).await;
    live.send(true, ask("GET", &format!("/{PATH}")).request).await.unwrap().is(200);
    live.stop().await;
}

#[tokio::test]
async fn c41_a_reader_that_stops() {
    let world = World::new().await;
    // More than the buffers of a connection hold.
    let filler = "x".repeat(24 << 20);
    world.post(None, format!(r#"{{"serial":1,"x":"{filler}"}}"#)).await.is_ok();
    let live = Live::start(&world.router, times(60_000, 400, 5_000)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut raw = Raw(socket.connect(live.address).await.unwrap());
    raw.write(format!("GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", basic(TOKEN))).await;
    live.connections(1).await;
    live.connections(0).await;
    // Meanwhile and after, others are served.
    world.lock("a").await.is_ok();
    live.send(false, ask("UNLOCK", &format!("/{PATH}")).body(lock_info("a")).request).await.unwrap().is_ok();
    live.stop().await;
}

#[tokio::test]
async fn c41_heads_that_are_too_large() {
    let world = World::new().await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let of = |lines: &str, target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    let target = format!("/{PATH}");
    for bytes in [
        of(&"X: y\r\n".repeat(200), &target),
        of(&format!("X: {}\r\n", "y".repeat(40_000)), &target),
        of(&format!("{}: y\r\n", "X".repeat(40_000)), &target),
        of("", &format!("{target}?{}", "x".repeat(70_000))),
        of(&format!("X: {}", "y".repeat(1 << 20)), &target),
    ] {
        let mut raw = live.raw().await;
        raw.try_write(&bytes).await.ok();
        let statuses: Vec<_> = raw.answers().await.iter().map(|answer| answer.status).collect();
        assert!(matches!(statuses[..], [] | [400] | [414] | [431]), "{statuses:?} to {:.80}", bytes);
    }
    // Over HTTP/2.
    let huge = ask("GET", &target).header("x", &"y".repeat(40_000)).request;
    match live.send(true, huge).await {
        Ok(answer) => assert!(matches!(answer.status, 400 | 431), "{}", answer.status),
        Err(error) => println!("refused by {error}"),
    }
    assert_eq!(world.seen(), Vec::<String>::new(), "none of them is a request");
    live.send(true, ask("GET", &target).header("x", &"y".repeat(8_000)).request).await.unwrap().is(404);
    live.stop().await;
}
