//! What sees to it that nothing of the demo, or of all the tests, is left, whatever ended that: a process of its own, which waits
//! for the end. It knows the processes, and those that they started, by the folder for temporary files that they were told.

use std::{
    env, fs,
    io::Read as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::scratch::{self, VARIABLE};
use rustix::process::{Pid, Signal, kill_process};

const PAUSE: Duration = Duration::from_millis(20);

/// The guard of this process, and of what it starts.
#[derive(Debug)]
pub struct Guard(Child);

impl Guard {
    /// Makes a folder whose name begins so, in which all is written from now on, and starts the guard of it. The program has
    /// to call [`run`] where its first argument is `guard`.
    ///
    /// # Panics
    /// Where that cannot be, or was done before.
    pub fn of(name: &str, keep: bool) -> (Self, PathBuf) {
        let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir();
        let folder = made.unwrap_or_else(|error| panic!("no folder in {}: {error}", env::temp_dir().display())).keep();
        // Before the folder is said: it is no process of its own.
        let guard = Self::start(&folder, keep);
        scratch::within(&folder, keep);
        (guard, folder)
    }

    fn start(folder: &Path, keep: bool) -> Self {
        // This very program, also where cargo put another in its place meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg("guard").arg(folder).arg(if keep { "keep" } else { "remove" });
        // Ctrl-C in a terminal is not for it, and neither is what ends all of the demo's group.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        Self(command.spawn().expect("this program starts"))
    }

    /// Waits until nothing is left.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// The guard itself, where these are its arguments: waits until who started it is gone, ends what is left, and removes the folder
/// unless that is kept.
pub fn run(args: &[&str]) -> Option<ExitCode> {
    let &["guard", folder, keep] = args else { return None };
    let (folder, keep) = (Path::new(folder), keep == "keep");
    // The other end is open as long as that lives.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    loop {
        let left = of(folder);
        if left.is_empty() {
            break;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(PAUSE);
    }
    Some(match if keep { Ok(()) } else { fs::remove_dir_all(folder) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} cannot be removed: {error}", folder.display());
            ExitCode::FAILURE
        }
    })
}

/// The processes that were told to write into a folder.
fn of(folder: &Path) -> Vec<Pid> {
    let mark = format!("{VARIABLE}={}", folder.display());
    let ours = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let pid = |process: PathBuf| Pid::from_raw(process.file_name()?.to_str()?.parse().ok()?);
    processes.filter(ours).filter_map(pid).collect()
}
