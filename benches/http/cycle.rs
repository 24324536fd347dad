//! LOCK, GET, POST and UNLOCK of a 20 KB state over loopback: ours with fsyncs and without, a bare axum server, and whatever
//! `PEER` names.

use std::env;

use crate::{
    child::STATES,
    client::Target,
    load::{Bodies, Clients, Figures, Load},
    process,
    server::Server,
    table::{print, show, spread},
};

const SIZE: usize = 20_000;
const ROUNDS: usize = 5;
/// The history is full after 20.
const WARM_UP: usize = 40;
/// Cycles of a round, over all states: of servers that wait for the disk, and of those that do not.
const SLOW: usize = 320;
const QUICK: usize = 2_000;

enum Kind {
    Standalone,
    Disk,
    Memory,
    Echo,
    Peer(String, Target),
}

pub(crate) fn run() {
    let mut kinds = vec![Kind::Standalone, Kind::Disk, Kind::Memory, Kind::Echo];
    let peers = env::var("PEER").unwrap_or_default();
    for peer in peers.split_whitespace() {
        let parsed = peer.split_once('=').and_then(|(name, url)| Some((name, Target::parse(url)?)));
        let (name, target) = parsed.expect("PEER is <name>=http://<user>:<password>@<address>/<path with {n}>");
        kinds.push(Kind::Peer(name.to_owned(), target));
    }
    for (clients, states) in [(1, 1), (STATES, STATES), (STATES, 1)] {
        let load = |cycles| Load { clients, states, warm_up: WARM_UP, cycles: cycles / states };
        let bodies = Bodies::new(&load(QUICK), SIZE);
        let mut rounds: Vec<Vec<Result<Figures, String>>> = kinds.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (kind, rounds) in kinds.iter().zip(&mut rounds) {
                rounds.push(kind.run(load, &bodies));
            }
        }
        let head = ["", "cycles/s", "ms a cycle", "server's processor, ms a cycle", "LOCKs refused a cycle"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(kinds.iter().zip(&rounds).map(|(kind, rounds)| row(&kind.name(), rounds)));
        let name = load(QUICK).name();
        print(
            &format!("LOCK, GET, POST, UNLOCK of a {SIZE} byte state, {name}; {ROUNDS} rounds, median (min-max)"),
            &rows,
        );
        own_work(&name, &kinds, &rounds);
    }
}

impl Kind {
    fn name(&self) -> String {
        match self {
            Self::Standalone => "tofustate standalone, as fast as it goes".to_owned(),
            Self::Disk => "tofustate, on disk, fsynced".to_owned(),
            Self::Memory => "tofustate, in memory".to_owned(),
            Self::Echo => "bare axum, the same bodies, no locks".to_owned(),
            Self::Peer(name, _) => name.clone(),
        }
    }

    fn run(&self, load: impl Fn(usize) -> Load, bodies: &Bodies) -> Result<Figures, String> {
        let slow = matches!(self, Self::Standalone | Self::Disk);
        let load = load(if slow { SLOW } else { QUICK });
        let server = match self {
            Self::Standalone => Server::standalone(STATES),
            Self::Disk => Server::child_on_disk("disk", &[]),
            Self::Memory => Server::child(&["memory"], &[]),
            Self::Echo if load.clients > load.states => return Err("has no locks".to_owned()),
            Self::Echo => Server::child(&["echo"], &[]),
            Self::Peer(_, target) => {
                let pid = process::listener(target.address.port());
                return Clients::new(&load, bodies, target.clone(), pid)?.go(load.cycles);
            }
        };
        let figures = Clients::new(&load, bodies, Target::ours(server.address), Some(server.pid()))?.go(load.cycles)?;
        server.stop();
        Ok(figures)
    }
}

/// The medians of the rounds that ended well, and what went wrong in the first that did not.
fn row(name: &str, rounds: &[Result<Figures, String>]) -> Vec<String> {
    let good: Vec<&Figures> = rounds.iter().flatten().collect();
    let mut row = vec![name.to_owned()];
    if let Some(fault) = rounds.iter().find_map(|round| round.as_ref().err()) {
        row[0] += &format!(" ({} of {} rounds: {fault})", rounds.len() - good.len(), rounds.len());
    }
    if good.is_empty() {
        return row;
    }
    let figures = |of: fn(&Figures) -> f64| spread(good.iter().map(|figures| of(figures)).collect());
    row.extend([show(figures(|f| f.rate), 0), show(figures(|f| f.wall), 2)]);
    let processor = figures(|f| f.processor);
    row.push(if processor[1].is_nan() { "not known".to_owned() } else { show(processor, 3) });
    row.push(show(figures(|f| f.refused), 2));
    row
}

/// What our server does itself: in memory, less what the bare server takes in the same round.
fn own_work(load: &str, kinds: &[Kind], rounds: &[Vec<Result<Figures, String>>]) {
    let find = |wanted: fn(&Kind) -> bool| kinds.iter().position(wanted).map(|at| &rounds[at]);
    let (Some(ours), Some(bare)) = (find(|kind| matches!(kind, Kind::Memory)), find(|kind| matches!(kind, Kind::Echo)))
    else {
        return;
    };
    let less = |of: fn(&Figures) -> f64| -> Vec<f64> {
        let pairs = ours.iter().zip(bare).filter_map(|(ours, bare)| Some((ours.as_ref().ok()?, bare.as_ref().ok()?)));
        pairs.map(|(ours, bare)| of(ours) - of(bare)).collect()
    };
    let (processor, wall) = (less(|f| f.processor), less(|f| f.wall));
    if processor.is_empty() {
        return;
    }
    let rows = [
        vec!["in memory, less the bare server".to_owned(), "ms a cycle".to_owned()],
        vec!["processor".to_owned(), show(spread(processor), 3)],
        vec!["from the first request to the last answer".to_owned(), show(spread(wall), 3)],
    ];
    print(&format!("The server's own work, {load}"), &rows);
}
