//! Runs that go through any replica, and again through another where one does not answer.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use tofustate_e2e::{
    ask::{Answer, ask},
    runs::Line,
    wait,
};

/// A request that is not answered so soon is made again elsewhere; what became of it is not known.
const PATIENCE: Duration = Duration::from_secs(3);

/// A state that is worked on.
pub(super) struct Storm {
    pub(super) path: String,
    pub(super) token: String,
    /// It is new: a replica that was away does not know of it yet.
    new: bool,
    pub(super) line: Line,
}

/// What all runs share.
pub(super) struct Runs {
    /// The replicas' addresses.
    pub(super) replicas: Vec<String>,
    pub(super) stop: AtomicBool,
    /// Requests that were made again.
    pub(super) again: AtomicU64,
    pub(super) failed: Mutex<Vec<String>>,
}

impl Storm {
    pub(super) fn new(path: String, token: String) -> Self {
        // Some stand in the head, some in parts.
        let size = |serial| if serial % 4 == 3 { 90_000 } else { 2_000 };
        Self { path, token, new: false, line: Line::new(size) }
    }

    pub(super) fn fresh(path: String, token: String) -> Self {
        Self { new: true, ..Self::new(path, token) }
    }
}

/// Whether an answer says to ask again: the store is away, a replica starts.
fn passes(one: &Storm, status: u16) -> bool {
    matches!(status, 429 | 503) || one.new && status == 403
}

impl Runs {
    pub(super) fn new(replicas: Vec<String>) -> Self {
        Self { replicas, stop: AtomicBool::new(false), again: AtomicU64::new(0), failed: Mutex::default() }
    }

    /// Until there is an answer that says what became of the request.
    pub(super) fn ask(&self, one: &Storm, method: &str, query: &str, send: &[u8]) -> Result<Answer, String> {
        let began = Instant::now();
        loop {
            let replica = &self.replicas[rand::random_range(0..self.replicas.len())];
            let url = format!("{replica}/{}{query}", one.path);
            let answer = match ask(method, &url).token(&one.token).body(send).within(PATIENCE).try_send() {
                Ok(answer) if !passes(one, answer.status()) => return Ok(answer),
                Ok(answer) => format!("{} {}", answer.status(), answer.text()),
                Err(error) => error.to_string(),
            };
            if began.elapsed() > wait::DEADLINE {
                return Err(format!("{method} {}: {answer}", one.path));
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether every replica that answers serves a state.
    pub(super) fn served(&self, one: &Storm) -> Result<(), String> {
        for replica in &self.replicas {
            let url = format!("{replica}/{}", one.path);
            match ask("GET", &url).token(&one.token).within(PATIENCE).try_send() {
                Ok(answer) if answer.status() == 403 => return Err(format!("{replica}: 403")),
                _ => {}
            }
        }
        Ok(())
    }

    /// A run of its own lock, where no other has it.
    pub(super) fn cycle(&self, one: &Storm, id: &str) -> Result<(), String> {
        let done = one.line.cycle(id, |method, query, body| self.ask(one, method, query, body));
        done.map_err(|wrong| format!("{}: {wrong}", one.path))
    }

    /// Runs on and on, as this client.
    pub(super) fn work(&self, one: &Storm, client: &str) {
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(wrong) = self.cycle(one, &format!("{client}-{round}")) {
                self.failed.lock().unwrap().push(wrong);
                return;
            }
        }
    }

    /// Waits for more runs of these.
    pub(super) fn go_on(&self, of: &[Storm], more: u64) {
        let cycles = || of.iter().map(|one| one.line.cycles()).sum::<u64>();
        let before = cycles();
        wait::until("more runs", || {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "{failed:?}");
            let now = cycles();
            if now >= before + more { Ok(()) } else { Err(format!("{now} after {before}")) }
        });
    }
}
