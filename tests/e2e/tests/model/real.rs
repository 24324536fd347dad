//! A server as the model asks it: one call after the other, under keys of its own for each world.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use tofustate::{
    openbao::{Address, Bao, OpenBaoKv, Settings, Token},
    store::{Entry, Expect, Kv, KvError, Revision, Value, keys},
    telemetry::OpenBaoMetrics,
};
use tokio::runtime::Runtime;

use crate::world::{Real, Stored};

pub(crate) struct Beside {
    /// Not the model's, whose clock does not run.
    runtime: Runtime,
    kv: OpenBaoKv,
    life: Mutex<Life>,
    calls: AtomicU64,
}

/// The store between two times that it was set back.
#[derive(Default)]
struct Life {
    number: u64,
    /// How far the model's revision of a key is ahead of the server's: the server cannot set its own.
    ahead: HashMap<String, u64>,
}

/// No entry has this many versions.
const NEVER: Revision = Revision(1 << 40);

impl Beside {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let bao =
            Bao::new(Settings::new(vec![Address::parse(url, false).unwrap()]), OpenBaoMetrics::default()).unwrap();
        let kv = OpenBaoKv::new(bao, Arc::new(Token::parse(token).unwrap()));
        Self { runtime, kv, life: Mutex::default(), calls: 0.into() }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn ask<T: Send + 'static, F>(&self, call: impl FnOnce(OpenBaoKv) -> F) -> Result<T, KvError>
    where
        F: Future<Output = Result<T, KvError>> + Send + 'static,
    {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = mpsc::channel();
        let call = call(self.kv.clone());
        self.runtime.spawn(async move { answer.send(call.await) });
        answered.recv().unwrap()
    }

    /// The server's key of the model's, and how far its revision is behind.
    fn place(&self, key: &str) -> (String, u64) {
        let life = self.life.lock().unwrap();
        let key_here = match key.strip_prefix(keys::VERSIONS) {
            Some(rest) => format!("{}life{}:{rest}", keys::VERSIONS, life.number),
            None => format!("life{}/{key}", life.number),
        };
        (key_here, life.ahead.get(key).copied().unwrap_or(0))
    }
}

impl Real for Beside {
    fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let (here, ahead) = self.place(key);
        let found = self.ask(|kv| async move { kv.get(&here).await })?;
        Ok(found.map(|found| Entry { revision: Revision(found.revision.0 + ahead), ..found }))
    }

    fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let ((here, ahead), value) = (self.place(key), value.clone());
        let expect = match expect {
            Expect::Absent => Expect::Absent,
            // What would be zero is no revision here, and would mean that there is none.
            Expect::At(Revision(revision)) if revision <= ahead => Expect::At(NEVER),
            Expect::At(Revision(revision)) => Expect::At(Revision(revision - ahead)),
        };
        let revision = self.ask(|kv| async move { kv.put(&here, &value, expect).await })?;
        Ok(Revision(revision.0 + ahead))
    }

    fn delete_part(&self, key: &str) -> Result<(), KvError> {
        let (here, _) = self.place(key);
        self.life.lock().unwrap().ahead.remove(key);
        self.ask(|kv| async move { kv.delete_part(&here).await })
    }

    fn list_parts(&self, prefix: &str) -> Result<Vec<String>, KvError> {
        let (here, _) = self.place(prefix);
        let listed = self.ask({
            let here = here.clone();
            |kv| async move { kv.list_parts(&here).await }
        })?;
        let names = listed.iter().map(|listed| listed.key.strip_prefix(&here).unwrap());
        Ok(names.map(|name| format!("{prefix}{name}")).collect())
    }

    fn restore(&self, entries: &BTreeMap<String, Stored>) {
        {
            let mut life = self.life.lock().unwrap();
            life.number += 1;
            life.ahead = entries.iter().map(|(key, stored)| (key.clone(), stored.revision - 1)).collect();
        }
        for (key, stored) in entries {
            let (revision, expected) = (self.put(key, &stored.value, Expect::Absent), Revision(stored.revision));
            assert_eq!(revision.unwrap(), expected, "{key}");
        }
    }
}
