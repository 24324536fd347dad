//! A server, `tofustate bootstrap` on it, and our parts connected to it.

use std::{
    fs,
    future::Future,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tofustate::{
    openbao::{
        Address, Bao, Credential, FileKeeper, Instance, Login, OpenBaoStores, Settings, Token, TokenSource, alone,
        setup::Setup,
    },
    store::{Kv, StatePath, Stores as _, head::Owner},
    telemetry::OpenBaoMetrics,
};
use tofustate_e2e::{
    bao::{self, Api, Setup as Server},
    process::Process,
    standalone::binary,
    wait::DEADLINE,
};
use tokio::time::{Instant, sleep};

pub(crate) const INSTANCE: &str = "prod";
pub(crate) const POLICY: &str = "tofustate-operator-prod";
pub(crate) const ROLE: &str = "tofustate-prod";

/// A server, and where a test has its files.
pub(crate) struct World {
    pub(crate) server: bao::Bao,
    pub(crate) folder: TempDir,
    /// The namespace of the set-up, such as `team/tofu`.
    pub(crate) namespace: Option<&'static str>,
}

impl World {
    /// An empty server; in a namespace only OpenBao can be.
    pub(crate) fn start(test: &str, namespace: Option<&'static str>) -> Option<Self> {
        Self::of(test, Server { openbao_only: namespace.is_some(), ..Server::default() }, namespace)
    }

    fn of(test: &str, server: Server, namespace: Option<&'static str>) -> Option<Self> {
        Some(Self { server: server.start(test)?, folder: TempDir::new().unwrap(), namespace })
    }

    /// A raft cluster that is set up by way of a standby.
    pub(crate) fn cluster(test: &str) -> Option<Self> {
        let world = Self::of(test, Server { nodes: 3, ..Server::default() }, None)?;
        let standby = world.server.url(world.server.standby());
        let done = world.bootstrap(&["--operator-token-file", path(&world.operator()), "--openbao-addr", &standby]);
        assert!(done.status.success(), "{}", said(&done));
        Some(world)
    }

    /// A server that is set up, with the operator's token in [`World::operator`].
    pub(crate) fn set_up(test: &str) -> Option<Self> {
        let world = Self::start(test, None)?;
        let done = world.bootstrap(&["--operator-token-file", path(&world.operator())]);
        assert!(done.status.success(), "{}", said(&done));
        Some(world)
    }

    pub(crate) fn operator(&self) -> PathBuf {
        self.folder.path().join("operator-token")
    }

    /// Root, where the set-up is.
    pub(crate) fn api(&self) -> Api {
        let api = self.server.api();
        self.namespace.map_or_else(|| api.clone(), |namespace| api.in_namespace(namespace))
    }

    /// Runs `tofustate bootstrap` with the root token.
    pub(crate) fn bootstrap(&self, args: &[&str]) -> Output {
        let root = self.server.root_token_file();
        let mut all = vec!["--admin-token-file", path(&root)];
        all.extend(args);
        self.bootstrap_with(&all)
    }

    /// Runs it without a token.
    pub(crate) fn bootstrap_with(&self, args: &[&str]) -> Output {
        self.spawn_bootstrap(args).wait()
    }

    /// Starts it without a token.
    pub(crate) fn spawn_bootstrap(&self, args: &[&str]) -> Process {
        let mut command = clean(Command::new(binary()));
        command.args(["bootstrap", "--instance", INSTANCE]).args(args);
        if !args.contains(&"--openbao-addr") {
            command.args(["--openbao-addr", &self.server.url(0)]);
        }
        if let Some(namespace) = self.namespace {
            command.args(["--namespace", namespace]);
        }
        Process::spawn("tofustate bootstrap", &mut command)
    }

    pub(crate) fn settings(&self) -> Settings {
        let nodes = (0..self.server.nodes()).map(|node| Address::parse(&self.server.url(node), false).unwrap());
        let mut settings = Settings::new(nodes.collect());
        settings.namespace = self.namespace.map(str::to_owned);
        settings
    }

    pub(crate) fn connect(&self) -> Bao {
        Bao::new(self.settings(), OpenBaoMetrics::default()).unwrap()
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup::new(&self.settings(), instance()).unwrap()
    }

    /// The operator's login with the token that bootstrap wrote.
    pub(crate) fn login(&self, bao: &Bao) -> Arc<Login> {
        Arc::new(Login::new(bao.clone(), Credential::File(self.operator()), &instance()).unwrap())
    }

    /// The store of the states, with tokens kept in the test's folder.
    pub(crate) fn stores(&self) -> OpenBaoStores {
        let bao = self.connect();
        let login = self.login(&bao);
        self.stores_with(&bao, login)
    }

    pub(crate) fn stores_with(&self, bao: &Bao, own: Arc<dyn TokenSource>) -> OpenBaoStores {
        let keeper = Arc::new(FileKeeper::open(&self.kept()).unwrap());
        OpenBaoStores::new(bao.clone(), own, instance(), keeper, alone()).unwrap()
    }

    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.path().join("data/openbao")
    }

    /// What the server knows of a token; `None` where it is not there.
    pub(crate) fn look_up(&self, accessor: &str) -> Option<Value> {
        let answer = self.api().ask("POST", "auth/token/lookup-accessor", &serde_json::json!({"accessor": accessor}));
        let answer = answer.unwrap();
        (answer.status == 200).then(|| answer.body["data"].clone())
    }

    /// The accessors of all tokens that are there with this policy.
    pub(crate) fn tokens_of(&self, policy: &str) -> Vec<String> {
        let all = self.api().must("LIST", "auth/token/accessors", &Value::Null);
        let all = all["keys"].as_array().unwrap().iter().map(|accessor| accessor.as_str().unwrap().to_owned());
        all.filter(|accessor| {
            self.look_up(accessor).is_some_and(|found| found["policies"] == serde_json::json!([policy]))
        })
        .collect()
    }
}

pub(crate) fn instance() -> Instance {
    Instance::parse(INSTANCE).unwrap()
}

pub(crate) fn token(file: &Path) -> Token {
    Token::parse(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Writes a file of mode 0600.
pub(crate) fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Both outputs.
pub(crate) fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// A command without this machine's settings for OpenBao.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if ["BAO_", "VAULT_", "TOFUSTATE_", "RUST_LOG"].iter().any(|start| text.starts_with(start))
            || text.ends_with("_PROXY")
        {
            command.env_remove(&name);
        }
    }
    command
}

/// The store of one state, as the registry asks for it.
pub(crate) fn state(stores: &OpenBaoStores, path: &str) -> Arc<dyn Kv> {
    let (namespace, name) = path.split_once('/').unwrap();
    let owner = Owner {
        instance: INSTANCE.to_owned(),
        namespace: namespace.to_owned(),
        name: name.replace('/', "-"),
        claim: 1,
        released: false,
    };
    stores.state(&StatePath::parse(path).unwrap(), &owner)
}

/// The policy of that state's token.
pub(crate) fn policy(path: &str) -> String {
    let (namespace, name) = path.split_once('/').unwrap();
    format!("tofustate/{INSTANCE}/{namespace}/{}", name.replace('/', "-"))
}

/// Runs a test that is no more than what it waits for.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

/// Does what blocks, such as anything asked of the server past our client.
pub(crate) fn off<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// Asks until it is so.
pub(crate) async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(why) => assert!(began.elapsed() < DEADLINE, "{what}: not after {DEADLINE:?}: {why}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}
