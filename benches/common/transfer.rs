//! Large states on their way to a server and back, a piece at a time, compared with the file that they come from.

use std::{
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    path::Path,
    thread,
    time::Instant,
};

use crate::{
    client::{Connection, Target},
    process, states,
};

/// What a client sends at a time.
const PIECE: usize = 64 * 1024;

/// What one direction took.
pub(crate) struct Run {
    pub(crate) rate: f64,
    pub(crate) processor: f64,
    pub(crate) peak: f64,
}

/// Writes a state of at most `most` bytes to a file, a resource at a time, and answers its size.
pub(crate) fn generate(file: &Path, most: u64) -> u64 {
    let (mut out, mut size) = (BufWriter::new(File::create(file).unwrap()), 0);
    for piece in states::Pieces::new(3, 1, most) {
        size += piece.len() as u64;
        out.write_all(piece.as_bytes()).unwrap();
    }
    out.into_inner().unwrap().sync_all().unwrap();
    size
}

/// Moves `at_once` states one way.
pub(crate) fn measure(
    pid: u32,
    target: &Target,
    at_once: usize,
    size: u64,
    file: &Path,
    way: fn(&Target, usize, u64, &Path),
) -> Run {
    process::forget_peak(pid);
    let (before, begin) = (process::processor(pid), Instant::now());
    thread::scope(|scope| {
        for state in 0..at_once {
            scope.spawn(move || way(target, state, size, file));
        }
    });
    Run {
        rate: (size * at_once as u64) as f64 / 1e6 / begin.elapsed().as_secs_f64(),
        processor: process::processor(pid) - before,
        peak: process::peak(pid),
    }
}

pub(crate) fn post(target: &Target, state: usize, size: u64, file: &Path) {
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
pub(crate) fn get(target: &Target, state: usize, size: u64, file: &Path) {
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
