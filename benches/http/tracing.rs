//! What the export of spans costs: the cycles with it, over gRPC and over HTTP to a receiver that only counts, beside the
//! same cycles without it.

use crate::{
    child::STATES,
    client::{Target, get},
    load::{self, Bodies, Figures, Load},
    server::Server,
    table::{print, show, spread},
};

const SIZE: usize = 20_000;
const ROUNDS: usize = 7;
const WARM_UP: usize = 40;
const SLOW: usize = 320;
const QUICK: usize = 2_000;

/// The value of `OTEL_EXPORTER_OTLP_PROTOCOL`, where spans are exported.
const WAYS: [(&str, Option<&str>); 3] =
    [("no export", None), ("OTLP over gRPC", Some("grpc")), ("OTLP over HTTP", Some("http/protobuf"))];

pub(crate) fn run() {
    for (on_disk, cycles) in [(true, SLOW), (false, QUICK)] {
        for clients in [1, STATES] {
            let load = Load { clients, states: clients, warm_up: WARM_UP, cycles: cycles / clients };
            let bodies = Bodies::new(&load, SIZE);
            let mut rounds: [Vec<(Figures, f64)>; 3] = Default::default();
            for _ in 0..ROUNDS {
                for ((_, protocol), rounds) in WAYS.iter().zip(&mut rounds) {
                    rounds.push(one(&load, &bodies, on_disk, *protocol));
                }
            }
            let head = ["", "cycles/s", "cycles lost, %", "processor, ms a cycle", "more, %", "spans a cycle"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            for ((name, _), rounds) in WAYS.iter().zip(&rounds) {
                rows.push(row(name, rounds));
            }
            // Each round beside its own round without export.
            for (row, traced) in rows.iter_mut().skip(1).zip(&rounds).skip(1) {
                let beside = |of: fn(&Figures, &Figures) -> f64| {
                    show(spread(traced.iter().zip(&rounds[0]).map(|((on, _), (off, _))| of(on, off)).collect()), 1)
                };
                row[2] = beside(|on, off| (1.0 - on.rate / off.rate) * 100.0);
                row[4] = beside(|on, off| (on.processor / off.processor - 1.0) * 100.0);
            }
            let store = if on_disk { "on disk, fsynced" } else { "in memory" };
            print(&format!("Export of spans, {store}, {}; {ROUNDS} rounds, median (min-max)", load.name()), &rows);
        }
    }
}

fn one(load: &Load, bodies: &Bodies, on_disk: bool, protocol: Option<&str>) -> (Figures, f64) {
    let sink = Server::child(&["sink"], &[]);
    let endpoint = format!("http://{}", sink.address);
    let mut environment = vec![];
    if let Some(protocol) = protocol {
        environment
            .extend([("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)]);
    }
    let server =
        if on_disk { Server::child_on_disk("disk", &environment) } else { Server::child(&["memory"], &environment) };
    let figures = load::run(load, bodies, &Target::ours(server.address), Some(server.pid())).unwrap();
    // It sends what it still has when it ends.
    server.stop();
    let (_, spans) = get(sink.address, "/spans").unwrap();
    let spans: f64 = String::from_utf8(spans).unwrap().parse().unwrap();
    sink.stop();
    (figures, spans / (load.states * (load.warm_up + load.cycles)) as f64)
}

fn row(name: &str, rounds: &[(Figures, f64)]) -> Vec<String> {
    let figures = |of: fn(&(Figures, f64)) -> f64, digits| show(spread(rounds.iter().map(of).collect()), digits);
    let (rate, processor) = (figures(|(f, _)| f.rate, 0), figures(|(f, _)| f.processor, 3));
    vec![name.to_owned(), rate, String::new(), processor, String::new(), figures(|(_, spans)| *spans, 1)]
}
