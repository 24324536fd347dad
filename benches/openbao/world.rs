//! The server under all of it, set up as `tofustate bootstrap` does, and ours on it.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use tempfile::TempDir;
use tofustate::{
    openbao::{Address, Bao, Instance, Settings, read_token, setup},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::{
    bao::{self, fixture},
    tools::OPENBAO,
};

use crate::process;

/// The mount of the calls by hand: in ours there is nothing that is not ours.
pub(crate) const BARE: &str = "bare";

pub(crate) struct World {
    server: bao::Bao,
    /// What answers the calls: its pid, where this user may see it.
    pub(crate) pid: u32,
    /// A token for the calls by hand, that may do all in their mount and nothing else.
    pub(crate) token: String,
    folder: TempDir,
}

impl World {
    /// `None` where there is no server to be had.
    pub(crate) fn start() -> Option<Self> {
        let found = match OPENBAO.find_or_build() {
            Ok(found) => found,
            Err(fault) => {
                println!("SKIPPED: there is no OpenBao: {fault}");
                return None;
            }
        };
        let server = bao::Setup::default().start("the benchmark")?;
        println!("\n{} {}, one raft node on loopback, plain HTTP", found.name, found.version);
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let settings = settings(&server.url(0));
            let bao = Bao::new(settings.clone(), OpenBaoMetrics::default()).unwrap();
            let root = read_token(&server.root_token_file()).unwrap();
            let wanted = setup::Setup::new(&settings, Instance::parse("main").unwrap()).unwrap();
            setup::bootstrap(&bao, &root, &wanted, false, |_| {}).await.unwrap();
            setup::operator_token(&bao, &root, &wanted, &folder.path().join("operator")).await.unwrap();
        });
        let api = server.api();
        fixture::mount(&api, BARE, &serde_json::json!({"cas_required": true, "max_versions": 1}));
        let all = serde_json::json!({"capabilities": ["create", "read", "update", "delete", "list"]});
        fixture::policy(&api, BARE, &serde_json::json!({"path": {format!("{BARE}/*"): all}}));
        let token = fixture::token(&api, &[BARE]).secret;
        let address = address(&server.url(0));
        let pid = process::listener(address.port()).expect("the server is this user's");
        Some(Self { server, pid, token, folder })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        address(&self.server.url(0))
    }

    /// This program as our server with states of these names.
    pub(crate) fn ours(&self, names: &[String]) -> Ours {
        let operator: PathBuf = self.folder.path().join("operator");
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("child").arg(self.server.url(0)).arg(operator).arg(names.join(","));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, stdin) = (line.trim().parse().unwrap(), child.stdin.take());
        Ours { address, child, stdin }
    }
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings::new(vec![Address::parse(url, false).unwrap()])
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").to_socket_addrs().unwrap().next().unwrap()
}

/// Ours, in a process of its own that ends when it is dropped.
pub(crate) struct Ours {
    pub(crate) address: SocketAddr,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Ours {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a user does, and waits until it has.
    pub(crate) fn stop(mut self) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "ours ended with {status}");
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
