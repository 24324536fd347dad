//! Waiting for a condition, with a deadline and the reason that it did not come.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long a condition may take to come: a client takes seconds where this machine is busy.
pub const DEADLINE: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(20);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every wait from now on as its deadline would: whoever waits unwinds, and what it started ends.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Whether waits are to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Waits go on as before; answers whether they were to end.
pub fn resume() -> bool {
    INTERRUPTED.swap(false, Ordering::Relaxed)
}

/// Asks until there is an answer, and gives it.
///
/// # Panics
/// At the deadline, with `what` and why the last look failed.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if began.elapsed() > DEADLINE => panic!("{what}: not after {DEADLINE:?}: {why}"),
            Err(_) if interrupted() => panic!("{what}: not waited for any longer: it was interrupted"),
            Err(_) => sleep(PAUSE),
        }
    }
}
