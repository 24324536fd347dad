//! A run is one trace over two processes with one OpenBao: the lock in the head carries it.

use tofustate_e2e::{
    ask::{Ask, ask, lock_info, state},
    bao::{Bao, Setup},
    client::Client,
    project::{APPLY, BACKEND, INIT, Project, VALUE},
    standalone::{Standalone, writer},
    with_each_client,
};

use crate::{
    PATH,
    collector::{Collector, PROTOCOLS, Span},
};

with_each_client!(a_run_through_two_processes_is_one_trace);

/// Two replicas that send to a collector; they say which they are.
fn two(test: &str) -> Option<(Bao, Collector, [Standalone; 2])> {
    let (server, collector) = (Setup::default().start(test)?, Collector::running(test)?);
    let token = server.bootstrap("prod", &[]);
    let replica = |name: &str| {
        let mut replica = Standalone::on(&server, "prod", &token);
        replica.register(PATH, "");
        collector.receive_from(&mut replica, PROTOCOLS[1]);
        replica.env("OTEL_SERVICE_NAME", name);
        replica.start();
        replica
    };
    let replicas = [replica("a"), replica("b")];
    Some((server, collector, replicas))
}

/// The requests alone, in the order in which they were received.
fn requests(collector: &Collector, count: usize) -> Vec<Span> {
    tofustate_e2e::wait::until(&format!("{count} requests at the collector"), || {
        let found: Vec<Span> = collector.spans().into_iter().filter(|span| span.kind == 2).collect();
        if found.len() >= count { Ok(found) } else { Err(format!("{found:#?}\n{}", collector.said())) }
    })
}

#[test]
fn requests_that_alternate_are_in_the_trace_of_their_run() {
    let Some((_server, collector, [a, b])) = two("requests_that_alternate_are_in_the_trace_of_their_run") else {
        return;
    };
    let send = |replica: &Standalone, method: &str, query: &str| -> Ask {
        ask(method, &format!("{}{query}", replica.url(PATH))).token(&writer(PATH))
    };
    // Each has a fresh memory of the run before when the next one begins: with the same credential, another lock.
    let (mut first, mut second) = (&a, &b);
    const RUNS: u64 = 6;
    for serial in 1..=RUNS {
        let id = format!("run-{serial}");
        let post = |replica, serial| send(replica, "POST", &format!("?ID={id}")).body(state(serial, 50)).send();
        send(first, "LOCK", "").body(lock_info(&id)).send().is(200);
        let got = send(second, "GET", "").send();
        assert!([200, 404].contains(&got.status()), "{}", got.text());
        post(second, 2 * serial).is(200);
        send(first, "GET", "").send().is(200);
        post(first, 2 * serial + 1).is(200);
        send(second, "UNLOCK", "").body(lock_info(&id)).send().is(200);
        (first, second) = (second, first);
    }
    let all = requests(&collector, 6 * RUNS as usize);
    let locks: Vec<&Span> = all.iter().filter(|span| span.name == "LOCK").collect();
    assert_eq!(locks.len(), RUNS as usize);
    for lock in locks {
        let mut run: Vec<_> = all.iter().filter(|span| span.trace == lock.trace).collect();
        run.sort_by_key(|span| (span.name.clone(), span.resource["service.name"].clone()));
        let verbs: Vec<_> = run.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(verbs, ["GET", "GET", "LOCK", "POST", "POST", "UNLOCK"], "{run:#?}");
        let at: Vec<_> = run.iter().map(|span| span.resource["service.name"].as_str()).collect();
        assert_eq!((&at[..2], &at[3..5]), (&["a", "b"][..], &["a", "b"][..]), "both had a part: {run:#?}");
        assert_ne!(at[2], at[5], "locked at one, unlocked at the other");
        assert!(run.iter().all(|span| span.id == lock.id || span.parent == lock.id), "{run:#?}");
    }
    // What a request asked of OpenBao is in its trace as well.
    let inside = collector.spans().into_iter().filter(|span| span.name == "openbao");
    let of_a_request = |span: &Span| all.iter().any(|request| request.id == span.parent && request.trace == span.trace);
    assert!(inside.filter(of_a_request).count() >= all.len());
    let text = collector.received() + &collector.said();
    assert!(!text.contains(&writer(PATH)) && !text.contains("Bearer"), "{text}");
}

fn a_run_through_two_processes_is_one_trace(client: &Client) {
    let Some((_server, collector, [a, b])) = two("a_run_through_two_processes_is_one_trace") else { return };
    let mut project = Project::new(client, &[BACKEND, VALUE]);
    project.points_to(&b.url(PATH), &writer(PATH));
    project.env("TF_HTTP_LOCK_ADDRESS", &a.url(PATH));
    project.env("TF_HTTP_UNLOCK_ADDRESS", &a.url(PATH));
    project.run(INIT);
    project.run(APPLY);
    let unlocked = |all: &[Span]| all.iter().filter(|span| span.name == "UNLOCK").count();
    let all = tofustate_e2e::wait::until("the run at the collector", || {
        let all = requests(&collector, 4);
        if unlocked(&all) > 0 { Ok(all) } else { Err(format!("{all:#?}")) }
    });
    let lock = all.iter().find(|span| span.name == "LOCK").unwrap();
    let at = |verb: &str| {
        let of = all.iter().filter(|span| span.name == verb && span.trace == lock.trace);
        of.map(|span| span.resource["service.name"].as_str()).collect::<Vec<_>>()
    };
    assert_eq!((at("LOCK"), at("POST"), at("UNLOCK")), (vec!["a"], vec!["b"], vec!["a"]), "{all:#?}");
    assert!(!at("GET").is_empty() && at("GET").iter().all(|at| *at == "b"), "{all:#?}");
}
