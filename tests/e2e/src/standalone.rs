//! The real `tofustate standalone`, on a folder of its own: started, stopped, killed and started again on the same port and
//! data.

use std::{
    env, fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{scratch, server::Server};

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
    assert!(binary.exists(), "{} is not there: `make e2e` and `make demo` build it first", binary.display());
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
    server: Server,
    /// Another server's data folder, in place of its own.
    data: Option<PathBuf>,
}

impl Standalone {
    /// A server that is not started yet, without manifests.
    pub fn new() -> Self {
        let root = scratch::folder("standalone");
        fs::create_dir(root.path().join("manifests")).unwrap();
        Self { root, server: Server::new("standalone"), data: None }
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
        let mut command = Command::new(binary());
        command.arg("standalone").arg("--manifests").arg(self.root.path().join("manifests"));
        command.arg("--data").arg(self.data());
        if !self.has_env("LISTEN_ADDR") {
            command.args(["--listen", &self.address()]);
        }
        self.spawn(command);
    }

    /// Starts it, and answers what it said as it ended.
    ///
    /// # Panics
    /// Where it goes on, or ends well.
    pub fn refuses(&mut self) -> String {
        self.launch();
        self.refused()
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

impl Deref for Standalone {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Standalone {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
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
