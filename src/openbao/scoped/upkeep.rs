//! What keeps a state's token alive: found or made, looked at, renewed, replaced; its policy mended.

use std::sync::{Arc, atomic::Ordering};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};
use tracing::{info, warn};

use super::{Found, Inner, RETIRED, Replica, Span, Work, due, given_up};
use crate::{
    openbao::{Fault, Kept, Policy, Retired, Token, pace::Supplier},
    store::{BootClock, Clock as _, machine_time},
};

impl Inner {
    /// Has a token that is not `refused`, from where tokens are kept or anew. Answers whether the same may do better now.
    pub(super) async fn establish(&self, work: &mut Work, refused: Option<&Token>) -> Result<bool, Fault> {
        let began = Instant::now();
        loop {
            let kept = self.keeper.load(&self.name).await.map_err(Fault::from)?.map(Arc::new);
            let mut lives = false;
            if let Some(kept) = &kept {
                work.wrote = false;
                let was_refused = refused == Some(&kept.token);
                match self.look(work, kept).await {
                    Ok(Found::Good { mended }) => {
                        work.established = Some(began);
                        self.held.store(Some(kept.clone()));
                        return Ok(mended || !was_refused);
                    }
                    // It may well be good.
                    Err(fault) if fault.passes() && !was_refused => {
                        self.held.store(Some(kept.clone()));
                        return Ok(true);
                    }
                    Err(fault) => return Err(fault),
                    Ok(Found::Dead) => {}
                    Ok(Found::Wrong) => lives = true,
                }
            }
            if kept.is_none() && (self.leads)() == Replica::Other {
                // It was given up just now, or this was written after its end: nothing of it is left.
                if work.wrote {
                    self.tokens.delete_policy(&self.name).await?;
                    work.wrote = false;
                }
                let message = "the replica that runs the controller has not made it yet, or the state was given up";
                return Err(Fault::NoToken(message.to_owned()));
            }
            if self.replace(work, kept.as_deref(), lives).await? {
                work.established = Some(began);
                return Ok(true);
            }
        }
    }

    /// Looks whether a kept token is as it should be. Its policy is made so.
    async fn look(&self, work: &mut Work, kept: &Kept) -> Result<Found, Fault> {
        let Some(life) = self.tokens.look_up(&kept.accessor).await? else { return Ok(Found::Dead) };
        if life.policies != [self.name.as_str()] {
            return Ok(Found::Wrong);
        }
        let mended = self.mend(work).await?;
        if mended {
            info!(policy = %self.name, "the policy of a state was not as it should be in OpenBao, and was written");
        }
        work.life = life.left.map(|left| Span { ends: BootClock.boot() + left, whole: life.whole });
        Ok(Found::Good { mended })
    }

    /// Makes the policy what it should be; answers whether it was not. Where another process gives the resource another
    /// path, each takes the policy from the other for ever.
    async fn mend(&self, work: &mut Work) -> Result<bool, Fault> {
        let policy = Policy::of_state(self.tokens.mount(), &self.path);
        let Some(before) = self.tokens.ensure_policy(&self.name, &policy).await? else { return Ok(false) };
        work.wrote = true;
        let Some(other) = Policy::state_of(self.tokens.mount(), &before) else { return Ok(true) };
        let times = work.other.take().filter(|(before, _)| *before == other).map_or(1, |(_, times)| times + 1);
        // Once it may be a resource that moved, of which this process heard first.
        if times == 2 {
            warn!(
                policy = %self.name, path = %self.path, other = %other,
                "another process serves this resource with another path, and each takes the right to its path from the other: give all processes of an instance the same manifests"
            );
        }
        work.other = Some((other, times));
        Ok(true)
    }

    /// Makes a token in place of `old`, that still `lives` or does not; answers false where another replica made one
    /// meanwhile, or leads by now: a process may have been stopped at any place, and what is kept for nobody the leader alone
    /// may make.
    async fn replace(&self, work: &mut Work, old: Option<&Kept>, lives: bool) -> Result<bool, Fault> {
        let may = || old.is_some() || (self.leads)() == Replica::Leader;
        // Before a token is made: what fails here leaves none behind.
        let mut retired = match old {
            Some(old) => old.retired.clone(),
            None => self.keeper.left(&self.name).await.map_err(Fault::from)?,
        };
        if !may() {
            return Ok(false);
        }
        self.mend(work).await?;
        if !may() {
            return Ok(false);
        }
        let made = self.tokens.mint(&self.name).await?;
        let replaced = old.filter(|_| lives).map(|old| old.accessor.clone());
        retired.extend(replaced.map(|accessor| Retired { accessor, since: machine_time() }));
        let kept = Kept { token: made.token, accessor: made.accessor, retired };
        let former = old.map(|old| old.accessor.as_str());
        let done = if may() { self.keeper.replace(&self.name, former, Some(&kept)).await } else { Ok(false) };
        match done {
            Ok(true) => {}
            not => {
                // Nobody will know of it. Where this fails too it ends by itself.
                let _ = self.tokens.revoke(&kept.accessor).await;
                return not.map_err(Fault::from);
            }
        }
        info!(policy = %self.name, accessor = kept.accessor, replaced = former, "made the token of a state");
        work.life = Some(Span { ends: BootClock.boot() + made.ttl, whole: made.ttl });
        self.held.store(Some(Arc::new(kept)));
        Ok(true)
    }

    pub(super) async fn maintain(&self, work: &mut Work, held: &Kept, replica: Replica) -> Result<(), Fault> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Where that cannot be kept, such as while the API server is away for days, the token lives on all the same.
        let ended = self.end_retired(held).await;
        self.renew_due(work, held, replica).await?;
        ended
    }

    async fn renew_due(&self, work: &mut Work, held: &Kept, replica: Replica) -> Result<(), Fault> {
        let Some(life) = work.life else {
            if work.unseen.is_some_and(|until| Instant::now() < until) {
                return Ok(());
            }
            // It was taken while OpenBao was away, or never ends. Where tokens are kept may be away for days.
            return match self.look(work, held).await? {
                Found::Good { .. } => Ok(()),
                Found::Dead | Found::Wrong => self.establish(work, None).await.map(drop),
            };
        };
        if !due(life.ends.saturating_sub(BootClock.boot()), life.whole, replica, self.spread) {
            return Ok(());
        }
        match self.tokens.renew(&held.accessor).await {
            Ok(left) => {
                work.life = Some(Span { ends: BootClock.boot() + left, whole: life.whole.max(left) });
                // It nears an end that no renewal moves: the role was another when it was made.
                if due(left, life.whole, Replica::Leader, self.spread) {
                    self.replace(work, Some(held), true).await?;
                }
                Ok(())
            }
            Err(Fault::NoSuchToken) => self.establish(work, None).await.map(drop),
            Err(fault) => Err(fault),
        }
    }

    /// Ends what was replaced long enough ago.
    async fn end_retired(&self, held: &Kept) -> Result<(), Fault> {
        let now = machine_time();
        let (over, retired): (Vec<_>, Vec<_>) =
            held.retired.iter().cloned().partition(|retired| now.duration_since(retired.since) >= RETIRED);
        if over.is_empty() {
            return Ok(());
        }
        for retired in &over {
            self.tokens.revoke(&retired.accessor).await?;
            info!(policy = %self.name, accessor = retired.accessor, "ended the former token of a state");
        }
        let kept = Kept { retired, ..held.clone() };
        if self.keeper.replace(&self.name, Some(&held.accessor), Some(&kept)).await.map_err(Fault::from)? {
            self.held.store(Some(Arc::new(kept)));
        }
        Ok(())
    }

    /// Tells what is wrong, once.
    pub(super) fn note(&self, work: &mut Work, fault: Option<&Fault>) {
        if let Some(fault) = fault.filter(|fault| work.trouble.as_ref() != Some(fault)) {
            warn!(policy = %self.name, %fault, "the token of a state cannot be had or renewed");
        }
        work.trouble = fault.cloned();
    }
}

#[async_trait]
impl Supplier for Inner {
    type Work = Work;

    fn held(&self) -> Option<Token> {
        self.held.load().as_ref().map(|kept| kept.token.clone())
    }

    fn work(&self) -> &Arc<Mutex<Work>> {
        &self.work
    }

    /// At a pace.
    async fn have(&self, work: &mut Work, refused: Option<&Token>) -> Result<bool, Fault> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(given_up());
        }
        if !work.pace.turn().await {
            let refused = || Fault::NoToken("the state's own was refused, and another would be too".to_owned());
            return Err(work.trouble.clone().unwrap_or_else(refused));
        }
        let done = self.establish(work, refused).await;
        work.pace.came_to(&done);
        self.note(work, done.as_ref().err());
        done
    }
}
