//! A store, an engine on it, states in it, and a look behind the engine's back.

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use tofustate::{
    store::{
        Budget, EmbeddedKv, Engine, EngineOptions, Entry, Epoch, Expect, Head, Kv, LockCall, Mark, Registration,
        Settings, State, StateError, StatePath, Value, WriteCall,
        head::{Owner, WriteDone},
        keys,
    },
    telemetry::EngineMetrics,
};

pub(crate) const PATH: &str = "team/app";

/// A store of its own with one path in it.
pub(crate) struct World {
    pub(crate) kv: Arc<EmbeddedKv>,
    pub(crate) engine: Engine,
    /// Where the store is, if it is on a disk.
    pub(crate) folder: Option<TempDir>,
}

impl World {
    pub(crate) fn in_memory() -> Self {
        Self::on(EmbeddedKv::in_memory().unwrap(), None)
    }

    pub(crate) fn on_disk() -> Self {
        let folder = TempDir::new().unwrap();
        Self::on(EmbeddedKv::open(folder.path()).unwrap(), Some(folder))
    }

    pub(crate) fn on(kv: EmbeddedKv, folder: Option<TempDir>) -> Self {
        let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
        Self { kv: Arc::new(kv), engine, folder }
    }

    /// Closes the store, so that its folder can be opened again. Deletions of what uploads left may still be at work.
    pub(crate) async fn close(self) -> Option<TempDir> {
        let Self { kv, engine, folder } = self;
        drop(engine);
        let alone = async {
            while Arc::strong_count(&kv) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), alone).await.expect("somebody has the store still");
        folder
    }

    /// The state as a new process opens it; nothing is read or written yet.
    pub(crate) fn open(&self, owner: Owner, mark: Option<Mark>, settings: Settings) -> State {
        let kv: Arc<dyn Kv> = self.kv.clone();
        self.engine.open(Registration { path: path(), kv, owner, mark, settings })
    }

    /// The state, registered.
    pub(crate) async fn state(&self) -> State {
        let state = self.open(owner(1), None, Settings::default());
        state.register(&mut budget()).await.unwrap();
        state
    }

    pub(crate) async fn raw(&self, key: &str) -> Option<Entry> {
        self.kv.get(key).await.unwrap()
    }

    pub(crate) async fn raw_head(&self) -> Entry {
        self.raw(PATH).await.expect("the head is there")
    }

    pub(crate) async fn head_text(&self) -> String {
        match self.raw_head().await.value {
            Value::Document(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The head as it stands in the store.
    pub(crate) async fn head(&self) -> Head {
        Head::parse(&self.head_text().await).unwrap()
    }

    /// Writes over an entry, whatever is there.
    pub(crate) async fn overwrite(&self, key: &str, value: Value) {
        let expect = self.raw(key).await.map_or(Expect::Absent, |entry| Expect::At(entry.revision));
        self.kv.put(key, &value, expect).await.unwrap();
    }

    pub(crate) async fn overwrite_head(&self, text: &str) {
        self.overwrite(PATH, Value::Document(text.into())).await;
    }

    /// Changes the head behind the engine's back.
    pub(crate) async fn alter_head(&self, alter: impl FnOnce(&mut Head)) {
        let mut head = self.head().await;
        alter(&mut head);
        self.overwrite_head(&head.encode()).await;
    }

    /// The keys of all parts of the path, in order.
    pub(crate) async fn parts(&self) -> Vec<String> {
        let listed = self.kv.list_parts(&keys::versions(&path())).await.unwrap();
        let mut keys: Vec<_> = listed.into_iter().map(|listed| listed.key).collect();
        keys.sort();
        keys
    }

    /// Waits until the parts are so.
    pub(crate) async fn until_parts(&self, what: &str, so: impl Fn(&[String]) -> bool) {
        let wait = async {
            while !so(&self.parts().await) {
                tokio::task::yield_now().await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(done.is_ok(), "{what}: {:?}", self.parts().await);
    }
}

pub(crate) fn path() -> StatePath {
    StatePath::parse(PATH).unwrap()
}

pub(crate) fn owner(claim: u64) -> Owner {
    Owner { instance: "test".into(), namespace: "team".into(), name: "app".into(), claim, released: false }
}

pub(crate) fn budget() -> Budget {
    Budget::new(Duration::from_secs(20))
}

pub(crate) fn info(id: &str) -> String {
    format!(r#"{{"ID":"{id}","Operation":"OperationTypeApply","Info":"","Who":"u@h"}}"#)
}

/// A state of that serial.
pub(crate) fn small(serial: u64) -> Vec<u8> {
    format!(r#"{{"version":4,"terraform_version":"1.12.6","serial":{serial},"lineage":"l","resources":[{{}}]}}"#).into()
}

/// A state with so many characters that do not compress but to three quarters.
pub(crate) fn noisy(serial: u64, len: usize) -> Vec<u8> {
    let mut seed = serial.wrapping_mul(2).wrapping_add(1);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(seed >> 58) as usize]
    });
    let mut body = format!(r#"{{"version":4,"serial":{serial},"lineage":"l","noise":""#).into_bytes();
    body.extend(noise.take(len));
    body.extend_from_slice(b"\"}");
    body
}

/// What the tests ask of a state, with a budget of its own each.
#[async_trait::async_trait]
pub(crate) trait Asked {
    async fn take_lock(&self, id: &str) -> Result<(), StateError>;
    async fn let_go(&self, id: &str) -> Result<(), StateError>;
    async fn post(&self, lock: Option<&str>, body: &[u8]) -> Result<WriteDone, StateError>;
    /// A POST that comes in pieces.
    async fn post_in(&self, call: WriteCall<'_>, body: &[u8], chunk: usize) -> Result<WriteDone, StateError>;
    async fn pull(&self) -> Result<Option<Vec<u8>>, StateError>;
    async fn pull_version(&self, number: u64) -> Result<Vec<u8>, StateError>;
    /// Asks for everything that can be asked (the release where `release` is set), and expects that all
    /// of it is refused.
    async fn every_verb_fails(&self, epoch: Epoch, release: bool) -> Vec<(&'static str, StateError)>;
}

#[async_trait::async_trait]
impl Asked for State {
    async fn take_lock(&self, id: &str) -> Result<(), StateError> {
        let info = info(id);
        let call = LockCall { info: info.as_bytes(), identity: "tester", ..LockCall::default() };
        self.lock(call, &mut budget()).await
    }

    async fn let_go(&self, id: &str) -> Result<(), StateError> {
        self.unlock(info(id).as_bytes(), "tester", &mut budget()).await.map(drop)
    }

    async fn post(&self, lock: Option<&str>, body: &[u8]) -> Result<WriteDone, StateError> {
        let length = Some(body.len() as u64);
        self.write(WriteCall { lock, identity: "tester", length, ..WriteCall::default() }, body, &mut budget()).await
    }

    async fn post_in(&self, call: WriteCall<'_>, body: &[u8], chunk: usize) -> Result<WriteDone, StateError> {
        let mut upload = self.upload(call)?;
        for piece in body.chunks(chunk) {
            upload.push(piece, &mut budget()).await?;
        }
        upload.finish(&mut budget()).await
    }

    async fn pull(&self) -> Result<Option<Vec<u8>>, StateError> {
        match self.read(&mut budget()).await? {
            Some(reader) => reader.read_to_end(&mut budget()).await.map(Some),
            None => Ok(None),
        }
    }

    async fn pull_version(&self, number: u64) -> Result<Vec<u8>, StateError> {
        self.read_version(number, &mut budget()).await?.read_to_end(&mut budget()).await
    }

    async fn every_verb_fails(&self, epoch: Epoch, release: bool) -> Vec<(&'static str, StateError)> {
        let (body, large) = (small(77), noisy(78, 600_000));
        let mut failed = Vec::new();
        let mut note = |verb: &'static str, done: Result<(), StateError>| match done {
            Ok(()) => panic!("{verb} was done"),
            Err(error) => failed.push((verb, error)),
        };
        let b = &mut budget();
        note("LOCK", self.take_lock("x").await);
        note("UNLOCK", self.let_go("x").await);
        note("UNLOCK without a body", self.unlock(b"", "tester", b).await.map(drop));
        note("force-unlock", self.force_unlock("x", "tester", b).await.map(drop));
        note("stale unlock", self.release_stale(Duration::ZERO, b).await.map(drop));
        note("POST", self.post(None, &body).await.map(drop));
        note("POST with an ID", self.post(Some("x"), &body).await.map(drop));
        note("POST of a large state", self.post(None, &large).await.map(drop));
        note("DELETE", self.delete("tester", b).await.map(drop));
        note("rollback", self.rollback(1, Some(1), "1@1", "tester", b).await.map(drop));
        note("GET", self.pull().await.map(drop));
        note("GET of a version", self.pull_version(1).await.map(drop));
        note("head", self.head(b).await.map(drop));
        if release {
            note("release", self.release(false, b).await.map(drop));
            note("release with deletion", self.release(true, b).await.map(drop));
        }
        note("maintain", self.maintain().await);
        note("sweep", self.sweep().await.map(drop));
        note("accept-empty", self.accept_empty(Epoch::random(), b).await);
        note("accept-restore", self.accept_restore(Epoch::random(), b).await);
        note("accept-restore of what is there", self.accept_restore(epoch, b).await);
        failed
    }
}
