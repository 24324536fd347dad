//! The real `tofustate standalone`, on a folder of its own: started, stopped, killed and started again on the same port and
//! data.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{ask::ask, ports, process::Process, wait};

mod openbao;
mod tells;

/// The binary: `$TOFUSTATE_BIN`, else the one that `cargo build` puts beside these tests.
///
/// # Panics
/// Where it is not there.
pub fn binary() -> PathBuf {
    // Tests are in a folder below the one with the programs.
    let beside = || {
        let exe = env::current_exe().ok()?;
        let mut places = exe.ancestors().skip(1).take(2).map(|folder| folder.join("tofustate"));
        places.find(|place| place.exists()).or_else(|| Some(exe.with_file_name("tofustate")))
    };
    let binary = env::var_os("TOFUSTATE_BIN").map(PathBuf::from).or_else(beside).expect("a folder of the tests");
    assert!(binary.exists(), "{} is not there: `make e2e` builds it first", binary.display());
    binary
}

/// A command without this machine's settings for tofustate and OpenBao.
pub fn clean(mut command: Command) -> Command {
    const OURS: [&str; 7] = ["TOFUSTATE_", "OTEL_", "BAO_", "VAULT_", "RUST_LOG", "LISTEN_ADDR", "API_TOKEN"];
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if OURS.iter().any(|start| text.starts_with(start)) || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command
}

/// A server, running or not.
#[derive(Debug)]
pub struct Standalone {
    root: TempDir,
    listen: u16,
    admin: u16,
    args: Vec<String>,
    env: Vec<(String, String)>,
    running: Option<Process>,
    /// Another server's data folder, in place of its own.
    data: Option<PathBuf>,
    /// What the runs before said: standard output and standard error.
    before: (String, String),
}

impl Standalone {
    /// A server that is not started yet, without manifests.
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        let (listen, admin) = (ports::free(), ports::free());
        Self {
            root,
            listen,
            admin,
            args: Vec::new(),
            env: Vec::new(),
            running: None,
            data: None,
            before: Default::default(),
        }
    }

    /// A running server of these paths, each with the credentials [`writer`] and [`viewer`].
    pub fn serving(paths: &[&str]) -> Self {
        let mut server = Self::new();
        for path in paths {
            server.register(path, "");
        }
        server.start();
        server
    }

    /// Writes the manifests of a path with the credentials [`writer`] and [`viewer`]. `spec`: further lines of the spec.
    pub fn register(&self, path: &str, spec: &str) {
        let (namespace, rest) = path.split_once('/').expect("a path of two segments or more");
        let name = rest.replace('/', "-");
        let secret = |kind: &str, token: String| {
            format!(
                "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}-{kind}, namespace: {namespace}}}\nstringData: {{token: {token}}}\n"
            )
        };
        let (rw, ro) = (secret("rw", writer(path)), secret("ro", viewer(path)));
        let backend = format!(
            "---\napiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  path: {path}\n  accessTokenSecretRef: {{name: {name}-rw}}\n  access: [{{name: viewer, role: ReadOnly, secretRef: {{name: {name}-ro}}}}]\n{spec}"
        );
        self.manifest(&format!("{namespace}-{name}.yaml"), &format!("{rw}{ro}{backend}"));
    }

    /// Writes a file into the folder of manifests.
    pub fn manifest(&self, file: &str, text: &str) {
        fs::write(self.root.path().join("manifests").join(file), text).unwrap();
    }

    /// One more argument of `tofustate standalone`, from the next start on.
    pub fn arg(&mut self, arg: &str) -> &mut Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more variable of its environment, from the next start on.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, or is not ready at the deadline; with what it said.
    pub fn start(&mut self) {
        self.launch();
        self.await_ready();
    }

    /// Starts it, and waits for nothing.
    pub fn launch(&mut self) {
        let mut command = clean(Command::new(binary()));
        command.arg("standalone").arg("--manifests").arg(self.root.path().join("manifests"));
        command.arg("--data").arg(self.data()).args(["--admin-listen", &format!("127.0.0.1:{}", self.admin)]);
        if !self.env.iter().any(|(name, _)| name == "LISTEN_ADDR") {
            command.args(["--listen", &self.address()]);
        }
        command.args(&self.args).envs(self.env.iter().cloned());
        self.running = Some(Process::spawn("tofustate standalone", &mut command));
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead, or is not ready at the deadline; with what it said.
    pub fn await_ready(&mut self) {
        let url = format!("{}/readyz", self.admin_url());
        let process = self.running.as_mut().expect("it runs");
        wait::until("the server is ready", || {
            if let Some(status) = process.ended() {
                panic!("the server ended with {status}: {}", process.said());
            }
            match ask("GET", &url).try_send() {
                Ok(answer) if answer.status() == 200 => Ok(()),
                not_yet => Err(format!("/readyz: {not_yet:?}; it said\n{}", process.said())),
            }
        });
    }

    /// Waits until it is not ready for a reason with this text, and answers all that is missing.
    pub fn await_shut(&self, text: &str) -> String {
        wait::until(&format!("not ready: {text}"), || {
            match ask("GET", &format!("{}/readyz", self.admin_url())).try_send() {
                Ok(answer) if answer.status() == 503 && answer.text().contains(text) => Ok(answer.text()),
                other => Err(format!("/readyz: {:?}", other.map(|answer| answer.text()))),
            }
        })
    }

    /// Starts it, and answers what it said as it ended.
    ///
    /// # Panics
    /// Where it goes on, or ends well.
    pub fn refuses(&mut self) -> String {
        self.launch();
        let mut process = self.running.take().expect("it runs");
        let status = process.wait().status;
        assert!(!status.success(), "it ended well: {}", process.said());
        self.keep(&process);
        process.stderr()
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn terminate(&mut self) {
        self.end(Signal::TERM);
    }

    /// A signal, and waits for the end.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn end(&mut self, signal: Signal) {
        self.signal(signal);
        self.ended();
    }

    /// A signal, to what it answers.
    pub fn signal(&self, signal: Signal) -> &Process {
        let process = self.running.as_ref().expect("it runs");
        process.signal(signal);
        process
    }

    /// Waits for the end that a signal asked for.
    ///
    /// # Panics
    /// Where it does not end by itself and well.
    pub fn ended(&mut self) {
        let mut process = self.running.take().expect("it runs");
        let status = process.wait().status;
        assert!(status.success(), "it ended with {status}: {}", process.said());
        self.keep(&process);
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut process = self.running.take().expect("it runs");
        process.kill();
        self.keep(&process);
    }

    fn keep(&mut self, process: &Process) {
        self.before.0.push_str(&process.stdout());
        self.before.1.push_str(&process.stderr());
    }

    /// `127.0.0.1:<port>` of the clients' listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.listen)
    }

    /// The address of a state.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address())
    }

    /// The admin listener.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.root.path().join("data"))
    }

    /// Takes another server's data folder for its own, from the next start on.
    pub fn share_data(&mut self, other: &Self) {
        self.data = Some(other.data());
    }

    /// The folder that all of it is in; room for a test's own files.
    pub fn root(&self) -> &Path {
        self.root.path()
    }
}

impl Default for Standalone {
    fn default() -> Self {
        Self::new()
    }
}

/// The token that may read and write a path.
pub fn writer(path: &str) -> String {
    format!("rw-token-of-{}-for-tests", path.replace('/', "-"))
}

/// The token that may read it.
pub fn viewer(path: &str) -> String {
    format!("ro-token-of-{}-for-tests", path.replace('/', "-"))
}
