//! Tokens, policies and the token role are taken away while replicas serve.

use serde_json::{Value, json};
use tofustate_e2e::{bao::fixture, wait};

use crate::{
    clients::Clients,
    replica::{Options, Replica},
    world::{POLICY, ROLE, World, policy, private, said, token},
};

const PATH: &str = "team/app";

fn revoke(world: &World, accessor: &str) {
    world.api().must("POST", "auth/token/revoke-accessor", &json!({ "accessor": accessor }));
}

#[test]
fn a_states_tokens_are_revoked_again_and_again_and_no_client_is_told() {
    let name = "a_states_tokens_are_revoked_again_and_again_and_no_client_is_told";
    let Some(world) = World::set_up(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    let states = ["team/app", "team/other"];
    for (replica, path) in replicas.iter().flat_map(|replica| states.map(|path| (replica, path))) {
        replica.serve(path);
    }
    let accessors = || replicas.each_ref().map(|replica| states.map(|path| replica.accessor(path)));
    let mut revoked = Vec::new();
    let clients = Clients::at_work(&replicas.each_ref(), &states, |clients| {
        for _ in 0..5 {
            clients.go_on(4);
            for accessor in accessors().into_iter().flatten() {
                revoke(&world, &accessor);
                revoked.push(accessor);
            }
            clients.go_on(4);
        }
    });
    println!("{name}: {} tokens revoked, {} cycles", revoked.len(), clients.cycles());
    for accessor in accessors().into_iter().flatten() {
        assert!(!revoked.contains(&accessor), "a token came back");
    }
    for path in states {
        assert_eq!(world.tokens_of(&policy(path)).len(), 2, "one of each replica, and none beside");
    }
}

#[test]
fn a_states_policy_is_deleted_again_and_again_and_no_client_is_told() {
    let name = "a_states_policy_is_deleted_again_and_again_and_no_client_is_told";
    let Some(world) = World::set_up(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    replicas.iter().for_each(|replica| drop(replica.serve(PATH)));
    let at = format!("sys/policies/acl/{}", policy(PATH));
    let text = world.api().must("GET", &at, &Value::Null)["policy"].clone();
    let before = replicas.each_ref().map(|replica| replica.accessor(PATH));
    let harms = [None, Some("path \"x\" { capabilities = [\"read\"] }"), None];
    let clients = Clients::at_work(&replicas.each_ref(), &[PATH], |clients| {
        for harm in harms {
            clients.go_on(4);
            match harm {
                None => world.api().must("DELETE", &at, &Value::Null),
                Some(other) => world.api().must("POST", &at, &json!({ "policy": other })),
            };
            clients.go_on(4);
            assert_eq!(world.api().must("GET", &at, &Value::Null)["policy"], text);
        }
    });
    println!("{name}: {} times, {} cycles", harms.len(), clients.cycles());
    assert_eq!(replicas.each_ref().map(|replica| replica.accessor(PATH)), before, "the tokens were not at fault");
}

#[test]
fn without_the_token_role_tokens_live_on_and_what_is_lost_heals_after_bootstrap() {
    let name = "without_the_token_role_tokens_live_on_and_what_is_lost_heals_after_bootstrap";
    let Some(world) = World::set_up(name) else { return };
    let replica = Replica::start(&world, "one", Options::impatient());
    replica.serve(PATH);
    let state = replica.hold(PATH, 60_000);
    world.api().must("DELETE", &format!("auth/token/roles/{ROLE}"), &Value::Null);
    replica.has(PATH, &state);
    replica.post(PATH, "held", &state).is(200);

    revoke(&world, &replica.accessor(PATH));
    replica.says(PATH, "held", &["run tofustate bootstrap"]);
    let done = world.bootstrap(&[]);
    assert!(done.status.success(), "{}", said(&done));
    replica.heals(PATH);
    replica.has(PATH, &state);
    replica.unlock(PATH, "held").is(200);
}

#[test]
fn the_operators_token_is_revoked_and_states_are_served_until_they_need_it() {
    let name = "the_operators_token_is_revoked_and_states_are_served_until_they_need_it";
    let Some(world) = World::set_up(name) else { return };
    let replica = Replica::start(&world, "one", Options::impatient());
    for path in [PATH, "team/other"] {
        replica.serve(path);
    }
    let state = replica.hold(PATH, 60_000);
    let own = token(&world.operator());
    world.api().must("POST", "auth/token/revoke", &json!({"token": own.expose()}));
    // Its own token is enough for a state.
    Clients::at_work(&[&replica], &["team/other"], |clients| clients.go_on(5));
    replica.has(PATH, &state);

    // One that is lost cannot be replaced: it says what is missing, and where that is taken from.
    revoke(&world, &replica.accessor(PATH));
    let file = world.operator();
    replica.says(PATH, "held", &[file.to_str().unwrap()]);
    let trouble = replica.run(replica.login.trouble()).unwrap();
    assert!(trouble.contains("bootstrap --operator-token-file"), "{trouble}");
    let next = fixture::token(&world.api(), &[POLICY]);
    private(&file, &next.secret);
    replica.heals(PATH);
    replica.has(PATH, &state);
    replica.unlock(PATH, "held").is(200);
}

#[test]
fn the_operators_and_the_states_tokens_are_revoked_and_another_is_in_the_file() {
    let name = "the_operators_and_the_states_tokens_are_revoked_and_another_is_in_the_file";
    let Some(world) = World::set_up(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::default()));
    replicas.iter().for_each(|replica| drop(replica.serve(PATH)));
    let clients = Clients::at_work(&replicas.each_ref(), &[PATH], |clients| {
        for _ in 0..3 {
            clients.go_on(4);
            let former = token(&world.operator());
            private(&world.operator(), &fixture::token(&world.api(), &[POLICY]).secret);
            world.api().must("POST", "auth/token/revoke", &json!({"token": former.expose()}));
            for replica in &replicas {
                revoke(&world, &replica.accessor(PATH));
            }
            clients.go_on(4);
        }
    });
    println!("{name}: {} cycles", clients.cycles());
}

#[test]
fn the_operators_policy_is_deleted_and_states_are_served_until_they_need_it() {
    let name = "the_operators_policy_is_deleted_and_states_are_served_until_they_need_it";
    let Some(world) = World::set_up(name) else { return };
    let replicas = ["one", "two"].map(|name| Replica::start(&world, name, Options::impatient()));
    for (replica, path) in replicas.iter().flat_map(|replica| [PATH, "team/other"].map(|path| (replica, path))) {
        replica.serve(path);
    }
    let state = replicas[0].hold(PATH, 60_000);
    let before = world.tokens_of(POLICY);
    let clients = Clients::at_work(&replicas.each_ref(), &["team/other"], |clients| {
        clients.go_on(4);
        world.api().must("DELETE", &format!("sys/policies/acl/{POLICY}"), &Value::Null);
        // Their own tokens are enough for states.
        clients.go_on(8);
        revoke(&world, &replicas[0].accessor(PATH));
        let missing = format!("the operator's policy {POLICY} is missing");
        // A call that is under way when the time is over is told as that: then the next one says why.
        replicas[0].says(PATH, "held", &[&missing, "no answer in the time"]);
        wait::until("a client is told what is missing", || match replicas[0].get(PATH).text() {
            text if text.contains(&missing) => Ok(()),
            text => Err(text),
        });
        let trouble = replicas[0].run(replicas[0].login.trouble()).unwrap();
        assert!(trouble.contains(&missing) && trouble.contains("run tofustate bootstrap"), "{trouble}");
        clients.go_on(4);

        let done = world.bootstrap(&[]);
        assert!(done.status.success(), "{}", said(&done));
        replicas[0].heals(PATH);
        clients.go_on(4);
    });
    println!("{name}: {} cycles", clients.cycles());
    wait::until("nothing is wrong any more", || match replicas[0].run(replicas[0].login.trouble()) {
        None => Ok(()),
        Some(trouble) => Err(trouble),
    });
    assert_eq!(world.tokens_of(POLICY), before, "the token was not at fault");
    replicas[0].has(PATH, &state);
    replicas[0].unlock(PATH, "held").is(200);
}
