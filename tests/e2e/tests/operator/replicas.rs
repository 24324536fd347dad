//! Several replicas: all serve, the one that holds the Lease runs the controller, and another does when it is gone.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info, state},
    kube::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, Part},
    nginx::Nginx,
    operator::{INSTANCE, Operator},
    wait,
};

use crate::world::{Setting, World};

/// A world whose operator leads, and others beside it.
pub(crate) struct Replicas {
    pub(crate) world: World,
    others: Vec<Operator>,
}

impl Replicas {
    /// With a Lease that ends by itself after so many seconds.
    pub(crate) fn start(test: &str, others: usize, lease: &'static str, setting: Setting) -> Option<Self> {
        let mut world = World::prepare(test, setting)?;
        world.operator.set_lease(lease);
        world.operator.start();
        leads(&world.operator);
        let mut others: Vec<_> = (0..others).map(|_| world.operator.another()).collect();
        others.iter_mut().for_each(Operator::start);
        Some(Self { world, others })
    }

    /// All replicas.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Operator> {
        [&self.world.operator].into_iter().chain(&self.others)
    }

    /// One of them; the first was the leader at the start.
    pub(crate) fn get(&mut self, number: usize) -> &mut Operator {
        match number {
            0 => &mut self.world.operator,
            other => &mut self.others[other - 1],
        }
    }

    fn lease(&self) -> Value {
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/tofustate-{INSTANCE}");
        self.world.api().get(&lease).expect("the Lease")["spec"].clone()
    }
}

fn leads(operator: &Operator) {
    wait::until("it leads", || if operator.leads() { Ok(()) } else { Err(operator.said()) });
}

/// Waits until a replica answers a request so.
pub(crate) fn until(operator: &Operator, method: &str, path: &str, token: &str, status: u16) {
    wait::until(&format!("{method} {path}: {status}"), || {
        match ask(method, &operator.url(path)).token(token).send().status() {
            found if found == status => Ok(()),
            other => Err(format!("{other}; it said\n{}", operator.said())),
        }
    });
}

#[test]
fn every_replica_serves_what_one_of_them_set_up() {
    let test = "every_replica_serves_what_one_of_them_set_up";
    let Some(replicas) = Replicas::start(test, 2, "6", Setting::default()) else { return };
    let Replicas { world, others } = &replicas;
    let namespace = world.cluster.namespace("shared");
    world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), world.token(&namespace, "app"));
    replicas.all().for_each(|replica| until(replica, "GET", &path, &token, 404));
    assert_eq!(replicas.all().filter(|replica| replica.leads()).count(), 1);
    assert!(world.operator.leads());
    // A run whose requests go through all of them.
    ask("LOCK", &others[0].url(&path)).token(&token).body(lock_info("the-run")).send().is(200);
    let shown = world.until(&namespace, "app", "the lock is shown", |found| found["status"]["locked"] == true);
    assert_eq!(shown["status"]["lock"]["id"], "the-run");
    for replica in replicas.all() {
        ask("LOCK", &replica.url(&path)).token(&token).body(lock_info("another")).send().is(409);
    }
    ask("POST", &others[1].url(&format!("{path}?ID=the-run"))).token(&token).body(state(1, 10)).send().is(200);
    for replica in replicas.all() {
        let found = ask("GET", &replica.url(&path)).token(&token).send().is(200).text();
        assert!(found.contains("\"serial\":1"), "{found}");
    }
    world.unlock(&path, &token, "the-run");
    let shown = world.until(&namespace, "app", "the unlock is shown", |found| found["status"]["locked"] == false);
    assert_eq!(shown["status"]["state"]["serial"], 1);

    // Another token: each takes it, and no longer the one before.
    let secret = format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate");
    world.api().delete(&secret).done();
    let new = wait::until("a new token", || {
        let values = world.values(&namespace, "app-tofustate").ok_or("no Secret")?;
        if values["TF_HTTP_PASSWORD"] == token {
            Err("the old one".to_owned())
        } else {
            Ok(values["TF_HTTP_PASSWORD"].clone())
        }
    });
    for replica in replicas.all() {
        until(replica, "GET", &path, &new, 200);
        until(replica, "GET", &path, &token, 403);
    }

    // What is given up is nobody's, and nothing of it is left.
    world.delete(&namespace, "app");
    replicas.all().for_each(|replica| until(replica, "GET", &path, &new, 403));
    let policy = format!("sys/policies/acl/{}", World::policy(&namespace, "app"));
    assert_eq!(world.server.api().ask("GET", &policy, &Value::Null).unwrap().status, 404);
}

#[test]
fn the_leader_hands_over_at_its_end() {
    // Nobody waits for the end of such a Lease.
    let test = "the_leader_hands_over_at_its_end";
    let Some(mut replicas) = Replicas::start(test, 1, "300", Setting::default()) else { return };
    let namespace = replicas.world.cluster.namespace("handed");
    replicas.world.operator.terminate();
    leads(&replicas.others[0]);
    assert_eq!(replicas.lease()["leaseTransitions"], 1);
    replicas.world.ready(&namespace, json!({}));
}

#[test]
fn another_takes_over_from_a_leader_that_was_killed() {
    let test = "another_takes_over_from_a_leader_that_was_killed";
    let Some(mut replicas) = Replicas::start(test, 2, "6", Setting::default()) else { return };
    let namespace = replicas.world.cluster.namespace("killed");
    replicas.world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), replicas.world.token(&namespace, "app"));
    replicas.others.iter().for_each(|replica| until(replica, "GET", &path, &token, 404));
    replicas.world.operator.kill();
    // Nobody leads, and the others serve.
    let [one, two] = &replicas.others[..] else { unreachable!() };
    ask("LOCK", &one.url(&path)).token(&token).body(lock_info("the-run")).send().is(200);
    ask("POST", &two.url(&format!("{path}?ID=the-run"))).token(&token).body(state(1, 10)).send().is(200);
    ask("UNLOCK", &one.url(&path)).token(&token).body(lock_info("the-run")).send().is(200);
    replicas.world.ready(&replicas.world.cluster.namespace("after"), json!({}));
    assert_eq!(replicas.others.iter().filter(|replica| replica.leads()).count(), 1);
}

#[test]
fn a_leader_that_was_frozen_writes_nothing_when_it_wakes_up() {
    let test = "a_leader_that_was_frozen_writes_nothing_when_it_wakes_up";
    let setting = Setting { audit: true, ..Setting::default() };
    let Some(replicas) = Replicas::start(test, 1, "6", setting) else { return };
    let Replicas { world, others } = &replicas;
    let namespace = world.cluster.namespace("frozen");
    world.ready(&namespace, json!({}));
    let made = || {
        let all = world.cluster.written_by(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT);
        all.iter().filter(|write| write.as_str() == "create /api/v1/namespaces/frozen/secrets").count()
    };
    // What it has to do when it wakes up was done by another by then.
    world.operator.signal(Signal::STOP);
    world.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/app-tofustate")).done();
    leads(&others[0]);
    wait::until("the other makes it anew", || {
        world.values(&namespace, "app-tofustate").map(drop).ok_or_else(|| others[0].said())
    });
    // An attempt of which the answer came late is one, too.
    let (before, token) = (made(), world.token(&namespace, "app"));
    assert!(before >= 2);
    world.operator.signal(Signal::CONT);
    wait::until("it knows that it leads no more", || {
        if world.operator.leads() { Err(world.operator.said()) } else { Ok(()) }
    });
    until(&world.operator, "GET", &format!("{namespace}/app"), &token, 404);
    assert!(others[0].leads());
    assert_eq!((made(), world.token(&namespace, "app")), (before, token));
}

#[test]
fn all_serve_while_the_api_server_is_away_for_longer_than_the_lease() {
    let test = "all_serve_while_the_api_server_is_away_for_longer_than_the_lease";
    let Some(mut replicas) = Replicas::start(test, 1, "6", Setting::default()) else { return };
    let namespace = replicas.world.cluster.namespace("away");
    replicas.world.ready(&namespace, json!({}));
    let (path, token) = (format!("{namespace}/app"), replicas.world.token(&namespace, "app"));
    until(&replicas.others[0], "GET", &path, &token, 404);
    replicas.world.cluster.kill(Part::ApiServer);
    wait::until("nobody leads", || {
        if replicas.all().any(Operator::leads) { Err(replicas.world.operator.said()) } else { Ok(()) }
    });
    replicas.world.write(&path, &token, 1);
    ask("GET", &replicas.others[0].url(&path)).token(&token).send().is(200);
    // One that starts now knows nothing, and says why.
    let mut late = replicas.world.operator.another();
    late.launch();
    late.await_shut("cluster");
    ask("GET", &late.url(&path)).token(&token).send().is(503);
    replicas.world.cluster.restart(Part::ApiServer);
    late.await_ready();
    ask("GET", &late.url(&path)).token(&token).send().is(200);
    wait::until("one leads again", || match replicas.all().chain([&late]).filter(|replica| replica.leads()).count() {
        1 => Ok(()),
        other => Err(format!("{other} do")),
    });
    replicas.world.until(&namespace, "app", "it is told", |found| found["status"]["state"]["serial"] == 1);
    replicas.world.create(&namespace, "next", json!({}));
    replicas.world.until_ready(&namespace, "next");
}

/// The replicas that a balancer sends requests to.
fn balanced(port: u16, replicas: &[&Operator]) -> String {
    let servers: String = replicas.iter().map(|replica| format!("server {};", replica.address())).collect();
    format!(
        "upstream states {{ {servers} }} server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://states; proxy_connect_timeout 1s; }} }}"
    )
}

#[test]
fn no_request_fails_while_the_replicas_are_restarted_one_after_the_other() {
    let test = "no_request_fails_while_the_replicas_are_restarted_one_after_the_other";
    // A balancer needs some time until it has noticed that a replica is about to end.
    let setting = Setting { args: &["--linger", "3"], ..Setting::default() };
    let Some(mut replicas) = Replicas::start(test, 2, "15", setting) else { return };
    let namespace = replicas.world.cluster.namespace("rolling");
    let names = ["one", "two", "three", "four"];
    names.iter().for_each(|name| drop(replicas.world.create(&namespace, name, json!({}))));
    let states: Vec<_> = names
        .iter()
        .map(|name| {
            replicas.world.until_ready(&namespace, name);
            (format!("{namespace}/{name}"), replicas.world.token(&namespace, name))
        })
        .collect();
    for (path, token) in &states {
        replicas.all().for_each(|replica| until(replica, "GET", path, token, 404));
    }
    let all: Vec<_> = replicas.all().collect();
    let Some(nginx) = Nginx::start(test, |place| balanced(place.plain, &all)) else { return };
    let (stop, cycles) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        let runs: Vec<_> = states
            .iter()
            .map(|(path, token)| {
                let (nginx, stop, cycles) = (&nginx, &stop, &cycles);
                scope.spawn(move || {
                    let ask = |method: &str, path: &str| ask(method, &nginx.url(path)).token(token);
                    for serial in 1.. {
                        if stop.load(Ordering::Relaxed) {
                            return serial - 1;
                        }
                        let id = format!("run-{serial}");
                        ask("LOCK", path).body(lock_info(&id)).send().is(200);
                        ask("GET", path).send().is(if serial == 1 { 404 } else { 200 });
                        ask("POST", &format!("{path}?ID={id}")).body(state(serial, 10)).send().is(200);
                        ask("UNLOCK", path).body(lock_info(&id)).send().is(200);
                        cycles.fetch_add(1, Ordering::Relaxed);
                    }
                    unreachable!()
                })
            })
            .collect();
        let more = |than: u32| {
            wait::until("cycles went on", || match cycles.load(Ordering::Relaxed) {
                enough if enough >= than => Ok(enough),
                few if runs.iter().any(thread::ScopedJoinHandle::is_finished) => panic!("a cycle failed after {few}"),
                few => Err(format!("{few} of {than}")),
            })
        };
        let Replicas { world, others } = &mut replicas;
        more(20);
        for n in 0..3 {
            let mut group: Vec<&mut Operator> = [&mut world.operator].into_iter().chain(others.iter_mut()).collect();
            let ending = group.remove(n);
            ending.signal(Signal::TERM);
            ending.await_shut("stopping");
            // As a cluster takes a Pod that is not ready out of its Service, and takes it in again.
            let rest: Vec<&Operator> = group.into_iter().map(|replica| &*replica).collect();
            nginx.reload(&balanced(nginx.plain, &rest));
            let began = cycles.load(Ordering::Relaxed);
            ending.ended();
            ending.start();
            more(began + 20);
            let all: Vec<&Operator> = rest.into_iter().chain([&*ending]).collect();
            nginx.reload(&balanced(nginx.plain, &all));
            more(cycles.load(Ordering::Relaxed) + 20);
        }
        stop.store(true, Ordering::Relaxed);
        for ((path, token), run) in states.iter().zip(runs) {
            let serial = run.join().unwrap();
            let found = ask("GET", &nginx.url(path)).token(token).send().is(200).text();
            assert!(found.contains(&format!("\"serial\":{serial},")), "{serial}: {found}");
        }
    });
}
