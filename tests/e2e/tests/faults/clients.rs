//! Clients at work over HTTP: LOCK, GET, POST, GET, UNLOCK, on and on. Nothing but success and "it is locked" may be
//! answered, what was acknowledged is read by the next, and a lock has one holder.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tofustate_e2e::{runs::Line, wait};

use crate::replica::Replica;

/// The work on one path.
pub(crate) struct Work {
    pub(crate) path: &'static str,
    line: Line,
    reads: AtomicU64,
}

/// What all clients share.
#[derive(Default)]
pub(crate) struct Clients {
    stop: AtomicBool,
    pub(crate) works: Vec<Work>,
    failed: Mutex<Vec<String>>,
}

/// Some stand in the head, some in parts.
fn size(serial: u64) -> usize {
    match serial % 4 {
        3 => 900_000,
        1 => 60_000,
        _ => 2_000,
    }
}

impl Work {
    fn cycle(&self, replica: &Replica, id: &str) -> Result<(), String> {
        let path = self.path;
        self.line.cycle(id, |method, query, body| Ok(replica.ask(method, &format!("{path}{query}")).body(body).send()))
    }

    /// Reads without a lock: what was acknowledged before it began, or something newer, and that whole.
    fn read(&self, replica: &Replica) -> Result<(), String> {
        let least = self.line.serial();
        let answer = replica.get(self.path);
        let serial = match answer.status() {
            200 => {
                serde_json::from_slice::<Value>(answer.bytes()).map_err(|error| format!("a read: {error}"))?["serial"]
                    .as_u64()
            }
            404 => Some(0),
            other => return Err(format!("a read: {other} {}", answer.text())),
        };
        match serial {
            Some(0) if least == 0 => {}
            Some(serial) if serial >= least && answer.bytes() == self.line.body(serial) => {}
            wrong => return Err(format!("a read found serial {wrong:?} after {least}")),
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Clients {
    /// Has clients of each path, and one that only reads, at work through each replica while `happens` runs.
    pub(crate) fn at_work(replicas: &[&Replica], paths: &[&'static str], happens: impl FnOnce(&Self)) -> Self {
        let works = paths.iter().map(|path| Work { path, line: Line::new(size), reads: AtomicU64::new(0) }).collect();
        let clients = Self { works, ..Self::default() };
        thread::scope(|scope| {
            for work in &clients.works {
                for (name, replica) in replicas.iter().enumerate() {
                    let clients = &clients;
                    scope.spawn(move || clients.again(|round| work.cycle(replica, &format!("{name}-{round}"))));
                    scope.spawn(move || {
                        clients.again(|_| {
                            thread::sleep(Duration::from_millis(40));
                            work.read(replica)
                        });
                    });
                }
            }
            // Also where it panics: the clients would go on for ever.
            let _stop = Stop(&clients.stop);
            happens(&clients);
        });
        assert_eq!(*clients.failed.lock().unwrap(), Vec::<String>::new());
        clients
    }

    fn again(&self, client: impl Fn(u64) -> Result<(), String>) {
        for round in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(wrong) = client(round) {
                self.failed.lock().unwrap().push(wrong);
                return;
            }
        }
    }

    /// Waits for more cycles of each path.
    pub(crate) fn go_on(&self, more: u64) {
        let before: Vec<_> = self.works.iter().map(|work| work.line.cycles()).collect();
        wait::until("more cycles", || {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "{failed:?}");
            let done = || self.works.iter().map(|work| work.line.cycles());
            let enough = done().zip(&before).all(|(now, before)| now >= before + more);
            if enough { Ok(()) } else { Err(format!("{:?} after {before:?}", done().collect::<Vec<_>>())) }
        });
    }

    pub(crate) fn cycles(&self) -> u64 {
        self.works.iter().map(|work| work.line.cycles()).sum()
    }

    /// Reads without a lock.
    pub(crate) fn reads(&self) -> u64 {
        self.works.iter().map(|work| work.reads.load(Ordering::Relaxed)).sum()
    }

    /// How often a LOCK found the path locked.
    pub(crate) fn refused(&self) -> u64 {
        self.works.iter().map(|work| work.line.locked()).sum()
    }

    /// What each state is now.
    pub(crate) fn bodies(&self) -> Vec<(&'static str, Vec<u8>)> {
        self.works.iter().map(|work| (work.path, work.line.body(work.line.serial()))).collect()
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
