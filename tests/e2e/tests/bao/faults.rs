//! The proxy: each fault does what its name says, the counts are right, and a seed repeats itself.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;
use tofustate_e2e::{
    bao::{Api, Bao, Setup, fixture},
    proxy::{self, Fault},
    wait,
};

use crate::{read, status, write};

/// A server, and its API through the proxy.
fn proxied(test: &str) -> Option<(Bao, Api)> {
    let bao = (Setup { proxied: true, ..Setup::default() }).start(test)?;
    let token = fixture::states(&bao.api());
    let api = bao.proxied_api(0).with_token(&token.secret);
    Some((bao, api))
}

#[test]
fn each_fault_does_what_it_says() {
    let Some((bao, api)) = proxied("each_fault_does_what_it_says") else { return };
    let (direct, proxy) = (bao.api(), bao.proxy(0));
    let hold = Duration::from_millis(300);
    proxy.script(
        |method, path| method == "POST" && path == "/v1/states/data/a",
        [
            Some(Fault::DropAnswer),
            Some(Fault::DropRequest),
            None,
            Some(Fault::HoldRequest(hold)),
            Some(Fault::HoldAnswer(hold)),
            Some(Fault::CutAnswer),
            Some(Fault::Answer(429, Some(1))),
            Some(Fault::Answer(503, None)),
        ],
    );
    write(&api, "a", "1", 0).unwrap_err();
    assert_eq!(read(&direct, "a").1, 1, "the server acted");
    write(&api, "a", "2", 1).unwrap_err();
    assert_eq!(read(&direct, "a").1, 1, "the server did not act");
    assert_eq!(status(write(&api, "a", "2", 1)), 200);
    for cas in [2, 3] {
        let began = Instant::now();
        assert_eq!(status(write(&api, "a", "held", cas)), 200);
        assert!(began.elapsed() >= hold);
    }
    let cut = write(&api, "a", "5", 4).unwrap_err();
    assert_eq!(read(&direct, "a").1, 5, "the server acted: {cut}");
    let limited = write(&api, "a", "6", 5).unwrap();
    assert_eq!((limited.status, limited.retry_after.as_deref()), (429, Some("1")));
    assert_eq!(status(write(&api, "a", "6", 5)), 503);
    assert_eq!(read(&direct, "a").1, 5, "the server did not act");
    assert_eq!(status(write(&api, "a", "6", 5)), 200, "after the script no more faults");

    let names =
        ["drop-answer", "drop-request", "hold-request", "hold-answer", "cut-answer", "answer-429", "answer-503"];
    assert_eq!(proxy.injected(), names.map(|name| (name.to_owned(), 1)).into());
    assert_eq!(proxy.untouched(), 2);
    assert_eq!(proxy::injected("each_fault_does_what_it_says", [proxy]), 7);
}

#[test]
fn a_held_request_arrives_after_its_client_has_gone() {
    let Some((bao, _)) = proxied("a_held_request_arrives_after_its_client_has_gone") else { return };
    let proxy = bao.proxy(0);
    proxy.script(|_, _| true, [Some(Fault::HoldRequest(Duration::from_millis(300)))]);
    let token = fixture::token(&bao.api(), &[fixture::MOUNT]).secret;
    let body = r#"{"options": {"cas": 0}, "data": {"value": "late"}}"#;
    let mut client = TcpStream::connect(proxy.url().strip_prefix("http://").unwrap()).unwrap();
    write!(
        client,
        "POST /v1/states/data/late HTTP/1.1\r\nHost: proxy\r\nX-Vault-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    wait::until("the request is held", || if proxy.injected().is_empty() { Err(String::new()) } else { Ok(()) });
    drop(client);
    wait::until("the request arrives", || match bao.api().ask("GET", "states/data/late", &Value::Null)?.status {
        200 => Ok(()),
        other => Err(format!("GET: {other}")),
    });
}

#[test]
fn a_seed_repeats_itself() {
    let Some((bao, api)) = proxied("a_seed_repeats_itself") else { return };
    let proxy = bao.proxy(0);
    let round = || -> (Vec<u16>, BTreeMap<String, u64>) {
        let faults = [Fault::Answer(502, None), Fault::Answer(503, Some(0))];
        proxy.random(|_, path| path.starts_with("/v1/states/data/"), 7, 50, &faults);
        let before = proxy.injected();
        let statuses = (0..40).map(|_| status(api.ask("GET", "states/data/none", &Value::Null))).collect();
        proxy.calm();
        let mut counts = proxy.injected();
        counts.iter_mut().for_each(|(name, count)| *count -= before.get(name).unwrap_or(&0));
        (statuses, counts)
    };
    let (first, second) = (round(), round());
    assert_eq!(first, second);
    let count = |status: u16| first.0.iter().filter(|answer| **answer == status).count() as u64;
    assert!(count(404) > 0 && count(502) > 0 && count(503) > 0, "{first:?}");
    assert_eq!((first.1["answer-502"], first.1["answer-503"]), (count(502), count(503)));
}

#[test]
fn a_server_that_is_gone_is_no_fault_of_the_proxy() {
    let Some((mut bao, api)) = proxied("a_server_that_is_gone_is_no_fault_of_the_proxy") else { return };
    bao.proxy(0).script(|_, _| true, [Some(Fault::DropAnswer)]);
    bao.kill(0);
    write(&api, "a", "1", 0).unwrap_err();
    assert_eq!(bao.proxy(0).injected(), BTreeMap::new());
    bao.restart(0);
    bao.active();
    assert_eq!(status(write(&api, "a", "1", 0)), 200);
}

#[test]
#[should_panic(expected = "no fault was injected")]
fn a_test_without_faults_fails() {
    proxy::injected("a_test_without_faults_fails", [&proxy::Proxy::start("127.0.0.1:1")]);
}
