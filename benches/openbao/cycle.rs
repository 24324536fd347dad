//! LOCK, GET, POST and UNLOCK over OpenBao, beside the four calls by hand, and whatever `PEER` names.

use std::env;

use crate::{
    bare::ByHand,
    client::{Target, get},
    load::{Bodies, Clients, Load},
    process,
    table::{print, show, spread},
    world::{Ours, World},
};

/// Clients, each with a state of its own.
const CLIENTS: [usize; 2] = [1, 16];

/// A size of states, and how often they are written.
struct Kind {
    name: &'static str,
    size: usize,
    rounds: usize,
    /// Cycles of a round and of each state, for one client and for many.
    cycles: [usize; 2],
    /// Cycles that do not count. The history is full after 20; of large states all that matters is there sooner.
    warm_up: usize,
}

const KINDS: [Kind; 3] = [
    Kind { name: "20 KB", size: 20_000, rounds: 7, cycles: [96, 12], warm_up: 24 },
    Kind { name: "200 KB", size: 200_000, rounds: 5, cycles: [36, 6], warm_up: 22 },
    Kind { name: "5 MB", size: 5_000_000, rounds: 5, cycles: [3, 1], warm_up: 2 },
];

/// What a round showed of one way.
struct Round {
    rate: f64,
    wall: f64,
    /// Milliseconds of processors a cycle: ours, the server's.
    own: f64,
    server: f64,
    /// A cycle's reads, writes, KB written, deletions.
    calls: Option<[f64; 4]>,
}

pub(crate) fn run(world: &World) {
    let peers = env::var("PEER").unwrap_or_default();
    for kind in &KINDS {
        for (clients, cycles) in CLIENTS.into_iter().zip(kind.cycles) {
            measure(world, kind, clients, cycles, &peers);
        }
    }
}

fn measure(world: &World, kind: &Kind, clients: usize, cycles: usize, peers: &str) {
    // Rounds of cycles one after the other, and rounds with a pause after each.
    let load = Load { clients, states: clients, warm_up: kind.warm_up, cycles: 2 * kind.rounds * cycles };
    let bodies = if kind.size > 1 << 20 { Bodies::shared(&load, kind.size) } else { Bodies::new(&load, kind.size) };
    let name = format!("k{}-c{clients}", kind.size / 1000);
    let ours = world.ours(&(0..clients).map(|state| format!("{name}-s{state}")).collect::<Vec<_>>());
    let mut ways: Vec<(String, Clients<'_>, Option<u32>)> = Vec::new();
    let by_hand = ByHand::new(world, &name);
    ways.push(("the calls by hand".to_owned(), Clients::new(&load, &bodies, by_hand, None).unwrap(), None));
    for peer in peers.split_whitespace() {
        let parsed = peer.split_once('=').and_then(|(name, url)| Some((name, Target::parse(url)?)));
        let (name, target) = parsed.expect("PEER is <name>=http://<user>:<password>@<address>/<path with {n}>");
        let pid = process::listener(target.address.port());
        let target = target.renamed(&kind.size.to_string());
        match Clients::new(&load, &bodies, target, pid) {
            Ok(peer) => ways.push((name.to_owned(), peer, pid)),
            Err(fault) => println!("{name}: {fault}"),
        }
    }
    let target = Target::ours(ours.address).renamed(&name);
    ways.push((
        "tofustate".to_owned(),
        Clients::new(&load, &bodies, target, Some(ours.pid())).unwrap(),
        Some(ours.pid()),
    ));
    let mut rounds: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
    let mut apart: Vec<Vec<Round>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..kind.rounds {
        for (at, (_, way, pid)) in ways.iter_mut().enumerate() {
            rounds[at].push(together(world, &ours, way, *pid, cycles * clients, cycles));
            apart[at].push(one_by_one(world, &ours, way, *pid, cycles * clients, cycles));
        }
    }
    let names: Vec<String> = ways.iter().map(|(name, ..)| name.clone()).collect();
    drop(ways);
    ours.stop();
    let head = [
        "",
        "cycles/s",
        "by hand = 1",
        "ms a cycle",
        "own processor, ms",
        "OpenBao's processor, ms",
        "reads, writes, KB written, deletions",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (rounds, what) in [(&rounds, "one after the other"), (&apart, "a pause after each")] {
        for (at, name) in names.iter().enumerate() {
            rows.push(row(&format!("{name}, {what}"), &rounds[at], &rounds[0]));
        }
    }
    print(&format!("States of {}, {}, {} rounds, median (min-max)", kind.name, load.name(), kind.rounds), &rows);
}

/// The cycles one after the other; the work that no client waits for is done meanwhile, and its end is waited for.
fn together(world: &World, ours: &Ours, way: &mut Clients<'_>, pid: Option<u32>, all: usize, cycles: usize) -> Round {
    let before = Before::new(world, ours, pid);
    let figures = way.go(cycles).unwrap();
    before.round(world, ours, pid, all, figures.rate, figures.wall)
}

/// Each cycle alone: what no client waits for is done in the pauses, as where minutes lie between cycles. Its processor
/// time is counted all the same.
fn one_by_one(world: &World, ours: &Ours, way: &mut Clients<'_>, pid: Option<u32>, all: usize, cycles: usize) -> Round {
    let before = Before::new(world, ours, pid);
    let (mut seconds, mut walls) = (0.0, Vec::new());
    for _ in 0..cycles {
        let figures = way.go(1).unwrap();
        seconds += (all / cycles) as f64 / figures.rate;
        walls.push(figures.wall);
        let _ = calls(ours);
    }
    before.round(world, ours, pid, all, all as f64 / seconds, spread(walls)[1])
}

/// How far all was before a round.
struct Before {
    calls: [f64; 4],
    own: f64,
    server: f64,
}

impl Before {
    fn new(world: &World, ours: &Ours, pid: Option<u32>) -> Self {
        let calls = calls(ours);
        Self { calls, own: pid.map_or(f64::NAN, process::processor), server: process::processor(world.pid) }
    }

    fn round(self, world: &World, ours: &Ours, pid: Option<u32>, cycles: usize, rate: f64, wall: f64) -> Round {
        let after = calls(ours);
        let each = |seconds: f64| seconds * 1e3 / cycles as f64;
        let own = each(pid.map_or(f64::NAN, process::processor) - self.own);
        let server = each(process::processor(world.pid) - self.server);
        let calls = std::array::from_fn(|at| (after[at] - self.calls[at]) / cycles as f64);
        Round { rate, wall, own, server, calls: (pid == Some(ours.pid())).then_some(calls) }
    }
}

/// What ours asked of the store so far, when it asks no more.
fn calls(ours: &Ours) -> [f64; 4] {
    let (_, said) = get(ours.address, "/idle").unwrap();
    let said = String::from_utf8(said).unwrap();
    let mut numbers = said.split(' ').map(|number| number.parse().unwrap());
    std::array::from_fn(|_| numbers.next().unwrap())
}

fn row(name: &str, rounds: &[Round], by_hand: &[Round]) -> Vec<String> {
    let figures = |of: fn(&Round) -> f64, digits| show(spread(rounds.iter().map(of).collect()), digits);
    let ratio = rounds.iter().zip(by_hand).map(|(round, by_hand)| round.rate / by_hand.rate).collect();
    let own = if rounds[0].own.is_nan() { String::new() } else { figures(|round| round.own, 2) };
    let mut row = vec![name.to_owned(), figures(|round| round.rate, 0), show(spread(ratio), 2)];
    row.extend([figures(|round| round.wall, 1), own, figures(|round| round.server, 1)]);
    let calls: Vec<[f64; 4]> = rounds.iter().filter_map(|round| round.calls).collect();
    if !calls.is_empty() {
        let mean = |at: usize| calls.iter().map(|calls| calls[at]).sum::<f64>() / calls.len() as f64;
        row.push(format!("{:.1}, {:.1}, {:.0}, {:.2}", mean(0), mean(1), mean(2) / 1e3, mean(3)));
    }
    row
}
