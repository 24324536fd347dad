//! What the export of spans costs: the cycles with it, over gRPC and over HTTP to a receiver that only counts, beside the
//! same cycles without it. The servers run side by side and are asked in turn, some cycles at a time, and each turn is held
//! against the one without export beside it: what else the machine does hits both.

use std::array;

use crate::{
    child::STATES,
    client::{Target, get},
    load::{Bodies, Clients, Load},
    process::processor_of_threads,
    server::Server,
    table::{print, show, spread},
};

const SIZE: usize = 20_000;
const ROUNDS: usize = 5;
/// How often each server is asked in a round.
const TURNS: usize = 40;
/// Cycles of a turn, over all states.
const TURN: usize = 48;
const WARM_UP: usize = 40;

/// The value of `OTEL_EXPORTER_OTLP_PROTOCOL`, where spans are exported. The first is what the others are held against.
const WAYS: [(&str, Option<&str>); 3] =
    [("no export", None), ("OTLP over gRPC", Some("grpc")), ("OTLP over HTTP", Some("http/protobuf"))];

/// Milliseconds of a cycle in one turn: of the clock and of the server's processors.
type Turn = [f64; 2];

pub(crate) fn run() {
    for on_disk in [true, false] {
        for clients in [1, STATES] {
            measure(on_disk, clients);
        }
    }
}

fn measure(on_disk: bool, clients: usize) {
    let load = Load { clients, states: clients, warm_up: WARM_UP, cycles: ROUNDS * TURNS * TURN / clients };
    let bodies = Bodies::new(&load, SIZE);
    let sinks = WAYS.map(|_| Server::child(&["sink"], &[]));
    let servers: [Server; 3] = array::from_fn(|way| server(on_disk, WAYS[way].1, &sinks[way]));
    let mut all =
        servers.each_ref().map(|server| Clients::new(&load, &bodies, Target::ours(server.address), None).unwrap());
    let mut rounds: [[Vec<Turn>; ROUNDS]; 3] = Default::default();
    for turn in 0..ROUNDS * TURNS {
        for way in (0..WAYS.len()).map(|place| (turn + place) % WAYS.len()) {
            let before = processor_of_threads(servers[way].pid());
            let figures = all[way].go(TURN / load.states).unwrap();
            let used = processor_of_threads(servers[way].pid()) - before;
            rounds[way][turn / TURNS].push([1e3 / figures.rate, used * 1e3 / TURN as f64]);
        }
    }
    drop(all);
    // They send what they still have when they end.
    servers.into_iter().for_each(Server::stop);
    let head = ["", "cycles/s", "cycles lost, %", "server's processor, ms a cycle", "more, %", "spans a cycle"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ((name, _), (mine, sink)) in WAYS.iter().zip(rounds.iter().zip(sinks)) {
        let (_, spans) = get(sink.address, "/spans").unwrap();
        let spans: f64 = String::from_utf8(spans).unwrap().parse().unwrap();
        sink.stop();
        rows.push(vec![
            (*name).to_owned(),
            medians(mine, &rounds[0], 0, |[wall, _], _| 1e3 / wall),
            medians(mine, &rounds[0], 1, |[wall, _], [without, _]| (1.0 - without / wall) * 100.0),
            medians(mine, &rounds[0], 3, |[_, processor], _| processor),
            medians(mine, &rounds[0], 1, |[_, processor], [_, without]| (processor / without - 1.0) * 100.0),
            format!("{:.1}", spans / (load.states * (load.warm_up + load.cycles)) as f64),
        ]);
    }
    let store = if on_disk { "on disk, fsynced" } else { "in memory" };
    print(&format!("Export of spans, {store}, {}; {ROUNDS} rounds, median (min-max)", load.name()), &rows);
}

/// The median of each round's turns, beside those without export.
fn medians(
    mine: &[Vec<Turn>; ROUNDS],
    without: &[Vec<Turn>; ROUNDS],
    digits: usize,
    of: fn(Turn, Turn) -> f64,
) -> String {
    let round = |(mine, without): (&Vec<Turn>, &Vec<Turn>)| {
        spread(mine.iter().zip(without).map(|(mine, without)| of(*mine, *without)).collect())[1]
    };
    show(spread(mine.iter().zip(without).map(round).collect()), digits)
}

fn server(on_disk: bool, protocol: Option<&str>, sink: &Server) -> Server {
    let endpoint = format!("http://{}", sink.address);
    let mut environment = vec![];
    if let Some(protocol) = protocol {
        environment
            .extend([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    }
    if on_disk { Server::child_on_disk("disk", &environment) } else { Server::child(&["memory"], &environment) }
}
