//! How soon a lock and its end are visible in a watch, as a table: `make bench-operator`. The real operator with its own
//! ServiceAccount and rights and the admission policies, on a real OpenBao and a real API server, all on loopback. Each LOCK
//! and each UNLOCK goes by HTTP and is timed from its 200 to the event of a watch that shows it. Nothing here fails on a slow
//! machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a benchmark")]

#[path = "../common/table.rs"]
mod table;

use std::{
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{ask, lock_info},
    bao,
    kube::{Api, Cluster, Setup, Watch, condition, is_true, tofustates},
    operator::Operator,
    tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, all_there},
};

const NAMESPACE: &str = "team";
const STATES: usize = 10;
/// Of each round.
const LOCKS: usize = 200;
const ROUNDS: usize = 5;

fn main() {
    if !all_there(&[ETCD, KUBE_APISERVER, KUBECTL, OPENBAO]) {
        return;
    }
    let world = World::start();
    let mut rows = vec![[&format!("{LOCKS} times a round, ms"), "p50", "p99", "longest"].map(str::to_owned).to_vec()];
    let mut add = |what: &str, rounds: &[Vec<Duration>]| {
        let at = |share: usize| {
            let of = |round: &Vec<Duration>| {
                let mut round: Vec<f64> = round.iter().map(|took| took.as_secs_f64() * 1e3).collect();
                round.sort_by(f64::total_cmp);
                round[(round.len() * share / 100).min(round.len() - 1)]
            };
            table::show(table::spread(rounds.iter().map(of).collect()), 0)
        };
        rows.push(vec![what.to_owned(), at(50), at(99), at(100)]);
    };
    // A round of each in turn.
    let (mut locks, mut unlocks, mut many, mut freed, mut bare) = (vec![], vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let (lock, unlock) = world.one_by_one(round);
        locks.push(lock);
        unlocks.push(unlock);
        let (lock, unlock) = world.all_at_once(round);
        many.push(lock);
        freed.push(unlock);
        bare.push(world.by_hand(round));
    }
    add("a lock, from its 200 to the watch", &locks);
    add("its end", &unlocks);
    add(&format!("{STATES} states at once: a lock"), &many);
    add("its end", &freed);
    add("a ConfigMap patched by hand, from its sending to the watch", &bare);
    table::print("Visible in a watch", &rows);
}

struct World {
    states: Vec<StateOf>,
    // In the order in which they end.
    _operator: Operator,
    _server: bao::Bao,
    cluster: Cluster,
}

/// A state as a run has it.
struct StateOf {
    name: String,
    url: String,
    token: String,
}

/// How long locks and their ends took.
type Took = (Vec<Duration>, Vec<Duration>);

impl World {
    fn start() -> Self {
        let cluster = Setup { crds: true, ..Setup::default() }.start("the benchmark").expect("it was found");
        let server = bao::Setup::default().start("the benchmark").expect("it was found");
        let mut operator = Operator::new(&cluster, &server);
        cluster.install_operator_rights();
        cluster.install_policies();
        operator.start();
        cluster.namespace(NAMESPACE);
        let states = (0..STATES).map(|n| made(cluster.api(), &operator, &format!("net-{n}"))).collect();
        Self { states, _operator: operator, _server: server, cluster }
    }

    /// One lock at a time, of one state after the other.
    fn one_by_one(&self, round: usize) -> Took {
        let mut took = Took::default();
        let watches: Vec<_> = self.states.iter().map(|state| state.watch(self.cluster.api())).collect();
        for n in 0..LOCKS {
            self.states[n % STATES].cycle(&watches[n % STATES], &format!("one-{round}-{n}"), &mut took);
        }
        took
    }

    /// All states at once, each with one lock after the other.
    fn all_at_once(&self, round: usize) -> Took {
        let work = |state: &StateOf| {
            let (mut took, watch) = (Took::default(), state.watch(self.cluster.api()));
            for n in 0..LOCKS / STATES {
                state.cycle(&watch, &format!("many-{round}-{n}"), &mut took);
            }
            took
        };
        let mut all = Took::default();
        thread::scope(|scope| {
            let running: Vec<_> = self.states.iter().map(|state| scope.spawn(move || work(state))).collect();
            for one in running {
                let (locks, unlocks) = one.join().unwrap();
                all.0.extend(locks);
                all.1.extend(unlocks);
            }
        });
        all
    }

    /// What the API server and etcd alone take.
    fn by_hand(&self, round: usize) -> Vec<Duration> {
        let (api, all) = (self.cluster.api(), format!("/api/v1/namespaces/{NAMESPACE}/configmaps"));
        let name = format!("by-hand-{round}");
        api.create(&all, &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})).done();
        let watch = api.watch(&all, &format!("&fieldSelector=metadata.name%3D{name}"));
        let one = |n: usize| {
            let (patch, began) = (json!({"data": {"n": n.to_string()}}), Instant::now());
            api.merge(&format!("{all}/{name}"), &patch).done();
            let (seen, _) =
                watch.until("the patch is seen", |event| event["object"]["data"]["n"] == patch["data"]["n"]);
            seen.saturating_duration_since(began)
        };
        (0..LOCKS).map(one).collect()
    }
}

impl StateOf {
    fn watch(&self, api: &Api) -> Watch {
        api.watch(&tofustates(NAMESPACE), &format!("&fieldSelector=metadata.name%3D{}", self.name))
    }

    /// A LOCK and an UNLOCK.
    fn cycle(&self, watch: &Watch, id: &str, took: &mut Took) {
        let answered = |method: &str| {
            ask(method, &self.url).token(&self.token).body(lock_info(id)).send().is(200);
            Instant::now()
        };
        let began = answered("LOCK");
        let (seen, _) = watch.until("the lock is seen", |event| event["object"]["status"]["lock"]["id"] == *id);
        took.0.push(seen.saturating_duration_since(began));
        let began = answered("UNLOCK");
        let (seen, _) = watch.until("its end is seen", |event| event["object"]["status"]["locked"] == false);
        took.1.push(seen.saturating_duration_since(began));
    }
}

/// A resource that is ready.
fn made(api: &Api, operator: &Operator, name: &str) -> StateOf {
    let path = format!("{NAMESPACE}/{name}");
    let resource = json!({
        "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend",
        "metadata": {"name": name}, "spec": {"path": path},
    });
    api.create(&tofustates(NAMESPACE), &resource).done();
    let ready = |found: &Value| condition(found, "Ready").is_some_and(is_true);
    api.until(&format!("{}/{name}", tofustates(NAMESPACE)), "it is ready", ready);
    let secret = api.get(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}-tofustate")).expect("the Secret");
    let token = STANDARD.decode(secret["data"]["TF_HTTP_PASSWORD"].as_str().unwrap()).unwrap();
    StateOf { name: name.to_owned(), url: operator.url(&path), token: String::from_utf8(token).unwrap() }
}
