//! How those who wait for a token get it: at a pace, where that fails, and to the end, once it is begun.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::sleep};
use tracing::Instrument as _;

use super::{Fault, Token};
use crate::store::{BootClock, Clock as _};

/// The first wait; doubles up to the longest.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// After so long without a try all is forgotten.
const CALM: Duration = Duration::from_secs(60);

/// Tries come further and further apart, whoever makes them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Duration>,
    wait: Duration,
    /// Another try would come to the same.
    settled: bool,
}

impl Pace {
    /// Waits for the next try, which counts as made. Answers false where it is too soon for one that would come to the same
    /// as the last.
    pub(super) async fn turn(&mut self) -> bool {
        let left = self.left(BootClock.boot());
        if !left.is_zero() {
            if self.settled {
                return false;
            }
            sleep(left).await;
        }
        self.go(BootClock.boot());
        true
    }

    /// What the try came to. One that did not pass, or `done` nothing, comes to the same for a while.
    pub(super) fn came_to(&mut self, done: &Result<bool, Fault>) {
        self.settled = match done {
            Ok(done) => !done,
            Err(fault) => !fault.passes(),
        };
    }

    fn left(&self, now: Duration) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + self.wait).saturating_sub(now))
    }

    fn go(&mut self, now: Duration) {
        let calm = self.last.is_none_or(|last| now.saturating_sub(last) > CALM);
        self.wait = if calm { FIRST } else { (self.wait * 2).min(LONGEST) };
        self.last = Some(now);
    }
}

/// What holds a token and can have another.
#[async_trait]
pub(super) trait Supplier: Send + Sync + 'static {
    /// What the one that works on the token knows.
    type Work: Send + 'static;

    /// The token, where there is one.
    fn held(&self) -> Option<Token>;

    /// One works at a time: gets, renews, replaces.
    fn work(&self) -> &Arc<Mutex<Self::Work>>;

    /// Has a token that is not `refused`. Answers whether the same may do better now.
    async fn have(&self, work: &mut Self::Work, refused: Option<&Token>) -> Result<bool, Fault>;
}

/// The token of a supplier; got first, where there is none yet. `none` says what it is where none came of that.
pub(super) async fn obtain<S: Supplier>(from: &Arc<S>, none: &str) -> Result<Token, Fault> {
    if let Some(token) = from.held() {
        return Ok(token);
    }
    let mut work = from.work().clone().lock_owned().await;
    if let Some(token) = from.held() {
        return Ok(token);
    }
    let supplier = from.clone();
    to_its_end(async move { supplier.have(&mut work, None).await }).await?;
    from.held().ok_or_else(|| Fault::NoToken(none.to_owned()))
}

/// Looks for another token than one that was refused. Answers whether the same may do better now.
pub(super) async fn refused<S: Supplier>(from: &Arc<S>, token: &Token) -> bool {
    let mut work = from.work().clone().lock_owned().await;
    if from.held().is_some_and(|held| held != *token) {
        return true;
    }
    let (supplier, token) = (from.clone(), token.clone());
    to_its_end(async move { supplier.have(&mut work, Some(&token)).await }).await.unwrap_or(false)
}

/// Does all of it, also where whoever waits for it gives up half-way: a token that was made is to be kept.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Fault>> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|_| Err(Fault::NotReady("the work on a token was broken off: this process ends".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_further_and_further_apart() {
        let mut pace = Pace::default();
        let mut tries = |from: u64, to: u64| {
            let mut at = Vec::new();
            for now in (from..to).step_by(50) {
                let now = Duration::from_millis(now);
                if pace.left(now).is_zero() {
                    pace.go(now);
                    at.push(now.as_millis() - u128::from(from));
                }
            }
            at
        };
        assert_eq!(tries(0, 20_000), [0, 250, 750, 1_750, 3_750, 7_750, 12_750, 17_750]);
        assert_eq!(tries(100_000, 101_000), [0, 250, 750], "a calm minute counts");
    }

    #[tokio::test]
    async fn what_is_begun_is_done_also_where_nobody_waits_for_it_any_more() {
        let (done, was_done) = tokio::sync::oneshot::channel();
        let (go_on, waits) = tokio::sync::oneshot::channel();
        let work = to_its_end(async move {
            let _ = waits.await;
            let _ = done.send(());
            Ok(())
        });
        tokio::time::timeout(Duration::ZERO, work).await.unwrap_err();
        go_on.send(()).unwrap();
        was_done.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_comes_to_the_same() {
        let mut pace = Pace::default();
        assert!(pace.turn().await);
        pace.came_to(&Err(Fault::NotReady(String::new())));
        assert!(pace.turn().await, "it may do better: it is waited for");
        for settled in [Ok(false), Err(Fault::RoleGone(String::new()))] {
            pace.came_to(&settled);
            assert!(!pace.turn().await, "{settled:?}");
        }
        pace.came_to(&Ok(true));
        assert!(pace.turn().await, "what was mended and broke again is mended again, later");
    }
}
