//! What a server refuses, has not, or has damaged: each is told apart, and none is ever taken for "there is nothing".

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Value as Json, json};
use tofustate::{
    openbao::{Bao, OpenBaoKv, Settings, Token, TokenSource},
    store::{Entry, Expect, Kv, KvError, Revision, Value, keys},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::bao::{Setup, fixture};

use crate::{
    kv_conformance::{document, entry, noise, part},
    world::{connect, insist, kv, off, run, settings},
};

/// What the design's policy of one state says.
pub(crate) fn state_policy(path: &str) -> Json {
    let flat = path.replace('/', ":");
    let rules = |capabilities: &[&str]| json!({ "capabilities": capabilities });
    json!({"path": {
        format!("states/data/{path}"): rules(&["create", "read", "update"]),
        format!("states/data/.versions/{flat}/*"): rules(&["create", "read", "update"]),
        format!("states/metadata/.versions/{flat}/*"): rules(&["read", "list", "delete"]),
    }})
}

/// Asks everything that a store can be asked of one key's neighbourhood, and gives what came of it.
async fn everything(kv: &OpenBaoKv, key: &str) -> Vec<(&'static str, Result<(), KvError>)> {
    let part_key = format!("{}{}/1-a", keys::VERSIONS, key.replace('/', ":"));
    let folder = format!("{}{}/", keys::VERSIONS, key.replace('/', ":"));
    vec![
        ("get", kv.get(key).await.map(drop)),
        ("put", kv.put(key, &document("{}"), Expect::Absent).await.map(drop)),
        ("put part", kv.put(&part_key, &part("bytes", 0), Expect::Absent).await.map(drop)),
        ("get part", kv.get(&part_key).await.map(drop)),
        ("list", kv.list_parts(&folder).await.map(drop)),
        ("delete", kv.delete_part(&part_key).await),
    ]
}

#[test]
fn a_states_token_does_all_for_its_state_and_nothing_for_another() {
    let Some(server) = Setup::default().start("a_states_token_does_all_for_its_state_and_nothing_for_another") else {
        return;
    };
    let api = server.api();
    fixture::states(&api);
    let long = format!("{}/{}", ["a-b.c_d"; 7].join("/"), "z".repeat(200 - 7 * 8));
    assert_eq!((long.len(), long.split('/').count()), (200, 8));
    run(async {
        let bao = connect(&server);
        for path in ["team/app", "team/app.prod-1_x", long.as_str()] {
            let token = off(|| {
                fixture::policy(&api, "one", &state_policy(path));
                fixture::token(&api, &["one"])
            });
            let kv = kv(&bao, &token);
            for (what, done) in everything(&kv, path).await {
                done.unwrap_or_else(|error| panic!("{what} of {path}: {error}"));
            }
            for other in ["team", "team/ap", "team/app2", "team/app/more", "other"] {
                for (what, done) in everything(&kv, other).await {
                    assert!(matches!(done, Err(KvError::Denied(_))), "{what} of {other} by {path}'s token: {done:?}");
                }
            }
        }
    });
}

/// A source whose token is replaced when it is refused, as the operator's Secret is read again.
struct Replaced {
    tokens: Mutex<Vec<Token>>,
    refused: AtomicU64,
}

#[async_trait::async_trait]
impl TokenSource for Replaced {
    fn token(&self) -> Option<Token> {
        self.tokens.lock().unwrap().last().cloned()
    }

    async fn refused(&self, token: &Token) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut tokens = self.tokens.lock().unwrap();
        assert!(tokens.last() == Some(token), "another token was refused than the one that was given");
        if tokens.len() == 1 {
            return false;
        }
        tokens.pop();
        true
    }
}

#[test]
fn a_refused_token_is_asked_for_again_and_told_from_a_missing_right() {
    let name = "a_refused_token_is_asked_for_again_and_told_from_a_missing_right";
    let Some(server) = Setup::default().start(name) else { return };
    let (api, good) = (server.api(), fixture::states(&server.api()));
    let revoked = fixture::token(&api, &[fixture::MOUNT]);
    api.must("POST", "auth/token/revoke-accessor", &json!({"accessor": revoked.accessor}));
    let rightless = fixture::token(&api, &["no-such-policy"]);
    let parse = |token: &fixture::Token| Token::parse(&token.secret).unwrap();
    let source = |tokens: &[&fixture::Token]| {
        Arc::new(Replaced { tokens: Mutex::new(tokens.iter().map(|token| parse(token)).collect()), refused: 0.into() })
    };
    run(async {
        let bao = connect(&server);
        let tokens = source(&[&good, &revoked]);
        let kv = OpenBaoKv::new(bao.clone(), tokens.clone());
        kv.put("team/app", &document("{}"), Expect::Absent).await.unwrap();
        assert_eq!(tokens.refused.load(Ordering::Relaxed), 1);
        for (token, what) in [(&revoked, "revoked"), (&rightless, "denies")] {
            let tokens = source(&[token]);
            let kv = OpenBaoKv::new(bao.clone(), tokens.clone());
            for (verb, done) in everything(&kv, "team/other").await {
                let Err(KvError::Denied(message)) = done else { panic!("{verb}: {done:?}") };
                assert!(message.contains(what) && !message.contains(&token.secret), "{verb}: {message}");
            }
            assert_eq!(tokens.refused.load(Ordering::Relaxed), 6);
        }
        let none = OpenBaoKv::new(bao, source(&[]));
        assert!(matches!(none.get("team/app").await, Err(KvError::Denied(_))));
    });
}

fn all_gone(asked: Vec<(&'static str, Result<(), KvError>)>) {
    for (verb, done) in asked {
        assert!(matches!(done, Err(KvError::Gone(_))), "{verb}: {done:?}");
    }
}

#[test]
fn a_mount_that_is_gone_is_not_an_empty_one() {
    let Some(server) = Setup::default().start("a_mount_that_is_gone_is_not_an_empty_one") else { return };
    let (api, token) = (server.api(), fixture::states(&server.api()));
    run(async {
        let kv = kv(&connect(&server), &token);
        kv.put("team/app", &document("{}"), Expect::Absent).await.unwrap();
        off(|| api.must("DELETE", "sys/mounts/states", &Json::Null));
        all_gone(everything(&kv, "team/app").await);
    });
}

#[test]
fn a_namespace_that_is_gone_is_not_an_empty_one() {
    let setup = Setup { openbao_only: true, ..Setup::default() };
    let Some(server) = setup.start("a_namespace_that_is_gone_is_not_an_empty_one") else { return };
    let api = server.api();
    api.must("POST", "sys/namespaces/tofu", &json!({}));
    let token = fixture::states(&api.in_namespace("tofu"));
    run(async {
        let connect = |namespace: &str| {
            let settings = Settings { namespace: Some(namespace.to_owned()), ..settings(&server, &[0]) };
            Bao::new(settings, OpenBaoMetrics::default()).unwrap()
        };
        let there = kv(&connect("tofu"), &token);
        there.put("team/app", &document("{}"), Expect::Absent).await.unwrap();
        assert_eq!(entry(&there, "team/app").await.value, document("{}"));
        all_gone(everything(&kv(&connect("other"), &token), "team/app").await);
        off(|| api.must("DELETE", "sys/namespaces/tofu", &Json::Null));
        insist("the namespace is gone", || async {
            // Its deletion takes a moment: its tokens, its mounts, then itself.
            let got = there.get("team/app").await;
            assert!(!matches!(got, Ok(None)), "an empty store was seen");
            match everything(&there, "team/app").await.iter().all(|(_, done)| matches!(done, Err(KvError::Gone(_)))) {
                true => Ok(()),
                false => Err(KvError::Unavailable { retry_after: None, message: format!("{got:?}") }),
            }
        })
        .await;
    });
}

#[test]
fn kv_version_1_is_found_out() {
    let Some(server) = Setup::default().start("kv_version_1_is_found_out") else { return };
    let api = server.api();
    api.must("POST", "sys/mounts/old", &json!({"type": "kv", "options": {"version": "1"}}));
    let all = json!({"capabilities": ["create", "read", "update", "delete", "list"]});
    fixture::policy(&api, "old", &json!({"path": {"old/*": all}}));
    let token = fixture::token(&api, &["old"]);
    run(async {
        let settings = Settings { mount: "old".to_owned(), ..settings(&server, &[0]) };
        let kv = kv(&Bao::new(settings, OpenBaoMetrics::default()).unwrap(), &token);
        // Of what it has not it says the same as version 2.
        let none = kv.get("team/none").await.unwrap_err();
        assert!(matches!(none, KvError::Gone(_)) && none.to_string().contains("KV version 2"), "{none}");
        // It writes, and compares nothing.
        let put = kv.put("team/app", &document("{}"), Expect::At(Revision(7))).await.unwrap_err();
        assert!(matches!(put, KvError::Other(_)) && put.to_string().contains("KV version 2"), "{put}");
        let get = kv.get("team/app").await.unwrap_err();
        assert!(matches!(get, KvError::Gone(_)) && get.to_string().contains("KV version 2"), "{get}");
    });
}

#[test]
fn a_deleted_head_is_damage_and_stays_as_it_is() {
    let Some(server) = Setup::default().start("a_deleted_head_is_damage_and_stays_as_it_is") else { return };
    let (api, token) = (server.api(), fixture::states(&server.api()));
    run(async {
        let kv = kv(&connect(&server), &token);
        for (key, how) in [("team/deleted", "deleted at 20"), ("team/destroyed", "destroyed")] {
            let first = kv.put(key, &document("{}"), Expect::Absent).await.unwrap();
            off(|| match how {
                "destroyed" => api.must("PUT", &format!("states/destroy/{key}"), &json!({"versions": [1]})),
                _ => api.must("DELETE", &format!("states/data/{key}"), &Json::Null),
            });
            let Some(Entry { value: Value::Deleted(what), revision }) = kv.get(key).await.unwrap() else {
                panic!("{key} is something else")
            };
            assert!(what.contains(how) && what.contains("bao kv undelete"), "{what}");
            assert_eq!(revision, first);
            let over = kv.put(key, &document("{}"), Expect::Absent).await;
            assert!(matches!(over, Err(KvError::CasMismatch)), "{over:?}");
        }
        off(|| api.must("POST", "states/undelete/team/deleted", &json!({"versions": [1]})));
        assert_eq!(entry(&kv, "team/deleted").await.value, document("{}"));
    });
}

#[test]
fn a_mount_that_is_being_upgraded_is_waited_for() {
    let Some(server) = Setup::default().start("a_mount_that_is_being_upgraded_is_waited_for") else { return };
    let (api, token) = (server.api(), fixture::states(&server.api()));
    api.must("DELETE", "sys/mounts/states", &Json::Null);
    api.must("POST", "sys/mounts/states", &json!({"type": "kv", "options": {"version": "1"}}));
    for number in 0..200 {
        api.must("POST", &format!("states/old-{number}"), &json!({"a": "b"}));
    }
    run(async {
        let kv = kv(&connect(&server), &token);
        off(|| api.must("POST", "sys/mounts/states/tune", &json!({"options": {"version": "2"}})));
        let first = kv.put("team/app", &document("{}"), Expect::Absent).await;
        assert!(
            matches!(&first, Err(KvError::Unavailable { message, .. }) if message.contains("Upgrading")),
            "{first:?}"
        );
        let put = insist("put", || async { kv.put("team/app", &document("{}"), Expect::Absent).await }).await;
        assert_eq!(entry(&kv, "team/app").await.revision, put);
    });
}

#[test]
fn parts_fit_a_server_that_takes_less() {
    let setup = Setup { max_entry_size: Some(200 << 10), ..Setup::default() };
    let Some(server) = setup.start("parts_fit_a_server_that_takes_less") else { return };
    let token = fixture::states(&server.api());
    run(async {
        let kv = kv(&connect(&server), &token);
        let key = |name: &str| format!("{}team:app/{name}", keys::VERSIONS);
        let usual = kv.part_bytes();
        assert_eq!(usual, 640 << 10);
        let put = kv.put(&key("1-a"), &part(noise(usual, 1), 0), Expect::Absent).await;
        assert!(matches!(put, Err(KvError::TooLarge(_))), "{put:?}");
        assert_eq!(kv.get(&key("1-a")).await.unwrap(), None);
        let now = kv.part_bytes();
        assert!((100 << 10..150 << 10).contains(&now), "{now}");
        let whole = part(noise(now, 1), 0);
        kv.put(&key("1-a"), &whole, Expect::Absent).await.unwrap();
        assert!(entry(&kv, &key("1-a")).await.value == whole);
        // Of a document nothing is learned: it has one size. Packed, this one is no smaller.
        let text: String = noise(300 << 10, 1).iter().map(|byte| char::from(b'!' + byte % 90)).collect();
        let put = kv.put("team/app", &document(&text), Expect::Absent).await;
        assert!(matches!(put, Err(KvError::TooLarge(_))), "{put:?}");
        assert_eq!(kv.part_bytes(), now);
    });
}

#[test]
fn a_server_that_limits_requests_is_given_time() {
    let Some(server) = Setup::default().start("a_server_that_limits_requests_is_given_time") else { return };
    let (api, token) = (server.api(), fixture::states(&server.api()));
    run(async {
        let kv = kv(&connect(&server), &token);
        kv.put("team/app", &document("{}"), Expect::Absent).await.unwrap();
        off(|| {
            api.must("POST", "sys/quotas/config", &json!({"enable_rate_limit_response_headers": true}));
            api.must("POST", "sys/quotas/rate-limit/few", &json!({"rate": 1, "path": "states"}));
        });
        let mut limited = None;
        for _ in 0..5 {
            limited = limited.or(kv.get("team/app").await.err());
        }
        let Some(KvError::Unavailable { message, retry_after }) = limited else { panic!("{limited:?}") };
        assert!(message.contains("quota"), "{message}");
        assert!(retry_after.is_some());
        insist("get", || kv.get("team/app")).await;
    });
}

#[test]
fn a_sealed_server_says_so() {
    let Some(server) = Setup::default().start("a_sealed_server_says_so") else { return };
    let token = fixture::states(&server.api());
    run(async {
        let kv = kv(&connect(&server), &token);
        kv.put("team/app", &document("{}"), Expect::Absent).await.unwrap();
        let node = off(|| server.seal());
        for (verb, done) in everything(&kv, "team/app").await {
            let Err(KvError::Unavailable { message, .. }) = done else { panic!("{verb}: {done:?}") };
            assert!(message.contains("sealed"), "{verb}: {message}");
        }
        off(|| server.unseal(node));
        let found = insist("get", || kv.get("team/app")).await;
        assert_eq!(found.map(|found| found.value), Some(document("{}")));
    });
}
