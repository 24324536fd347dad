//! What happens between the rounds of a run: hours go by, the store is set back or lost, the path changes hands.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tofustate::store::{LockCall, Sha256Sum, StateError, WriteCall};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    client::{Client, alive},
    replica::{Fleet, Replica, budget},
    world::PATH,
};

/// The kinds of events that a run must have seen, each.
pub const KINDS: &[&str] = &["hours", "slow-upload", "set-back", "lost", "take-over", "deleted", "lonely", "crowd"];

pub struct Events {
    fleet: Arc<Fleet>,
    client: Client,
    slow: JoinSet<()>,
    /// What still comes before all came once more.
    deck: Vec<&'static str>,
    pub seen: BTreeMap<&'static str, u64>,
}

impl Events {
    pub fn new(fleet: Arc<Fleet>) -> Self {
        let client = Client::new(fleet.clone(), "events".to_owned());
        Self { fleet, client, slow: JoinSet::new(), deck: Vec::new(), seen: BTreeMap::new() }
    }

    fn saw(&mut self, kind: &'static str) {
        *self.seen.entry(kind).or_default() += 1;
    }

    /// The next event. They are drawn like cards, so that each comes as often as it stands in the deck and none is
    /// missed; the first of each kind come first.
    pub async fn next(&mut self) {
        if self.deck.is_empty() {
            let more =
                ["hours", "hours", "slow-upload", "slow-upload", "take-over", "lonely", "lonely", "crowd", "none"];
            let mut deck = more.to_vec();
            self.shuffle(&mut deck);
            let mut first = KINDS.to_vec();
            self.shuffle(&mut first);
            deck.extend(first);
            self.deck = deck;
        }
        match self.deck.pop() {
            Some("hours") => self.hours().await,
            Some("slow-upload") => self.slow_upload(),
            Some("set-back") => self.set_back().await,
            Some("lost") => self.lost().await,
            Some("take-over") => self.take_over().await,
            Some("deleted") => self.deleted().await,
            Some("lonely") => self.lonely().await,
            Some("crowd") => self.crowd().await,
            _ => {}
        }
    }

    fn shuffle(&self, cards: &mut [&'static str]) {
        for at in (1..cards.len()).rev() {
            cards.swap(at, self.fleet.world.below(at as u64 + 1) as usize);
        }
    }

    /// Lets what is under way end.
    pub async fn finish(&mut self) {
        sleep(Duration::from_secs(6 * 3_600)).await;
        while self.slow.join_next().await.is_some() {}
    }

    /// Hours go by in which engines only work in the background.
    async fn hours(&mut self) {
        for _ in 0..6 + self.fleet.world.below(12) {
            sleep(Duration::from_secs(60 * (5 + self.fleet.world.below(15)))).await;
            let replica = self.fleet.any();
            alive(&replica, replica.state.sweep()).await;
            alive(&replica, replica.state.maintain()).await;
        }
        self.saw("hours");
    }

    /// An upload that stops in the middle for minutes or hours while the world goes on.
    fn slow_upload(&mut self) {
        let (world, replica) = (self.fleet.world.clone(), self.fleet.any());
        let noise: String = (0..6_000).map(|_| format!("{:x}", world.below(u64::MAX))).collect();
        let body = format!(r#"{{"version":4,"serial":1,"lineage":"slow","noise":"{noise}"}}"#);
        let client = Client::new(self.fleet.clone(), "slow".to_owned());
        self.slow.spawn(async move {
            let sum = Sha256Sum::of(body.as_bytes());
            client.allow(sum, None);
            let (first, second) = body.as_bytes().split_at(body.len() * 9 / 10);
            let mut budget = budget();
            let work = async {
                let mut upload = replica.state.upload(WriteCall { identity: "slow", ..WriteCall::default() })?;
                upload.push(first, &mut budget).await?;
                sleep(Duration::from_secs(60 * world.below(200))).await;
                upload.push(second, &mut budget).await?;
                let since = world.moment();
                upload.finish(&mut budget).await.map(|done| (since, done))
            };
            let done = alive(&replica, work).await;
            let since = match &done {
                Some(Ok((since, _))) => *since,
                _ => 0,
            };
            client.judge_write(&replica, since, done, sum, None);
        });
        self.saw("slow-upload");
    }

    /// Writes while nobody else does, so that what lands late finds the head as it was.
    async fn lonely(&mut self) {
        self.fleet.world.set_fault_rate(300);
        for _ in 0..6 {
            let body = self.client.body();
            self.client.post(None, &body).await;
            sleep(Duration::from_secs(90)).await;
        }
        self.fleet.world.set_fault_rate(50);
        self.saw("lonely");
    }

    /// Many write at once without a lock, and many answers are lost.
    async fn crowd(&mut self) {
        if let Some(lock) = self.fleet.world.last_head().and_then(|head| head.lock.clone()) {
            let replica = self.fleet.any();
            self.fleet.break_lock(&replica, &lock.id, "x").await;
        }
        self.fleet.world.set_fault_rate(200);
        let mut crowd = JoinSet::new();
        for at in 0..8 {
            let mut client = Client::new(self.fleet.clone(), format!("crowd{at}-{}", self.fleet.world.moment()));
            crowd.spawn(async move { client.hurry().await });
        }
        crowd.join_all().await;
        self.fleet.world.set_fault_rate(50);
        self.saw("crowd");
    }

    /// Every verb of a warm engine must say the same of a head that is gone or behind: never an answer, never a change.
    async fn all_refuse(&mut self, what: &str, right: fn(&StateError) -> bool) {
        let landed = self.fleet.world.moment();
        for slot in 0..self.fleet.size() {
            let replica = self.fleet.get(slot);
            let mut answers: Vec<(&str, Result<(), StateError>)> = Vec::new();
            let mut budget = budget();
            let (state, budget) = (&replica.state, &mut budget);
            // A change first: a read would let go of the head that a warm engine knows.
            answers
                .push(("LOCK", state.lock(LockCall { info: br#"{"ID":"new"}"#, ..LockCall::default() }, budget).await));
            answers.push(("UNLOCK", state.unlock(br#"{"ID":"new"}"#, "x", budget).await.map(drop)));
            answers.push(("POST", state.write(WriteCall::default(), br#"{"serial":1}"#, budget).await.map(drop)));
            answers.push(("DELETE", state.delete("x", budget).await.map(drop)));
            answers.push(("GET", state.read(budget).await.map(drop)));
            answers.push(("register", state.register(budget).await));
            for (verb, answer) in answers {
                if !matches!(&answer, Err(error) if right(error)) {
                    self.fleet.world.violation(format!("{verb} on a store that was {what} answered {answer:?}"));
                }
            }
        }
        if self.fleet.world.moment() != landed {
            self.fleet.world.violation(format!("something landed on a store that was {what}"));
        }
    }

    /// Every engine has seen the newest head, and nothing is under way.
    async fn settle(&mut self) {
        self.fleet.world.set_fault_rate(0);
        sleep(Duration::from_secs(6 * 3_600)).await;
        for slot in 0..self.fleet.size() {
            let mut replica = self.fleet.get(slot);
            if replica.kv.claim != self.fleet.claim() {
                replica = self.fleet.restart(slot);
            }
            if let Err(error) = replica.state.head(&mut budget()).await {
                self.fleet.world.violation(format!("settled, and the head cannot be read: {error}"));
            }
            self.fleet.report(&replica);
        }
    }

    /// The store is set back to an older snapshot under warm idle engines.
    async fn set_back(&mut self) {
        self.settle().await;
        let mut old = self.fleet.world.snapshot();
        // The head has to move on, whatever the clients left.
        if let Some(lock) = self.fleet.world.last_head().and_then(|head| head.lock.clone()) {
            let _ = self.fleet.break_lock(&self.fleet.get(0), &lock.id, "x").await;
        }
        let (body, last) = (self.client.body(), self.client.body());
        self.client.post(None, &body).await;
        self.client.post(None, &last).await;
        self.settle_warm().await;
        // Revisions are used again: the one that warm engines know may stand for another head.
        let newest = self.fleet.world.snapshot().remove(PATH);
        if let (Some(head), Some(newest), true) = (old.get_mut(PATH), newest, self.fleet.world.chance(500)) {
            head.revision = newest.revision;
        }
        self.fleet.world.restore(old);
        sleep(Duration::from_secs(11)).await;
        self.all_refuse("set back", |error| matches!(error, StateError::HeadBehind { .. })).await;
        let replica = self.fleet.get(0);
        self.accept(&replica, true).await;
        self.saw("set-back");
    }

    /// All entries of the store are gone.
    async fn lost(&mut self) {
        self.settle().await;
        let mut left = self.fleet.world.snapshot();
        left.remove(PATH);
        self.fleet.world.restore(left);
        sleep(Duration::from_secs(11)).await;
        self.fleet.restart(1);
        self.all_refuse("emptied", |error| matches!(error, StateError::HeadLost { .. })).await;
        let replica = self.fleet.get(0);
        self.fleet.world.inner.lock().unwrap().oracle.may_create = true;
        self.accept(&replica, false).await;
        self.saw("lost");
    }

    async fn settle_warm(&mut self) {
        for slot in 0..self.fleet.size() {
            let replica = self.fleet.get(slot);
            let _ = replica.state.head(&mut budget()).await;
            self.fleet.report(&replica);
        }
    }

    async fn accept(&mut self, replica: &Replica, restored: bool) {
        let Some(mark) = replica.state.mark() else { return };
        let mut budget = budget();
        let done = match restored {
            true => replica.state.accept_restore(mark.epoch, &mut budget).await,
            false => replica.state.accept_empty(mark.epoch, &mut budget).await,
        };
        if let Err(error) = done {
            self.fleet.world.violation(format!("a person's word was not taken: {error}"));
        }
        self.fleet.report(replica);
        // The others go on without a word of their own.
        for slot in 0..self.fleet.size() {
            if let Err(error) = self.fleet.get(slot).state.head(&mut Self::fresh()).await {
                self.fleet.world.violation(format!("after the acceptance: {error}"));
            }
        }
        self.fleet.world.set_fault_rate(50);
    }

    fn fresh() -> tofustate::store::Budget {
        budget()
    }

    /// The path goes to a higher claim while engines of the old one still work.
    async fn take_over(&mut self) {
        self.fleet.raise_claim();
        self.fleet.restart(0);
        let replica = self.fleet.get(0);
        let mut done = alive(&replica, replica.state.register(&mut budget())).await;
        while !matches!(done, Some(Ok(()))) {
            let replica = self.fleet.get(0);
            done = alive(&replica, replica.state.register(&mut budget())).await;
        }
        // The others stay stale for a round: their calls must fail and land nothing.
        for _ in 0..4 {
            self.client.act().await;
        }
        for slot in 1..self.fleet.size() {
            self.fleet.restart(slot);
        }
        self.saw("take-over");
    }

    /// The resource is deleted with its versions, and the path registered again.
    async fn deleted(&mut self) {
        self.settle().await;
        let replica = self.fleet.get(0);
        if let Some(lock) = self.fleet.world.last_head().and_then(|head| head.lock.clone()) {
            let _ = self.fleet.break_lock(&replica, &lock.id, "x").await;
        }
        self.fleet.world.inner.lock().unwrap().oracle.deleting = true;
        if let Err(error) = replica.state.release(true, &mut budget()).await {
            self.fleet.world.violation(format!("release: {error}"));
        }
        let left = self.fleet.world.snapshot().keys().filter(|key| key.starts_with(".versions/")).count();
        if left > 0 {
            self.fleet.world.violation(format!("{left} parts are left after the deletion"));
        }
        self.all_refuse("given up", |error| {
            matches!(error, StateError::Refused(tofustate::store::head::Refusal::ForeignOwner(_)))
        })
        .await;
        self.fleet.world.inner.lock().unwrap().oracle.deleting = false;
        self.fleet.raise_claim();
        for slot in 0..self.fleet.size() {
            self.fleet.restart(slot);
        }
        self.fleet.register().await;
        match self.fleet.get(0).state.read(&mut budget()).await {
            Ok(None) => {}
            other => self.fleet.world.violation(format!("a deleted state reads as {:?}", other.map(|_| ()))),
        }
        self.fleet.world.set_fault_rate(50);
        self.saw("deleted");
    }
}
