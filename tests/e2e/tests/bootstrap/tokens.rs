//! Tokens of states: got when first needed, once; kept; healed whatever was done to them; renewed; ended.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tofustate::{
    openbao::{Fault, OpenBaoStores, Replica, ScopedToken, TokenSource as _},
    store::{Expect, Kv, KvError, Value as Entry},
};

use crate::world::{ROLE, World, off, policy, private, run, said, state, until};

const PATH: &str = "team/app";

fn held(stores: &OpenBaoStores) -> ScopedToken {
    stores.token("team", "app").expect("the store was asked for this state")
}

async fn write(kv: &dyn Kv) {
    kv.put(PATH, &Entry::Document("{}".into()), Expect::Absent).await.unwrap();
}

/// As the engine: repeats while the store is not there.
async fn read(kv: &dyn Kv) -> Result<(), KvError> {
    for _ in 0..200 {
        match kv.get(PATH).await {
            Err(KvError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            done => return done.map(drop),
        }
    }
    Err(KvError::Other("it stayed away".to_owned()))
}

#[test]
fn a_token_is_made_at_first_use_once_and_found_again() {
    let Some(world) = World::set_up("a_token_is_made_at_first_use_once_and_found_again") else { return };
    let made = || off(|| world.tokens_of(&policy(PATH)));
    run(async {
        let stores = world.stores();
        let kv = state(&stores, PATH);
        assert_eq!(made(), Vec::<String>::new(), "nothing was asked of the store yet");
        let many: Vec<_> = (0..40)
            .map(|_| {
                let kv = kv.clone();
                tokio::spawn(async move { kv.get(PATH).await })
            })
            .collect();
        for one in many {
            assert_eq!(one.await.unwrap().unwrap(), None);
        }
        write(&*kv).await;
        let first = made();
        assert_eq!(first, [held(&stores).accessor().unwrap()], "one for all of them");
        let found = off(|| world.look_up(&first[0])).unwrap();
        assert_eq!(
            (&found["orphan"], &found["role"], &found["period"]),
            (&json!(true), &json!(ROLE), &Value::Null),
            "{found}"
        );
        assert_eq!(found["creation_ttl"], 259_200, "{found}");

        // Another process finds it.
        let next = world.stores();
        read(&*state(&next, PATH)).await.unwrap();
        assert_eq!(made(), first);
        // And ends it.
        next.end().await;
        assert_eq!(made(), Vec::<String>::new());
        assert!(!world.kept().join("team/app.json").exists());
    });
}

#[test]
fn a_token_that_another_instance_left_in_the_folder_is_ended_with_those_that_came_after_it() {
    let name = "a_token_that_another_instance_left_in_the_folder_is_ended_with_those_that_came_after_it";
    let Some(world) = World::set_up(name) else { return };
    run(async {
        let before = world.stores();
        write(&*state(&before, PATH)).await;
        let left = held(&before).accessor().unwrap();
        // As if the process had been another instance's, and had crashed.
        let file = world.kept().join("team/app.json");
        let text = fs::read_to_string(&file).unwrap();
        let theirs = text.replace(&policy(PATH), "tofustate/former/team/app");
        assert_ne!(theirs, text);
        private(&file, &theirs);

        let next = world.stores();
        read(&*state(&next, PATH)).await.unwrap();
        let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept["policy"], policy(PATH));
        assert_eq!(kept["retired"][0]["accessor"], left, "it is still known");
        assert_eq!(off(|| world.tokens_of(&policy(PATH))).len(), 2);
        next.end().await;
        assert_eq!(off(|| world.tokens_of(&policy(PATH))), Vec::<String>::new());
    });
}

#[test]
fn who_gives_up_half_way_leaves_no_token_that_nobody_knows() {
    let Some(world) = World::set_up("who_gives_up_half_way_leaves_no_token_that_nobody_knows") else { return };
    run(async {
        let stores = world.stores();
        let paths: Vec<_> = (0..40).map(|at| format!("team/state-{at}")).collect();
        for (at, path) in (0..).zip(&paths) {
            // At another moment of it each time.
            let _ = tokio::time::timeout(Duration::from_millis(3 * at), state(&stores, path).get(path)).await;
        }
        for path in &paths {
            state(&stores, path).get(path).await.unwrap();
            assert_eq!(off(|| world.tokens_of(&policy(path))).len(), 1, "{path}");
        }
    });
}

#[test]
fn whatever_is_done_to_a_token_it_heals() {
    let Some(world) = World::set_up("whatever_is_done_to_a_token_it_heals") else { return };
    let api = world.api();
    let named = policy(PATH);
    run(async {
        let stores = world.stores();
        let kv = state(&stores, PATH);
        write(&*kv).await;
        let first = held(&stores).accessor().unwrap();

        // The policy is deleted, or another: the token stays.
        for harm in [None, Some(json!({"policy": "path \"x\" { capabilities = [\"read\"] }"}))] {
            off(|| match &harm {
                None => api.must("DELETE", &format!("sys/policies/acl/{named}"), &Value::Null),
                Some(body) => api.must("POST", &format!("sys/policies/acl/{named}"), body),
            });
            until("the policy is back", || async { read(&*kv).await.map_err(|error| error.to_string()) }).await;
            assert_eq!(held(&stores).accessor().as_ref(), Some(&first), "{harm:?}");
        }

        // The token is revoked, while many use it.
        off(|| api.must("POST", "auth/token/revoke-accessor", &json!({ "accessor": first })));
        let many: Vec<_> = (0..20)
            .map(|_| {
                let kv = kv.clone();
                tokio::spawn(async move { read(&*kv).await })
            })
            .collect();
        for one in many {
            one.await.unwrap().unwrap();
        }
        let second = held(&stores).accessor().unwrap();
        assert_ne!(second, first);
        assert_eq!(off(|| world.tokens_of(&named)), std::slice::from_ref(&second), "one for all of them");

        // And the policy with it, before a new process.
        off(|| {
            api.must("POST", "auth/token/revoke-accessor", &json!({ "accessor": second }));
            api.must("DELETE", &format!("sys/policies/acl/{named}"), &Value::Null);
        });
        let next = world.stores();
        read(&*state(&next, PATH)).await.unwrap();
        assert_eq!(off(|| world.tokens_of(&named)).len(), 1);

        // The kept file is damaged, or gone.
        for harm in [Some("{"), None] {
            let file = world.kept().join("team/app.json");
            match harm {
                Some(text) => fs::write(&file, text).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            read(&*state(&world.stores(), PATH)).await.unwrap();
        }
    });
}

#[test]
fn without_the_role_it_says_what_to_do_and_goes_on_after_that() {
    let Some(world) = World::set_up("without_the_role_it_says_what_to_do_and_goes_on_after_that") else { return };
    let api = world.api();
    run(async {
        // A period of which half is soon over.
        off(|| api.must("POST", &format!("auth/token/roles/{ROLE}"), &json!({"token_period": "30s"})));
        let stores = world.stores();
        let kv = state(&stores, PATH);
        write(&*kv).await;
        let token = held(&stores);
        off(|| api.must("DELETE", &format!("auth/token/roles/{ROLE}"), &Value::Null));
        read(&*kv).await.expect("the token lives on");

        // It is not renewed.
        let fault = until("a renewal is due, and fails", || async {
            token.maintain(Replica::Leader).await.err().ok_or_else(|| "none was due, or it was renewed".to_owned())
        })
        .await;
        assert!(matches!(&fault, Fault::RoleGone(_)), "{fault:?}");
        assert!(fault.to_string().contains("run tofustate bootstrap"), "{fault}");
        read(&*kv).await.expect("the token lives on all the same");
        off(|| api.must("POST", "auth/token/revoke-accessor", &json!({"accessor": token.accessor().unwrap()})));
        let KvError::Denied(_) = read(&*kv).await.unwrap_err() else { panic!("it was read") };
        let trouble = token.trouble().await.unwrap();
        assert!(trouble.contains("unknown role") && trouble.contains("run tofustate bootstrap"), "{trouble}");

        let done = off(|| world.bootstrap(&[]));
        assert!(done.status.success(), "{}", said(&done));
        until("it is healed", || async { read(&*kv).await.map_err(|error| error.to_string()) }).await;
        token.maintain(Replica::Leader).await.unwrap();
        assert_eq!(token.trouble().await, None);
    });
}

#[test]
fn a_token_is_renewed_at_half_and_one_that_cannot_be_is_replaced() {
    let Some(world) = World::set_up("a_token_is_renewed_at_half_and_one_that_cannot_be_is_replaced") else { return };
    let api = world.api();
    let role = format!("auth/token/roles/{ROLE}");
    run(async {
        // A period of which half is soon over.
        off(|| api.must("POST", &role, &json!({"token_period": "30s"})));
        let stores = world.stores();
        let kv = state(&stores, PATH);
        write(&*kv).await;
        let token = held(&stores);
        let first = token.accessor().unwrap();
        let (token, world, first) = (&token, &world, &first);
        let ttl = || async { off(|| world.look_up(first)).map(|found| found["ttl"].as_u64().unwrap()) };
        token.maintain(Replica::Leader).await.unwrap();
        until("half of it is over", || async {
            let left = ttl().await.unwrap();
            if left < 15 { Ok(()) } else { Err(format!("{left} s are left")) }
        })
        .await;
        token.maintain(Replica::Other).await.unwrap();
        assert!(ttl().await.unwrap() < 15, "that is the leader's for now");
        token.maintain(Replica::Leader).await.unwrap();
        let left = ttl().await.unwrap();
        assert!(left > 20, "{left} s are left after the renewal");

        // The leader is away.
        let below = |most: u64| async move {
            token.maintain(Replica::Other).await.unwrap();
            let left = ttl().await.expect("it lives");
            if left < most { Ok(()) } else { Err(format!("{left} s are left")) }
        };
        until("some of it is over", || below(20)).await;
        until("it is renewed", || async {
            match below(20).await {
                Ok(()) => Err("not yet".to_owned()),
                Err(_) => Ok(()),
            }
        })
        .await;

        // No renewal moves its end: the role was changed by hand.
        off(|| {
            api.must("POST", "auth/token/revoke-accessor", &json!({ "accessor": first }));
            api.must("POST", &role, &json!({"token_period": "0", "token_explicit_max_ttl": "30s"}));
        });
        read(&*kv).await.unwrap();
        let second = token.accessor().unwrap();
        assert_ne!(&second, first);
        until("it is replaced before it ends", || async {
            token.maintain(Replica::Leader).await.unwrap();
            read(&*kv).await.unwrap();
            let now = token.accessor().unwrap();
            if now == second { Err(String::new()) } else { Ok(()) }
        })
        .await;
        assert!(off(|| world.look_up(&second)).is_some(), "others may still use it");
    });
}

#[test]
fn a_replaced_token_lives_for_ten_minutes_more() {
    let Some(world) = World::set_up("a_replaced_token_lives_for_ten_minutes_more") else { return };
    let file = world.kept().join("team/app.json");
    run(async {
        let stores = world.stores();
        write(&*state(&stores, PATH)).await;
        let young = off(|| tofustate_e2e::bao::fixture::token(&world.api(), &["default"]));
        let old = off(|| tofustate_e2e::bao::fixture::token(&world.api(), &["default"]));
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let since = |minutes: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes)).to_string();
        kept["retired"] = json!([
            {"accessor": young.accessor, "since": since(9)},
            {"accessor": old.accessor, "since": since(11)},
        ]);
        fs::write(&file, kept.to_string()).unwrap();

        let next = world.stores();
        read(&*state(&next, PATH)).await.unwrap();
        held(&next).maintain(Replica::Other).await.unwrap();
        assert!(off(|| world.look_up(&young.accessor)).is_some());
        assert!(off(|| world.look_up(&old.accessor)).is_none());
        let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(kept["retired"].as_array().unwrap().len(), 1, "{kept}");
        // The end of the process ends what is left of it.
        next.end().await;
        assert!(off(|| world.look_up(&young.accessor)).is_none());
    });
}

#[test]
fn a_token_that_is_taken_away_again_and_again_makes_no_storm() {
    let Some(world) = World::set_up("a_token_that_is_taken_away_again_and_again_makes_no_storm") else { return };
    let api = world.api();
    world.server.audit_on();
    run(async {
        let stores = world.stores();
        let kv = state(&stores, PATH);
        write(&*kv).await;
        let token = held(&stores);
        for _ in 0..5 {
            let accessor = token.accessor().unwrap();
            off(|| api.must("POST", "auth/token/revoke-accessor", &json!({ "accessor": accessor })));
            let many: Vec<_> = (0..20)
                .map(|_| {
                    let kv = kv.clone();
                    tokio::spawn(async move { read(&*kv).await })
                })
                .collect();
            for one in many {
                one.await.unwrap().expect("who asked waited for the next one");
            }
        }
        let made =
            world.server.audit().into_iter().filter(|line| {
                line["type"] == "request" && line["request"]["path"] == format!("auth/token/create/{ROLE}")
            });
        assert_eq!(made.count(), 1 + 5, "one for each that was taken away");
    });
}

#[test]
fn a_resource_that_moves_to_another_path_takes_its_policy_along() {
    let Some(world) = World::set_up("a_resource_that_moves_to_another_path_takes_its_policy_along") else { return };
    run(async {
        let stores = world.stores();
        let before = state(&stores, PATH);
        write(&*before).await;
        let old = held(&stores);
        // The same resource, registered with another path.
        let owner = tofustate::store::head::Owner {
            instance: "prod".to_owned(),
            namespace: "team".to_owned(),
            name: "app".to_owned(),
            claim: 1,
            released: false,
        };
        let moved = tofustate::store::StatePath::parse("team/moved").unwrap();
        let after = tofustate::store::Stores::state(&stores, &moved, &owner);
        assert_eq!(after.get("team/moved").await.unwrap(), None);
        for _ in 0..3 {
            assert!(matches!(before.get(PATH).await, Err(KvError::Denied(_))), "the former path is given up");
            assert_eq!(after.get("team/moved").await.unwrap(), None, "and does not take the policy back");
        }
        assert!(old.refused(&old.token().unwrap()).await.eq(&false));
    });
}

#[test]
fn tokens_are_got_healed_and_renewed_through_failovers() {
    let Some(mut world) = World::cluster("tokens_are_got_healed_and_renewed_through_failovers") else { return };
    let stores = run(async {
        let stores = world.stores();
        write(&*state(&stores, PATH)).await;
        stores
    });
    for round in 0..3 {
        // One is got for the first time, one is healed, while the leader is away.
        let first = held(&stores).accessor().unwrap();
        world.api().must("POST", "auth/token/revoke-accessor", &json!({ "accessor": first }));
        let former = world.server.active();
        match round {
            0 => drop(world.server.step_down()),
            1 => world.server.kill(former),
            _ => world.server.freeze(former),
        }
        let fresh = format!("team/fresh-{round}");
        run(async {
            let began = std::time::Instant::now();
            let (healed, got) = (state(&stores, PATH), state(&stores, &fresh));
            let insist = |kv: std::sync::Arc<dyn Kv>, path: String| async move {
                until("the store is back", || async {
                    kv.get(&path).await.map(drop).map_err(|error| error.to_string())
                })
                .await;
            };
            tokio::join!(insist(healed, PATH.to_owned()), insist(got, fresh.clone()));
            println!("round {round}: healed and got after {:?}", began.elapsed());
        });
        assert_ne!(held(&stores).accessor().unwrap(), first);
        match round {
            0 => {}
            1 => world.server.restart(former),
            _ => world.server.thaw(former),
        }
        world.server.settled();
    }
    // One that is made now is renewed by whoever leads now.
    let role = format!("auth/token/roles/{ROLE}");
    world.api().must("POST", &role, &json!({"token_period": "40s"}));
    run(async {
        let token = held(&stores);
        off(|| world.api().must("POST", "auth/token/revoke-accessor", &json!({"accessor": token.accessor().unwrap()})));
        read(&*state(&stores, PATH)).await.unwrap();
        let ttl = || off(|| world.look_up(&token.accessor().unwrap())).map(|found| found["ttl"].as_u64().unwrap());
        until("half of it is over", || async {
            let left = ttl().unwrap();
            if left < 20 { Ok(()) } else { Err(format!("{left} s are left")) }
        })
        .await;
        // By its own clock half of it may be over a moment later.
        until("it is renewed", || async {
            token.maintain(Replica::Leader).await.map_err(|fault| fault.to_string())?;
            let left = ttl().unwrap();
            if left > 30 { Ok(()) } else { Err(format!("{left} s are left")) }
        })
        .await;
        stores.end().await;
        assert_eq!(off(|| world.tokens_of(&policy(PATH))), Vec::<String>::new());
    });
}
