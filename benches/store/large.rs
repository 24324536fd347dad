//! A state of 256 MiB through the engine and back, streamed, in processes of their own whose peak memory counts; beside it
//! `zstd -3` on the same file, and what each step of the stream does alone.

use std::{
    env,
    fs::File,
    io::{BufWriter, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use md5::Md5;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tofustate::store::{Checker, EmbeddedKv, Sha256Sum, WriteCall};

use crate::{
    budget, engine,
    process::{peak, processor, processor_of_children},
    runtime, state, states,
    table::{print, show, spread},
};

const SIZE: u64 = 256 << 20;
const ROUNDS: usize = 5;
/// What a server hands on at a time, about.
const PIECE: usize = 64 * 1024;

pub(crate) fn run() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state.json");
    let (size, sum) = generate(&file);
    let zstd = Zstd::find();
    let (mut written, mut read, mut packed, mut unpacked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let data = folder.path().join(format!("data-{round}"));
        written.push(child("write", &file, &data));
        packed.push(zstd.pack(&file, &folder.path().join("state.zst")));
        read.push(child("read", &file, &data));
        unpacked.push(zstd.unpack(&folder.path().join("state.zst")));
        // Not timed: what comes out, byte for byte.
        assert_eq!(child("check", &file, &data).sum, sum, "other bytes came back");
        std::fs::remove_dir_all(&data).unwrap();
    }
    let stored = written[0].stored;
    let mut rows = vec![["", "MB/s", "processor s", "peak memory, MiB", "stored MB"].map(str::to_owned).to_vec()];
    let mut row = |name: &str, runs: &[Run], stored: u64| {
        let speed = runs.iter().map(|run| size as f64 / 1e6 / run.seconds).collect();
        let peak = runs.iter().filter_map(|run| run.peak).collect::<Vec<_>>();
        rows.push(vec![
            name.to_owned(),
            show(spread(speed), 0),
            show(spread(runs.iter().map(|run| run.processor).collect()), 2),
            if peak.is_empty() { String::new() } else { show(spread(peak), 1) },
            if stored == 0 { String::new() } else { format!("{:.1}", stored as f64 / 1e6) },
        ]);
    };
    row("engine, write (fsynced)", &written, stored);
    row(&format!("{}, compress", zstd.name()), &packed, packed[0].stored);
    row("engine, read", &read, 0);
    row(&format!("{}, decompress", zstd.name()), &unpacked, 0);
    print(&format!("A state of {:.1} MB, {ROUNDS} rounds, median (min-max)", size as f64 / 1e6), &rows);
    steps(&file);
}

/// What one run took.
#[derive(Default)]
struct Run {
    seconds: f64,
    processor: f64,
    peak: Option<f64>,
    stored: u64,
    sum: String,
}

/// Writes the state to a file, a resource at a time.
fn generate(file: &Path) -> (u64, String) {
    let mut out = BufWriter::new(File::create(file).unwrap());
    let (mut sha256, mut size) = (Sha256::new(), 0);
    for piece in states::Pieces::new(3, 1, SIZE) {
        sha256.update(&piece);
        size += piece.len() as u64;
        out.write_all(piece.as_bytes()).unwrap();
    }
    out.into_inner().unwrap().sync_all().unwrap();
    (size, Sha256Sum::from_bytes(sha256.finalize().into()).to_string())
}

/// Runs this program again, for its peak memory.
fn child(what: &str, file: &Path, data: &Path) -> Run {
    let out = Command::new(env::current_exe().unwrap())
        .args(["child", what])
        .args([file, data])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(out.status.success(), "{what}: {}", out.status);
    let text = String::from_utf8(out.stdout).unwrap();
    let mut said = text.split_whitespace();
    let mut next = || said.next().unwrap();
    Run {
        seconds: next().parse().unwrap(),
        processor: next().parse().unwrap(),
        peak: Some(next().parse().unwrap()),
        stored: next().parse().unwrap(),
        sum: next().to_owned(),
    }
}

/// As the child: streams the file into the engine, or the state out of it. The sum is the head's, or (`check`) that of the
/// bytes that came out.
pub(crate) fn as_child(arguments: &[String]) {
    let [what, file, data] = arguments else { panic!("{arguments:?}") };
    let (file, data) = (Path::new(file).to_owned(), Path::new(data).to_owned());
    let (write, check) = (what == "write", what == "check");
    let runtime = runtime();
    let work = runtime.spawn(async move {
        let kv = tokio::task::spawn_blocking(move || EmbeddedKv::open(&data).unwrap()).await.unwrap();
        let state = state(&engine(), Arc::new(kv), 20).await;
        let (begin, mut sha256) = (Instant::now(), Sha256::new());
        if write {
            let mut upload = state.upload(WriteCall { identity: "owner", ..Default::default() }).unwrap();
            let (mut file, mut piece) = (File::open(file).unwrap(), vec![0; PIECE]);
            loop {
                let got = file.read(&mut piece).unwrap();
                if got == 0 {
                    break;
                }
                upload.push(&piece[..got], &mut budget()).await.unwrap();
            }
            upload.finish(&mut budget()).await.unwrap();
        } else {
            let mut reader = state.read(&mut budget()).await.unwrap().unwrap();
            while let Some(piece) = reader.next(&mut budget()).await.unwrap() {
                if check {
                    sha256.update(&piece);
                }
            }
        }
        let seconds = begin.elapsed().as_secs_f64();
        let head = state.head(&mut budget()).await.unwrap();
        let version = head.current().unwrap();
        let sum = if check { Sha256Sum::from_bytes(sha256.finalize().into()) } else { version.sha256 };
        (seconds, version.stored, sum)
    });
    let (seconds, stored, sum) = runtime.block_on(work).unwrap();
    println!("{seconds} {} {} {stored} {sum}", processor("self"), peak("self"));
}

/// What the engine is held against.
enum Zstd {
    /// The command, as Debian packages it.
    Command(String),
    /// The library that the engine itself uses, where there is no command.
    Library,
}

impl Zstd {
    fn find() -> Self {
        let version = Command::new("zstd").arg("--version").output().ok().filter(|out| out.status.success());
        let version = version.and_then(|out| {
            let text = String::from_utf8(out.stdout).ok()?;
            text.split_whitespace()
                .find_map(|word| word.strip_prefix('v'))
                .map(|found| found.trim_end_matches(',').to_owned())
        });
        version.map_or(Self::Library, Self::Command)
    }

    fn name(&self) -> String {
        match self {
            Self::Command(version) => format!("zstd -3 (command, {version})"),
            Self::Library => "zstd -3 (library, no command found)".to_owned(),
        }
    }

    fn pack(&self, from: &Path, to: &Path) -> Run {
        let mut run = timed(|| match self {
            Self::Command(_) => zstd(Command::new("zstd").args(["-3", "-T1", "-q", "-f", "-o"]).args([to, from])),
            Self::Library => {
                zstd::stream::copy_encode(File::open(from).unwrap(), File::create(to).unwrap(), 3).unwrap();
            }
        });
        run.stored = to.metadata().unwrap().len();
        run
    }

    fn unpack(&self, from: &Path) -> Run {
        timed(|| match self {
            Self::Command(_) => zstd(Command::new("zstd").args(["-d", "-q", "-c"]).arg(from).stdout(Stdio::null())),
            Self::Library => zstd::stream::copy_decode(File::open(from).unwrap(), std::io::sink()).unwrap(),
        })
    }
}

fn zstd(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{status}");
}

fn timed(work: impl FnOnce()) -> Run {
    let used = || processor("self") + processor_of_children("self");
    let (begin, before) = (Instant::now(), used());
    work();
    Run { seconds: begin.elapsed().as_secs_f64(), processor: used() - before, ..Run::default() }
}

/// How fast each thing is that happens to a body on its way in, alone and on one thread.
fn steps(file: &Path) {
    let mut rows = vec![vec!["one step alone, one thread".to_owned(), "MB/s".to_owned()]];
    // `pass` answers how many bytes it saw.
    let mut step = |name: &str, pass: &dyn Fn() -> u64| {
        let speeds = (0..ROUNDS).map(|_| {
            let begin = Instant::now();
            pass() as f64 / 1e6 / begin.elapsed().as_secs_f64()
        });
        rows.push(vec![name.to_owned(), show(spread(speeds.collect()), 0)]);
    };
    step("reading the file", &|| pieces(file, |_| {}));
    step("checking the JSON", &|| {
        let mut checker = Checker::new();
        let size = pieces(file, |piece| checker.push(piece).unwrap());
        checker.finish().unwrap();
        size
    });
    step("SHA-256", &|| {
        let mut sum = Sha256::new();
        let size = pieces(file, |piece| sum.update(piece));
        std::hint::black_box(sum.finalize());
        size
    });
    step("MD5", &|| {
        let mut sum = Md5::new();
        let size = pieces(file, |piece| sum.update(piece));
        std::hint::black_box(sum.finalize());
        size
    });
    step("zstd level 3 (library)", &|| {
        let mut encoder = zstd::stream::write::Encoder::new(std::io::sink(), 3).unwrap();
        let size = pieces(file, |piece| encoder.write_all(piece).unwrap());
        encoder.finish().unwrap();
        size
    });
    print("What the stream is made of", &rows);
}

/// Hands the file on in pieces, and answers how many bytes it has.
fn pieces(file: &Path, mut take: impl FnMut(&[u8])) -> u64 {
    let (mut file, mut piece, mut bytes) = (File::open(file).unwrap(), vec![0; PIECE], 0);
    loop {
        let got = file.read(&mut piece).unwrap();
        if got == 0 {
            return bytes;
        }
        bytes += got as u64;
        take(&piece[..got]);
    }
}
