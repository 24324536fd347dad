//! States of 256 MiB through `tofustate standalone` and back, byte for byte, one and four at once; beside it bare axum
//! with a file on the same disk.

use std::{
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    path::Path,
    thread,
    time::Instant,
};

use tempfile::TempDir;

use crate::{
    client::{Connection, Target},
    process,
    server::Server,
    states,
    table::{print, show, spread},
};

const SIZE: u64 = 256 << 20;
const ROUNDS: usize = 3;
/// What a client sends at a time.
const PIECE: usize = 64 * 1024;

/// What one direction took.
struct Run {
    rate: f64,
    processor: f64,
    peak: f64,
}

pub(crate) fn run() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.json");
    let size = generate(&file);
    let names = ["tofustate standalone", "bare axum, a file, fsynced"];
    for at_once in [1, 4] {
        let mut runs: [[Vec<Run>; 2]; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (server, runs) in [Server::standalone, |_| Server::child_on_disk("files", &[])].iter().zip(&mut runs) {
                let server = server(at_once);
                for (way, runs) in [post, get].into_iter().zip(runs) {
                    runs.push(measure(&server, at_once, size, &file, way));
                }
                server.stop();
            }
        }
        let head = ["", "MB/s, all together", "server's processor s", "peak memory, MiB"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (name, ways) in names.iter().zip(&runs) {
            for (way, runs) in ["POST", "GET"].iter().zip(ways) {
                let figures = |of: fn(&Run) -> f64, digits| show(spread(runs.iter().map(of).collect()), digits);
                let (rate, processor) = (figures(|run| run.rate, 0), figures(|run| run.processor, 2));
                rows.push(vec![format!("{name}, {way}"), rate, processor, figures(|run| run.peak, 1)]);
            }
        }
        let states = if at_once == 1 { "A state".to_owned() } else { format!("{at_once} states at once") };
        print(&format!("{states} of {:.1} MB, {ROUNDS} rounds, median (min-max)", size as f64 / 1e6), &rows);
    }
}

/// Writes the state to a file, a resource at a time.
fn generate(file: &Path) -> u64 {
    let (mut out, mut size) = (BufWriter::new(File::create(file).unwrap()), 0);
    for piece in states::Pieces::new(3, 1, SIZE) {
        size += piece.len() as u64;
        out.write_all(piece.as_bytes()).unwrap();
    }
    out.into_inner().unwrap().sync_all().unwrap();
    size
}

fn measure(server: &Server, at_once: usize, size: u64, file: &Path, way: fn(&Target, usize, u64, &Path)) -> Run {
    process::forget_peak(server.pid());
    let (target, before, begin) = (Target::ours(server.address), server.processor(), Instant::now());
    thread::scope(|scope| {
        for state in 0..at_once {
            let target = &target;
            scope.spawn(move || way(target, state, size, file));
        }
    });
    Run {
        rate: (size * at_once as u64) as f64 / 1e6 / begin.elapsed().as_secs_f64(),
        processor: server.processor() - before,
        peak: process::peak(server.pid()),
    }
}

fn post(target: &Target, state: usize, size: u64, file: &Path) {
    let mut connection = Connection::open(target).unwrap();
    connection.begin("POST", &target.path(state), size).unwrap();
    let (mut file, mut piece) = (File::open(file).unwrap(), vec![0; PIECE]);
    loop {
        let got = file.read(&mut piece).unwrap();
        if got == 0 {
            break;
        }
        connection.send(&piece[..got]).unwrap();
    }
    assert_eq!(connection.answer().unwrap().status, 200);
}

/// Compares what comes with the file.
fn get(target: &Target, state: usize, size: u64, file: &Path) {
    let mut connection = Connection::open(target).unwrap();
    connection.begin("GET", &target.path(state), 0).unwrap();
    let answer = connection.answer().unwrap();
    assert_eq!(answer.status, 200);
    let (mut file, mut piece) = (File::open(file).unwrap(), vec![0; PIECE]);
    let came = connection.body(&answer, |got| {
        let piece = &mut piece[..got.len()];
        file.read_exact(piece).unwrap();
        assert!(piece == got, "other bytes came back");
    });
    assert_eq!(came.unwrap(), size);
}
