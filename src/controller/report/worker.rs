//! Has the followers of all states: a quiet one takes little room, and one that has something to tell is a task as long as it
//! does.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    task::{Id, JoinError, JoinSet},
};

use super::{
    Ask, Shared,
    follow::{Follower, Heard, run},
};
use crate::registry::ResourceName;

/// Does the work of a [`Reporter`](super::Reporter).
pub struct Worker {
    asks: UnboundedReceiver<Ask>,
    shared: Arc<Shared>,
    followed: HashMap<Arc<ResourceName>, Followed>,
    work: JoinSet<Rest>,
}

/// A follower that told what there was, and what came too late for it.
type Rest = (Box<Follower>, UnboundedReceiver<Heard>);

enum Followed {
    /// There is nothing to tell.
    Quiet(Box<Follower>),
    /// A task has it.
    Busy(Id, UnboundedSender<Heard>),
}

impl Worker {
    pub(super) fn new(asks: UnboundedReceiver<Ask>, shared: Shared) -> Self {
        Self { asks, shared: Arc::new(shared), followed: HashMap::new(), work: JoinSet::new() }
    }

    /// Works until `stop`, and then tells what is left, for some seconds at most. `stop` should come when the last request
    /// was answered: the run that it ended has released its lock by then.
    ///
    /// # Errors
    /// A follower panicked.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = self.work.join_next_with_id(), if !self.work.is_empty() => self.ended(ended)?,
                Some(ask) = self.asks.recv() => self.take(ask),
            }
        }
        while let Ok(ask) = self.asks.try_recv() {
            self.take(ask);
        }
        // Each that is busy ends by it.
        self.followed.clear();
        while let Some(ended) = self.work.join_next().await {
            let (follower, news) = ended.map_err(panicked)?;
            if !news.is_empty() {
                self.work.spawn(run(follower, news));
            }
        }
        Ok(())
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Follow(name, target) if self.followed.contains_key(&name) => self.hear(&name, Heard::Target(target)),
            Ask::Follow(name, target) => {
                let name = Arc::new(name);
                let (follower, told) = Follower::new(self.shared.clone(), name.clone(), target);
                self.followed.insert(name.clone(), Followed::Quiet(Box::new(follower)));
                if !told {
                    self.hear(&name, Heard::Seen);
                }
            }
            Ask::Stands(name, stands) => self.hear(&name, Heard::Stands(stands)),
            Ask::Seen(name) => self.hear(&name, Heard::Seen),
            Ask::Forget(name) => drop(self.followed.remove(&name)),
        }
    }

    /// Lets the follower of this name hear of something, if there is one.
    fn hear(&mut self, name: &ResourceName, news: Heard) {
        let wakes = match self.followed.get_mut(name) {
            Some(Followed::Quiet(follower)) => follower.take(news),
            Some(Followed::Busy(_, sender)) => {
                // It is there: what ended was taken out before.
                let _ = sender.send(news);
                false
            }
            None => false,
        };
        if wakes && let Some((name, Followed::Quiet(follower))) = self.followed.remove_entry(name) {
            let (sender, receiver) = unbounded_channel();
            let task = self.work.spawn(run(follower, receiver)).id();
            self.followed.insert(name, Followed::Busy(task, sender));
        }
    }

    fn ended(&mut self, ended: Result<(Id, Rest), JoinError>) -> Result<(), String> {
        let (id, (follower, news)) = ended.map_err(panicked)?;
        // It may have been forgotten, and another begun.
        if let Some(followed) = self.followed.get_mut(&follower.name)
            && let Followed::Busy(task, _) = followed
            && *task == id
        {
            if news.is_empty() {
                *followed = Followed::Quiet(follower);
            } else {
                *task = self.work.spawn(run(follower, news)).id();
            }
        }
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn panicked(error: JoinError) -> String {
    error.to_string()
}
