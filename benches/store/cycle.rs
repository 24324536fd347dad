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
    budget, engine,
    lock_info::lock_info,
    micros,
    paced::{Call, Paced},
    replay::Replay,
    runtime, state, states,
    table::{print, show, spread},
};

const SIZE: usize = 20_000;
const ROUNDS: usize = 5;
/// Cycles before the first that counts: the history is full then.
const WARM_UP: u64 = 40;
const IN_MEMORY: u64 = 300;
const ON_DISK: u64 = 60;

/// What one cycle took: LOCK, GET, POST, UNLOCK; and the processor's time for all four, of all threads.
type Steps = [Duration; 5];

pub(crate) fn run() {
    let runtime = runtime();
    let mut rows = vec![
        [
            "microseconds, median (min-max of the rounds)",
            "LOCK",
            "GET",
            "POST",
            "UNLOCK",
            "all four",
            "p99 of all",
            "processor",
        ]
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
    let kv = Arc::new(Paced::new(kv, false));
    let engine = engine();
    let state = state(&engine, kv.clone(), 20).await;
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
            kv.next();
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
    let used = processor_time();
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
    let unlocked = written.elapsed();
    [locked - begin, read - locked, written - read, unlocked, processor_time() - used]
}

/// The calls of each cycle, the background work's left out, and how many puts a cycle has.
async fn record(bodies: Arc<Vec<Vec<u8>>>) -> (Vec<Vec<Call>>, f64) {
    let kv = Arc::new(Paced::new(Arc::new(EmbeddedKv::in_memory().unwrap()), true));
    let state = state(&engine(), kv.clone(), 20).await;
    let mut calls = Vec::new();
    for (number, body) in (0..).zip(bodies.iter()) {
        kv.next();
        kv.take();
        cycle(&state, number, body).await;
        calls.push(kv.take());
        state.maintain().await.unwrap();
    }
    let puts = calls.iter().flatten().filter(|call| matches!(call, Call::Put(..))).count();
    let each = puts as f64 / calls.len() as f64;
    (calls, each)
}

/// What this process has used of the processors.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

async fn bare_cycles(kv: Arc<dyn Kv>, calls: Arc<Vec<Vec<Call>>>) -> Vec<[Duration; 2]> {
    let client = tokio::spawn(async move {
        let mut replay = Replay::new(kv);
        let mut taken = Vec::new();
        for calls in calls.iter() {
            let (used, begin) = (processor_time(), Instant::now());
            replay.run(calls).await;
            taken.push([begin.elapsed(), processor_time() - used]);
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
        rounds.iter().map(|cycles| cycles.iter().map(|steps| micros(steps[..4].iter().sum())).collect()).collect();
    row.push(medians(all.iter().cloned()));
    row.push(p99(all));
    row.push(medians(rounds.iter().map(|cycles| cycles.iter().map(|steps| micros(steps[4])).collect())));
    row
}

fn bare_row(name: &str, rounds: &[Vec<[Duration; 2]>]) -> Vec<String> {
    let all: Vec<Vec<f64>> = rounds.iter().map(|cycles| cycles.iter().map(|time| micros(time[0])).collect()).collect();
    let mut row = vec![name.to_owned()];
    row.extend(["", "", "", ""].map(str::to_owned));
    row.push(medians(all.iter().cloned()));
    row.push(p99(all));
    row.push(medians(rounds.iter().map(|cycles| cycles.iter().map(|time| micros(time[1])).collect())));
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
