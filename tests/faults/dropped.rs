//! Each call of the engine is dropped after every number of polls, as the server does when a client has gone; then it is
//! asked for again, and everything goes on.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use tokio::task::yield_now;

use crate::scenario::{Run, STEPS, Step};

/// Polls a call that many times, then drops it. True if it was done by then.
async fn polled_and_dropped(call: impl Future, polls: usize) -> bool {
    let mut call = pin!(call);
    for _ in 0..polls {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        yield_now().await;
    }
    false
}

/// Runs the whole, with the step at that place dropped after that many polls. True if it was done by then.
fn run(at: usize, polls: usize, later: usize) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut run = Run::new();
        for step in &STEPS[..at] {
            run.insist(*step).await.unwrap();
        }
        let done = polled_and_dropped(run.call(STEPS[at]), polls).await;
        // What was left behind gets some way before the client is there again.
        for _ in 0..later {
            yield_now().await;
        }
        if let Err(fault) = run.finish(at).await {
            panic!("{:?} (step {at}) dropped after {polls} polls: {fault}", STEPS[at]);
        }
        done
    })
}

#[test]
fn any_call_may_be_dropped_at_any_moment() {
    let mut drops = 0;
    for (at, step) in STEPS.iter().enumerate().filter(|(_, step)| **step != Step::Hours) {
        for later in [0, 7] {
            let mut polls = 0;
            while !run(at, polls, later) {
                polls += 1;
                assert!(polls < 200, "{step:?} does not end");
            }
            drops += polls;
        }
    }
    assert!(drops > 200, "{drops}");
}
