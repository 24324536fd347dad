//! Real clients against a served state: OpenTofu or Terraform as users run them, over a socket.
//!
//! Which: `$TOFU_BIN`, else `tofu` on the PATH, else `$TERRAFORM_BIN`, else `terraform`. Where there is none, each test
//! says SKIPPED. Nothing is downloaded: the resource is `terraform_data`, which is part of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, unreachable_pub)]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tofustate::{
    http::{App, HttpOptions, ServeError, ServerOptions, router, serve},
    registry::{Backend, Credential, CredentialHash, Registry, ResourceName, Role},
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Head, LockInfo, Registration, Settings, State, StatePath,
        head::Owner,
    },
    telemetry::{EngineMetrics, HttpMetrics},
};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

const TOKEN: &str = "rw-token-for-real-clients";
const VIEWER: &str = "ro-token-for-real-clients";
const PATH: &str = "team/app";
/// A client takes seconds for what takes us none.
const DEADLINE: Duration = Duration::from_secs(120);

/// The client, and what it calls itself.
struct Client {
    program: PathBuf,
    version: String,
}

impl Client {
    /// The one to test with; says which it is.
    async fn find(test: &str) -> Option<Self> {
        let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
        let found = [named("TOFU_BIN"), Some("tofu".into()), named("TERRAFORM_BIN"), Some("terraform".into())];
        for program in found.into_iter().flatten() {
            let asked = Command::new(&program).arg("version").env("CHECKPOINT_DISABLE", "1").output().await;
            let Ok(output) = asked else { continue };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let Some(version) =
                text.lines().find(|line| line.starts_with("OpenTofu v") || line.starts_with("Terraform v"))
            else {
                continue;
            };
            println!("{test}: with {} ({version})", program.display());
            return Some(Self { program, version: version.to_owned() });
        }
        println!("{test}: SKIPPED, neither tofu nor terraform is here (TOFU_BIN, TERRAFORM_BIN)");
        None
    }

    fn is_terraform(&self) -> bool {
        self.version.starts_with("Terraform")
    }
}

/// The served state.
struct Served {
    address: SocketAddr,
    state: State,
    stop: watch::Sender<bool>,
    serving: JoinHandle<Result<(), ServeError>>,
}

fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

impl Served {
    async fn start() -> Self {
        Self::with(EngineOptions::default()).await
    }

    async fn with(options: EngineOptions) -> Self {
        let kv = Arc::new(EmbeddedKv::in_memory().unwrap());
        let engine = Engine::new(options, EngineMetrics::default());
        let owner =
            Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim: 1, released: false };
        let path = StatePath::parse(PATH).unwrap();
        let state = engine.open(Registration { path, kv, owner, mark: None, settings: Settings::default() });
        state.register(&mut budget()).await.unwrap();
        let credential = |identity: &str, role, token| Credential {
            identity: identity.to_owned(),
            role,
            hash: CredentialHash::of(token),
        };
        let credentials =
            vec![credential("token", Role::ReadWrite, TOKEN), credential("access/viewer", Role::ReadOnly, VIEWER)];
        let registry = Arc::new(Registry::default());
        let resource = ResourceName { namespace: "team".into(), name: "app".into() };
        registry.replace([Arc::new(Backend { resource, state: state.clone(), credentials })]);
        let metrics = HttpMetrics::default();
        let router = router(App::new(registry, HttpOptions::default(), metrics.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving =
            tokio::spawn(async move { serve(listener, router, ServerOptions::default(), &metrics, stopped).await });
        Self { address, state, stop, serving }
    }

    async fn head(&self) -> Arc<Head> {
        self.state.head(&mut budget()).await.unwrap()
    }

    /// The bytes of the state.
    async fn bytes(&self) -> Option<Vec<u8>> {
        let reader = self.state.read(&mut budget()).await.unwrap()?;
        Some(reader.read_to_end(&mut budget()).await.unwrap())
    }

    async fn locked(&self) -> LockInfo {
        let began = Instant::now();
        loop {
            if let Some(lock) = &self.head().await.lock {
                return LockInfo::parse(lock.info.as_bytes()).unwrap();
            }
            assert!(began.elapsed() < DEADLINE, "nobody took the lock");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(DEADLINE, self.serving).await.unwrap().unwrap().unwrap();
    }
}

/// A folder in which the client runs.
struct Project<'a> {
    client: &'a Client,
    folder: TempDir,
}

const BACKEND: &str = "terraform {\n  backend \"http\" {}\n}\n";
const RESOURCES: &str = r#"
variable "value" {
  default = "one"
}

resource "terraform_data" "it" {
  input = var.value
}

output "value" {
  value = terraform_data.it.output
}
"#;

/// A resource whose making waits for the file `go`.
const WAITS: &str = r#"
resource "terraform_data" "waits" {
  provisioner "local-exec" {
    command = "touch begun; while [ ! -e go ]; do sleep 0.05; done"
  }
}
"#;

impl<'a> Project<'a> {
    fn new(client: &'a Client, files: &[&str]) -> Self {
        let project = Self { client, folder: tempfile::tempdir().unwrap() };
        project.write("main.tf", &files.concat());
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, served: &Served, token: &str, args: &[&str]) -> Command {
        let url = format!("http://{}/{PATH}", served.address);
        let mut command = Command::new(&self.client.program);
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TF_")) {
            command.env_remove(name);
        }
        command
            .env("TF_HTTP_ADDRESS", &url)
            .env("TF_HTTP_LOCK_ADDRESS", &url)
            .env("TF_HTTP_UNLOCK_ADDRESS", &url)
            .env("TF_HTTP_USERNAME", "tofu")
            .env("TF_HTTP_PASSWORD", token)
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1")
            // Of the machine's own settings none.
            .env("TF_CLI_CONFIG_FILE", "/dev/null")
            .env_remove("HTTP_PROXY")
            .env_remove("http_proxy");
        command
    }

    async fn try_run(&self, served: &Served, token: &str, args: &[&str]) -> Output {
        let run = self.command(served, token, args).output();
        tokio::time::timeout(DEADLINE, run).await.unwrap_or_else(|_| panic!("{args:?} does not end")).unwrap()
    }

    /// Runs it; what it prints is the answer. Fails where the client does.
    async fn run(&self, served: &Served, args: &[&str]) -> Vec<u8> {
        let output = self.try_run(served, TOKEN, args).await;
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        output.stdout
    }

    /// The state as the client pulls it, which puts a line's end behind it.
    async fn pull(&self, served: &Served) -> Vec<u8> {
        let mut bytes = self.run(served, &["state", "pull"]).await;
        assert_eq!(bytes.pop(), Some(b'\n'));
        bytes
    }

    /// Begins an apply that holds the lock until `go` is there.
    async fn hold(&self, served: &Served) -> (Child, LockInfo) {
        let args = ["apply", "-auto-approve", "-no-color", "-input=false"];
        let apply = self.command(served, TOKEN, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lock = served.locked().await;
        let began = Instant::now();
        while !self.path("begun").exists() {
            assert!(began.elapsed() < DEADLINE, "the apply does not begin");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        (apply, lock)
    }

    fn go(&self) {
        self.write("go", "");
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn ended(child: Child) -> Output {
    tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("it ends").unwrap()
}

const INIT: &[&str] = &["init", "-no-color", "-input=false"];
const APPLY: &[&str] = &["apply", "-auto-approve", "-no-color", "-input=false"];

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_state() {
    let Some(client) = Client::find("the_life_of_a_state").await else { return };
    let (served, project) = (Served::start().await, Project::new(&client, &[BACKEND, RESOURCES]));
    project.run(&served, INIT).await;
    assert_eq!(served.bytes().await, None);
    project.run(&served, APPLY).await;
    let first = served.bytes().await.expect("a state");
    assert_eq!(project.pull(&served).await, first, "byte for byte");
    assert_eq!(project.run(&served, &["output", "-raw", "value"]).await, b"one");
    // Nothing to do, and nothing written.
    project.run(&served, APPLY).await;
    assert_eq!(served.bytes().await.unwrap(), first);
    project.run(&served, &[APPLY, &["-var=value=two"]].concat()).await;
    let head = served.head().await;
    let current = head.current().unwrap();
    assert!(current.lock.is_some() && current.identity == "token" && current.tool_version.is_some(), "{current:?}");
    assert_eq!(current.resources, Some(1));
    // The state of before, with a lower serial: refused by the client, taken with -force.
    fs::write(project.path("old.tfstate"), &first).unwrap();
    let refused = project.try_run(&served, TOKEN, &["state", "push", "-no-color", "old.tfstate"]).await;
    assert!(!refused.status.success() && text(&refused).contains("serial"), "{}", text(&refused));
    project.run(&served, &["state", "push", "-no-color", "-force", "old.tfstate"]).await;
    assert_eq!(project.run(&served, &["output", "-raw", "value"]).await, b"one");
    let head = served.head().await;
    assert!(!head.current().unwrap().anomalies.is_empty(), "{:?}", head.current());
    project.run(&served, &["destroy", "-auto-approve", "-no-color", "-input=false"]).await;
    let head = served.head().await;
    assert_eq!((head.current().unwrap().resources, head.lock.as_ref()), (Some(0), None));
    assert!(!project.path("errored.tfstate").exists());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_is_held_while_it_applies() {
    let Some(client) = Client::find("the_lock_is_held_while_it_applies").await else { return };
    let served = Served::start().await;
    let (holder, other) = (Project::new(&client, &[BACKEND, WAITS]), Project::new(&client, &[BACKEND, RESOURCES]));
    holder.run(&served, INIT).await;
    other.run(&served, INIT).await;
    let (apply, lock) = holder.hold(&served).await;
    assert_eq!(lock.operation, "OperationTypeApply");
    let refused = other.try_run(&served, TOKEN, &["plan", "-no-color", "-input=false"]).await;
    let said = text(&refused);
    assert!(!refused.status.success() && said.contains(&lock.id) && said.contains(&lock.who), "{said}");
    // Neither a wrong id nor, from Terraform that sends none, the right one breaks a lock that was just taken.
    let id = if client.is_terraform() { lock.id.as_str() } else { "00000000-0000-0000-0000-000000000000" };
    let unlocked = other.try_run(&served, TOKEN, &["force-unlock", "-force", id]).await;
    assert!(!unlocked.status.success(), "{}", text(&unlocked));
    assert_eq!(served.locked().await.id, lock.id);
    // Reading needs no lock, and the credential that may only read is enough for it.
    let read = other.try_run(&served, VIEWER, &["plan", "-no-color", "-input=false", "-lock=false"]).await;
    assert!(read.status.success(), "{}", text(&read));
    // One that waits gets the lock when it is released.
    let args = ["plan", "-no-color", "-input=false", "-lock-timeout=90s"];
    let waits = other.command(&served, TOKEN, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(served.locked().await.id, lock.id);
    holder.go();
    let applied = ended(apply).await;
    assert!(applied.status.success(), "{}", text(&applied));
    let planned = ended(waits).await;
    assert!(planned.status.success(), "{}", text(&planned));
    assert_eq!(served.head().await.lock, None);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_may_only_read_is_told_how() {
    let Some(client) = Client::find("a_credential_that_may_only_read_is_told_how").await else { return };
    let (served, project) = (Served::start().await, Project::new(&client, &[BACKEND, RESOURCES]));
    project.run(&served, INIT).await;
    project.run(&served, APPLY).await;
    let plan = project.try_run(&served, VIEWER, &["plan", "-no-color", "-input=false", "-lock=false"]).await;
    assert!(plan.status.success(), "{}", text(&plan));
    let before = served.bytes().await;
    let locked = project.try_run(&served, VIEWER, &["plan", "-no-color", "-input=false"]).await;
    assert!(!locked.status.success(), "{}", text(&locked));
    let apply = [APPLY, &["-lock=false", "-var=value=two"]].concat();
    let applied = project.try_run(&served, VIEWER, &apply).await;
    assert!(!applied.status.success(), "{}", text(&applied));
    assert_eq!(served.bytes().await, before);
    let wrong = project.try_run(&served, "wrong", &["state", "pull"]).await;
    assert!(!wrong.status.success(), "{}", text(&wrong));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn force_unlock() {
    let Some(client) = Client::find("force_unlock").await else { return };
    // Terraform's names no lock: one that is a minute old is broken by it. Here all are old.
    let served = Served::with(EngineOptions { blind_unlock: Duration::ZERO, ..EngineOptions::default() }).await;
    let project = Project::new(&client, &[BACKEND, WAITS]);
    project.run(&served, INIT).await;
    let (apply, lock) = project.hold(&served).await;
    project.run(&served, &["force-unlock", "-force", &lock.id]).await;
    let head = served.head().await;
    let released = head.released.last().unwrap();
    assert_eq!((head.lock.as_ref(), released.id.as_str()), (None, lock.id.as_str()));
    assert_eq!(released.forced, client.is_terraform());
    // Whose lock was broken cannot write any more, and keeps what it has.
    project.go();
    let applied = ended(apply).await;
    assert!(!applied.status.success(), "{}", text(&applied));
    assert!(project.path("errored.tfstate").exists(), "{}", text(&applied));
    assert!(served.bytes().await.is_none_or(|state| !String::from_utf8_lossy(&state).contains("\"waits\"")));
    project.run(&served, &["state", "push", "-no-color", "errored.tfstate"]).await;
    assert!(String::from_utf8(served.bytes().await.unwrap()).unwrap().contains("\"waits\""));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_from_a_local_state() {
    let Some(client) = Client::find("migration_from_a_local_state").await else { return };
    let (served, project) = (Served::start().await, Project::new(&client, &[RESOURCES]));
    project.run(&served, INIT).await;
    project.run(&served, APPLY).await;
    let local = fs::read(project.path("terraform.tfstate")).unwrap();
    project.write("main.tf", &[BACKEND, RESOURCES].concat());
    let migrate = ["init", "-no-color", "-input=false", "-migrate-state", "-force-copy"];
    project.run(&served, &migrate).await;
    let of = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    let (before, after) = (of(&local), of(&served.bytes().await.expect("a state")));
    // The lineage is a new one: the client makes it when it looks again and finds no state.
    for field in ["version", "resources", "outputs"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    assert_eq!(served.head().await.lock, None);
    assert_eq!(project.pull(&served).await, served.bytes().await.unwrap());
    let plan = project.try_run(&served, TOKEN, &["plan", "-no-color", "-input=false", "-detailed-exitcode"]).await;
    assert_eq!(plan.status.code(), Some(0), "nothing is to be built again: {}", text(&plan));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_url_of_gitlab() {
    let Some(client) = Client::find("the_lock_url_of_gitlab").await else { return };
    let (served, project) = (Served::start().await, Project::new(&client, &[BACKEND, RESOURCES]));
    let url = format!("http://{}/{PATH}/lock", served.address);
    let run = async |args: &[&str]| {
        let mut command = project.command(&served, TOKEN, args);
        command.env("TF_HTTP_LOCK_ADDRESS", &url).env("TF_HTTP_UNLOCK_ADDRESS", &url);
        command.env("TF_HTTP_LOCK_METHOD", "POST").env("TF_HTTP_UNLOCK_METHOD", "DELETE");
        let output = tokio::time::timeout(DEADLINE, command.output()).await.expect("it ends").unwrap();
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    };
    run(INIT).await;
    run(APPLY).await;
    let head = served.head().await;
    assert!(head.current().unwrap().lock.is_some(), "written under a lock");
    assert_eq!((head.lock.as_ref(), head.released.len()), (None, 1));
    served.stop().await;
}

#[test]
fn the_clients_of_this_machine_are_named() {
    // For the log of CI: a run that tested with nothing shows.
    for name in ["TOFU_BIN", "TERRAFORM_BIN"] {
        match std::env::var_os(name) {
            Some(program) => println!("{name}={}, there: {}", program.display(), Path::new(&program).exists()),
            None => println!("{name} is not set"),
        }
    }
}
