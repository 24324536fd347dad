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
use tofustate_e2e::{ask::noisy_state, wait};

use crate::replica::Replica;

/// The work on one path.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) path: &'static str,
    holders: AtomicU64,
    serial: AtomicU64,
    cycles: AtomicU64,
    refused: AtomicU64,
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
        let is_200 = |what: &str, answer: tofustate_e2e::ask::Answer| match answer.status() {
            200 => Ok(answer),
            other => Err(format!("{what} of {id}: {other} {}", String::from_utf8_lossy(answer.bytes()))),
        };
        match replica.lock(path, id) {
            held if held.status() == 409 => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(30));
                return Ok(());
            }
            answer => drop(is_200("LOCK", answer)?),
        }
        if self.holders.fetch_add(1, Ordering::SeqCst) != 0 {
            return Err(format!("{id} was granted a lock that is held"));
        }
        let before = self.serial.load(Ordering::SeqCst);
        let found = replica.get(path);
        let right = match before {
            0 => found.status() == 404,
            _ => found.status() == 200 && found.bytes() == noisy_state(before, size(before)),
        };
        if !right {
            return Err(format!("{id} did not read serial {before}, written last: {}", found.status()));
        }
        let next = noisy_state(before + 1, size(before + 1));
        is_200("POST", replica.post(path, id, &next))?;
        self.serial.store(before + 1, Ordering::SeqCst);
        if is_200("GET", replica.get(path))?.bytes() != next {
            return Err(format!("{id} did not read what it wrote"));
        }
        self.holders.fetch_sub(1, Ordering::SeqCst);
        is_200("UNLOCK", replica.unlock(path, id))?;
        self.cycles.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Work {
    /// Reads without a lock: what was acknowledged before it began, or something newer, and that whole.
    fn read(&self, replica: &Replica) -> Result<(), String> {
        let least = self.serial.load(Ordering::SeqCst);
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
            Some(serial) if serial >= least && answer.bytes() == noisy_state(serial, size(serial)) => {}
            wrong => return Err(format!("a read found serial {wrong:?} after {least}")),
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Clients {
    /// Has clients of each path, and one that only reads, at work through each replica while `happens` runs.
    pub(crate) fn at_work(replicas: &[&Replica], paths: &[&'static str], happens: impl FnOnce(&Self)) -> Self {
        let works = paths.iter().map(|path| Work { path, ..Work::default() }).collect();
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
        let before: Vec<_> = self.works.iter().map(|work| work.cycles.load(Ordering::Relaxed)).collect();
        wait::until("more cycles", || {
            let failed = self.failed.lock().unwrap();
            assert!(failed.is_empty(), "{failed:?}");
            let done = || self.works.iter().map(|work| work.cycles.load(Ordering::Relaxed));
            let enough = done().zip(&before).all(|(now, before)| now >= before + more);
            if enough { Ok(()) } else { Err(format!("{:?} after {before:?}", done().collect::<Vec<_>>())) }
        });
    }

    pub(crate) fn cycles(&self) -> u64 {
        self.works.iter().map(|work| work.cycles.load(Ordering::Relaxed)).sum()
    }

    /// Reads without a lock.
    pub(crate) fn reads(&self) -> u64 {
        self.works.iter().map(|work| work.reads.load(Ordering::Relaxed)).sum()
    }

    /// How often a LOCK found the path locked.
    pub(crate) fn refused(&self) -> u64 {
        self.works.iter().map(|work| work.refused.load(Ordering::Relaxed)).sum()
    }

    /// What each state is now.
    pub(crate) fn bodies(&self) -> Vec<(&'static str, Vec<u8>)> {
        let last = |work: &Work| work.serial.load(Ordering::SeqCst);
        self.works.iter().map(|work| (work.path, noisy_state(last(work), size(last(work))))).collect()
    }
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
