//! `make e2e`: runs the files of tests with real programs, several at a time, since they wait more than they compute. Ends with
//! how long each took, and with which program and version what ran. The arguments are the filters that tests take.
//!
//! `E2E_FILES` is how many run at a time, `RUST_TEST_THREADS` how many tests of each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for a person"
)]

mod file;
#[path = "../../../../benches/common/process.rs"]
mod process;

use std::{
    collections::VecDeque,
    env, fs,
    path::Path,
    process::{ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::Instant,
};

use serde_json::Value;
use tofustate_e2e::{
    cargo::cargo,
    guard::{self, Guard},
    used,
};

use self::file::{Done, File, NOTES};

/// Those that take longest, to be begun first.
const FIRST: [&str; 6] = ["operator", "chart", "faults", "bootstrap", "docs", "cluster"];
/// How many files at a time, and how many tests of each, unless the variables say otherwise.
const FILES: usize = 3;
const THREADS: &str = "3";
/// The one that ends last has more of them.
const LONGEST: (&str, &str) = ("operator", "5");

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let Some(guarded) = guard::run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        return guarded;
    }
    let Some(files) = files() else { return ExitCode::FAILURE };
    let began = Instant::now();
    // Ctrl-C ends this program and those of the tests; the guard ends the servers that they started.
    let (guard, folder) = Guard::of("tofustate-tests", false);
    let notes = folder.join(NOTES);
    fs::write(&notes, "").unwrap();
    let done = run(files, &folder, &args);
    println!("\n{:<24} {:>8} {:>8}  TESTS", "FILE", "SECONDS", "CPU");
    for done in &done {
        println!("{done}");
    }
    println!(
        "{:<24} {:>8.0} {:>8.0}\n",
        "all",
        began.elapsed().as_secs_f64(),
        done.iter().map(|it| it.cpu).sum::<f64>()
    );
    print!("{}", used::table(&notes).unwrap());
    guard.end();
    let red: Vec<&Done> = done.iter().filter(|done| !done.well).collect();
    for done in &red {
        println!("\nFAILED: {}: {}", done.name, done.failed.join(" "));
    }
    if red.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the files of tests, and gives them in the order in which they begin. None where that fails; cargo said why.
fn files() -> Option<Vec<File>> {
    let json = "--message-format=json-render-diagnostics";
    let mut build = cargo(&["test", "--locked", "-p", "tofustate-e2e", "--no-run", json]);
    let output = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    if !output.status.success() {
        return None;
    }
    let lines = String::from_utf8(output.stdout).unwrap();
    let artifacts = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let file = |artifact: Value| {
        let program = artifact["executable"].as_str()?;
        let at = Path::new(artifact["manifest_path"].as_str()?).parent()?;
        let tests = artifact["profile"]["test"] == true;
        let name = artifact["target"]["name"].as_str()?;
        tests.then(|| File { name: name.to_owned(), program: program.into(), at: at.to_owned() })
    };
    let mut files: Vec<File> = artifacts.filter_map(file).collect();
    files.sort_by_key(|file| FIRST.iter().position(|first| *first == file.name).unwrap_or(FIRST.len()));
    assert!(!files.is_empty(), "cargo built no tests");
    Some(files)
}

/// Runs them, so many at a time.
fn run(files: Vec<File>, folder: &Path, args: &[String]) -> Vec<Done> {
    let number = |name: &str| env::var(name).ok().and_then(|value| value.parse().ok());
    let (queue, done) = (Mutex::new(VecDeque::from(files)), Mutex::new(Vec::new()));
    let wanted = env::var("RUST_TEST_THREADS").ok();
    let threads = |file: &File| match &wanted {
        Some(wanted) => wanted.clone(),
        None => if file.name == LONGEST.0 { LONGEST.1 } else { THREADS }.to_owned(),
    };
    thread::scope(|scope| {
        for _ in 0..number("E2E_FILES").unwrap_or(FILES) {
            scope.spawn(|| {
                // Not held while a file runs.
                let next = || queue.lock().unwrap().pop_front();
                while let Some(file) = next() {
                    let ended = file.run(folder, &threads(&file), args);
                    done.lock().unwrap().push(ended);
                }
            });
        }
    });
    done.into_inner().unwrap()
}
