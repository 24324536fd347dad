//! How soon a lock is visible in a watch. Prints figures for the record; none is a bound here.

use std::time::{Duration, Instant};

use serde_json::Value;
use tofustate_e2e::kube::tofustates;

use crate::world::{Reports, Store, client, created, installed, lock, off, run, unlock};

const STATES: usize = 10;
const LOCKS: usize = 200;

#[test]
fn every_one_of_200_locks_is_seen_in_a_watch() {
    let Some(cluster) = installed("every_one_of_200_locks_is_seen_in_a_watch") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("latency"));
    let made: Vec<Value> = (0..STATES).map(|n| created(api, &namespace, &format!("net-{n}"))).collect();
    let watch = api.watch(&tofustates(&namespace), "");
    run(async {
        let reports = Reports::start(off(|| client(&cluster, "latency")).await);
        let store = Store::new();
        let mut states = Vec::new();
        for (n, made) in made.iter().enumerate() {
            let state = store.state(&namespace, &format!("net-{n}")).await;
            reports.follow(made, &state);
            states.push(state);
        }
        let (mut took, mut freed) = (Vec::new(), Vec::new());
        for n in 0..LOCKS {
            let (state, id) = (&states[n % STATES], format!("id-{n}"));
            let name = format!("net-{}", n % STATES);
            let of = |event: &Value| event["object"]["metadata"]["name"] == *name;
            lock(state, &id, "ann@laptop").await;
            let began = Instant::now();
            let (seen, _) = off(|| {
                watch.until("the lock is seen", |event| of(event) && event["object"]["status"]["lock"]["id"] == *id)
            });
            took.push(seen.saturating_duration_since(began));
            unlock(state, &id).await;
            let began = Instant::now();
            let (seen, _) = off(|| {
                watch.until("its end is seen", |event| of(event) && event["object"]["status"]["locked"] == false)
            });
            freed.push(seen.saturating_duration_since(began));
        }
        reports.stop().await;
        let line = |what: &str, times: &mut Vec<Duration>| {
            times.sort();
            let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
            println!("{what}: {LOCKS} times, p50 {:?}, p99 {:?}, max {:?}", at(50), at(99), times[times.len() - 1]);
        };
        line("a lock, from its 200 to the watch", &mut took);
        line("its end, from its 200 to the watch", &mut freed);
    });
}
