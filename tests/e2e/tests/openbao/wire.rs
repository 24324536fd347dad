//! What can happen between the client and a server: answers that are lost, late or cut, things that are not OpenBao, TLS.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value as Json;
use tofustate::{
    openbao::{Address, Bao, OpenBaoKv, Settings, Token},
    store::{Expect, Kv, KvError, Revision},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::{
    bao::{Setup, fixture},
    proxy::{self, Fault},
};

use crate::{
    kv_conformance::{document, entry},
    world::{insist, kv, off, run, settings},
};

const KEY: &str = "team/app";

fn is_entry(method: &'static str) -> impl Fn(&str, &str) -> bool {
    move |asked, path| asked == method && path == "/v1/states/data/team/app"
}

fn away<T: std::fmt::Debug>(done: Result<T, KvError>) -> (String, Option<Duration>) {
    match done {
        Err(KvError::Unavailable { message, retry_after }) => (message, retry_after),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_may_have_happened_is_not_done_twice() {
    let name = "what_may_have_happened_is_not_done_twice";
    let Some(server) = (Setup { proxied: true, ..Setup::default() }).start(name) else { return };
    let token = fixture::states(&server.api());
    let version =
        || off(|| server.api().must("GET", "states/data/team/app", &Json::Null)["metadata"]["version"].clone());
    run(async {
        let settings = Settings { call_timeout: Duration::from_secs(1), ..settings(&server, &[0]) };
        let kv = kv(&Bao::new(settings, OpenBaoMetrics::default()).unwrap(), &token);
        let (mut revision, mut expected) = (kv.put(KEY, &document("0"), Expect::Absent).await.unwrap(), 1);
        for (fault, acts) in [
            (Fault::DropAnswer, true),
            (Fault::CutAnswer, true),
            (Fault::HoldAnswer(Duration::from_secs(3)), true),
            (Fault::DropRequest, false),
            (Fault::Answer(502, None), false),
            (Fault::Answer(503, None), false),
            (Fault::Answer(504, None), false),
        ] {
            server.proxy(0).script(is_entry("POST"), [Some(fault)]);
            let put = kv.put(KEY, &document(&format!("{fault:?}")), Expect::At(revision)).await;
            away(put);
            expected += u64::from(acts);
            assert_eq!(version(), expected, "after {fault:?}");
            // The next look tells, on a connection that was not broken.
            let found = entry(&kv, KEY).await;
            assert_eq!(found.revision.0, expected, "{fault:?}");
            assert_eq!(found.value == document(&format!("{fault:?}")), acts, "{fault:?}");
            revision = found.revision;
        }
        server.proxy(0).script(is_entry("GET"), [Some(Fault::Answer(429, Some(7)))]);
        let (message, retry_after) = away(kv.get(KEY).await);
        assert_eq!(retry_after, Some(Duration::from_secs(7)), "{message}");
    });
    assert_eq!(proxy::injected(name, [server.proxy(0)]), 8);
}

#[test]
fn a_read_is_believed_only_when_the_node_said_that_it_is_active() {
    let name = "a_read_is_believed_only_when_the_node_said_that_it_is_active";
    let Some(server) = (Setup { proxied: true, ..Setup::default() }).start(name) else { return };
    let token = fixture::states(&server.api());
    run(async {
        let kv = kv(&Bao::new(settings(&server, &[0]), OpenBaoMetrics::default()).unwrap(), &token);
        kv.put(KEY, &document("{}"), Expect::Absent).await.unwrap();
        let leader = |_: &str, path: &str| path == "/v1/sys/leader";
        for fault in [Fault::DropAnswer, Fault::CutAnswer, Fault::Answer(503, None)] {
            server.proxy(0).script(leader, [Some(fault)]);
            away(kv.get(KEY).await);
            // It may have been a refusal of a standby's, which knows no better.
            server.proxy(0).script(leader, [Some(fault)]);
            away(kv.put(KEY, &document("{}"), Expect::At(Revision(9))).await);
            // And to one the deletion of what it has not is done.
            server.proxy(0).script(leader, [Some(fault)]);
            away(kv.delete_part(".versions/team:app/1-a").await);
            insist("get", || kv.get(KEY)).await;
        }
        // A write that was done needs no word from anybody.
        server.proxy(0).script(leader, [Some(Fault::DropAnswer)]);
        kv.put(KEY, &document("1"), Expect::At(Revision(1))).await.unwrap();
        assert_eq!(server.proxy(0).injected()["drop-answer"], 3);
    });
}

/// A server on loopback that gives every request the same bytes, and counts the requests and the tokens among them.
struct Other {
    url: String,
    requests: Arc<AtomicU64>,
    tokens: Arc<AtomicU64>,
}

impl Other {
    fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, tokens) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, held, answer) = (requests.clone(), tokens.clone(), answer.into());
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 1024];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                if request.is_empty() {
                    continue;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
                held.fetch_add(u64::from(text.contains("x-vault-token")), Ordering::SeqCst);
                let _ = stream.write_all(&answer);
            }
        });
        Self { url, requests, tokens }
    }

    fn kv(&self) -> OpenBaoKv {
        let settings = Settings {
            call_timeout: Duration::from_secs(2),
            ..Settings::new(vec![Address::parse(&self.url, false).unwrap()])
        };
        let token = Arc::new(Token::parse("s.secret").unwrap());
        OpenBaoKv::new(Bao::new(settings, OpenBaoMetrics::default()).unwrap(), token)
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

#[test]
fn what_is_not_openbao_gets_no_token_and_is_no_empty_store() {
    let elsewhere = Other::answering(http("200 OK", "", r#"{"ha_enabled":false}"#));
    let to = format!("Location: {}/v1/sys/leader\r\n", elsewhere.url);
    run(async {
        for (answer, said) in [
            (http("200 OK", "Content-Type: text/html\r\n", "<html>It works!</html>"), "not OpenBao"),
            (http("404 Not Found", "", "404 page not found"), "not OpenBao"),
            (http("401 Unauthorized", "", "<html>Sign in</html>"), "not OpenBao"),
            (http("302 Found", &to, ""), "elsewhere"),
            (http("307 Temporary Redirect", &to, ""), "not the active one"),
            (http("502 Bad Gateway", "", "<html>"), "502"),
            (
                http("200 OK", "", r#"{"ha_enabled":true,"is_self":false,"leader_address":"http://10.0.0.1:8200"}"#),
                "plain HTTP",
            ),
            (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "broke"),
            (Vec::new(), "broke"),
        ] {
            let other = Other::answering(answer);
            let kv = other.kv();
            for done in [
                kv.get(KEY).await.map(drop),
                kv.put(KEY, &document("{}"), Expect::Absent).await.map(drop),
                kv.list_parts(".versions/team:app/").await.map(drop),
                kv.delete_part(".versions/team:app/1-a").await,
            ] {
                let (message, _) = away(done);
                assert!(message.contains(said) && !message.contains("s.secret"), "{said}: {message}");
            }
            assert!(other.requests.load(Ordering::SeqCst) >= 4, "{said}");
            assert_eq!(other.tokens.load(Ordering::SeqCst), 0, "{said}: a token was sent");
        }
    });
    assert_eq!(elsewhere.requests.load(Ordering::SeqCst), 0, "a redirect was followed");
}

#[test]
fn a_server_that_nobody_answers_at_is_said_to_be_away() {
    let port = tofustate_e2e::ports::free();
    run(async {
        let address = Address::parse(&format!("http://127.0.0.1:{port}"), false).unwrap();
        let kv = OpenBaoKv::new(
            Bao::new(Settings::new(vec![address]), OpenBaoMetrics::default()).unwrap(),
            Arc::new(Token::parse("s.secret").unwrap()),
        );
        let (message, _) = away(kv.get(KEY).await);
        assert!(message.contains("cannot be reached") && message.contains(&port.to_string()), "{message}");
    });
}

#[test]
fn tls_trusts_the_ca_that_was_named_and_nobody_else() {
    let name = "tls_trusts_the_ca_that_was_named_and_nobody_else";
    let Some(server) = (Setup { tls: true, ..Setup::default() }).start(name) else { return };
    let Some(stranger) = (Setup { tls: true, ..Setup::default() }).start(name) else { return };
    let token = fixture::states(&server.api());
    let identity = Some((server.tls().client_certificate(), server.tls().client_key()));
    let good = Settings { ca: Some(server.tls().ca()), identity, ..settings(&server, &[0]) };
    run(async {
        let kv = |settings: Settings| kv(&Bao::new(settings, OpenBaoMetrics::default()).unwrap(), &token);
        let right = kv(good.clone());
        right.put(KEY, &document("{}"), Expect::Absent).await.unwrap();
        assert_eq!(entry(&right, KEY).await.value, document("{}"));
        let (message, _) = away(kv(Settings { ca: Some(stranger.tls().ca()), ..good.clone() }).get(KEY).await);
        assert!(message.contains("TLS failed: invalid peer certificate"), "{message}");
        // The server wants a client's certificate.
        away(kv(Settings { identity: None, ..good.clone() }).get(KEY).await);
        let control = Bao::new(good.clone(), OpenBaoMetrics::default()).unwrap();
        let token = Token::parse(&std::fs::read_to_string(server.root_token_file()).unwrap()).unwrap();
        let looked_up =
            control.run(Some(&token), |client| async move { vaultrs::token::lookup_self(&**client).await }).await;
        assert!(looked_up.unwrap().policies.contains(&"root".to_owned()));
    });
    for broken in [
        Settings { ca: Some(server.tls().client_key()), ..good.clone() },
        Settings { ca: Some("/nowhere".into()), ..good.clone() },
        Settings { identity: Some((server.tls().client_certificate(), stranger.tls().client_key())), ..good.clone() },
        Settings { identity: Some((server.tls().client_key(), server.tls().client_key())), ..good },
    ] {
        let error = Bao::new(broken.clone(), OpenBaoMetrics::default()).unwrap_err().to_string();
        assert!(error.contains("BAO_C") && !error.contains("PRIVATE"), "{broken:?}: {error}");
    }
}
