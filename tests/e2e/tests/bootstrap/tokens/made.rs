//! Tokens of states: got when first needed, once; kept, and found by the next process; ended.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{PATH, held, read, write};
use crate::world::{ROLE, World, off, policy, private, run, state};

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
