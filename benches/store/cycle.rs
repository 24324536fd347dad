//! One client's LOCK, GET, POST and UNLOCK of a 20 KB state, each cycle with new bytes and the next serial; and the same
//! puts and gets without the engine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tofustate::store::{EmbeddedKv, Kv, State, WriteCall};
use tokio::sync::watch;

use crate::{
    budget, engine, lock_info,
    recorder::{Call, Recorder, Replay},
    runtime, state, states,
    table::{micros, print, show, spread},
};

const SIZE: usize = 20_000;
const ROUNDS: usize = 5;
/// Cycles before the first that counts: the history is full then.
const WARM_UP: u64 = 40;
const IN_MEMORY: u64 = 300;
const ON_DISK: u64 = 60;

/// What one cycle took: LOCK, GET, POST, UNLOCK.
type Steps = [Duration; 4];

pub(crate) fn run() {
    let runtime = runtime();
    let mut rows = vec![
        ["microseconds, median (min-max of the rounds)", "LOCK", "GET", "POST", "UNLOCK", "all four", "p99 of all"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (name, on_disk, cycles) in [("in memory", false, IN_MEMORY), ("on disk, fsynced", true, ON_DISK)] {
        let bodies: Arc<Vec<Vec<u8>>> =
            Arc::new((0..WARM_UP + cycles).map(|serial| states::whole(1, serial, SIZE)).collect());
        let (calls, puts) = runtime.block_on(record(bodies.clone()));
        let calls = Arc::new(calls);
        let (mut alone, mut beside, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let run =
                |background| on_a_store(on_disk, |kv| runtime.block_on(engine_cycles(kv, bodies.clone(), background)));
            alone.push(run(false));
            bare.push(on_a_store(on_disk, |kv| runtime.block_on(bare_cycles(kv, calls.clone()))));
            beside.push(run(true));
        }
        rows.push(row(&format!("engine, {name}"), &alone));
        rows.push(row("  with the background work beside it", &beside));
        rows.push(bare_row(&format!("  the same {puts:.1} puts and the gets, no engine"), &bare));
    }
    print(&format!("LOCK, GET, POST, UNLOCK of a {SIZE} byte state, one client"), &rows);
}

/// A new store for each round.
fn on_a_store<T>(on_disk: bool, work: impl FnOnce(Arc<dyn Kv>) -> T) -> T {
    if on_disk {
        let folder = TempDir::new().unwrap();
        work(Arc::new(EmbeddedKv::open(folder.path()).unwrap()))
    } else {
        work(Arc::new(EmbeddedKv::in_memory().unwrap()))
    }
}

async fn engine_cycles(kv: Arc<dyn Kv>, bodies: Arc<Vec<Vec<u8>>>, background: bool) -> Vec<Steps> {
    let engine = engine();
    let state = state(&engine, kv, 20).await;
    let (stop, stopped) = watch::channel(false);
    let worker = tokio::spawn({
        let engine = engine.clone();
        async move {
            if background {
                engine.run_background(stopped).await;
            }
        }
    });
    let client = tokio::spawn(async move {
        let mut taken = Vec::new();
        for (number, body) in (0..).zip(bodies.iter()) {
            let steps = cycle(&state, number, body).await;
            if number >= WARM_UP {
                taken.push(steps);
            }
            if !background {
                state.maintain().await.unwrap();
            }
        }
        taken
    });
    let taken = client.await.unwrap();
    stop.send(true).unwrap_or_default();
    worker.await.unwrap();
    taken
}

pub(crate) async fn cycle(state: &State, number: u64, body: &[u8]) -> Steps {
    let (id, info) = lock_info(number);
    let begin = Instant::now();
    let call = tofustate::store::LockCall { info: info.as_bytes(), identity: "owner", ..Default::default() };
    state.lock(call, &mut budget()).await.unwrap();
    let locked = Instant::now();
    if let Some(reader) = state.read(&mut budget()).await.unwrap() {
        reader.read_to_end(&mut budget()).await.unwrap();
    }
    let read = Instant::now();
    let length = Some(body.len() as u64);
    let call = WriteCall { lock: Some(&id), identity: "owner", length, ..Default::default() };
    state.write(call, body, &mut budget()).await.unwrap();
    let written = Instant::now();
    state.unlock(info.as_bytes(), "owner", &mut budget()).await.unwrap();
    [locked - begin, read - locked, written - read, written.elapsed()]
}

/// The calls of each cycle, the background work's left out, and how many puts a cycle has.
async fn record(bodies: Arc<Vec<Vec<u8>>>) -> (Vec<Vec<Call>>, f64) {
    let recorder = Arc::new(Recorder::new(Arc::new(EmbeddedKv::in_memory().unwrap())));
    let state = state(&engine(), recorder.clone(), 20).await;
    let mut calls = Vec::new();
    for (number, body) in (0..).zip(bodies.iter()) {
        recorder.take();
        cycle(&state, number, body).await;
        calls.push(recorder.take());
        state.maintain().await.unwrap();
    }
    let puts = calls.iter().flatten().filter(|call| matches!(call, Call::Put(..))).count();
    let each = puts as f64 / calls.len() as f64;
    (calls, each)
}

async fn bare_cycles(kv: Arc<dyn Kv>, calls: Arc<Vec<Vec<Call>>>) -> Vec<Duration> {
    let client = tokio::spawn(async move {
        let mut replay = Replay::new(kv);
        let mut taken = Vec::new();
        for calls in calls.iter() {
            let begin = Instant::now();
            replay.run(calls).await;
            taken.push(begin.elapsed());
        }
        taken.split_off(WARM_UP as usize)
    });
    client.await.unwrap()
}

fn row(name: &str, rounds: &[Vec<Steps>]) -> Vec<String> {
    let mut row = vec![name.to_owned()];
    for step in 0..4 {
        row.push(medians(rounds.iter().map(|cycles| cycles.iter().map(|steps| micros(steps[step])).collect())));
    }
    let all: Vec<Vec<f64>> =
        rounds.iter().map(|cycles| cycles.iter().map(|steps| micros(steps.iter().sum())).collect()).collect();
    row.push(medians(all.iter().cloned()));
    row.push(p99(all));
    row
}

fn bare_row(name: &str, rounds: &[Vec<Duration>]) -> Vec<String> {
    let all: Vec<Vec<f64>> = rounds.iter().map(|cycles| cycles.iter().map(|time| micros(*time)).collect()).collect();
    let mut row = vec![name.to_owned()];
    row.extend(["", "", "", ""].map(str::to_owned));
    row.push(medians(all.iter().cloned()));
    row.push(p99(all));
    row
}

/// The rounds' medians.
fn medians(rounds: impl Iterator<Item = Vec<f64>>) -> String {
    show(spread(rounds.map(|figures| spread(figures)[1]).collect()), 0)
}

fn p99(rounds: Vec<Vec<f64>>) -> String {
    let mut all: Vec<f64> = rounds.into_iter().flatten().collect();
    all.sort_by(f64::total_cmp);
    format!("{:.0}", all[all.len() * 99 / 100])
}
