//! Faults between replicas and the server, and of the server for a moment: requests wait, and no client is told.

use std::{thread::sleep, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use tofustate_e2e::{
    bao::Setup,
    proxy::{self, Fault, Met},
    wait,
};

use crate::{
    clients::Clients,
    replica::{Options, Replica},
    world::{World, path, said},
};

const PATHS: [&str; 2] = ["team/app", "team/other"];

/// A set-up server behind a proxy.
fn proxied(test: &str) -> Option<World> {
    let server = (Setup { proxied: true, ..Setup::default() }).start(test)?;
    let world = World { server, folder: TempDir::new().unwrap(), namespace: None };
    let done = world.bootstrap(&["--operator-token-file", path(&world.operator())]);
    assert!(done.status.success(), "{}", said(&done));
    Some(world)
}

fn two(world: &World, options: Options) -> [Replica; 2] {
    let replicas = ["one", "two"].map(|name| Replica::start(world, name, options));
    for replica in &replicas {
        PATHS.iter().for_each(|path| drop(replica.serve(path)));
    }
    replicas
}

/// What each replica has at the end is what was acknowledged last.
fn all_is_there(clients: &Clients, replicas: &[Replica; 2]) {
    for (path, bytes) in clients.bodies() {
        for replica in replicas {
            replica.has(path, &bytes);
        }
    }
}

#[test]
fn answers_are_lost_late_cut_and_refused_and_no_client_is_told() {
    let name = "answers_are_lost_late_cut_and_refused_and_no_client_is_told";
    let Some(world) = proxied(name) else { return };
    let replicas = two(&world, Options::default());
    let faults = [
        Fault::DropRequest,
        Fault::DropAnswer,
        Fault::CutAnswer,
        Fault::HoldRequest(Duration::from_millis(300)),
        Fault::HoldAnswer(Duration::from_millis(300)),
        Fault::Answer(429, Some(1)),
        Fault::Answer(502, None),
        Fault::Answer(503, Some(0)),
    ];
    let clients = Clients::at_work(&replicas.each_ref(), &PATHS, |clients| {
        clients.go_on(2);
        world.server.proxy(0).random(|_, path| path.starts_with("/v1/"), 5, 6, &faults);
        for _ in 0..4 {
            clients.go_on(12);
            // What makes tokens meets faults too.
            for (replica, path) in replicas.iter().flat_map(|replica| PATHS.map(|path| (replica, path))) {
                let accessor = replica.accessor(path);
                world.api().must("POST", "auth/token/revoke-accessor", &json!({ "accessor": accessor }));
            }
        }
        clients.go_on(12);
        world.server.proxy(0).calm();
        clients.go_on(2);
    });
    let injected = world.server.proxy(0).injected();
    for fault in faults {
        assert!(injected.get(&fault.name()).is_some_and(|count| *count > 0), "no {}: {injected:?}", fault.name());
    }
    let sum = proxy::injected(name, [world.server.proxy(0)]);
    println!("{name}: {} cycles, {} found a lock, {sum} faults", clients.cycles(), clients.refused());
    all_is_there(&clients, &replicas);
}

#[test]
fn requests_that_arrive_after_they_were_given_up_undo_nothing() {
    let name = "requests_that_arrive_after_they_were_given_up_undo_nothing";
    let Some(world) = proxied(name) else { return };
    let replicas = two(&world, Options { call: Duration::from_millis(1_000), ..Options::default() });
    let faults = [Fault::HoldRequest(Duration::from_millis(1_600)), Fault::HoldAnswer(Duration::from_millis(1_600))];
    let writes = |method: &str, path: &str| method == "POST" && path.starts_with("/v1/states/");
    let clients = Clients::at_work(&replicas.each_ref(), &PATHS, |clients| {
        world.server.proxy(0).random(writes, 3, 8, &faults);
        clients.go_on(40);
        world.server.proxy(0).calm();
        clients.go_on(2);
    });
    let sum = proxy::injected(name, [world.server.proxy(0)]);
    println!("{name}: {} cycles, {} found a lock, {sum} faults", clients.cycles(), clients.refused());
    all_is_there(&clients, &replicas);
}

#[test]
fn a_server_that_comes_back_in_time_was_never_away() {
    let name = "a_server_that_comes_back_in_time_was_never_away";
    let Some(mut world) = proxied(name) else { return };
    let replicas = two(&world, Options::default());
    let clients = Clients::at_work(&replicas.each_ref(), &PATHS, |clients| {
        for _ in 0..3 {
            clients.go_on(5);
            let before = world.server.proxy(0).met();
            world.server.kill(0);
            meets(&world, "nobody is there", |met| met.unanswered > before.unanswered);
            sleep(Duration::from_millis(500));
            world.server.restart(0);
            clients.go_on(5);
            let before = world.server.proxy(0).met();
            world.server.seal();
            meets(&world, "it is sealed", |met| met.unavailable > before.unavailable);
            sleep(Duration::from_millis(500));
            world.server.unseal(0);
            clients.go_on(5);
            world.server.freeze(0);
            meets(&world, "it is frozen", |met| met.pending > 0);
            sleep(Duration::from_secs(2));
            world.server.thaw(0);
        }
        clients.go_on(5);
    });
    println!("{name}: {} cycles, the server was away 9 times: {:?}", clients.cycles(), world.server.proxy(0).met());
    all_is_there(&clients, &replicas);
}

/// Waits until a request of a replica meets what was done to the server.
fn meets(world: &World, what: &str, met: impl Fn(Met) -> bool) {
    wait::until(&format!("a request meets that {what}"), || {
        let now = world.server.proxy(0).met();
        if met(now) { Ok(()) } else { Err(format!("{now:?}")) }
    });
}
