//! The token of one state: got when it is first needed, kept, renewed, replaced when it was lost, ended.

mod upkeep;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    openbao::{
        Fault, Keeper, Kept, PolicyName, Token, TokenSource, Tokens,
        pace::{self, Pace, Supplier as _},
    },
    store::{BootClock, Clock as _, StatePath, machine_time},
};

/// How long a token that was replaced still lives, for the replicas that have not seen the other yet.
const RETIRED: SignedDuration = SignedDuration::from_mins(10);

/// The token of one state. Cloning shares it.
#[derive(Clone)]
pub struct ScopedToken {
    inner: Arc<Inner>,
}

struct Inner {
    tokens: Tokens,
    name: PolicyName,
    /// The state's.
    path: StatePath,
    keeper: Arc<dyn Keeper>,
    leads: Leads,
    held: ArcSwapOption<Kept>,
    /// One works at a time: gets, renews, replaces.
    work: Arc<Mutex<Work>>,
    closed: AtomicBool,
    /// From 0 to 1: spreads the renewals of many tokens and replicas.
    spread: f64,
}

#[derive(Default)]
struct Work {
    pace: Pace,
    life: Option<Span>,
    /// What is wrong, as it was last logged.
    trouble: Option<Fault>,
    /// When it was last found or made as it should be, or that began.
    established: Option<Instant>,
    /// It was taken from where tokens are kept, and nobody looked at it: until when that is put off.
    unseen: Option<Instant>,
    /// The other path that the policy was found to be of, and how many times in a row.
    other: Option<(StatePath, u32)>,
    /// The policy was written since it was last looked whether a token is kept.
    wrote: bool,
}

/// A state's policy and token, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The policy's name.
    pub policy: String,
    /// What names the token without giving its rights.
    pub accessor: String,
    /// When the token ends, if it is not renewed.
    pub expires: Option<Timestamp>,
}

/// How long a token lives, by the clock of this machine.
#[derive(Clone, Copy, Debug)]
struct Span {
    ends: Duration,
    whole: Duration,
}

/// A token that was read at once with many others, and that nobody looked at.
#[derive(Debug)]
pub struct Unseen {
    /// What is kept.
    pub kept: Kept,
    /// Until when the look at it is put off.
    pub until: Instant,
}

/// What was found of a kept token.
enum Found {
    /// It can be used. Whether its policy had to be written.
    Good { mended: bool },
    /// It is gone.
    Dead,
    /// It is not as this program makes them.
    Wrong,
}

/// Says which replica this process is, now.
pub type Leads = Arc<dyn Fn() -> Replica + Send + Sync>;

/// Of a process that has its tokens to itself.
#[must_use]
pub fn alone() -> Leads {
    Arc::new(|| Replica::Leader)
}

/// Which replica looks after tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replica {
    /// The one that makes and renews them.
    Leader,
    /// Another, that renews where the leader did not, and replaces one that was lost. It makes none where none is kept:
    /// the resource may have been given up.
    Other,
}

/// Whether a token that still lives for `left` is to be renewed: at half of `whole` by the leader, below a third by any.
/// `spread`, from 0 to 1, moves that by up to a tenth.
fn due(left: Duration, whole: Duration, replica: Replica, spread: f64) -> bool {
    let share = match replica {
        Replica::Leader => 0.5 + spread / 10.0,
        Replica::Other => 1.0 / 3.0 - spread / 10.0,
    };
    left < whole.mul_f64(share)
}

impl ScopedToken {
    /// The token for the state of this path, whose policy has this name. Asks nobody yet. `read`: what is kept, where that was
    /// read.
    #[must_use]
    pub fn new(
        tokens: Tokens,
        name: PolicyName,
        path: StatePath,
        keeper: Arc<dyn Keeper>,
        leads: Leads,
        read: Option<Unseen>,
    ) -> Self {
        let unseen = read.as_ref().map(|read| read.until);
        let inner = Inner {
            tokens,
            name,
            path,
            keeper,
            leads,
            held: ArcSwapOption::new(read.map(|read| Arc::new(read.kept))),
            work: Arc::new(Mutex::new(Work { unseen, ..Work::default() })),
            closed: AtomicBool::new(false),
            spread: rand::random_range(0.0..1.0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The path of its state.
    #[must_use]
    pub fn path(&self) -> &StatePath {
        &self.inner.path
    }

    /// The accessor of the token, where one was got.
    #[must_use]
    pub fn accessor(&self) -> Option<String> {
        self.inner.held.load().as_ref().map(|kept| kept.accessor.clone())
    }

    /// What keeps the token from being got or renewed, if something does.
    pub async fn trouble(&self) -> Option<String> {
        self.inner.work.lock().await.trouble.as_ref().map(ToString::to_string)
    }

    /// Looks whether the policy and the token are as they should be, and makes them so; where that was not done since.
    ///
    /// # Errors
    /// OpenBao did not do it, or the token cannot be kept.
    pub async fn check_since(&self, since: Instant) -> Result<Seen, Fault> {
        let mut work = self.inner.work.clone().lock_owned().await;
        let inner = self.inner.clone();
        pace::to_its_end(async move {
            if inner.closed.load(Ordering::Relaxed) {
                return Err(given_up());
            }
            if work.established.is_none_or(|began| began < since) || inner.held.load().is_none() {
                let done = inner.establish(&mut work, None).await;
                inner.note(&mut work, done.as_ref().err());
                done?;
            }
            let held = inner.held.load_full().ok_or_else(given_up)?;
            let now = BootClock.boot();
            let ends = work.life.and_then(|life| SignedDuration::try_from(life.ends.saturating_sub(now)).ok());
            let expires = ends.and_then(|left| machine_time().checked_add(left).ok());
            Ok(Seen { policy: inner.name.to_string(), accessor: held.accessor.clone(), expires })
        })
        .await
    }

    /// Gets no other token any more: this path of the resource is given up, and the policy is another path's by now.
    pub fn close(&self) {
        self.inner.closed.store(true, Ordering::Relaxed);
    }

    /// Renews the token where that is due, and ends those that were replaced. To be called every minute or so. A token
    /// that was never needed is not got.
    pub async fn maintain(&self, replica: Replica) -> Result<(), Fault> {
        let Ok(mut work) = self.inner.work.try_lock() else { return Ok(()) };
        let Some(held) = self.inner.held.load_full() else { return Ok(()) };
        let done = self.inner.maintain(&mut work, &held, replica).await;
        self.inner.note(&mut work, done.as_ref().err());
        done
    }

    /// Ends the token and those that it replaced, and answers them; what is kept of them stays.
    ///
    /// # Errors
    /// OpenBao did not do it.
    pub async fn revoke(&self) -> Result<Option<Arc<Kept>>, Fault> {
        self.close();
        let _work = self.inner.work.lock().await;
        let Some(held) = self.inner.held.load_full() else { return Ok(None) };
        for accessor in held.accessors() {
            self.inner.tokens.revoke(accessor).await?;
        }
        self.inner.held.store(None);
        Ok(Some(held))
    }

    /// The same, and keeps nothing of them: at the end of a process that keeps it for nobody.
    ///
    /// # Errors
    /// OpenBao could not be asked: what is left is kept for the next process.
    pub async fn end(&self) -> Result<(), Fault> {
        let Some(held) = self.revoke().await? else { return Ok(()) };
        self.inner.keeper.replace(&self.inner.name, Some(&held.accessor), None).await.map(drop).map_err(Fault::from)
    }
}

#[async_trait]
impl TokenSource for ScopedToken {
    fn token(&self) -> Option<Token> {
        self.inner.held()
    }

    async fn obtain(&self) -> Result<Token, Fault> {
        pace::obtain(&self.inner, "the state's own was not kept").await
    }

    async fn refused(&self, token: &Token) -> bool {
        pace::refused(&self.inner, token).await
    }

    async fn why_none(&self) -> Option<Fault> {
        self.inner.work.lock().await.trouble.clone()
    }
}

fn given_up() -> Fault {
    Fault::NoToken("its resource was deleted, or has another path by now".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_spread_and_a_replica_comes_after_the_leader() {
        let whole = Duration::from_secs(72 * 3600);
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (left, replica, spread, renews) in [
            (hours(72), Replica::Leader, 1.0, false),
            (hours(44), Replica::Leader, 1.0, false),
            (hours(43), Replica::Leader, 1.0, true),
            (hours(37), Replica::Leader, 0.0, false),
            (hours(35), Replica::Leader, 0.0, true),
            (hours(25), Replica::Other, 0.0, false),
            (hours(23), Replica::Other, 0.0, true),
            (hours(17), Replica::Other, 1.0, false),
            (hours(16), Replica::Other, 1.0, true),
            (Duration::ZERO, Replica::Other, 1.0, true),
        ] {
            assert_eq!(due(left, whole, replica, spread), renews, "{left:?} {replica:?} {spread}");
        }
    }
}
