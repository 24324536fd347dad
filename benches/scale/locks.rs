//! Locks at a pace: how soon each is visible in a watch, and what the API server writes for it.

use std::{
    collections::HashMap,
    env,
    sync::{Mutex, mpsc},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use tofustate_e2e::ask::{ask, lock_info};

use crate::{counts::Counts, counts::Spent, world::World};

/// Locks a second.
const RATE: u32 = 50;
/// States that they are of, one after the other.
const STATES: usize = 1_000;
/// For how long, in seconds.
const SECONDS: u32 = 60;
/// How long each is held.
const HELD: Duration = Duration::from_secs(2);
/// Clients.
const CLIENTS: usize = 32;

pub(crate) fn run(world: &World) {
    let seconds = env::var("SCALE_LOCKS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let states = world.states(0..STATES.min(world.count));
    let all = "/apis/tofustate.io/v1alpha1/tofustates";
    let version = world.api.get(&format!("{all}?limit=1")).expect("a list")["metadata"]["resourceVersion"].clone();
    let watch = world.cluster.api().watch(all, &format!("&resourceVersion={}", version.as_str().unwrap()));
    let before = Counts::now(world, true);
    let granted: Mutex<HashMap<String, Instant>> = Mutex::default();
    let answers: Mutex<Vec<Duration>> = Mutex::default();
    let wanted = (RATE * seconds) as usize;
    let (send, jobs) = mpsc::channel::<(usize, bool)>();
    let jobs = Mutex::new(jobs);
    let (locks, ends) = thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let Ok((n, lock)) = jobs.lock().unwrap().recv() else { return };
                    let state = &states[n % states.len()];
                    let id = format!("lock-{n}");
                    let asked = Instant::now();
                    let method = if lock { "LOCK" } else { "UNLOCK" };
                    ask(method, &world.operator.url(&state.path))
                        .token(&state.token)
                        .body(lock_info(&id))
                        .send()
                        .is(200);
                    let at = Instant::now();
                    if lock {
                        answers.lock().unwrap().push(at - asked);
                        granted.lock().unwrap().insert(id, at);
                    }
                }
            });
        }
        let seen = scope.spawn(move || {
            let (mut locks, mut ends) = (HashMap::new(), HashMap::new());
            while locks.len() < wanted || ends.len() < wanted {
                let Some((at, event)) = watch.next() else { panic!("the watch ended") };
                let object = &event["object"];
                let path = object["spec"]["path"].as_str().unwrap_or_default().to_owned();
                match object["status"]["lock"]["id"].as_str() {
                    Some(id) => drop(locks.entry(id.to_owned()).or_insert(at)),
                    None => {
                        let revision = object["status"]["headRevision"].as_i64().unwrap_or_default();
                        // Two changes of a head are a lock and its end.
                        ends.entry((path, revision)).or_insert(at);
                    }
                }
            }
            (locks, ends)
        });
        let began = Instant::now();
        let mut held = std::collections::VecDeque::new();
        for n in 0..wanted {
            let due = began + Duration::from_secs(1) * n as u32 / RATE;
            sleep(due.saturating_duration_since(Instant::now()));
            send.send((n, true)).unwrap();
            held.push_back((n, Instant::now()));
            while held.front().is_some_and(|(_, since)| since.elapsed() >= HELD) {
                send.send((held.pop_front().unwrap().0, false)).unwrap();
            }
        }
        sleep(HELD);
        for (n, _) in held {
            send.send((n, false)).unwrap();
        }
        drop(send);
        seen.join().unwrap()
    });
    let spent = before.until(&Counts::now(world, true));
    let granted = granted.into_inner().unwrap();
    let took: Vec<f64> = granted.iter().map(|(id, at)| ms(locks[id].saturating_duration_since(*at))).collect();
    let answers: Vec<f64> = answers.into_inner().unwrap().into_iter().map(ms).collect();
    println!(
        "\n{RATE} locks/s over {} states for {seconds} s, each held {} s; {} ends seen",
        states.len(),
        HELD.as_secs(),
        ends.len()
    );
    println!("  from a LOCK's 200 to the watch, ms: {}", shares(took));
    println!("  from a LOCK to its 200, ms: {}", shares(answers));
    println!(
        "  a lock and its end: API server, writes: {}; OpenBao, calls: {}; entries of its log: {:.2}; reconciliations {:.2}; processor of the operator {:.1} ms",
        Spent::each(&spent.writes, wanted as f64),
        spent.store(wanted as f64),
        spent.raft as f64 / wanted as f64,
        spent.own("tofustate_reconciliations_total") / wanted as f64,
        spent.processor * 1e3 / wanted as f64
    );
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn shares(mut all: Vec<f64>) -> String {
    all.sort_by(f64::total_cmp);
    let at = |share: usize| all[(all.len() * share / 100).min(all.len() - 1)];
    format!("p50 {:.0}, p99 {:.0}, longest {:.0}", at(50), at(99), at(100))
}
