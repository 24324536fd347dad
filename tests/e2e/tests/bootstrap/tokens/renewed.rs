//! Tokens of states: renewed, replaced where that is not enough, and ended some time after that.

use std::fs;

use serde_json::{Value, json};
use tofustate::openbao::Replica;

use super::{PATH, held, read, write};
use crate::world::{ROLE, World, off, run, state, until};

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
fn a_token_lives_on_where_nothing_can_be_kept_for_long() {
    let Some(world) = World::set_up("a_token_lives_on_where_nothing_can_be_kept_for_long") else { return };
    let folder = world.kept().join("team");
    let file = folder.join("app.json");
    run(async {
        let api = world.api();
        off(|| api.must("POST", &format!("auth/token/roles/{ROLE}"), &json!({"token_period": "30s"})));
        write(&*state(&world.stores(), PATH)).await;
        let mut kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let since = (jiff::Timestamp::now() - jiff::SignedDuration::from_mins(11)).to_string();
        kept["retired"] = json!([{"accessor": "of-one-that-is-gone", "since": since}]);
        fs::write(&file, kept.to_string()).unwrap();
        let stores = world.stores();
        read(&*state(&stores, PATH)).await.unwrap();
        let token = held(&stores);
        let accessor = token.accessor().unwrap();
        // What was replaced is due to be ended, and that cannot be kept.
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        let (world, token, accessor) = (&world, &token, &accessor);
        let ttl = || async { off(|| world.look_up(accessor)).expect("it lives")["ttl"].as_u64().unwrap() };
        until("half of it is over", || async {
            let left = ttl().await;
            if left < 15 { Ok(()) } else { Err(format!("{left} s are left")) }
        })
        .await;
        token.maintain(Replica::Leader).await.unwrap_err();
        let left = ttl().await;
        assert!(left > 20, "{left} s are left after the renewal");
    });
}
