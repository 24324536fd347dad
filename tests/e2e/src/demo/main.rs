//! `make demo`: all of it on this machine, on loopback and on free ports, with nothing set up before. What is missing is built,
//! or done without: see `stack`. With `ONCE=1` it ends by itself, well only if all was seen; else it stays up until Ctrl-C.
//! `make standalone`: the embedded stack without the story.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for a person"
)]

mod apply;
mod embedded;
mod full;
mod hands;
mod operator;
mod prepare;
mod stack;

use std::{
    env, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use tofustate_e2e::{
    guard::{self, Guard},
    wait,
};
use tokio::signal::unix::{SignalKind, signal};

use self::stack::Stack;

/// What is applied, and the configuration that is run.
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
/// The state of `examples/state.yaml`.
const NAMESPACE: &str = "team-a";
const NAME: &str = "network";
const PATH: &str = "team-a/network";
/// How long the apply takes, so that its lock can be looked at.
const SECONDS: &str = "10";
/// As shells have it for what Ctrl-C ended.
const INTERRUPTED: u8 = 130;
const LOOK: Duration = Duration::from_millis(100);

/// Nothing runs yet that would have to end well.
static PREPARING: AtomicBool = AtomicBool::new(true);

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked {
    /// Ends by itself.
    once: bool,
    /// Leaves the folder.
    keep: bool,
    /// The story, or the server alone.
    story: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let Some(guarded) = guard::run(&args) {
        return guarded;
    }
    let story = match args[..] {
        [] => true,
        ["standalone"] => false,
        _ => {
            eprintln!("usage: demo [standalone], with STACK=full|embedded, ONCE=1, KEEP=1 in its environment");
            return ExitCode::FAILURE;
        }
    };
    let set = |name: &str| env::var(name).is_ok_and(|value| !["", "0"].contains(&value.as_str()));
    let asked = Asked { once: set("ONCE"), keep: set("KEEP"), story };
    let stack = match if story { stack::choose(env::var("STACK").ok().as_deref()) } else { Ok(Stack::Embedded) } {
        Ok(stack) => stack,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };

    let (guard, folder) = Guard::of("tofustate-demo", asked.keep);
    let kept = if asked.keep { "stays" } else { "is removed at the end (KEEP=1 keeps it)" };
    println!("All that it writes is in {}, which {kept}; built tools are in their cache.", folder.display());
    quiet_when_interrupted();
    let _runtime = listen();
    // What it started ends with the thread, whatever ended that; and the guard ends what is left.
    let shown = std::thread::spawn(move || show(stack, asked, &folder)).join();
    guard.end();
    let Err(why) = shown else { return ExitCode::SUCCESS };
    if wait::interrupted() {
        eprintln!("\nInterrupted: what it started has ended.");
        return ExitCode::from(INTERRUPTED);
    }
    // Again, below all that the programs said.
    let why = why.downcast_ref::<String>().map(String::as_str).or_else(|| why.downcast_ref::<&str>().copied());
    eprintln!("\nThe demo failed: {}", why.unwrap_or("see above"));
    ExitCode::FAILURE
}

fn show(stack: Stack, asked: Asked, folder: &Path) {
    prepare::server();
    let bin = prepare::bin(folder);
    match stack {
        Stack::Full => {
            prepare::tools(&bin);
            PREPARING.store(false, Ordering::Relaxed);
            full::show(asked.once, &bin);
        }
        Stack::Embedded => {
            PREPARING.store(false, Ordering::Relaxed);
            embedded::show(asked, &bin);
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP end it.
fn listen() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
            .map(|kind| signal(kind).expect("signals can be heard"))
    };
    for mut signal in signals {
        runtime.spawn(async move {
            while signal.recv().await.is_some() {
                wait::interrupt();
                if PREPARING.load(Ordering::Relaxed) {
                    // A build that is under way; the guard ends it.
                    eprintln!("\nInterrupted.");
                    std::process::exit(INTERRUPTED.into());
                }
            }
        });
    }
    runtime
}

/// A wait that is given up for Ctrl-C is no fault that a person has to read about.
fn quiet_when_interrupted() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !wait::interrupted() {
            usual(info);
        }
    }));
}

/// Says what is done, does it, and says how long that took.
fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    println!("\n== {what}");
    let began = Instant::now();
    let done = work();
    println!("   ({:.1} s)", began.elapsed().as_secs_f64());
    done
}

/// Until Ctrl-C, with something to do now and then.
fn stay(mut now_and_then: impl FnMut()) {
    while !wait::resume() {
        now_and_then();
        sleep(LOOK);
    }
}

/// A line for the shell of a person.
fn path_line(bin: &Path) -> String {
    format!("export PATH={}:$PATH", bin.display())
}

/// The configuration of the examples, in a folder of its own below the demo's.
fn configuration(bin: &Path) -> PathBuf {
    let folder = bin.with_file_name("configuration");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(Path::new(EXAMPLES).join("configuration/main.tf"), folder.join("main.tf")).unwrap();
    folder
}
