//! What was promised: all operations that the killed processes began, what was answered to each, and what a head may hold
//! after that. An operation without an answer at the kill may have happened or not; the first head after the kill tells,
//! and from then on it stays so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tofustate::store::{Epoch, Head, Mark};

use crate::{MAX_VERSIONS, PATHS, lock_info};

/// How many of the last released locks are surely remembered, whatever was under way.
const REMEMBERED: usize = 10;

#[derive(Clone, Debug, PartialEq)]
enum What {
    Lock(String),
    Unlock(String),
    Get,
    Post { lock: Option<String>, sha256: String, size: u64 },
    Delete,
    Rollback(u64),
}

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// No answer yet, or killed before it came.
    Open,
    /// It happened: it was said so, or a head showed it.
    Done(Option<u64>),
    /// It did not happen, and never will.
    Not,
}

#[derive(Clone, Debug)]
struct Op {
    path: usize,
    what: What,
    outcome: Outcome,
    /// The newest version that was promised when it began.
    after: u64,
}

/// What was promised of one state.
#[derive(Default)]
struct Promised {
    mark: Option<Mark>,
    /// The versions that were made, with the sums of their bytes.
    made: BTreeMap<u64, String>,
    deleted: BTreeSet<u64>,
    held: Option<String>,
    released: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    ops: HashMap<String, Op>,
    paths: [Promised; PATHS.len()],
    lines: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// How far each head was seen.
    pub(crate) fn marks(&self) -> Vec<Option<Mark>> {
        self.paths.iter().map(|path| path.mark).collect()
    }

    pub(crate) fn holder(&self, path: usize) -> Option<&str> {
        self.paths[path].held.as_deref()
    }

    pub(crate) fn last_released(&self, path: usize) -> Option<&str> {
        self.paths[path].released.last().map(String::as_str)
    }

    /// The last lines, to explain a failure.
    pub(crate) fn tail(&self) -> String {
        format!("the last lines:\n{}", crate::tail(&self.lines))
    }

    pub(crate) fn summary(&self) -> String {
        self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn swept(&mut self, lost: usize) {
        *self.counts.entry("lost uploads swept").or_default() += lost as u64;
    }

    /// A test that sees none of what it is about shows nothing.
    pub(crate) fn must_have_seen_enough(&self) {
        for what in
            ["locks", "unlocks", "writes", "large writes", "deletes", "rollbacks", "open at a kill", "held over a kill"]
        {
            assert!(self.counts.contains_key(what), "no {what} in: {}", self.summary());
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn broken(&self, path: usize, what: &str) -> ! {
        panic!("{}: {what}\n{}", PATHS[path], self.tail())
    }

    /// Takes in what a process said until it was killed, in the order in which it was said.
    pub(crate) fn read(&mut self, round: u64, said: &[String]) {
        self.lines.push(format!("--- round {round}"));
        for line in said {
            self.lines.push(line.clone());
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["registered", path, mark] => self.see(path.parse().unwrap(), parse_mark(mark)),
                ["begin", op, path, ref what @ ..] => self.begin(op, path.parse().unwrap(), what),
                ["done", op, "ok", version, mark] => self.done(op, version.parse().ok(), parse_mark(mark)),
                ["done", op, "refused", ..] => self.ops.get_mut(op).unwrap().outcome = Outcome::Not,
                ["failed" | "ended", ..] => panic!("the child gave up\n{}", self.tail()),
                _ => {}
            }
        }
    }

    fn begin(&mut self, op: &str, path: usize, what: &[&str]) {
        let what = match *what {
            ["lock", id] => What::Lock(id.to_owned()),
            ["unlock", id] => What::Unlock(id.to_owned()),
            ["get"] => What::Get,
            ["post", lock, sha256, size] => What::Post {
                lock: (lock != "-").then(|| lock.to_owned()),
                sha256: sha256.to_owned(),
                size: size.parse().unwrap(),
            },
            ["delete"] => What::Delete,
            ["rollback", target] => What::Rollback(target.parse().unwrap()),
            _ => panic!("{what:?}"),
        };
        let after = self.paths[path].made.last_key_value().map_or(0, |(number, _)| *number);
        self.ops.insert(op.to_owned(), Op { path, what, outcome: Outcome::Open, after });
    }

    fn done(&mut self, op: &str, version: Option<u64>, mark: Mark) {
        let Op { path, what, after, .. } = self.ops[op].clone();
        self.ops.get_mut(op).unwrap().outcome = Outcome::Done(version);
        self.see(path, mark);
        match what {
            What::Lock(id) => {
                self.count("locks");
                let held = self.paths[path].held.clone();
                if let Some(held) = held.filter(|held| !self.release_begun(path, held)) {
                    self.broken(path, &format!("{id} was granted while {held} held"));
                }
                self.paths[path].held = Some(id);
            }
            What::Unlock(id) => {
                self.count("unlocks");
                self.released(path, id);
            }
            What::Get => {
                if version.is_some_and(|version| version < after) {
                    self.broken(path, &format!("{op} read {version:?} after {after} was written"));
                }
            }
            What::Post { sha256, size, .. } => {
                self.count(if size > 100_000 { "large writes" } else { "writes" });
                self.made(path, op, version.unwrap(), sha256);
            }
            What::Delete => {
                self.count("deletes");
                self.paths[path].deleted.extend(version);
            }
            What::Rollback(target) => {
                self.count("rollbacks");
                // What it copies may itself have been answered to nobody yet: the head tells.
                let sha256 = self.paths[path].made.get(&target).cloned().unwrap_or_default();
                self.made(path, op, version.unwrap(), sha256);
            }
        }
    }

    fn made(&mut self, path: usize, op: &str, version: u64, sha256: String) {
        if let Some(other) = self.paths[path].made.insert(version, sha256.clone())
            && other != sha256
            && !other.is_empty()
        {
            self.broken(path, &format!("{op} made version {version}, as another did before"));
        }
    }

    fn released(&mut self, path: usize, id: String) {
        let promised = &mut self.paths[path];
        promised.held = promised.held.take().filter(|held| *held != id);
        if !promised.released.contains(&id) {
            promised.released.push(id);
        }
    }

    /// Whether somebody has asked for that lock to be released.
    fn release_begun(&self, path: usize, id: &str) -> bool {
        self.ops.values().any(|op| {
            op.path == path && op.outcome != Outcome::Not && matches!(&op.what, What::Unlock(unlock) if unlock == id)
        })
    }

    /// A head was seen so far: it may not go back.
    pub(crate) fn see(&mut self, path: usize, mark: Mark) {
        match &mut self.paths[path].mark {
            Some(seen) if seen.epoch != mark.epoch => panic!("{} has another epoch: {mark:?}", PATHS[path]),
            // Two clients say what they saw in any order.
            Some(seen) if seen.revision >= mark.revision => {}
            seen => *seen = Some(mark),
        }
    }

    /// Holds the head after a kill against all promises, and learns what came of the operations that had no answer.
    pub(crate) fn settle(&mut self, path: usize, head: &Head) {
        if let Some(seen) = self.paths[path].mark.filter(|seen| seen.revision > head.revision) {
            self.broken(path, &format!("the head went back from {} to {}", seen.revision, head.revision));
        }
        self.settle_versions(path, head);
        self.settle_current(path, head);
        self.settle_lock(path, head);
        let open: Vec<&mut Op> =
            self.ops.values_mut().filter(|op| op.path == path && op.outcome == Outcome::Open).collect();
        let count = open.len() as u64;
        open.into_iter().for_each(|op| op.outcome = Outcome::Not);
        *self.counts.entry("open at a kill").or_default() += count;
    }

    /// The operation that a head names, which must not be one that did not happen. It did, from here on.
    fn happened(&mut self, path: usize, op: &str, version: Option<u64>) -> What {
        let Some(found) = self.ops.get_mut(op) else { self.broken(path, &format!("nobody asked for {op}")) };
        let (right, what) = (found.path == path, found.what.clone());
        let before = std::mem::replace(&mut found.outcome, Outcome::Done(version));
        match before {
            Outcome::Open => self.count("happened without an answer"),
            Outcome::Done(said) if said == version && right => {}
            other => self.broken(path, &format!("{op} has {version:?} in the head, and was {other:?}")),
        }
        what
    }

    fn settle_versions(&mut self, path: usize, head: &Head) {
        let mut ops = BTreeSet::new();
        for version in &head.versions {
            let (number, sha256) = (version.number, version.sha256.to_string());
            if !ops.insert(&version.identity) {
                self.broken(path, &format!("{} made two versions", version.identity));
            }
            match self.happened(path, &version.identity, Some(number)) {
                What::Post { lock, sha256: sent, size } => {
                    if (lock, &sent, size) != (version.lock.clone(), &sha256, version.size) {
                        self.broken(path, &format!("version {number} is not what {} sent", version.identity));
                    }
                }
                What::Rollback(target) => {
                    let source = self.paths[path].made.get(&target);
                    if version.copy_of != Some(target) || source.is_some_and(|s| !s.is_empty() && *s != sha256) {
                        self.broken(path, &format!("version {number} is no copy of {target}"));
                    }
                }
                other => self.broken(path, &format!("version {number} was made by {other:?}")),
            }
            self.made(path, &version.identity, number, sha256);
            if let Some(deletion) = &version.deleted {
                if self.happened(path, &deletion.by, Some(number)) != What::Delete {
                    self.broken(path, &format!("version {number} was deleted by {}", deletion.by));
                }
                self.paths[path].deleted.insert(number);
            }
        }
        let missing: Vec<u64> =
            self.paths[path].made.keys().copied().filter(|number| head.version(*number).is_none()).collect();
        if !missing.is_empty() && head.versions.len() < MAX_VERSIONS as usize {
            self.broken(path, &format!("versions {missing:?} are gone, and there is room for them"));
        }
    }

    fn settle_current(&mut self, path: usize, head: &Head) {
        let promised = &self.paths[path];
        let last = promised.made.last_key_value().map(|(number, _)| *number);
        let current = last.filter(|number| !promised.deleted.contains(number));
        if head.current != current {
            self.broken(path, &format!("version {current:?} should be current, and {:?} is", head.current));
        }
        if last.is_some_and(|last| head.next <= last) {
            self.broken(path, &format!("version {last:?} was made, and {} is the next", head.next));
        }
    }

    fn settle_lock(&mut self, path: usize, head: &Head) {
        let held = self.paths[path].held.clone();
        let now = head.lock.as_ref().map(|lock| lock.id.clone());
        if let Some(lost) = held.filter(|held| now.as_ref() != Some(held))
            && !self.release_begun(path, &lost)
        {
            self.broken(path, &format!("{lost} held the lock, nobody released it, and {now:?} holds it"));
        }
        if let Some(lock) = &head.lock {
            if self.happened(path, &lock.identity, None) != What::Lock(lock.id.clone()) {
                self.broken(path, &format!("{} holds the lock and did not ask for it", lock.id));
            }
            if lock.info != lock_info(&lock.id) {
                self.broken(path, "the LockInfo is not the one that was sent");
            }
            if self.paths[path].released.contains(&lock.id) {
                self.broken(path, &format!("{} was released and holds again", lock.id));
            }
            self.count("held over a kill");
        }
        let recent = self.paths[path].released.iter().rev().take(REMEMBERED);
        if let Some(forgotten) = recent.into_iter().find(|id| !head.recently_released(id)) {
            self.broken(path, &format!("{forgotten} was released and is forgotten"));
        }
        for released in &head.released {
            self.released(path, released.id.clone());
        }
        self.paths[path].held = now;
    }
}

fn parse_mark(text: &str) -> Mark {
    let (epoch, revision) = text.split_once(':').unwrap();
    Mark { epoch: Epoch::parse(epoch).unwrap(), revision: revision.parse().unwrap() }
}
