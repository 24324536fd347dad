//! Who may have a path: the owner entries, won by compare-and-swap before anything else exists for the path.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use serde::{Deserialize, Serialize};

use super::{Budget, Expect, Kv, KvError, Revision, StatePath, Value, head::Owner, keys};

/// The format of owner entries that this release writes.
const FORMAT: u32 = 1;

/// A resource that wants a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The installation of tofustate.
    pub instance: String,
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
    /// The resource's UID, for information.
    pub uid: Option<String>,
}

/// An owner entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OwnerEntry {
    format: u32,
    instance: String,
    namespace: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    claim: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    released: Option<Leftover>,
}

/// What a released path still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Leftover {
    /// State versions: only the former owner gets the path, or one that is let adopt it.
    State,
    /// Nothing: anybody gets it.
    Nothing,
}

/// Why a path was not won or not given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Another resource has the path.
    #[error("the path belongs to {0}: choose another path, or delete that resource first")]
    Conflict(String),
    /// The path was given up and holds the state of another resource.
    #[error(
        "the path holds the state that {0} left: only that resource gets it, or a namespace that carries tofustate.io/adopt with this path"
    )]
    HasState(String),
    /// Another claim was made since: whoever made it owns the path.
    #[error("the path was claimed anew by {0}")]
    Superseded(String),
    /// The entry is none that this release may touch.
    #[error(
        "the owner entry {key} is damaged, of another format, or not tofustate's ({fault}): it is left alone; restore it from a backup of the store"
    )]
    Damaged {
        /// The entry's key.
        key: String,
        /// What was found.
        fault: String,
    },
    /// The store did not do it.
    #[error("{doing} in the store: {message}")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// What was seen.
        message: String,
    },
}

impl Claimant {
    /// As the head of a state names its owner, with the claim that was won.
    #[must_use]
    pub fn owner(&self, claim: u64) -> Owner {
        Owner {
            instance: self.instance.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            claim,
            released: false,
        }
    }

    fn has(&self, entry: &OwnerEntry) -> bool {
        self.instance == entry.instance && self.namespace == entry.namespace && self.name == entry.name
    }

    fn entry(&self, claim: u64) -> OwnerEntry {
        OwnerEntry {
            format: FORMAT,
            instance: self.instance.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            claim,
            released: None,
        }
    }
}

impl fmt::Display for OwnerEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of instance {} (claim {})", self.namespace, self.name, self.instance, self.claim)
    }
}

/// Wins the path for `who`, or finds that it has it. Answers the claim's number, to be repeated in the head.
///
/// `adopt`: may take a path that holds another's left state.
///
/// # Errors
/// The path is another's, or holds another's state.
pub async fn claim(
    kv: &dyn Kv,
    path: &StatePath,
    who: &Claimant,
    adopt: bool,
    budget: &mut Budget,
) -> Result<u64, ClaimError> {
    Ok(win(kv, path, who, adopt, budget).await?.number)
}

/// A claim that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its number, to be repeated in the head.
    pub number: u64,
    /// This call made it, or may have: an attempt of it was sent. Else it was there before.
    pub new: bool,
    /// It took the place of a claim that left a state.
    pub inherits: bool,
    /// The resource that made it.
    pub uid: Option<String>,
}

impl Claim {
    /// Whether the path never had a head for whoever made this claim, as far as the entry tells: nobody had it before, or
    /// this very resource did, and nothing of its state is on record. Only then a head may be made where none is.
    #[must_use]
    pub fn is_first_of(&self, who: &Claimant) -> bool {
        !self.inherits && (self.new || who.uid.is_some() && self.uid == who.uid)
    }
}

/// As [`claim`], and tells whether the path was this resource's before.
///
/// # Errors
/// As [`claim`].
pub async fn win(
    kv: &dyn Kv,
    path: &StatePath,
    who: &Claimant,
    adopt: bool,
    budget: &mut Budget,
) -> Result<Claim, ClaimError> {
    let (new, inherits) = (AtomicBool::new(false), AtomicBool::new(false));
    let decide = |found: Option<&OwnerEntry>| {
        let wanted = claimed(found, who, adopt)?;
        new.fetch_or(wanted.is_some(), Ordering::Relaxed);
        let left = found.is_some_and(|entry| entry.released == Some(Leftover::State));
        inherits.fetch_or(left, Ordering::Relaxed);
        Ok(wanted)
    };
    let entry = change(kv, path, "claiming the path", budget, decide).await?;
    let (new, inherits) = (new.load(Ordering::Relaxed), inherits.load(Ordering::Relaxed));
    Ok(Claim { number: entry.claim, new, inherits, uid: entry.uid })
}

/// Whether [`claim`] would win the path now, without leave to take another's state. Changes nothing.
///
/// # Errors
/// As [`claim`].
pub async fn free_for(kv: &dyn Kv, path: &StatePath, who: &Claimant, budget: &mut Budget) -> Result<(), ClaimError> {
    look(kv, path, budget, |found| claimed(found, who, false).map(drop)).await
}

/// Whom a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody, and it holds nothing of anybody's.
    Free,
    /// The resource that asks, by this claim.
    Own(u64),
    /// The resource that asks gave it up.
    Released,
    /// Another, or it holds another's state.
    Anothers,
}

/// Whom the path belongs to now, as `who` sees it. Changes nothing.
///
/// # Errors
/// As [`claim`], but for a conflict.
pub async fn standing(
    kv: &dyn Kv,
    path: &StatePath,
    who: &Claimant,
    budget: &mut Budget,
) -> Result<Standing, ClaimError> {
    let found = |found: Option<&OwnerEntry>| {
        Ok(match found {
            None => Standing::Free,
            Some(entry) => match entry.released {
                None if who.has(entry) => Standing::Own(entry.claim),
                Some(_) if who.has(entry) => Standing::Released,
                Some(Leftover::Nothing) => Standing::Free,
                None | Some(Leftover::State) => Standing::Anothers,
            },
        })
    };
    look(kv, path, budget, found).await
}

async fn look<T>(
    kv: &dyn Kv,
    path: &StatePath,
    budget: &mut Budget,
    tell: impl Fn(Option<&OwnerEntry>) -> Result<T, ClaimError>,
) -> Result<T, ClaimError> {
    let key = keys::owner(path);
    loop {
        let error = match budget.within(read(kv, &key)).await {
            Ok(Ok(found)) => return tell(found.as_ref().map(|(entry, _)| entry)),
            Ok(Err(Failed::Final(error))) => return Err(error),
            Ok(Err(Failed::Store(error))) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        if budget.pause(None).await.is_err() {
            return Err(ClaimError::Store { doing: "looking who has the path", message: error });
        }
    }
}

/// What the owner entry has to become for `who` to have the path; `None` where it is so already.
fn claimed(found: Option<&OwnerEntry>, who: &Claimant, adopt: bool) -> Result<Option<OwnerEntry>, ClaimError> {
    match found {
        None => Ok(Some(who.entry(1))),
        Some(entry) => match entry.released {
            None if who.has(entry) => Ok(None),
            None => Err(ClaimError::Conflict(entry.to_string())),
            Some(Leftover::State) if !who.has(entry) && !adopt => Err(ClaimError::HasState(entry.to_string())),
            Some(_) => Ok(Some(who.entry(entry.claim + 1))),
        },
    }
}

/// Raises a claim that `who` has above `above`: for a head that remembers a higher one, as after a restore.
///
/// # Errors
/// The path is another's.
pub async fn raise(
    kv: &dyn Kv,
    path: &StatePath,
    who: &Claimant,
    above: u64,
    budget: &mut Budget,
) -> Result<u64, ClaimError> {
    let decide = |found: Option<&OwnerEntry>| match found {
        Some(entry) if !who.has(entry) || entry.released.is_some() => Err(ClaimError::Conflict(entry.to_string())),
        Some(entry) if entry.claim > above => Ok(None),
        _ => Ok(Some(who.entry(above + 1))),
    };
    Ok(change(kv, path, "raising the claim of the path", budget, decide).await?.claim)
}

/// Gives the path up: the last step of a deletion. Done already is done.
///
/// # Errors
/// [`ClaimError::Superseded`] where the path was claimed again since `claim`.
pub async fn release(
    kv: &dyn Kv,
    path: &StatePath,
    who: &Claimant,
    claim: u64,
    leaves: Leftover,
    budget: &mut Budget,
) -> Result<(), ClaimError> {
    let gone = OwnerEntry { released: Some(leaves), ..who.entry(claim) };
    let decide = |found: Option<&OwnerEntry>| match found {
        Some(entry) if !who.has(entry) || entry.claim > claim => Err(ClaimError::Superseded(entry.to_string())),
        Some(entry) if entry.released.is_some() => Ok(None),
        _ => Ok(Some(gone.clone())),
    };
    change(kv, path, "releasing the path", budget, decide).await.map(drop)
}

/// Compare-and-swap of an owner entry until `decide` is content: `None` where the entry is as it should be.
async fn change(
    kv: &dyn Kv,
    path: &StatePath,
    doing: &'static str,
    budget: &mut Budget,
    decide: impl Fn(Option<&OwnerEntry>) -> Result<Option<OwnerEntry>, ClaimError>,
) -> Result<OwnerEntry, ClaimError> {
    let key = keys::owner(path);
    loop {
        let attempt = async {
            let found = read(kv, &key).await?;
            let wanted = decide(found.as_ref().map(|(entry, _)| entry)).map_err(Failed::Final)?;
            let (entry, expect) = match (wanted, found) {
                (None, Some((entry, _))) => return Ok(entry),
                (None, None) => return Err(Failed::Store(KvError::Other("the owner entry is gone".to_owned()))),
                (Some(entry), found) => (entry, found.map_or(Expect::Absent, |(_, revision)| Expect::At(revision))),
            };
            let text = serde_json::to_string(&entry).map_err(|error| damaged(&key, &error))?;
            kv.put(&key, &Value::Document(text.into()), expect).await.map_err(Failed::Store)?;
            Ok(entry)
        };
        let error = match budget.within(attempt).await {
            Ok(Ok(entry)) => return Ok(entry),
            Ok(Err(Failed::Final(error))) => return Err(error),
            Ok(Err(Failed::Store(error))) => error,
            Err(_) => return Err(ClaimError::Store { doing, message: "no answer in time".to_owned() }),
        };
        // After a lost answer the next look finds the entry as it should be.
        let again = matches!(error, KvError::CasMismatch | KvError::Denied(_)) || error.ambiguous();
        if !again || budget.pause(None).await.is_err() {
            return Err(ClaimError::Store { doing, message: error.to_string() });
        }
    }
}

enum Failed {
    Final(ClaimError),
    Store(KvError),
}

async fn read(kv: &dyn Kv, key: &str) -> Result<Option<(OwnerEntry, Revision)>, Failed> {
    let Some(found) = kv.get(key).await.map_err(Failed::Store)? else { return Ok(None) };
    let Value::Document(text) = found.value else { return Err(damaged(key, &"no owner entry")) };
    let entry: OwnerEntry =
        serde_json::from_str(&text).map_err(|error| damaged(key, &format!("column {}", error.column())))?;
    if entry.format != FORMAT {
        return Err(damaged(key, &format!("format {}", entry.format)));
    }
    if i64::try_from(entry.claim).is_err() {
        return Err(damaged(key, &"a claim that was never given"));
    }
    Ok(Some((entry, found.revision)))
}

fn damaged(key: &str, fault: &dyn fmt::Display) -> Failed {
    Failed::Final(ClaimError::Damaged { key: key.to_owned(), fault: fault.to_string() })
}
