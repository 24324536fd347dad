//! The servers under the clients, each in a process of its own that ends when it is dropped.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    client::{TOKEN, get},
    process,
};

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The admin listener of `tofustate standalone`.
    admin: Option<SocketAddr>,
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its data, gone after it.
    _folder: Option<TempDir>,
}

impl Server {
    /// This program as the server that the arguments name.
    pub(crate) fn child(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("child").args(arguments).envs(environment.iter().copied());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, stdin) = (line.trim().parse().unwrap(), child.stdin.take());
        Self { address, admin: None, child, stdin, _folder: None }
    }

    /// The same, with an empty folder for its data as the last argument.
    pub(crate) fn child_on_disk(what: &str, environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut server = Self::child(&[what, folder.path().to_str().unwrap()], environment);
        server._folder = Some(folder);
        server
    }

    /// `tofustate standalone` with `states` states.
    pub(crate) fn standalone(states: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let manifests = folder.path().join("manifests");
        fs::create_dir(&manifests).unwrap();
        fs::write(manifests.join("states.yaml"), with_token(states)).unwrap();
        let mut server = Self::standalone_on(&manifests, &folder.path().join("data"));
        server._folder = Some(folder);
        server.wait_until_ready();
        server
    }

    /// `tofustate standalone` on these folders; it may not be ready yet.
    pub(crate) fn standalone_on(manifests: &Path, data: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tofustate"));
        command.args(["standalone", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--manifests"]);
        command.args([manifests.as_os_str(), OsStr::new("--data"), data.as_os_str()]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = log.by_ref().map(Result::unwrap).find(|line| line.contains("\"starting\"")).unwrap();
        let started: serde_json::Value = serde_json::from_str(&started).unwrap();
        let address = |name: &str| started[name].as_str().unwrap().parse().unwrap();
        let (address, admin) = (address("listen"), address("admin"));
        // Read on, so that it never waits for us.
        thread::spawn(move || log.for_each(drop));
        Self { address, admin: Some(admin), child, stdin: None, _folder: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the gates.
    pub(crate) fn wait_until_ready(&self) {
        let begin = Instant::now();
        while !get(self.admin.unwrap(), "/readyz").is_ok_and(|(status, _)| status == 200) {
            assert!(begin.elapsed() < Duration::from_secs(600), "it does not get ready");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the admin listener says on this path.
    pub(crate) fn ask_admin(&self, path: &str) -> String {
        let (status, body) = get(self.admin.unwrap(), path).unwrap();
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    /// Seconds of the processors that it took so far.
    pub(crate) fn processor(&self) -> f64 {
        process::processor(self.pid())
    }

    /// Ends it as a user does, and waits until it has.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        if self.admin.is_some() {
            kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "a server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Manifests of states `bench/s0`, `bench/s1` and so on, whose token is known.
fn with_token(states: usize) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: token, namespace: bench}}\nstringData: {{token: {TOKEN}}}\n"
    );
    for number in 0..states {
        text += &format!(
            "---\napiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: s{number}, namespace: bench}}\nspec: {{path: bench/s{number}, accessTokenSecretRef: {{name: token}}}}\n"
        );
    }
    text
}
