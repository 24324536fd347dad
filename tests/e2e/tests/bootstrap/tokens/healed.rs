//! Tokens of states: whatever is done to them, their policy or their role, they heal.

use std::{fs, sync::Arc};

use serde_json::{Value, json};
use tofustate::{
    openbao::{Fault, Replica},
    store::{Kv, KvError},
};

use super::{PATH, held, read, twenty_read, write};
use crate::world::{ROLE, World, off, policy, run, said, state, until};

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
        twenty_read(&kv).await;
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
            twenty_read(&kv).await;
        }
        let made =
            world.server.audit().into_iter().filter(|line| {
                line["type"] == "request" && line["request"]["path"] == format!("auth/token/create/{ROLE}")
            });
        assert_eq!(made.count(), 1 + 5, "one for each that was taken away");
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
            let insist = |kv: Arc<dyn Kv>, path: String| async move {
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
