//! Runs of a state, one after the other and at the same time, through whatever answers: what was acknowledged is read by the
//! next, and a lock has one holder.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread::sleep,
    time::Duration,
};

use crate::ask::{Answer, lock_info, noisy_state};

/// Who finds a state locked comes again after so long.
const PAUSE: Duration = Duration::from_millis(30);

/// A state that runs work on.
#[derive(Debug)]
pub struct Line {
    size: fn(u64) -> usize,
    holders: AtomicU64,
    serial: AtomicU64,
    cycles: AtomicU64,
    locked: AtomicU64,
}

impl Line {
    /// One that nothing was written to. `size`: of the state of a serial, in bytes.
    pub fn new(size: fn(u64) -> usize) -> Self {
        let none = || AtomicU64::new(0);
        Self { size, holders: none(), serial: none(), cycles: none(), locked: none() }
    }

    /// The state of a serial.
    pub fn body(&self, serial: u64) -> Vec<u8> {
        noisy_state(serial, (self.size)(serial))
    }

    /// The serial that was acknowledged last; 0 for none.
    pub fn serial(&self) -> u64 {
        self.serial.load(Ordering::SeqCst)
    }

    /// Runs that came to their end.
    pub fn cycles(&self) -> u64 {
        self.cycles.load(Ordering::Relaxed)
    }

    /// LOCKs that found it locked.
    pub fn locked(&self) -> u64 {
        self.locked.load(Ordering::Relaxed)
    }

    /// One run under the lock of this id: LOCK, GET, POST, GET, UNLOCK. `ask` sends a method, what follows the path, and a
    /// body.
    ///
    /// # Errors
    /// What must not be.
    pub fn cycle(&self, id: &str, ask: impl Fn(&str, &str, &[u8]) -> Result<Answer, String>) -> Result<(), String> {
        let info = lock_info(id).into_bytes();
        let is_200 = |what: &str, answer: Answer| match answer.status() {
            200 => Ok(answer),
            other => Err(format!("{what} of {id}: {other} {}", String::from_utf8_lossy(answer.bytes()))),
        };
        match ask("LOCK", "", &info)? {
            held if held.status() == 409 => {
                self.locked.fetch_add(1, Ordering::Relaxed);
                sleep(PAUSE);
                return Ok(());
            }
            answer => drop(is_200("LOCK", answer)?),
        }
        if self.holders.fetch_add(1, Ordering::SeqCst) != 0 {
            return Err(format!("{id} was granted a lock that is held"));
        }
        let before = self.serial();
        let found = ask("GET", "", &[])?;
        let right = match before {
            0 => found.status() == 404,
            _ => found.status() == 200 && found.bytes() == self.body(before),
        };
        if !right {
            return Err(format!("{id} did not read serial {before}, written last: {}", found.status()));
        }
        let next = self.body(before + 1);
        is_200("POST", ask("POST", &format!("?ID={id}"), &next)?)?;
        self.serial.store(before + 1, Ordering::SeqCst);
        if is_200("GET", ask("GET", "", &[])?)?.bytes() != next {
            return Err(format!("{id} did not read what it wrote"));
        }
        self.holders.fetch_sub(1, Ordering::SeqCst);
        is_200("UNLOCK", ask("UNLOCK", "", &info)?)?;
        self.cycles.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
