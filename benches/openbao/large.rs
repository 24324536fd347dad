//! States of 256 MiB through ours over OpenBao and back, byte for byte, one and four at once.

use tempfile::TempDir;

use crate::{
    client::Target,
    table::{print, show, spread},
    transfer::{Run, generate, get, measure, post},
    world::World,
};

const SIZE: u64 = 256 << 20;
const ROUNDS: usize = 3;

pub(crate) fn run(world: &World) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.json");
    let size = generate(&file, SIZE);
    let head = ["", "MB/s, all together", "own processor s", "peak memory, MiB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for at_once in [1, 4] {
        let mut ways: [Vec<Run>; 2] = Default::default();
        for round in 0..ROUNDS {
            let name = format!("large-{at_once}-{round}");
            let ours = world.ours(&(0..at_once).map(|state| format!("{name}-s{state}")).collect::<Vec<_>>());
            let target = Target::ours(ours.address).renamed(&name);
            for (way, runs) in [post, get].into_iter().zip(&mut ways) {
                runs.push(measure(ours.pid(), &target, at_once, size, &file, way));
            }
            ours.stop();
        }
        for (way, runs) in ["POST", "GET"].iter().zip(&ways) {
            let figures = |of: fn(&Run) -> f64, digits| show(spread(runs.iter().map(of).collect()), digits);
            let name = if at_once == 1 { format!("{way} of one") } else { format!("{way} of {at_once} at once") };
            let (rate, processor) = (figures(|run| run.rate, 0), figures(|run| run.processor, 2));
            rows.push(vec![name, rate, processor, figures(|run| run.peak, 1)]);
        }
    }
    print(&format!("States of {:.1} MB, {ROUNDS} rounds, median (min-max)", size as f64 / 1e6), &rows);
}
