//! 10,000 registered states that nobody uses: how long a start takes, the first and a later one, what memory they need and
//! what the processor does; beside it the same server with one state.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    process,
    server::Server,
    table::{print, show, spread},
};

const STATES: usize = 10_000;
/// States in one folder.
const FOLDER: usize = 100;
const ROUNDS: usize = 3;
/// How long it has to come to rest.
const REST: Duration = Duration::from_secs(2);
/// How long it is watched then.
const IDLE: Duration = Duration::from_secs(10);

/// How the manifests stand in the folder.
#[derive(Clone, Copy)]
enum Layout {
    One,
    Files,
    File,
}

/// What one start showed.
struct Start {
    ready: f64,
    processor: f64,
    peak: f64,
    resident: f64,
    /// Of one processor, in percent.
    idle: f64,
}

pub(crate) fn run() {
    let layouts = [
        (Layout::One, "1 state".to_owned()),
        (Layout::Files, format!("{STATES} states, a file each, {FOLDER} in a folder")),
        (Layout::File, format!("{STATES} states, one file")),
    ];
    let mut starts: Vec<[Vec<Start>; 2]> = layouts.iter().map(|_| Default::default()).collect();
    for _ in 0..ROUNDS {
        for ((layout, _), [first, later]) in layouts.iter().zip(&mut starts) {
            let folder = TempDir::new().unwrap();
            let (manifests, data) = (folder.path().join("manifests"), folder.path().join("data"));
            let states = write(*layout, &manifests);
            first.push(start(&manifests, &data, states));
            later.push(start(&manifests, &data, states));
        }
    }
    let head = ["", "s until ready", "processor s", "peak MiB", "MiB when idle", "processor when idle, %"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for ((_, name), ways) in layouts.iter().zip(&starts) {
        for (which, starts) in ["first start", "later start"].iter().zip(ways) {
            let figures = |of: fn(&Start) -> f64, digits| show(spread(starts.iter().map(of).collect()), digits);
            rows.push(vec![
                format!("{name}, {which}"),
                figures(|start| start.ready, 2),
                figures(|start| start.processor, 2),
                figures(|start| start.peak, 1),
                figures(|start| start.resident, 1),
                figures(|start| start.idle, 1),
            ]);
        }
    }
    print(&format!("States that are registered and idle, {ROUNDS} rounds, median (min-max)"), &rows);
}

fn start(manifests: &Path, data: &Path, states: usize) -> Start {
    let begin = Instant::now();
    let server = Server::standalone_on(manifests, data);
    server.wait_until_ready();
    let (ready, processor, peak) = (begin.elapsed().as_secs_f64(), server.processor(), process::peak(server.pid()));
    thread::sleep(REST);
    let (begin, before) = (Instant::now(), server.processor());
    thread::sleep(IDLE);
    let idle = (server.processor() - before) / begin.elapsed().as_secs_f64() * 100.0;
    let resident = process::resident(server.pid());
    // After the measurement: it reads all heads.
    let listed = server.ask_admin("/states");
    assert_eq!(listed.matches("\"path\"").count(), states);
    assert!(!listed.contains("\"error\""), "a state cannot be served");
    server.stop();
    Start { ready, processor, peak, resident, idle }
}

/// Writes the manifests, and answers how many states they have.
fn write(layout: Layout, manifests: &Path) -> usize {
    let states = if matches!(layout, Layout::One) { 1 } else { STATES };
    let mut all = String::new();
    for number in 0..states {
        let (namespace, name) = (format!("team-{:03}", number / FOLDER), format!("network-{number:05}"));
        let text = format!(
            "apiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  path: {namespace}/{name}\n"
        );
        if matches!(layout, Layout::File) {
            write!(all, "---\n{text}").unwrap();
        } else {
            let folder = manifests.join(namespace);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{name}.yaml")), text).unwrap();
        }
    }
    if !all.is_empty() {
        fs::create_dir_all(manifests).unwrap();
        fs::write(manifests.join("all.yaml"), all).unwrap();
    }
    states
}
