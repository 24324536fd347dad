//! From nothing to Ready; a change; a quiet time; a restart.

use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::ask,
    kube::{OPERATOR_NAMESPACE, condition, is_true},
};

use crate::{
    counts::{Counts, Spent},
    process,
    world::World,
};

/// How long it may take at most.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How long a quiet time is watched, in seconds.
const QUIET: u64 = 120;
/// How long nothing may be reconciled for it to be quiet.
const CALM: Duration = Duration::from_secs(3);

/// All resources are there when the operator starts. Answers how many came to be ready a second.
pub(crate) fn made(world: &mut World) -> f64 {
    world.create();
    let before = Counts::now(world, false);
    let began = Instant::now();
    world.operator.launch();
    until_served(world, began);
    let served = began.elapsed().as_secs_f64();
    loop {
        let waits = world.resources().iter().filter(|one| !condition(one, "Ready").is_some_and(is_true)).count();
        if waits == 0 {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{waits} resources are not ready");
        sleep(Duration::from_millis(200));
    }
    let took = began.elapsed().as_secs_f64();
    let rss = process::resident(world.operator.id());
    let ready = Counts::now(world, true);
    let spent = before.until(&ready);
    let count = world.count as f64;
    println!("\nFrom nothing to Ready: {} resources in {took:.1} s (looked at once after {served:.1} s)", world.count);
    say(&spent, count);
    calm(world);
    let spent = ready.until(&Counts::now(world, true));
    println!("After that, until it was quiet: {:.1} s", spent.seconds);
    say(&spent, count);
    sleep(Duration::from_secs(5));
    println!(
        "RSS: {rss:.0} MiB when all were ready, {:.0} MiB now, {:.0} MiB at most",
        process::resident(world.operator.id()),
        process::peak(world.operator.id())
    );
    count / took
}

fn say(spent: &Spent, count: f64) {
    println!("  API server, writes a resource: {}", Spent::each(&spent.writes, count));
    println!("  API server, reads a resource:  {}", Spent::each(&spent.reads, count));
    println!(
        "  OpenBao, calls a resource: {}; entries of its log: {:.2}",
        spent.store(count),
        spent.raft as f64 / count
    );
    println!(
        "  reconciliations a resource: {:.2}; processor of the operator: {:.2} ms a resource",
        spent.own("tofustate_reconciliations_total") / count,
        spent.processor * 1e3 / count
    );
}

/// Waits until all resources were looked at.
fn until_served(world: &mut World, began: Instant) {
    let url = format!("{}/readyz", world.operator.admin_url());
    loop {
        world.operator.still_runs();
        if ask("GET", &url).try_send().is_ok_and(|answer| answer.status() == 200) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it is not ready; it said\n{}", world.operator.said());
        sleep(Duration::from_millis(20));
    }
}

/// Waits until nothing is reconciled any more.
fn calm(world: &World) {
    let (mut last, mut since) = (world.operator.reconciled(), Instant::now());
    let began = Instant::now();
    while since.elapsed() < CALM && began.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(100));
        let now = world.operator.reconciled();
        if now > last + world.count as u64 / 200 {
            (last, since) = (now, Instant::now());
        }
    }
}

/// One resource's spec changes, then its Secret.
pub(crate) fn changed(world: &World) {
    calm(world);
    let mut rows = Vec::new();
    let mut cost = |what: &str, change: &dyn Fn()| {
        let before = Counts::now(world, true);
        change();
        sleep(Duration::from_secs(3));
        let spent = before.until(&Counts::now(world, true));
        rows.push(format!(
            "  {what}: {} reconciliations; writes: {}",
            spent.own("tofustate_reconciliations_total"),
            Spent::each(&spent.writes, 1.0)
        ));
    };
    cost("nothing changed", &|| {});
    cost("its spec changed", &|| {
        let at = World::at(world.count / 2);
        world.api.merge(&at, &json!({"spec": {"maxSize": "64Mi"}})).done();
        let so = |found: &Value| found["status"]["observedGeneration"] == found["metadata"]["generation"];
        world.api.until(&at, "it was seen", so);
    });
    cost("its Secret changed", &|| {
        let (namespace, name) = World::name(world.count / 3);
        let secret = format!("/api/v1/namespaces/{namespace}/secrets/{name}-tofustate");
        let wrong = "aHR0cDovL2Vsc2V3aGVyZQ==";
        world.api.merge(&secret, &json!({"data": {"TF_HTTP_ADDRESS": wrong}})).done();
        world.api.until(&secret, "it is right again", |found| found["data"]["TF_HTTP_ADDRESS"] != wrong);
    });
    println!("\nOne of {} resources\n{}", world.count, rows.join("\n"));
}

/// Nobody changes anything.
pub(crate) fn idle(world: &World) {
    calm(world);
    let seconds = env::var("SCALE_QUIET").ok().and_then(|text| text.parse().ok()).unwrap_or(QUIET);
    let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases");
    let version = |found: Value| found["items"][0]["spec"]["renewTime"].as_str().map(str::to_owned);
    let before = Counts::now(world, true);
    let mut renewals = 0;
    let mut last = world.api.get(&leases).and_then(version);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        sleep(Duration::from_millis(250));
        let now = world.api.get(&leases).and_then(version);
        if now != last {
            (last, renewals) = (now, renewals + 1);
        }
    }
    let after = Counts::now(world, true);
    let spent = before.until(&after);
    let others = spent.writes_of("") - renewals as f64;
    println!("\nQuiet for {:.0} s, {} resources", spent.seconds, world.count);
    println!(
        "  API server, writes: {renewals} renewals of the Lease ({:.2}/s), {others} others: {}",
        renewals as f64 / spent.seconds,
        Spent::each(&spent.writes, 1.0)
    );
    println!("  API server, reads/s: {}", Spent::each(&spent.reads, spent.seconds));
    println!("  OpenBao, calls/s: {}; entries of its log: {}", spent.store(spent.seconds), spent.raft);
    println!(
        "  the operator: {:.1} reconciliations/s, {:.1} % of a processor, {:.0} MiB",
        spent.own("tofustate_reconciliations_total") / spent.seconds,
        spent.processor * 100.0 / spent.seconds,
        process::resident(world.operator.id())
    );
}

/// A stop and a start with all resources ready, then a kill and a start.
pub(crate) fn restarted(world: &mut World) {
    let numbers: Vec<usize> = (0..16).map(|n| n * world.count / 16 + world.count / 40).collect();
    let states = world.states(numbers.into_iter());
    for how in ["SIGTERM", "kill -9"] {
        calm(world);
        match how {
            "SIGTERM" => world.operator.terminate(),
            _ => world.operator.kill(),
        }
        let before = Counts::now(world, false);
        let began = Instant::now();
        world.operator.launch();
        until_served(world, began);
        let ready = began.elapsed().as_secs_f64();
        let mut slowest = Duration::ZERO;
        for state in &states {
            let asked = Instant::now();
            // Those of the locks wrote none.
            ask("GET", &world.operator.url(&state.path)).token(&state.token).send().is(404);
            slowest = slowest.max(asked.elapsed());
        }
        let answered = began.elapsed().as_secs_f64();
        println!(
            "\nStarted anew after {how}, {} resources: ready after {ready:.2} s, {} states answered after {answered:.2} s (the slowest GET {:.0} ms)",
            world.count,
            states.len(),
            slowest.as_secs_f64() * 1e3
        );
        let served = Counts::now(world, true);
        let spent = before.until(&served);
        println!(
            "  until then: writes of the API server: {}; entries of OpenBao's log: {}",
            Spent::each(&spent.writes, 1.0),
            spent.raft
        );
        println!("  reads of the API server: {}", Spent::each(&spent.reads, 1.0));
        println!("  OpenBao, calls: {}", spent.store(1.0));
        println!(
            "  reconciliations: {}, processor {:.1} s",
            spent.own("tofustate_reconciliations_total"),
            spent.processor
        );
        sleep(Duration::from_secs(30));
        let spent = served.until(&Counts::now(world, true));
        println!(
            "  in the {:.0} s after: writes of the API server: {}; entries of OpenBao's log: {}; reconciliations {}; processor {:.1} s; RSS {:.0} MiB, {:.0} at most",
            spent.seconds,
            Spent::each(&spent.writes, 1.0),
            spent.raft,
            spent.own("tofustate_reconciliations_total"),
            spent.processor,
            process::resident(world.operator.id()),
            process::peak(world.operator.id())
        );
        println!(
            "  reads/s: {}; OpenBao, calls/s: {}",
            Spent::each(&spent.reads, spent.seconds),
            spent.store(spent.seconds)
        );
    }
}
