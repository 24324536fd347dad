//! One file of tests: its run, what it said, how long it took.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::Mutex,
    thread::sleep,
    time::{Duration, Instant},
};

use tofustate_e2e::scratch;

use crate::process::processor_of_children;

/// Where tests note what they ran with, in the folder of all.
pub(crate) const NOTES: &str = "used";
const LOOK: Duration = Duration::from_millis(100);

/// A file of tests, built.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Where it runs: the folder of its package.
    pub(crate) at: PathBuf,
}

/// How it ended.
pub(crate) struct Done {
    pub(crate) name: String,
    pub(crate) well: bool,
    /// The names of tests.
    pub(crate) failed: Vec<String>,
    seconds: f64,
    /// Of the tests and of the programs that they ran, in seconds.
    pub(crate) cpu: f64,
    /// What it said of them all.
    result: String,
}

impl Display for Done {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<24} {:>8.0} {:>8.0}  {}", self.name, self.seconds, self.cpu, self.result)
    }
}

impl File {
    /// Runs it, and prints how it ended; all that it said, where that is not well.
    pub(crate) fn run(&self, folder: &Path, threads: &str, args: &[String]) -> Done {
        let (name, said) = (self.name.clone(), folder.join(format!("{}.said", self.name)));
        let began = Instant::now();
        let mut command = Command::new(&self.program);
        let out = fs::File::create(&said).expect("a file for what it says");
        command.args(args).current_dir(&self.at).stdin(Stdio::null());
        command.stdout(out.try_clone().expect("the same file")).stderr(out);
        command.env("CARGO_MANIFEST_DIR", &self.at).env("RUST_TEST_THREADS", threads);
        command.env("TOFUSTATE_E2E_USED", folder.join(NOTES));
        let child = scratch::mark(&mut command).spawn();
        let (status, cpu) = reaped(&mut child.unwrap_or_else(|error| panic!("{name} cannot be started: {error}")));
        let said = String::from_utf8_lossy(&fs::read(&said).expect("what it said")).into_owned();
        let failed = said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        let failed = failed.map(str::to_owned).collect();
        let result = said.lines().rev().find_map(|line| line.strip_prefix("test result: "));
        // Its time is known, and no test here is ignored or measured.
        let result =
            result.and_then(|line| line.split("; 0 ignored").next()).map_or_else(|| status.to_string(), str::to_owned);
        let done = Done { name, well: status.success(), failed, seconds: began.elapsed().as_secs_f64(), cpu, result };
        if !done.well {
            println!("--- {} said:\n{said}---", done.name);
        }
        println!("{done}");
        done
    }
}

/// Waits for its end. What it computed, and those that it waited for, counts from then on as this process's children's: one that
/// ends at a time tells which is whose.
fn reaped(child: &mut Child) -> (ExitStatus, f64) {
    static ONE: Mutex<()> = Mutex::new(());
    loop {
        {
            let _one = ONE.lock().expect("nobody panics with it");
            let before = processor_of_children("self");
            if let Some(status) = child.try_wait().expect("it is a child") {
                return (status, processor_of_children("self") - before);
            }
        }
        sleep(LOOK);
    }
}
