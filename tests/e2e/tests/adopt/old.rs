//! A mount with the entries of another service, set up for tofustate beside them; what stands in it; the command.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tofustate::{
    store::{
        Budget, Engine, EngineOptions, LockCall, Registration, Settings, State, StatePath, Stores as _, WriteCall,
        owners::{self, Claimant},
    },
    telemetry::EngineMetrics,
};
use tofustate_e2e::{
    bao::{Setup as Server, fixture},
    process::Process,
    standalone::binary,
};

use crate::world::{INSTANCE, World, clean, path, run, said};

/// In every state here, and in no output.
pub(crate) const SECRET: &str = "hunter2-in-the-state";

/// A server whose mount another service had before.
pub(crate) struct Old {
    pub(crate) world: World,
    /// A file with the root token, written once: several commands read it at a time.
    admin: PathBuf,
}

impl Old {
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::of(test, Server::default())
    }

    pub(crate) fn of(test: &str, server: Server) -> Option<Self> {
        let server = server.start(test)?;
        let admin = server.root_token_file();
        let old = Self { world: World { server, folder: TempDir::new().unwrap(), namespace: None }, admin };
        fixture::mount(&old.world.api(), "states", &json!({"max_versions": 10}));
        old.put("other/entry", &json!({"of": "the old service"}));
        let operator = old.world.operator();
        let done = old.world.bootstrap(&["--existing-entries", "--operator-token-file", path(&operator)]);
        assert!(done.status.success(), "{}", said(&done));
        Some(old)
    }

    /// Writes an entry as the old service does, and answers its version.
    pub(crate) fn put(&self, key: &str, data: &Value) -> u64 {
        let api = self.world.server.api();
        let before = api.ask("GET", &format!("states/metadata/{key}"), &Value::Null).unwrap();
        let cas = before.body["data"]["current_version"].as_u64().unwrap_or(0);
        let body = json!({"options": {"cas": cas}, "data": data});
        api.must("POST", &format!("states/data/{key}"), &body)["version"].as_u64().unwrap()
    }

    /// The data of an entry.
    pub(crate) fn get(&self, key: &str) -> Value {
        self.world.server.api().must("GET", &format!("states/data/{key}"), &Value::Null)["data"].clone()
    }

    /// All entries with their versions and what they hold, and all policies.
    pub(crate) fn everything(&self) -> BTreeMap<String, Value> {
        let api = self.world.server.api();
        let mut all = BTreeMap::new();
        let policies = api.must("LIST", "sys/policies/acl", &Value::Null)["keys"].clone();
        all.insert("policies".to_owned(), policies);
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let names = api.must("LIST", &format!("states/metadata/{folder}"), &Value::Null);
            for name in names["keys"].as_array().unwrap() {
                let key = format!("{folder}{}", name.as_str().unwrap());
                if key.ends_with('/') {
                    folders.push(key);
                } else {
                    let data = api.ask("GET", &format!("states/data/{key}"), &Value::Null).unwrap();
                    all.insert(key, data.body["data"].clone());
                }
            }
        }
        all
    }

    /// The kept original of a path: its JSON.
    pub(crate) fn original(&self, key: &str) -> String {
        let flat = key.replace('/', ":");
        let all = self.everything();
        let parts = all.iter().filter(|(key, _)| key.starts_with(&format!(".versions/{flat}/original_")));
        let mut parts: Vec<_> = parts.map(|(_, entry)| entry["data"].clone()).collect();
        parts.sort_by_key(|part| part["index"].as_u64());
        let bytes = parts.iter().flat_map(|part| STANDARD.decode(part["part"].as_str().unwrap()).unwrap());
        String::from_utf8(bytes.collect()).unwrap()
    }

    pub(crate) fn command(&self, key: &str, name: &str, more: &[&str]) -> Command {
        let mut command = clean(Command::new(binary()));
        command.args(["adopt", key, "--instance", INSTANCE, "--namespace", "team", "--name", name]);
        command.args(["--admin-token-file", path(&self.admin), "--openbao-addr", &self.world.server.url(0)]).args(more);
        command
    }

    pub(crate) fn spawn(&self, key: &str, name: &str) -> Process {
        Process::spawn(&format!("tofustate adopt {key}"), &mut self.command(key, name, &[]))
    }

    /// Runs the command for `team/<name>`; nothing secret is in what it says.
    pub(crate) fn adopt_with(&self, key: &str, name: &str, more: &[&str]) -> Output {
        let done = Process::spawn("tofustate adopt", &mut self.command(key, name, more)).wait();
        let root = std::fs::read_to_string(&self.admin).unwrap();
        let text = said(&done);
        assert!(!text.contains(SECRET) && !text.contains(root.trim()), "a secret is in the output: {text}");
        done
    }

    /// Adopts for `team/app`, and answers what was said.
    pub(crate) fn must(&self, key: &str) -> String {
        self.must_of(key, "app")
    }

    /// Adopts for `team/<name>`, and answers what was said.
    pub(crate) fn must_of(&self, key: &str, name: &str) -> String {
        let done = self.adopt_with(key, name, &[]);
        assert!(done.status.success(), "{}", said(&done));
        said(&done)
    }

    /// Is refused, changes nothing, and answers what was said.
    pub(crate) fn refused(&self, key: &str, name: &str, more: &[&str]) -> String {
        let before = self.everything();
        let done = self.adopt_with(key, name, more);
        let text = said(&done);
        assert!(!done.status.success(), "{text}");
        assert!(done.stdout.is_empty(), "{text}");
        assert_eq!(self.everything(), before, "{text}");
        text
    }

    /// The state is there once, with these bytes, and is served, locked and written on with its own token.
    pub(crate) fn serves(&self, key: &str, name: &str, body: &[u8]) {
        run(async {
            let state = self.open(key, name).await;
            let reader = state.read(&mut budget()).await.unwrap().unwrap();
            let version = reader.version().clone();
            assert!(reader.read_to_end(&mut budget()).await.unwrap() == body, "{key}: other bytes");
            let head = state.head(&mut budget()).await.unwrap();
            assert_eq!((version.number, head.versions.len()), (1, 1), "{key}");

            let lock = br#"{"ID":"8c3a","Who":"ada@desk"}"#;
            state.lock(LockCall { info: lock, ..LockCall::default() }, &mut budget()).await.unwrap();
            let next = br#"{"version":4,"serial":90,"lineage":"l"}"#;
            let call = WriteCall { lock: Some("8c3a"), identity: "test", ..WriteCall::default() };
            let written = state.write(call, next, &mut budget()).await.unwrap();
            assert_eq!(written.version, Some(2));
            state.unlock(lock, "test", &mut budget()).await.unwrap();
            let first = state.read_version(1, &mut budget()).await.unwrap();
            assert!(first.read_to_end(&mut budget()).await.unwrap() == body, "{key}: the history has other bytes");
            state.maintain().await.unwrap();
            assert_eq!(state.sweep().await.unwrap(), 0);
        });
    }

    /// The state as a server opens it for the resource `team/<name>`.
    async fn open(&self, key: &str, name: &str) -> State {
        let (stores, path) = (self.world.stores(), StatePath::parse(key).unwrap());
        let who = Claimant { instance: INSTANCE.into(), namespace: "team".into(), name: name.into(), uid: None };
        let owners = stores.owners();
        let claim = owners::claim(owners.as_ref(), &path, &who, false, &mut budget()).await.unwrap();
        let owner = who.owner(claim);
        let kv = stores.state(&path, &owner);
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        let state = engine.open(Registration { path, kv, owner, mark: None, settings: Settings::default() });
        state.register(&mut budget()).await.unwrap();
        // The tokens live as long as the server of the test.
        drop(Arc::new(stores));
        state
    }
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(25))
}

/// A state with that many characters that hardly compress.
pub(crate) fn state(serial: u64, len: usize) -> String {
    let mut seed = serial.wrapping_mul(2).wrapping_add(1);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(seed >> 58) as usize])
    });
    let noise: String = noise.take(len).collect();
    format!(
        "{{\n  \"version\": 4, \"serial\": {serial},\n\t\"lineage\": \"5f7b\", \"outputs\": {{\"ä<&>\": \"{SECRET}\"}}, \"big\": 9007199254740993, \"noise\": \"{noise}\"}}\n"
    )
}
