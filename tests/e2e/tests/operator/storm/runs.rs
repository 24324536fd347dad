//! Runs that go through any replica, and again through another where one does not answer: what was acknowledged is read by
//! the next, and a lock has one holder.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use tofustate_e2e::{
    ask::{Answer, ask, lock_info, noisy_state},
    wait,
};

/// A request that is not answered so soon is made again elsewhere; what became of it is not known.
const PATIENCE: Duration = Duration::from_secs(3);

/// A state that is worked on.
pub(super) struct Line {
    pub(super) path: String,
    pub(super) token: String,
    /// It is new: a replica that was away does not know of it yet.
    new: bool,
    holders: AtomicU64,
    serial: AtomicU64,
}

/// What all runs share.
pub(super) struct Runs {
    /// The replicas' addresses.
    pub(super) replicas: Vec<String>,
    pub(super) stop: AtomicBool,
    pub(super) cycles: AtomicU64,
    pub(super) locked: AtomicU64,
    /// Requests that were made again.
    pub(super) again: AtomicU64,
    pub(super) failed: Mutex<Vec<String>>,
}

impl Line {
    pub(super) fn new(path: String, token: String) -> Self {
        Self { path, token, new: false, holders: AtomicU64::new(0), serial: AtomicU64::new(0) }
    }

    pub(super) fn fresh(path: String, token: String) -> Self {
        Self { new: true, ..Self::new(path, token) }
    }
}

/// Some stand in the head, some in parts.
fn body(serial: u64) -> Vec<u8> {
    noisy_state(serial, if serial % 4 == 3 { 90_000 } else { 2_000 })
}

/// Whether an answer says to ask again: the store is away, a replica starts.
fn passes(line: &Line, status: u16) -> bool {
    matches!(status, 429 | 503) || line.new && status == 403
}

impl Runs {
    pub(super) fn new(replicas: Vec<String>) -> Self {
        Self {
            replicas,
            stop: AtomicBool::new(false),
            cycles: AtomicU64::new(0),
            locked: AtomicU64::new(0),
            again: AtomicU64::new(0),
            failed: Mutex::default(),
        }
    }

    /// Until there is an answer that says what became of the request.
    fn ask(&self, line: &Line, method: &str, query: &str, send: &[u8]) -> Result<Answer, String> {
        let began = Instant::now();
        loop {
            let replica = &self.replicas[rand::random_range(0..self.replicas.len())];
            let url = format!("{replica}/{}{query}", line.path);
            let answer = match ask(method, &url).token(&line.token).body(send).within(PATIENCE).try_send() {
                Ok(answer) if !passes(line, answer.status()) => return Ok(answer),
                Ok(answer) => format!("{} {}", answer.status(), answer.text()),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > wait::DEADLINE {
                return Err(format!("{method} {}: {answer}", line.path));
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether every replica that answers serves a state.
    pub(super) fn served(&self, line: &Line) -> Result<(), String> {
        for replica in &self.replicas {
            let url = format!("{replica}/{}", line.path);
            match ask("GET", &url).token(&line.token).within(PATIENCE).try_send() {
                Ok(answer) if answer.status() == 403 => return Err(format!("{replica}: 403")),
                _ => {}
            }
        }
        Ok(())
    }

    /// A run of its own lock; false where another holds it.
    pub(super) fn cycle(&self, line: &Line, id: &str) -> Result<bool, String> {
        let info = lock_info(id).into_bytes();
        let is_200 = |what: &str, answer: Answer| match answer.status() {
            200 => Ok(answer),
            other => Err(format!("{what} of {id} on {}: {other} {}", line.path, answer.text())),
        };
        match self.ask(line, "LOCK", "", &info)? {
            held if held.status() == 409 => {
                self.locked.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20));
                return Ok(false);
            }
            answer => drop(is_200("LOCK", answer)?),
        }
        if line.holders.fetch_add(1, Ordering::SeqCst) != 0 {
            return Err(format!("{id} was granted a lock of {} that is held", line.path));
        }
        let serial = line.serial.load(Ordering::SeqCst);
        let found = self.ask(line, "GET", "", &[])?;
        let right = match serial {
            0 => found.status() == 404,
            _ => found.status() == 200 && found.bytes() == body(serial),
        };
        if !right {
            return Err(format!(
                "{id} did not read serial {serial} of {}, written last: {}",
                line.path,
                found.status()
            ));
        }
        is_200("POST", self.ask(line, "POST", &format!("?ID={id}"), &body(serial + 1))?)?;
        line.serial.store(serial + 1, Ordering::SeqCst);
        if is_200("GET", self.ask(line, "GET", "", &[])?)?.bytes() != body(serial + 1) {
            return Err(format!("{id} did not read what it wrote to {}", line.path));
        }
        line.holders.fetch_sub(1, Ordering::SeqCst);
        is_200("UNLOCK", self.ask(line, "UNLOCK", "", &info)?)?;
        self.cycles.fetch_add(1, Ordering::Relaxed);
        Ok(true)
    }

    /// Runs on and on, as this client.
    pub(super) fn work(&self, line: &Line, client: &str) {
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(wrong) = self.cycle(line, &format!("{client}-{round}")) {
                self.failed.lock().unwrap().push(wrong);
                return;
            }
        }
    }

    /// Waits for more runs.
    pub(super) fn go_on(&self, more: u64) {
        let before = self.cycles.load(Ordering::Relaxed);
        wait::until("more runs", || {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "{failed:?}");
            let now = self.cycles.load(Ordering::Relaxed);
            if now >= before + more { Ok(()) } else { Err(format!("{now} after {before}")) }
        });
    }
}
