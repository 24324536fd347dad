//! The operator's own token, from a variable or a file: renewed, replaced by another in the file, and told of when it ends.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tofustate::{
    openbao::{Credential, Login, Token, TokenSource as _},
    store::KvError,
};
use tofustate_e2e::bao::fixture;
use tokio::sync::watch;

use crate::{
    log::Log,
    world::{POLICY, World, instance, off, path, private, run, said, state, token, until},
};

/// A token of the operator's rights that lives for so long.
fn short(world: &World, lives: &Value) -> fixture::Token {
    let mut asked = json!({"policies": [POLICY], "no_default_policy": true});
    for (key, value) in lives.as_object().unwrap() {
        asked[key] = value.clone();
    }
    let made = world.api().must("POST", "auth/token/create-orphan", &asked);
    let field = |name: &str| made["auth"][name].as_str().unwrap().to_owned();
    fixture::Token { secret: field("client_token"), accessor: field("accessor") }
}

fn parsed(token: &fixture::Token) -> Token {
    Token::parse(&token.secret).unwrap()
}

#[test]
fn a_token_that_can_be_renewed_lives_on() {
    let Some(world) = World::set_up("a_token_that_can_be_renewed_lives_on") else { return };
    let given = short(&world, &json!({"period": "20s"}));
    run(async {
        let login = Login::new(world.connect(), Credential::Token(parsed(&given)), &instance()).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn({
            let login = login.clone();
            async move { login.run(stopped).await }
        });
        until("it outlived its period by far", || async {
            let found = off(|| world.look_up(&given.accessor)).expect("it lives");
            let made = found["creation_time"].as_i64().unwrap();
            let age = jiff::Timestamp::now().as_second() - made;
            if age > 42 { Ok(()) } else { Err(format!("it is {age} s old")) }
        })
        .await;
        assert_eq!(login.trouble().await, None);
        stop.send_replace(true);
        running.await.unwrap();
        assert!(off(|| world.look_up(&given.accessor)).is_some(), "a token that was given is not ended");
    });
}

#[test]
fn a_lost_token_is_replaced_by_what_the_file_has_by_now() {
    let Some(world) = World::set_up("a_lost_token_is_replaced_by_what_the_file_has_by_now") else { return };
    let file = world.operator();
    run(async {
        let bao = world.connect();
        let login = world.login(&bao);
        let stores = world.stores_with(&bao, login.clone());
        state(&stores, "team/one").get("team/one").await.unwrap();

        let first = token(&file);
        let (second, third) =
            off(|| (short(&world, &json!({"period": "1h"})), short(&world, &json!({"period": "1h"}))));
        off(|| world.api().with_token(first.expose()).ask("GET", "auth/token/lookup-self", &Value::Null).unwrap());
        let revoke = |token: &Token| {
            let asked = json!({"token": token.expose()});
            off(|| world.api().must("POST", "auth/token/revoke", &asked));
        };
        // Lost, and nothing else is there: it says what to do.
        revoke(&first);
        let fault = state(&stores, "team/two").get("team/two").await.unwrap_err();
        let trouble = login.trouble().await.unwrap();
        assert!(trouble.contains("was revoked or has expired") && trouble.contains(path(&file)), "{trouble}; {fault}");
        // Another is put there: the next call takes it.
        private(&file, &second.secret);
        until("it is taken", || async {
            state(&stores, "team/two").get("team/two").await.map(drop).map_err(|error| error.to_string())
        })
        .await;
        assert_eq!(login.token().unwrap(), parsed(&second));

        // Without a refusal it is taken as well, soon; one that others may read is not.
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn({
            let login = login.clone();
            async move { login.run(stopped).await }
        });
        private(&file, &third.secret);
        until("the third is taken", || async {
            if login.token() == Some(parsed(&third)) { Ok(()) } else { Err("it is not".to_owned()) }
        })
        .await;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        until("the mode is noticed", || async {
            match login.trouble().await {
                Some(trouble) if trouble.contains("chmod 600") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(login.token(), Some(parsed(&third)), "what it has it keeps");
        stop.send_replace(true);
        running.await.unwrap();
    });
}

#[test]
fn an_operator_without_a_right_does_not_log_in_for_ever() {
    let Some(world) = World::set_up("an_operator_without_a_right_does_not_log_in_for_ever") else { return };
    let api = world.api();
    fixture::policy(&api, "less", &json!({"path": {"auth/token/lookup-self": {"capabilities": ["read"]}}}));
    let less = fixture::token(&api, &["less"]);
    run(async {
        let login = Login::new(world.connect(), Credential::Token(parsed(&less)), &instance()).unwrap();
        assert!(!login.refused(&parsed(&less)).await, "it is alive: another would have no more rights");
        assert_eq!(login.trouble().await, None);
        let dead =
            Login::new(world.connect(), Credential::Token(Token::parse("s.nobodys").unwrap()), &instance()).unwrap();
        assert!(!dead.refused(&Token::parse("s.nobodys").unwrap()).await);
        assert!(dead.trouble().await.unwrap().contains("BAO_TOKEN"), "it says which one");
        // Who asks with it is told so, and waits for nothing.
        let stores = world.stores_with(&world.connect(), Arc::new(dead));
        let fault = state(&stores, "team/app").get("team/app").await.unwrap_err();
        assert!(matches!(&fault, KvError::Denied(why) if why.contains("BAO_TOKEN")), "{fault:?}");
    });
}

#[test]
fn a_token_that_ends_is_told_of_and_none_is_shown() {
    let Some(world) = World::set_up("a_token_that_ends_is_told_of_and_none_is_shown") else { return };
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .finish();
    let root = token(&world.server.root_token_file());
    let cases = [
        (parsed(&short(&world, &json!({"ttl": "2h", "renewable": false}))), Some("this token for OpenBao ends then")),
        (
            parsed(&short(&world, &json!({"ttl": "2h", "explicit_max_ttl": "3h"}))),
            Some("this token for OpenBao ends then"),
        ),
        (parsed(&short(&world, &json!({"period": "2h"}))), None),
        (root, Some("this is a root token")),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Of this thread alone: the runtime has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    // What other tests, which have no subscriber, came by at this very moment would else be off for good.
    tracing::callsite::rebuild_interest_cache();
    let mut secrets = Vec::new();
    for (token, says) in cases {
        log.0.lock().unwrap().clear();
        runtime.block_on(async {
            let login = Login::new(world.connect(), Credential::Token(token.clone()), &instance()).unwrap();
            let (stop, stopped) = watch::channel(false);
            let running = login.run(stopped);
            tokio::pin!(running);
            let looked = async {
                // Of the look-up: what it told is told before `stop` is seen.
                while !String::from_utf8_lossy(&log.0.lock().unwrap()).contains("Response Received") {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                stop.send_replace(true);
            };
            tokio::join!(running, looked);
            assert!(!format!("{login:?}").contains(token.expose()));
            // A state's token is made, with this one.
            let name = format!("team/state-{}", rand::random::<u32>());
            let stores = world.stores_with(&world.connect(), Arc::new(login.clone()));
            state(&stores, &name).get(&name).await.unwrap();
            let kept: Value =
                serde_json::from_slice(&std::fs::read(world.kept().join(format!("{name}.json"))).unwrap()).unwrap();
            secrets.push(kept["token"].as_str().unwrap().to_owned());
            stores.end().await;
        });
        secrets.push(token.expose().to_owned());
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let warned: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        match says {
            Some(says) => assert!(warned.len() == 1 && warned[0].contains(says), "{warned:?}"),
            None => assert_eq!(warned, Vec::<&str>::new()),
        }
        assert!(text.contains("made the token of a state"), "{text}");
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "a token is in the log:\n{text}");
    }
    assert!(said(&world.bootstrap(&["--check"])).contains("is set up"));
}

#[test]
fn a_policy_that_is_missing_is_told_of_once_and_no_other_token_is_asked_for() {
    let name = "a_policy_that_is_missing_is_told_of_once_and_no_other_token_is_asked_for";
    let Some(world) = World::set_up(name) else { return };
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Of this thread alone: the runtime has no other.
    let _guard = tracing::subscriber::set_default(subscriber);
    let warned = || -> Vec<String> {
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
    };
    runtime.block_on(async {
        let login = world.login(&world.connect());
        let (stop, stopped) = watch::channel(false);
        let work = async {
            let own = login.obtain().await.unwrap();
            until("it was looked at", || async { login.answers().await.map_err(|fault| fault.to_string()) }).await;
            world.api().must("DELETE", &format!("sys/policies/acl/{POLICY}"), &Value::Null);
            let began = std::time::Instant::now();
            // Refusals, and looks of the login's own in between, of which one comes each five seconds.
            while began.elapsed() < Duration::from_secs(12) {
                assert!(!login.refused(&own).await, "another would have no more rights");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            let told = warned();
            assert!(
                told.len() == 1 && told[0].contains(POLICY) && told[0].contains("run tofustate bootstrap"),
                "{told:?}"
            );
            let mended = world.bootstrap(&[]);
            assert!(mended.status.success(), "{}", said(&mended));
            until("it is healed", || async { login.trouble().await.map_or(Ok(()), Err) }).await;
            assert_eq!(warned().len(), 1);
            stop.send_replace(true);
        };
        tokio::join!(login.run(stopped), work);
    });
}
