//! The process that is killed: clients that lock, read, write, delete and roll back, without end. Each request is an
//! operation with a name of its own, which goes into the head as the identity. A line `begin <name> <path> <what>` comes
//! before it, a line `done <name> <outcome>` after its answer.

use std::{env, io::Write as _, path::Path, process, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rand::{Rng as _, RngExt as _};
use tofustate::store::{EmbeddedKv, Epoch, LockCall, Mark, Sha256Sum, State, StateError, WriteCall, head::Refusal};
use tokio::{sync::watch, task::JoinSet};

use crate::{PATHS, budget, engine, lock_info, open, states};

/// Clients of each state.
const CLIENTS: usize = 3;
const PIECE: usize = 64 * 1024;

pub(crate) fn run(folder: &Path) {
    // The harness has begun a line that it ends with the test.
    say("");
    let life = env::var("TOFUSTATE_KILL_LIFE").unwrap();
    let marks = env::var("TOFUSTATE_KILL_MARKS").unwrap();
    let marks: Vec<_> = marks.split_whitespace().map(mark).collect();
    let kv = Arc::new(EmbeddedKv::open(folder).unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let engine = engine();
        let (_stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let engine = engine.clone();
            async move { engine.run_background(stopped).await }
        });
        for (index, path) in PATHS.iter().enumerate() {
            let state = open(&engine, kv.clone(), path, marks[index]);
            state.register(&mut budget()).await.unwrap();
            say(&format!("registered {index} {}", seen(&state)));
            for client in 0..CLIENTS {
                let (state, name) = (state.clone(), format!("{life}.{index}.{client}"));
                tasks.spawn(async move { Client { state, index, name, requests: 0 }.work().await });
            }
            tasks.spawn(async move {
                loop {
                    // Nothing is old enough: it must find nothing while uploads are under way.
                    assert_eq!(state.sweep().await.unwrap(), 0);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let ended = tasks.join_next().await;
        say(&format!("ended {ended:?}"));
        process::exit(1);
    });
}

fn mark(text: &str) -> Option<Mark> {
    let (epoch, revision) = text.split_once(':')?;
    Some(Mark { epoch: Epoch::parse(epoch).unwrap(), revision: revision.parse().unwrap() })
}

/// One line, with one write. Where nobody listens any more, the end.
fn say(line: &str) {
    if std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).is_err() {
        process::exit(1);
    }
}

/// How far the head was seen by now.
fn seen(state: &State) -> String {
    state.mark().map_or_else(|| "-".to_owned(), |mark| format!("{}:{}", mark.epoch, mark.revision))
}

struct Client {
    state: State,
    index: usize,
    name: String,
    requests: u64,
}

impl Client {
    async fn work(mut self) {
        // A lock that a killed process held is gone on with, as a user's terminal would.
        let head = self.state.head(&mut budget()).await.unwrap();
        if let Some(lock) = head.lock.as_ref().filter(|_| self.chance(500)) {
            self.under_lock(&lock.id.clone()).await;
        }
        loop {
            match self.below(100) {
                0..60 => self.run().await,
                60..72 => self.post(None).await,
                72..80 => self.delete().await,
                80..92 => self.roll_back().await,
                _ => self.break_lock().await,
            }
        }
    }

    fn below(&self, end: u32) -> u32 {
        rand::rng().random_range(0..end)
    }

    fn chance(&self, in_a_thousand: u32) -> bool {
        self.below(1_000) < in_a_thousand
    }

    /// What tofu does in one run.
    async fn run(&mut self) {
        let op = self.name();
        let id = format!("lock-{op}");
        self.begin(&op, &format!("lock {id}"));
        let info = lock_info(&id);
        let call = LockCall { info: info.as_bytes(), identity: &op, ..LockCall::default() };
        let answer = self.state.lock(call, &mut budget()).await;
        if self.done(&op, answer.map(|()| None)) {
            self.under_lock(&id).await;
        } else {
            tokio::time::sleep(Duration::from_micros(self.below(2_000).into())).await;
        }
    }

    async fn under_lock(&mut self, id: &str) {
        self.get().await;
        for _ in 0..=self.below(3) {
            self.post(Some(id)).await;
        }
        // Some forget to.
        if self.chance(900) {
            let op = self.name();
            self.begin(&op, &format!("unlock {id}"));
            let answer = self.state.unlock(lock_info(id).as_bytes(), &op, &mut budget()).await;
            self.done(&op, answer.map(|_| None));
        }
    }

    async fn get(&mut self) {
        let op = self.name();
        self.begin(&op, "get");
        let answer = async {
            let Some(reader) = self.state.read(&mut budget()).await? else { return Ok(None) };
            let number = reader.version().number;
            reader.read_to_end(&mut budget()).await?;
            Ok(Some(number))
        };
        let answer = answer.await;
        self.done(&op, answer);
    }

    async fn post(&mut self, lock: Option<&str>) {
        let op = self.name();
        let body = match self.below(4) {
            0 => large(),
            1 => alike(),
            _ => self.small(),
        };
        let what = format!("post {} {} {}", lock.unwrap_or("-"), Sha256Sum::of(&body), body.len());
        self.begin(&op, &what);
        let give_up = self.chance(40);
        let answer = async {
            let mut upload = self.state.upload(WriteCall {
                lock,
                identity: &op,
                length: Some(body.len() as u64),
                ..WriteCall::default()
            })?;
            for piece in body.chunks(PIECE) {
                upload.push(piece, &mut budget()).await?;
                tokio::task::yield_now().await;
            }
            if give_up { Ok(None) } else { upload.finish(&mut budget()).await.map(Some) }
        };
        match answer.await {
            Ok(Some(done)) => {
                assert!(!done.repeated, "{op}: no two bodies are the same");
                self.done(&op, Ok(done.version));
            }
            Ok(None) => say(&format!("done {op} refused given up")),
            Err(error) => drop(self.done(&op, Err(error))),
        }
    }

    async fn delete(&mut self) {
        let op = self.name();
        self.begin(&op, "delete");
        let answer = self.state.delete(&op, &mut budget()).await;
        self.done(&op, answer);
    }

    async fn roll_back(&mut self) {
        let head = self.state.head(&mut budget()).await.unwrap();
        let kept = u32::try_from(head.versions.len()).unwrap();
        if kept == 0 {
            return;
        }
        let target = head.versions[self.below(kept) as usize].number;
        let op = self.name();
        self.begin(&op, &format!("rollback {target}"));
        let answer = self.state.rollback(target, head.current, &op, &op, &mut budget()).await;
        self.done(&op, answer.map(Some));
    }

    async fn break_lock(&mut self) {
        let head = self.state.head(&mut budget()).await.unwrap();
        let Some(lock) = &head.lock else { return };
        let op = self.name();
        self.begin(&op, &format!("unlock {}", lock.id));
        let answer = self.state.force_unlock(&lock.id, &op, &mut budget()).await;
        self.done(&op, answer.map(|_| None));
    }

    fn name(&mut self) -> String {
        self.requests += 1;
        format!("{}.{}", self.name, self.requests)
    }

    fn begin(&self, op: &str, what: &str) {
        say(&format!("begin {op} {} {what}", self.index));
    }

    /// Says what came of it. True where it was done.
    fn done(&self, op: &str, answer: Result<Option<u64>, StateError>) -> bool {
        match answer {
            Ok(version) => {
                let version = version.map_or_else(|| "-".to_owned(), |version| version.to_string());
                say(&format!("done {op} ok {version} {}", seen(&self.state)));
                true
            }
            Err(StateError::Refused(refusal)) if !matches!(refusal, Refusal::Unknown) => {
                say(&format!("done {op} refused {refusal}"));
                false
            }
            Err(error) => {
                say(&format!("failed {op} {error}"));
                process::exit(1);
            }
        }
    }

    fn small(&self) -> Vec<u8> {
        let mut random = rand::rng();
        states::whole(random.random(), self.requests, random.random_range(2_000..20_000))
    }
}

/// A state of two or three parts: random bytes do not compress.
fn large() -> Vec<u8> {
    let mut random = rand::rng();
    let mut noise = vec![0; random.random_range(530_000..900_000)];
    random.fill_bytes(&mut noise);
    let noise = BASE64.encode(noise);
    format!(r#"{{"version":4,"serial":1,"lineage":"large","resources":[],"noise":"{noise}"}}"#).into_bytes()
}

/// A state that differs from others of its kind in little: one is told by the one before.
fn alike() -> Vec<u8> {
    let text = String::from_utf8(states::whole(7, 1, 150_000)).unwrap();
    text.replacen("\"serial\": 1,", &format!("\"serial\": {},", rand::rng().random::<u32>()), 1).into_bytes()
}
