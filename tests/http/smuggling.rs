//! 38: requests that two servers might cut differently. Each is refused, or framed as RFC 9112 says; what hides in its
//! body is never taken for a request.

use std::time::Duration;

use tofustate::http::{BodyTimes, HttpOptions, ServerOptions, ServerTimes};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    ask::{Answer, basic},
    live::{Live, Raw},
    world::{PATH, Setup, TOKEN, World, state},
};

/// What is sent, and all that comes back until the connection is closed.
async fn exchange(live: &Live, bytes: &[u8]) -> Vec<Answer> {
    let mut raw = live.raw().await;
    raw.try_write(bytes).await.ok();
    rest(raw).await
}

/// All that comes back. After the first answer nothing more is sent, so that the server ends as well.
async fn rest(mut raw: Raw<TcpStream>) -> Vec<Answer> {
    let mut answers: Vec<_> = raw.answer().await.into_iter().collect();
    raw.0.shutdown().await.ok();
    answers.append(&mut raw.answers().await);
    answers
}

fn hidden() -> String {
    format!("GET /{PATH}?hidden HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", basic(TOKEN))
}

/// A request with these header lines and this body, and the one that must not be seen behind it.
fn request(lines: &str, body: &str) -> String {
    let (auth, hidden) = (basic(TOKEN), hidden());
    format!("POST /{PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n{lines}\r\n\r\n{body}{hidden}")
}

struct Fixture {
    world: World,
    live: Live,
}

impl Fixture {
    async fn new() -> Self {
        // What waits for more gives up soon.
        let soon = Duration::from_millis(300);
        let body = BodyTimes { idle: soon, drain: soon, ..BodyTimes::default() };
        let options = HttpOptions { body, ..HttpOptions::default() };
        let world = World::with(Setup { options, ..Setup::default() }).await;
        world.post(None, state(1)).await.is_ok();
        let times = ServerTimes { head: soon, ..ServerTimes::default() };
        let live = Live::start(&world.router, ServerOptions { times, ..ServerOptions::default() }).await;
        Self { world, live }
    }

    fn hidden_seen(&self) -> bool {
        self.world.seen().iter().any(|seen| seen.contains("hidden"))
    }

    /// Refused: one answer of 400, or none at all, and the state as it was.
    async fn refused(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let answers = exchange(&self.live, bytes).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        let text = String::from_utf8_lossy(bytes);
        assert!(matches!(statuses[..], [] | [400] | [408] | [431] | [414] | [505]), "{statuses:?} to {text}");
        assert!(!self.hidden_seen(), "seen behind {text}");
        assert_eq!(self.world.stored().await.unwrap(), state(1).as_bytes(), "{text}");
    }
}

#[tokio::test]
async fn c38_the_check_would_see_a_second_request() {
    let all = Fixture::new().await;
    let body = state(1);
    exchange(&all.live, request(&format!("Content-Length: {}", body.len()), &body).as_bytes()).await;
    assert!(all.hidden_seen(), "well-formed requests behind each other are two");
    all.live.stop().await;
}

#[tokio::test]
async fn c38_lengths_that_contradict_each_other() {
    let all = Fixture::new().await;
    let length = hidden().len();
    for lines in [
        "Content-Length: 0\r\nContent-Length: 5".to_owned(),
        format!("Content-Length: {length}\r\nContent-Length: 0"),
        "Content-Length: 0, 5".to_owned(),
        "Content-Length: 5, 5".to_owned(),
        "Content-Length: +5".to_owned(),
        "Content-Length: -5".to_owned(),
        "Content-Length: 0x5".to_owned(),
        "Content-Length: 5 5".to_owned(),
        "Content-Length: 5;".to_owned(),
        "Content-Length: ".to_owned(),
        "Content-Length: 18446744073709551616".to_owned(),
        "Content-Length: 99999999999999999999999999999".to_owned(),
        "Transfer-Encoding: identity".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding: \"chunked\"".to_owned(),
        "Transfer-Encoding: chunked;q=1".to_owned(),
        "Transfer-Encoding:".to_owned(),
        "Transfer-Encoding: \u{b}chunked".to_owned(),
    ] {
        all.refused(request(&lines, "")).await;
        all.refused(request(&lines, "0\r\n\r\n")).await;
    }
    all.live.stop().await;
}

#[tokio::test]
async fn c38_both_a_length_and_chunks() {
    let all = Fixture::new().await;
    let body = state(1);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for length in [0, 3, body.len(), chunked.len(), chunked.len() + hidden().len()] {
        for lines in [
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
            format!("Transfer-encoding: CHUNKED\r\nX: y\r\nContent-Length: {length}\r\nContent-Length: {length}"),
        ] {
            // By the chunks, and then the connection is closed.
            let answers = exchange(&all.live, request(&lines, &chunked).as_bytes()).await;
            let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
            assert!(matches!(statuses[..], [200 | 400]), "{statuses:?} to {lines}");
            assert_eq!(answers[0].header("connection"), Some("close"), "{lines}");
            assert!(!all.hidden_seen(), "{lines}");
        }
    }
    assert_eq!(all.world.stored().await.unwrap(), body.as_bytes());
    all.live.stop().await;
}

#[tokio::test]
async fn c38_bad_chunks() {
    let all = Fixture::new().await;
    let chunked = "Transfer-Encoding: chunked";
    for body in [
        "g\r\n",
        "-1\r\n",
        "+2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "\r\n{}\r\n0\r\n\r\n",
        ";x\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\n{}",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}xx0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "2;a\nb\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\r\nX: y\r\n z: folded\r\n",
    ] {
        all.refused(request(chunked, body)).await;
    }
    let endless = format!("2;{}", "x".repeat(1 << 20));
    all.refused(request(chunked, &endless)).await;
    let trailers = format!("2\r\n{{}}\r\n0\r\n{}", "X: y\r\n".repeat(50_000));
    all.refused(request(chunked, &trailers)).await;
    all.refused(format!(
        "POST /{PATH} HTTP/1.0\r\n{chunked}\r\nAuthorization: {}\r\n\r\n0\r\n\r\n{}",
        basic(TOKEN),
        hidden()
    ))
    .await;
    all.live.stop().await;
}

#[tokio::test]
async fn c38_header_lines_that_are_none() {
    let all = Fixture::new().await;
    for lines in [
        "Content-Length : 0",
        "Content-Length\t: 0",
        "Transfer-Encoding : chunked",
        " Content-Length: 0",
        "X: y\r\n Content-Length: 0",
        "X: y\r\n\tfolded",
        "X: a\rb",
        "X: a\rContent-Length: 0",
        "X: a\0b",
        "X: a\u{7f}b",
        "X: a\u{1}b",
        "X\0: y",
        ": nothing",
        "no colon",
        "X(y): z",
        "X y: z",
        "\u{fc}: z",
        "Content-Length\r: 0",
    ] {
        all.refused(request(lines, "")).await;
    }
    all.live.stop().await;
}

#[tokio::test]
async fn c38_request_lines_that_are_none() {
    let all = Fixture::new().await;
    let (auth, hidden) = (basic(TOKEN), hidden());
    for line in [
        "GET /team/app",
        "GET /team/app HTTP/1.1 x",
        "GET /team/app x HTTP/1.1",
        "GET  /team/app HTTP/1.1",
        "GET /team/app HTTP/1.2",
        "GET /team/app HTTP/2.0",
        "GET /team/app HTTP/11",
        "GET /team/app http/1.1",
        "GET /team/app\rHTTP/1.1",
        "GET /team/a\0pp HTTP/1.1",
        " GET /team/app HTTP/1.1",
        "G\u{1}T /team/app HTTP/1.1",
        "GET HTTP/1.1",
        "GET",
        "{}",
        "\u{16}\u{3}\u{1}",
    ] {
        all.refused(format!("{line}\r\nHost: x\r\nAuthorization: {auth}\r\n\r\n{hidden}")).await;
    }
    all.live.stop().await;
}

#[tokio::test]
async fn c38_forms_of_the_target() {
    let all = Fixture::new().await;
    let auth = basic(TOKEN);
    for (line, status) in [
        // RFC 9112, 3.2.2: a server has to take the absolute form.
        (format!("GET http://elsewhere.test/{PATH} HTTP/1.1"), 200),
        (format!("GET http://user:password@elsewhere.test:99/{PATH}?x=y HTTP/1.1"), 200),
        (format!("GET http://elsewhere.test//{PATH} HTTP/1.1"), 400),
        (format!("GET http://elsewhere.test/{PATH}/ HTTP/1.1"), 400),
        (format!("GET http://elsewhere.test/x/../{PATH} HTTP/1.1"), 400),
        ("GET http://elsewhere.test HTTP/1.1".into(), 400),
        ("CONNECT elsewhere.test:443 HTTP/1.1".into(), 400),
        ("GET elsewhere.test:443 HTTP/1.1".into(), 400),
        ("GET team HTTP/1.1".into(), 400),
        ("OPTIONS * HTTP/1.1".into(), 400),
        (format!("GET //{PATH} HTTP/1.1"), 400),
        ("GET /team//app HTTP/1.1".into(), 400),
        ("GET /team/../team/app HTTP/1.1".into(), 400),
        ("GET /team%2fapp HTTP/1.1".into(), 400),
        ("GET /team/%61pp HTTP/1.1".into(), 400),
        ("GET /team/app%0d%0aX:%20y HTTP/1.1".into(), 400),
        // A fragment is none of the path.
        (format!("GET /{PATH}#x/../y HTTP/1.1"), 200),
        (format!("GET /{PATH}/. HTTP/1.1"), 400),
    ] {
        let bytes = format!("{line}\r\nHost: x\r\nAuthorization: {auth}\r\nConnection: close\r\n\r\n");
        let answers = exchange(&all.live, bytes.as_bytes()).await;
        let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [status], "{line}");
        assert_eq!(answers[0].header("location"), None);
    }
    all.live.stop().await;
}

#[tokio::test]
async fn c38_a_body_is_no_request_whatever_the_method() {
    let all = Fixture::new().await;
    let (inner, good) = (hidden(), basic(TOKEN));
    let length = inner.len();
    for (method, target) in [
        ("GET", PATH),
        ("DELETE", PATH),
        ("POST", PATH),
        ("LOCK", PATH),
        ("UNLOCK", PATH),
        ("PATCH", PATH),
        ("OPTIONS", PATH),
        ("GET", "team/app/"),
        ("POST", "nobody/registered"),
    ] {
        for auth in [good.as_str(), "none", "Basic d3Jvbmc6d3Jvbmc="] {
            for (lines, body) in [
                (format!("Content-Length: {length}"), inner.clone()),
                ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{inner}\r\n0\r\n\r\n")),
            ] {
                let head =
                    format!("{method} /{target} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n{lines}\r\n\r\n");
                // At once, and the body a moment later.
                let answers = exchange(&all.live, format!("{head}{body}").as_bytes()).await;
                assert_eq!(answers.len(), 1, "{head}");
                let mut raw = all.live.raw().await;
                raw.write(&head).await;
                tokio::task::yield_now().await;
                raw.try_write(&body).await.ok();
                assert_eq!(rest(raw).await.len(), 1, "{head}");
                assert!(!all.hidden_seen(), "{head}");
            }
        }
    }
    // Of the state, GET and DELETE were meant.
    all.world.get().await.is_error(404, "no_state");
    all.live.stop().await;
}
