//! 41 and what else only shows on a connection: both versions of HTTP, bodies that come in pieces, early answers, cut
//! connections, pipelines, a stop.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::Request,
};
use futures_util::stream;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tofustate::{
    http::ServerOptions,
    store::{Settings, keys},
};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    ask::{Ask, ask, basic},
    kv::{Call, Do},
    live::{DEADLINE, Live, absolute, whole},
    world::{PATH, Setup, TOKEN, World, large_state, lock_info, state, until},
};

/// A body whose pieces come when the test sends them; `None` of the sender is its end.
pub fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let pieces = stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), receiver))
    });
    (sender, Body::from_stream(pieces))
}

fn post(query: &str) -> Ask {
    ask("POST", &format!("/{PATH}{query}"))
}

async fn limited(max_size: u64) -> World {
    World::with(Setup { settings: Settings { max_size, ..Settings::default() }, ..Setup::default() }).await
}

#[tokio::test]
async fn c41_all_verbs_over_both_versions() {
    for http2 in [false, true] {
        let world = World::new().await;
        let live = Live::start(&world.router, ServerOptions::default()).await;
        let send = async |ask: Ask| live.send(http2, ask.request).await.unwrap();
        let of = |method: &str| ask(method, &format!("/{PATH}"));
        send(of("GET")).await.is_error(404, "no_state");
        send(of("LOCK").body(lock_info("a"))).await.is_ok();
        send(of("LOCK").body(lock_info("b"))).await.is_held(&lock_info("a"));
        // Its length announced, and not.
        let (small, large) = (state(1), large_state(2, 400_000));
        for body in [small, large] {
            send(post("?ID=a").body(body.clone())).await.is_ok();
            assert_eq!(send(of("GET")).await.is(200).text(), body);
        }
        let large = large_state(3, 400_000);
        let pieces: Vec<_> =
            large.as_bytes().chunks(7_000).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
        send(post("?ID=a").body(Body::from_stream(stream::iter(pieces)))).await.is_ok();
        let answer = send(of("GET")).await;
        assert_eq!(answer.is(200).text(), large);
        assert_eq!(answer.header("content-length"), Some(large.len().to_string().as_str()));
        send(of("UNLOCK").body(lock_info("b"))).await.is_held(&lock_info("a"));
        send(of("UNLOCK").body(lock_info("a"))).await.is_ok();
        send(of("UNLOCK")).await.is_ok();
        send(of("DELETE")).await.is_ok();
        send(of("GET").anonymous()).await.is_error(401, "no_credential");
        send(of("HEAD")).await.is(405);
        live.stop().await;
    }
}

#[tokio::test]
async fn c41_many_requests_on_one_connection() {
    let world = World::new().await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let (mut sender, connection) = http1::handshake(TokioIo::new(live.tcp().await)).await.unwrap();
    tokio::spawn(connection);
    for serial in 1..30 {
        let written = whole(sender.send_request(post("").body(state(serial)).request).await.unwrap()).await.unwrap();
        written.is_ok();
        let get = ask("GET", &format!("/{PATH}")).request;
        sender.ready().await.unwrap();
        let read = whole(sender.send_request(get).await.unwrap()).await.unwrap();
        assert_eq!(read.text(), state(serial));
        sender.ready().await.unwrap();
    }
    // At the same time, on one of HTTP/2.
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(live.tcp().await)).await.unwrap();
    tokio::spawn(connection);
    // With the first answer the client knows how many at a time.
    whole(sender.send_request(absolute(ask("GET", &format!("/{PATH}")).request)).await.unwrap()).await.unwrap().is(200);
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let get = absolute(ask("GET", &format!("/{PATH}")).request);
                whole(sender.send_request(get).await.unwrap()).await.unwrap()
            })
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.await.unwrap().is(200).text(), state(29));
    }
    live.stop().await;
}

#[tokio::test]
async fn c41_pipelined_requests_are_answered_in_order() {
    let world = World::new().await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let (auth, body) = (basic(TOKEN), state(1));
    let length = body.len();
    let mut raw = live.raw().await;
    raw.write(format!(
        "POST /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: {length}\r\n\r\n{body}\
         GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n\r\n\
         GET /{PATH}/ HTTP/1.1\r\nHost: x\r\n\r\n\
         DELETE /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: 0\r\n\r\n\
         GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nConnection: close\r\n\r\n"
    ))
    .await;
    let answers = raw.answers().await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 400, 200, 404]);
    assert_eq!(answers[1].text(), body);
    live.stop().await;
}

/// A client as they come: it sends all, and then looks for the answer.
#[tokio::test]
async fn c21_an_early_answer_can_be_read() {
    let world = limited(1_000_000).await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let good = basic(TOKEN);
    for (target, auth, status) in [
        (PATH, good.as_str(), 413),
        (PATH, "Basic d3Jvbmc6d3Jvbmc=", 403),
        ("nobody/registered", good.as_str(), 403),
        (PATH, "none", 401),
        ("team/app/", good.as_str(), 400),
        ("team/app?ID=", good.as_str(), 400),
    ] {
        // Far more than the buffers of a connection hold.
        let (size, piece) = (24 << 20, vec![b' '; 1 << 20]);
        for chunked in [false, true] {
            let length = if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {size}") };
            let mut raw = live.raw().await;
            raw.write(format!("POST /{target} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n{length}\r\n\r\n")).await;
            for _ in 0..size / piece.len() {
                if chunked {
                    raw.write(format!("{:x}\r\n", piece.len())).await;
                }
                raw.write(&piece).await;
                if chunked {
                    raw.write("\r\n").await;
                }
            }
            if chunked {
                raw.write("0\r\n\r\n").await;
            }
            let answer = raw.answer().await.expect("an answer");
            answer.is(status);
            assert_eq!(answer.header("connection"), Some("close"));
            assert!(raw.is_closed().await);
        }
    }
    live.stop().await;
}

#[tokio::test]
async fn c21_an_early_answer_over_http2() {
    let world = limited(1_000_000).await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    for (ask, status) in [(post(""), 413), (post("").token("wrong"), 403), (post("").anonymous(), 401)] {
        let piece = Bytes::from(vec![b' '; 64 * 1024]);
        let pieces = stream::iter((0..128).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        let ask = ask.header("content-length", &(8 << 20).to_string()).body(Body::from_stream(pieces));
        let answer = live.send(true, ask.request).await.unwrap();
        answer.is(status);
        // The connection is as good as before, which HTTP/2 has no "close" for.
        assert_eq!(answer.header("connection"), None);
    }
    live.stop().await;
}

#[tokio::test]
async fn c21_at_once_by_the_announced_length() {
    let world = limited(1_000_000).await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    for http2 in [false, true] {
        // The client sends nothing of its body before it has the answer.
        let (sender, body) = channel();
        let ask = post("").header("content-length", "1000001").body(body);
        live.send(http2, ask.request).await.unwrap().is_error(413, "too_large");
        drop(sender);
    }
    live.stop().await;
}

#[tokio::test]
async fn c21_a_refused_body_is_not_read_for_ever() {
    let mut options = tofustate::http::HttpOptions::default();
    options.body.drain = Duration::from_millis(200);
    let world = World::with(Setup { options, ..Setup::default() }).await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let mut raw = live.raw().await;
    raw.write(format!("POST /{PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")).await;
    raw.answer().await.unwrap().is_error(401, "no_credential");
    until("the connection is closed", async || raw.try_write("x").await.is_err()).await;
    live.stop().await;
}

#[tokio::test]
async fn c41_expect_100_continue() {
    let world = limited(1_000_000).await;
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let (auth, body) = (basic(TOKEN), state(1));
    let head = |auth: &str, length: usize| {
        format!(
            "POST /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let mut raw = live.raw().await;
    raw.write(head(&auth, body.len())).await;
    raw.answer().await.unwrap().is(100);
    raw.write(&body).await;
    raw.answer().await.unwrap().is_ok();
    // Refused: nobody is told to go on, and no request is looked for where the body would be.
    for (auth, length, status) in [("none", 10, 401), ("Basic d3Jvbmc6d3Jvbmc=", 10, 403), (&*auth, 2_000_000, 413)] {
        let mut raw = live.raw().await;
        raw.write(head(auth, length)).await;
        let answer = raw.answer().await.unwrap();
        answer.is(status);
        assert_eq!(answer.header("connection"), Some("close"));
        raw.try_write(format!("GET /{PATH}?smuggled HTTP/1.1\r\nHost: x\r\n\r\n")).await.ok();
        use tokio::io::AsyncWriteExt as _;
        raw.0.shutdown().await.ok();
        assert!(raw.is_closed().await);
    }
    assert!(!world.seen().iter().any(|seen| seen.contains("smuggled")), "{:?}", world.seen());
    assert_eq!(world.get().await.text(), body);
    live.stop().await;
}

#[tokio::test]
async fn c41_http_1_0() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let mut raw = live.raw().await;
    raw.write(format!("GET /{PATH} HTTP/1.0\r\nAuthorization: {}\r\n\r\n", basic(TOKEN))).await;
    let answers = raw.answers().await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].is(200).text(), state(1));
    live.stop().await;
}

#[tokio::test]
async fn c23_an_upload_whose_connection_breaks() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    let live = Live::start(&world.router, ServerOptions::default()).await;
    let large = large_state(2, 400_000);
    let half = &large[..250_000];
    let stored = async || world.kv.parts_of(PATH).await > 3;
    for length in [format!("Content-Length: {}", large.len()), "Transfer-Encoding: chunked".to_owned()] {
        let mut raw = live.raw().await;
        let auth = basic(TOKEN);
        raw.write(format!("POST /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n{length}\r\n\r\n")).await;
        if length.starts_with('T') {
            raw.write(format!("{:x}\r\n", large.len())).await;
        }
        raw.write(half).await;
        until("parts are stored", stored).await;
        drop(raw);
        until("they are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    }
    // A stream that is reset.
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(live.tcp().await)).await.unwrap();
    tokio::spawn(connection);
    let (pieces, body) = channel();
    let answer = tokio::spawn(sender.send_request(absolute(post("").body(body).request)));
    pieces.send(Bytes::copy_from_slice(half.as_bytes())).await.unwrap();
    until("parts are stored", stored).await;
    answer.abort();
    drop(pieces);
    until("they are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    assert_eq!(world.get().await.text(), state(1));
    // A later one is not in its way.
    live.send(true, post("").body(large.clone()).request).await.unwrap().is_ok();
    assert_eq!(world.get().await.text(), large);
    live.stop().await;
}

#[tokio::test]
async fn c02_a_fault_after_the_answer_began_cuts_it_short() {
    let world = World::new().await;
    let body = large_state(1, 2_000_000);
    world.post(None, body.clone()).await.is_ok();
    let object = world.head().await.current().unwrap().body.object().unwrap().clone();
    let live = Live::start(&world.router, ServerOptions::default()).await;
    for index in [object.parts / 2, object.parts - 1] {
        let key = keys::part(world.state.path(), &object.name, index);
        world.kv.plan(move |call, asked| (call == Call::Get && asked == key).then_some(Do::Find(None)));
        for http2 in [false, true] {
            let cut = live.send(http2, ask("GET", &format!("/{PATH}")).request).await;
            assert!(cut.is_err(), "part {index}, HTTP/2 {http2}: it must not look whole");
        }
    }
    world.kv.heal();
    for http2 in [false, true] {
        let answer = live.send(http2, ask("GET", &format!("/{PATH}")).request).await.unwrap();
        assert_eq!(answer.text(), body);
    }
    live.stop().await;
}

#[tokio::test]
async fn a_stop_lets_an_upload_finish() {
    for http2 in [false, true] {
        let world = World::new().await;
        let live = Arc::new(Live::start(&world.router, ServerOptions::default()).await);
        let large = large_state(1, 400_000);
        let (first, second) = large.split_at(250_000);
        let (pieces, body) = channel();
        let asked = live.clone();
        let writing = tokio::spawn(async move { asked.send(http2, post("").body(body).request).await });
        pieces.send(Bytes::copy_from_slice(first.as_bytes())).await.unwrap();
        until("parts are stored", async || world.kv.parts_of(PATH).await > 3).await;
        live.begin_stop();
        until("no new connection is taken", async || tokio::net::TcpStream::connect(live.address).await.is_err()).await;
        assert!(!writing.is_finished());
        pieces.send(Bytes::copy_from_slice(second.as_bytes())).await.unwrap();
        drop(pieces);
        timeout(DEADLINE, writing).await.unwrap().unwrap().unwrap().is_ok();
        live.ended().await;
        assert_eq!(world.stored().await.unwrap(), large.as_bytes());
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections_nor_for_ever() {
    let world = World::new().await;
    world.post(None, state(1)).await.is_ok();
    let options = ServerOptions { drain: Duration::from_millis(300), ..ServerOptions::default() };
    let live = Live::start(&world.router, options.clone()).await;
    let mut idle = live.raw().await;
    idle.write(format!("GET /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", basic(TOKEN))).await;
    idle.answer().await.unwrap().is(200);
    live.stop().await;
    assert!(idle.is_closed().await);
    // An upload that never ends is cut off when the time is over.
    let live = Live::start(&world.router, options).await;
    let (pieces, body) = channel();
    let request: Request<Body> = post("").body(body).request;
    let address = live.address;
    let writing = tokio::spawn(async move {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        crate::live::send_over(stream, false, request).await
    });
    pieces.send(Bytes::from(large_state(2, 200_000)[..150_000].to_owned())).await.unwrap();
    until("parts are stored", async || world.kv.parts_of(PATH).await > 3).await;
    live.stop().await;
    assert!(timeout(DEADLINE, writing).await.unwrap().unwrap().is_err());
    until("they are deleted", async || world.kv.parts_of(PATH).await == 0).await;
    assert_eq!(world.get().await.text(), state(1));
}
