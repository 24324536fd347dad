//! A run of the model, and a row of them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    client::Client,
    events,
    replica::Fleet,
    world::{FAULTS, Real, World},
};

const ENGINES: usize = 3;
const CLIENTS: usize = 6;

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What one run saw.
struct Seen {
    calls: u64,
    heads: usize,
    faults: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
}

/// One world: rounds of clients at work, with an event after each.
async fn play(seed: u64, calls: u64, real: Option<Arc<dyn Real>>) -> Seen {
    let world = World::new(seed, real);
    let fleet = Fleet::new(world.clone(), ENGINES);
    world.inner.lock().unwrap().oracle.may_create = true;
    world.set_fault_rate(50);
    fleet.register().await;
    let mut events = events::Events::new(fleet.clone());
    let mut clients: Vec<Client> = (0..CLIENTS).map(|at| Client::new(fleet.clone(), format!("client{at}"))).collect();
    let mut made = 0;
    while made < calls {
        let mut round = tokio::task::JoinSet::new();
        for mut client in clients.drain(..) {
            round.spawn(async move {
                for _ in 0..12 {
                    client.act().await;
                }
                client
            });
        }
        clients = round.join_all().await;
        made = clients.iter().map(|client| client.calls).sum();
        events.next().await;
        check(&world, seed);
    }
    events.finish().await;
    check(&world, seed);
    let inner = world.inner.lock().unwrap();
    Seen { calls: made, heads: inner.oracle.log.len(), faults: inner.faults.clone(), events: events.seen.clone() }
}

fn check(world: &Arc<World>, seed: u64) {
    let inner = world.inner.lock().unwrap();
    assert!(inner.oracle.violations.is_empty(), "seed {seed}: {:#?}", inner.oracle.violations);
}

/// Plays worlds of at most `each` calls until there were `total`. Every kind of fault and of event has to have happened.
pub fn worlds(total: u64, each: u64, first: u64, real: Option<Arc<dyn Real>>) {
    let (mut calls, mut heads) = (0, 0);
    let (mut faults, mut events) = (BTreeMap::new(), BTreeMap::new());
    let mut seed = first;
    while calls < total {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let seen = runtime.block_on(play(seed, (total - calls).min(each), real.clone()));
        calls += seen.calls;
        heads += seen.heads;
        for (kind, count) in seen.faults {
            *faults.entry(kind).or_insert(0) += count;
        }
        for (kind, count) in seen.events {
            *events.entry(kind).or_insert(0) += count;
        }
        seed += 1;
    }
    println!("{calls} calls, {heads} heads, {} worlds; faults {faults:?}; events {events:?}", seed - first);
    for kind in FAULTS {
        assert!(faults.get(kind).is_some_and(|count| *count > 0), "no fault of kind {kind} was injected");
    }
    for kind in events::KINDS {
        assert!(events.get(kind).is_some_and(|count| *count > 0), "no event of kind {kind} happened");
    }
}
