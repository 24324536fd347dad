//! The mount, the namespace or the version of KV is not what it was, while a replica serves: it says so, to every verb, and
//! nothing of it is ever "no state yet".

use serde_json::{Value, json};
use tofustate_e2e::{ask::noisy_state, bao::Api, wait};

use crate::{
    replica::{Options, Replica},
    world::{World, said},
};

const PATH: &str = "team/app";
/// In parts.
const LARGE: usize = 900_000;

/// A replica with a state that is locked, and the state.
fn serving(world: &World) -> (Replica, Vec<u8>) {
    let replica = Replica::start(world, "one", Options::impatient());
    replica.serve(PATH);
    let state = replica.hold(PATH, LARGE);
    replica.has(PATH, &state);
    (replica, state)
}

/// What is there now has no head: it stays lost, for this replica and one that is started now, until a person accepts it.
fn lost_until_it_is_accepted(world: &World, replica: &Replica) {
    let mark = replica.state(PATH).mark();
    let next = Replica::start(world, "two", Options::impatient());
    next.open(PATH, mark);
    for replica in [replica, &next] {
        replica.says(PATH, "held", &["is gone from the store"]);
    }
    next.accept(PATH, true).unwrap();
    assert_ne!(next.state(PATH).mark().unwrap().epoch, mark.unwrap().epoch);
    // The other follows. Now there is no state, since a person said so.
    for replica in [replica, &next] {
        replica.get(PATH).is_error(404, "no_state");
    }
    let state = noisy_state(2, LARGE);
    replica.lock(PATH, "new").is(200);
    replica.post(PATH, "new", &state).is(200);
    next.has(PATH, &state);
    next.unlock(PATH, "new").is(200);
}

/// An empty mount of that version in its place, as a person may make it.
fn mount_anew(api: &Api, version: &str) {
    api.must("POST", "sys/mounts/states", &json!({"type": "kv", "options": {"version": version}}));
    if version == "2" {
        wait::until("the mount is ready", || match api.ask("GET", "states/config", &Value::Null)?.status {
            200 => Ok(()),
            other => Err(format!("{other}")),
        });
    }
}

#[test]
fn a_mount_that_is_disabled_is_said_to_be_gone_and_an_empty_one_in_its_place_is_not_taken_for_it() {
    let name = "a_mount_that_is_disabled_is_said_to_be_gone_and_an_empty_one_in_its_place_is_not_taken_for_it";
    let Some(world) = World::set_up(name) else { return };
    let (replica, _) = serving(&world);
    world.api().must("DELETE", "sys/mounts/states", &Value::Null);
    replica.says(PATH, "held", &["the mount is gone"]);
    mount_anew(&world.api(), "2");
    lost_until_it_is_accepted(&world, &replica);
}

#[test]
fn a_mount_that_is_moved_away_and_back_is_as_it_was() {
    let Some(world) = World::set_up("a_mount_that_is_moved_away_and_back_is_as_it_was") else { return };
    let (replica, state) = serving(&world);
    let moved = |from: &str, to: &str| {
        let id = world.api().must("POST", "sys/remount", &json!({"from": from, "to": to}));
        let at = format!("sys/remount/status/{}", id["migration_id"].as_str().unwrap());
        wait::until("the mount is moved", || match world.api().ask("GET", &at, &Value::Null)? {
            done if done.body["data"]["migration_info"]["status"] == "success" => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    moved("states", "elsewhere");
    replica.says(PATH, "held", &["the mount is gone"]);
    moved("elsewhere", "states");
    replica.has(PATH, &state);
    replica.lock(PATH, "other").is(409);
    replica.unlock(PATH, "held").is(200);
}

#[test]
fn kv_version_1_in_its_place_is_said_and_nothing_is_written_to_it() {
    let name = "kv_version_1_in_its_place_is_said_and_nothing_is_written_to_it";
    let Some(world) = World::set_up(name) else { return };
    let (replica, _) = serving(&world);
    let api = world.api();
    api.must("DELETE", "sys/mounts/states", &Value::Null);
    mount_anew(&api, "1");
    replica.says(PATH, "held", &["no KV version 2"]);
    // Nor may a person accept it by mistake, and one who never saw the state makes no head there.
    let error = replica.accept(PATH, true).unwrap_err().to_string();
    assert!(error.contains("no KV version 2"), "{error}");
    let next = Replica::start(&world, "two", Options::impatient());
    let fresh = next.open(PATH, replica.state(PATH).mark());
    next.says(PATH, "held", &["no KV version 2"]);
    let error = next.run(fresh.register(&mut crate::replica::budget())).unwrap_err().to_string();
    assert!(error.contains("no KV version 2"), "{error}");
    for folder in ["states", "states/data", "states/data/team"] {
        assert_eq!(api.ask("LIST", folder, &Value::Null).unwrap().status, 404, "something is in {folder}");
    }
    let check = world.bootstrap(&["--check"]);
    assert!(!check.status.success() && said(&check).contains("version"), "{}", said(&check));

    // Put right, it is an empty one.
    api.must("DELETE", "sys/mounts/states", &Value::Null);
    mount_anew(&api, "2");
    lost_until_it_is_accepted(&world, &replica);
}

#[test]
fn a_namespace_that_is_deleted_is_said_to_be_gone_and_one_made_anew_is_not_taken_for_it() {
    let name = "a_namespace_that_is_deleted_is_said_to_be_gone_and_one_made_anew_is_not_taken_for_it";
    let Some(world) = World::start(name, Some("tofu")) else { return };
    let file = world.operator();
    let set_up = || {
        let done = world.bootstrap(&["--operator-token-file", file.to_str().unwrap()]);
        assert!(done.status.success(), "{}", said(&done));
    };
    set_up();
    let (replica, _) = serving(&world);
    let root = world.server.api();
    root.must("DELETE", "sys/namespaces/tofu", &Value::Null);
    wait::until("the namespace is gone", || match replica.get(PATH) {
        answer if answer.text().contains("the namespace is gone") => Ok(()),
        answer => {
            assert_eq!(answer.status(), 503, "{}", answer.text());
            Err(answer.text())
        }
    });
    replica.says(PATH, "held", &["the namespace is gone"]);
    // Made anew, and nothing in it: the operator's token is none there.
    root.must("POST", "sys/namespaces/tofu", &json!({}));
    for (verb, answer) in replica.every_verb(PATH, "held") {
        assert_eq!(answer.status(), 503, "{verb}: {}", answer.text());
    }
    std::fs::remove_file(&file).unwrap();
    set_up();
    wait::until("the new token is taken", || match replica.get(PATH) {
        answer if answer.text().contains("is gone from the store") => Ok(()),
        answer => {
            assert_eq!(answer.status(), 503, "{}", answer.text());
            Err(answer.text())
        }
    });
    lost_until_it_is_accepted(&world, &replica);
}

#[test]
fn a_head_that_is_deleted_in_openbao_is_damage_until_it_is_brought_back() {
    let Some(world) = World::set_up("a_head_that_is_deleted_in_openbao_is_damage_until_it_is_brought_back") else {
        return;
    };
    let (replica, state) = serving(&world);
    world.api().must("DELETE", "states/data/team/app", &Value::Null);
    replica.says(PATH, "held", &["bao kv undelete"]);
    world.api().must("POST", "states/undelete/team/app", &json!({"versions": [version(&world)]}));
    replica.has(PATH, &state);
    replica.unlock(PATH, "held").is(200);
    // With its metadata nothing is left of it.
    world.api().must("DELETE", "states/metadata/team/app", &Value::Null);
    lost_until_it_is_accepted(&world, &replica);
}

fn version(world: &World) -> Value {
    world.api().must("GET", "states/metadata/team/app", &Value::Null)["current_version"].clone()
}
