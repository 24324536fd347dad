//! Three replicas, three nodes of OpenBao, the API server and its store: each is killed or frozen at random while runs go
//! on and resources come and go. No acknowledged write is lost, no lock has two holders, nothing is left behind.

mod applies;
mod runs;

use std::{collections::BTreeMap, env, sync::atomic::Ordering, thread};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;
use serde_json::{Value, json};
use tofustate_e2e::{
    bao,
    client::Client,
    kube::{Api, OPERATOR_NAMESPACE, Part, tofustates},
    wait,
};

use self::{
    applies::Applies,
    runs::{Runs, Storm},
};
use crate::{
    replicas::Replicas,
    world::{Setting, World},
};

/// Longer than the Lease is good.
const FROZEN: u64 = 9;

/// What is done to one of them, which then comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    KilledReplica,
    KilledLeader,
    StoppedReplica,
    FrozenLeader,
    KilledApiServer,
    FrozenApiServer,
    KilledEtcd,
    KilledOpenBao,
    SteppedDownOpenBao,
}

const FAULTS: [Fault; 9] = [
    Fault::KilledLeader,
    Fault::KilledOpenBao,
    Fault::FrozenLeader,
    Fault::KilledApiServer,
    Fault::StoppedReplica,
    Fault::KilledEtcd,
    Fault::SteppedDownOpenBao,
    Fault::FrozenApiServer,
    Fault::KilledReplica,
];

/// Does it, has the runs go on, and brings back what it was done to.
fn strike(replicas: &mut Replicas, go_on: impl Fn(u64), fault: Fault, at_random: &mut StdRng) {
    let leader = replicas.all().position(|replica| replica.leads());
    let any = at_random.random_range(0..3);
    match fault {
        Fault::KilledReplica | Fault::KilledLeader => {
            let one = if fault == Fault::KilledLeader { leader.unwrap_or(any) } else { any };
            replicas.get(one).kill();
            go_on(5);
            replicas.get(one).start();
        }
        Fault::StoppedReplica => {
            replicas.get(any).terminate();
            go_on(5);
            replicas.get(any).start();
        }
        Fault::FrozenLeader => {
            let one = leader.unwrap_or(any);
            replicas.get(one).signal(Signal::STOP);
            go_on(5);
            thread::sleep(std::time::Duration::from_secs(FROZEN));
            replicas.get(one).signal(Signal::CONT);
            replicas.get(one).await_ready();
        }
        Fault::KilledApiServer | Fault::KilledEtcd => {
            let part = if fault == Fault::KilledEtcd { Part::Etcd } else { Part::ApiServer };
            replicas.world.cluster.kill(part);
            go_on(5);
            replicas.world.cluster.restart(part);
        }
        Fault::FrozenApiServer => {
            replicas.world.cluster.freeze(Part::ApiServer);
            go_on(5);
            replicas.world.cluster.thaw(Part::ApiServer);
        }
        Fault::KilledOpenBao => {
            let server = &mut replicas.world.server;
            let node = server.active();
            server.kill(node);
            go_on(5);
            server.restart(node);
            server.settled();
        }
        Fault::SteppedDownOpenBao => {
            replicas.world.server.step_down();
            go_on(5);
            replicas.world.server.settled();
        }
    }
    go_on(10);
}

/// Calls the API server until it answers.
fn persist(api: &Api, method: &str, path: &str, body: &Value, good: impl Fn(u16) -> bool) -> Value {
    wait::until(&format!("{method} {path}"), || match api.ask(method, path, body) {
        Ok(answer) if good(answer.status) => Ok(answer.body),
        other => Err(format!("{other:?}")),
    })
}

/// Resources come, are used once, and go. Answers how many did.
fn churn(api: &Api, namespace: &str, runs: &Runs) -> u32 {
    for n in 0.. {
        if runs.stop.load(Ordering::Relaxed) {
            return n;
        }
        let name = format!("churn-{n}");
        let object = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": name},
            "spec": {"path": format!("{namespace}/{name}"), "retention": {"deletionPolicy": "Delete"}},
        });
        // An answer may have been lost: then it is there.
        persist(api, "POST", &tofustates(namespace), &object, |status| matches!(status, 201 | 409));
        let at = World::at(namespace, &name);
        wait::until(&format!("{name} is ready"), || {
            let found = api.ask("GET", &at, &Value::Null)?;
            let ready = found.body["status"]["conditions"].as_array().into_iter().flatten();
            let ready = ready.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            if ready { Ok(()) } else { Err(found.body.to_string()) }
        });
        let secret = format!("/api/v1/namespaces/{namespace}/secrets/{name}-tofustate");
        let secret = persist(api, "GET", &secret, &Value::Null, |status| status == 200);
        let token = crate::world::decoded(&secret["data"]["TF_HTTP_PASSWORD"]);
        let line = Storm::fresh(format!("{namespace}/{name}"), token);
        if let Err(wrong) = runs.cycle(&line, &name) {
            runs.failed.lock().unwrap().push(wrong);
            return n;
        }
        wait::until(&format!("{name} may be deleted"), || {
            let answer = api.ask("DELETE", &at, &Value::Null)?;
            if matches!(answer.status, 200 | 202 | 404) { Ok(()) } else { Err(answer.body.to_string()) }
        });
        wait::until(&format!("{name} is gone"), || match api.ask("GET", &at, &Value::Null)? {
            gone if gone.status == 404 => Ok(()),
            found => Err(found.body.to_string()),
        });
    }
    unreachable!()
}

#[test]
fn nothing_is_lost_in_a_storm() {
    let test = "nothing_is_lost_in_a_storm";
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let rounds = number("STORM_FAULTS").unwrap_or(FAULTS.len() as u64);
    let seed = number("STORM_SEED").unwrap_or_else(rand::random);
    let server = bao::Setup { nodes: 3, ..bao::Setup::default() };
    let Some(client) = Client::opentofu(test) else { return };
    let Some(mut replicas) = Replicas::start(test, 2, "6", Setting { server, ..Setting::default() }) else { return };
    println!("seed {seed}: STORM_SEED repeats the order");
    let world = &replicas.world;
    let (namespace, coming) = (world.cluster.namespace("storm"), world.cluster.namespace("coming"));
    let mut lines: Vec<Storm> = ["one", "two", "three", "applied"]
        .iter()
        .map(|name| {
            world.create(&namespace, name, json!({}));
            world.until_ready(&namespace, name);
            Storm::new(format!("{namespace}/{name}"), world.token(&namespace, name))
        })
        .collect();
    let runs = Runs::new(replicas.all().map(|replica| format!("http://{}", replica.address())).collect());
    lines.iter().for_each(|line| wait::until("served by all", || runs.served(line)));
    let applied = lines.pop().unwrap();
    let applies = Applies::new(&runs, &applied, &client);
    let api = world.api().clone();
    let mut at_random = StdRng::seed_from_u64(seed);
    let mut done: BTreeMap<Fault, u32> = BTreeMap::new();
    let (came, applies) = thread::scope(|scope| {
        for line in &lines {
            for client in ["a", "b"] {
                let runs = &runs;
                scope.spawn(move || runs.work(line, client));
            }
        }
        let churn = scope.spawn(|| churn(&api, &coming, &runs));
        let applies = scope.spawn(|| applies.work());
        let stop = Stop(&runs);
        runs.go_on(&lines, 10);
        let mut faults: Vec<Fault> = Vec::new();
        for _ in 0..rounds {
            if faults.is_empty() {
                faults = FAULTS.to_vec();
            }
            let fault = faults.remove(at_random.random_range(0..faults.len()));
            strike(&mut replicas, |more| runs.go_on(&lines, more), fault, &mut at_random);
            *done.entry(fault).or_default() += 1;
        }
        drop(stop);
        (churn.join().unwrap(), applies.join().unwrap())
    });
    assert_eq!(*runs.failed.lock().unwrap(), Vec::<String>::new());
    println!("| fault | times |\n|---|--:|");
    done.iter().for_each(|(fault, times)| println!("| {fault:?} | {times} |"));
    println!(
        "{} runs, {} found the state locked, {} requests were made again; {came} resources came and went",
        lines.iter().map(|one| one.line.cycles()).sum::<u64>(),
        lines.iter().map(|one| one.line.locked()).sum::<u64>(),
        runs.again.load(Ordering::Relaxed)
    );
    println!("{} applies of OpenTofu, {} that failed and were put right", applies.ended, applies.failed);
    assert!(came > 0 && applies.ended > 0 && done.values().sum::<u32>() >= 1);
    lines.push(applied);
    let killed = [Fault::KilledReplica, Fault::KilledLeader, Fault::KilledApiServer, Fault::KilledEtcd];
    let killed = killed.iter().filter_map(|fault| done.get(fault)).sum();
    nothing_is_left(&replicas.world, &lines, killed);
}

/// Of what came and went there is no policy, token or Secret; of what stayed there is one of each. But for tokens that were
/// made in the moment of a kill, before they were kept: nobody has them, without a policy they can do nothing, and they end
/// by themselves.
fn nothing_is_left(world: &World, lines: &[Storm], killed: u32) {
    let wanted: Vec<String> = lines.iter().map(|line| line.path.clone()).collect();
    wait::until("nothing is left behind", || {
        let kept = world.api().get(&format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/secrets")).unwrap();
        let kept = kept["items"].as_array().unwrap().iter();
        let mut kept: Vec<String> = kept
            .filter_map(|secret| secret["metadata"]["annotations"]["tofustate.io/resource"].as_str().map(str::to_owned))
            .collect();
        kept.sort_unstable();
        let mut names = wanted.clone();
        names.sort_unstable();
        let left = world.server.tokens_of(&World::policy("coming", ""));
        let coming = world.api().get("/api/v1/namespaces/coming/secrets").unwrap();
        // Those that the resources own go with them, where the cluster's garbage collection runs.
        let owned = |secret: &Value| secret["metadata"]["ownerReferences"][0]["kind"] == "TofuStateBackend";
        let secrets = coming["items"].as_array().unwrap().iter().filter(|secret| !owned(secret)).count();
        if kept == names && left.len() <= killed as usize && secrets == 0 {
            Ok(())
        } else {
            Err(format!("kept {kept:?}, tokens {left:?}, {secrets} Secrets that nobody owns"))
        }
    });
    let policies = world.server.api().must("LIST", "sys/policies/acl", &Value::Null);
    let coming = World::policy("coming", "");
    let policies = policies["keys"].as_array().unwrap().iter().filter_map(Value::as_str);
    assert_eq!(policies.filter(|name| name.starts_with(&coming)).collect::<Vec<_>>(), [""; 0]);
    for line in lines {
        let (namespace, name) = line.path.split_once('/').unwrap();
        assert!(!world.server.tokens_of(&World::policy(namespace, name)).is_empty(), "{}", line.path);
    }
}

/// Ends the runs, also where a fault cannot be done.
struct Stop<'a>(&'a Runs);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
