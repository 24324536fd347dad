//! States of 256 MiB through `tofustate standalone` and back, byte for byte, one and four at once; beside it bare axum
//! with a file on the same disk.

use tempfile::TempDir;

use crate::{
    client::Target,
    server::Server,
    table::{print, show, spread},
    transfer::{Run, generate, get, measure, post},
};

const SIZE: u64 = 256 << 20;
const ROUNDS: usize = 3;
pub(crate) fn run() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.json");
    let size = generate(&file, SIZE);
    let names = ["tofustate standalone", "bare axum, a file, fsynced"];
    for at_once in [1, 4] {
        let mut runs: [[Vec<Run>; 2]; 2] = Default::default();
        for _ in 0..ROUNDS {
            for (server, runs) in [Server::standalone, |_| Server::child_on_disk("files", &[])].iter().zip(&mut runs) {
                let server = server(at_once);
                for (way, runs) in [post, get].into_iter().zip(runs) {
                    runs.push(measure(server.pid(), &Target::ours(server.address), at_once, size, &file, way));
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
