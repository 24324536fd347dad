//! A state that another service (tofu-state) kept at the key of a head becomes a head, once, with an admin's token:
//! looked at, claimed, the old entry kept, then replaced by compare-and-swap. Each step may be done again.

mod content;
mod old;

use std::{fmt, sync::Arc};

use tokio::time::Duration;

pub use content::{BadContent, Form};

use self::old::{Found, Mount};
use super::{
    BadName, Bao, Fault, Instance, OpenBaoKv, PolicyName, Token,
    setup::{Report, Setup, SetupError, check_mount},
};
use crate::{
    store::{
        Budget, Engine, EngineOptions, Head, Kv, KvError, Registration, Settings, Sha256Sum, StateError, StatePath,
        Value,
        head::{HeadError, Owner},
        keys,
        owners::{self, ClaimError, Claimant},
    },
    telemetry::EngineMetrics,
};

/// Who wrote the first version, as the head has it.
const IDENTITY: &str = "tofustate/adopt";
/// How long each step may wait for OpenBao.
const TIME: Duration = Duration::from_secs(60);

/// What is to be adopted, and for whom.
#[derive(Clone, Debug)]
pub struct Adoption {
    /// The path, which is the entry's key.
    pub path: StatePath,
    /// The installation.
    pub instance: Instance,
    /// The namespace of the resource that has the path.
    pub namespace: String,
    /// The name of that resource.
    pub name: String,
    /// Only says what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The entry is a head by now.
    Adopted(Adopted),
    /// It could become one. Nothing was changed.
    Possible(Adopted),
    /// It is one already, of the same resource.
    Already {
        /// Who has it.
        owner: Owner,
        /// Where an original is kept, if it is.
        originals: Vec<String>,
    },
}

/// A state that was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Who has it.
    pub owner: String,
    /// How it stood in the old entry.
    pub form: Form,
    /// The old entry's version in KV v2.
    pub entry: u64,
    /// The state's serial.
    pub serial: u64,
    /// Its lineage.
    pub lineage: Option<String>,
    /// Its size in bytes.
    pub size: usize,
    /// Of its bytes.
    pub sha256: Sha256Sum,
    /// Where the old entry is kept: the key of its first part.
    pub original: String,
    /// How many parts that has; `None` where it was not written.
    pub parts: Option<u32>,
}

/// Why it was not done. Nothing of a state is in it.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The resource has no name of Kubernetes.
    #[error(transparent)]
    Name(#[from] BadName),
    /// OpenBao could not be looked at.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The mount is not as tofustate needs it.
    #[error(
        "{0}\nfor a mount with entries of another service: tofustate bootstrap --existing-entries (and --check, which changes nothing)"
    )]
    NotReady(Report),
    /// There is nothing.
    #[error("there is no entry {0}: nothing to adopt; is it the path, the mount and the namespace of the old service?")]
    Absent(String),
    /// What there was is deleted.
    #[error(
        "the entry {key} cannot be adopted: its version {version} was {how}; bring it back with `bao kv undelete` if it can be. Where the old service was meant to delete that state, `bao kv metadata delete {key}` makes the path free"
    )]
    Gone {
        /// The entry.
        key: String,
        /// The version that was there.
        version: u64,
        /// `deleted at …` or `destroyed`.
        how: String,
    },
    /// The old service's lock is there.
    #[error(
        "the state is locked in the old service: {key} is there, {holder}. Let that run end, or end it and unlock there (tofu force-unlock), stop the old service, then run this again. If nobody holds it any more: `bao kv metadata delete {key}`"
    )]
    Locked {
        /// The lock's entry.
        key: String,
        /// What it says of its holder.
        holder: String,
    },
    /// The entry's own settings end it.
    #[error(
        "the entry {mount}/{key} is set to be deleted {after} after it is written, and the state would vanish with it: `bao kv metadata put -mount={mount} -delete-version-after=0s {key}`, then run this again"
    )]
    Vanishes {
        /// The mount.
        mount: String,
        /// The key.
        key: String,
        /// The time.
        after: String,
    },
    /// The entry is no state.
    #[error("{key} is not adopted: {why}")]
    Content {
        /// The entry.
        key: String,
        /// What was found.
        why: BadContent,
    },
    /// The entry is a head that may not be touched.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The entry is a head of another resource.
    #[error("{path} is a state of tofustate's already, and belongs to {owner}: nothing was changed")]
    Foreign {
        /// The path.
        path: StatePath,
        /// Who has it.
        owner: String,
    },
    /// The path is another's, by the owner entry alone.
    #[error(
        "the path belongs to {owner}, and no state is adopted there: give that namespace and name, or another path. If they were a mistake of an earlier try: `bao kv metadata delete -mount={mount} {key}`, then run this again"
    )]
    Taken {
        /// Who has it.
        owner: String,
        /// The mount.
        mount: String,
        /// The owner entry's key.
        key: String,
    },
    /// The path cannot be had.
    #[error(transparent)]
    Claim(ClaimError),
    /// Another wrote the entry.
    #[error(
        "{0} changed while it was adopted; nothing was written over it. Is the old service still running? Stop it, and run this again"
    )]
    Changed(String),
    /// The engine or the store did not do it.
    #[error("{0}; run this again: what is done is found")]
    State(#[from] StateError),
    /// OpenBao did not do it.
    #[error("{doing}: {fault}")]
    Fault {
        /// What was being done.
        doing: String,
        /// What was seen.
        fault: Fault,
    },
}

/// Adopts one state.
///
/// # Errors
/// See [`AdoptError`]. Whatever it is, the old entry stands as it did, or the head stands in its place.
pub async fn adopt(bao: &Bao, admin: &Token, what: &Adoption) -> Result<Done, AdoptError> {
    let Adoption { path, instance, namespace, name, dry_run } = what;
    // A resource for which there could be no token would be locked out of what it owns.
    PolicyName::new(instance, namespace, name)?;
    let setup = Setup::new(bao.settings(), instance.clone())?;
    let report = check_mount(bao, admin, &setup).await?;
    if !report.is_good() {
        return Err(AdoptError::NotReady(report));
    }
    let who = Claimant {
        instance: instance.as_str().to_owned(),
        namespace: namespace.clone(),
        name: name.clone(),
        uid: None,
    };
    let kv: Arc<dyn Kv> = Arc::new(OpenBaoKv::new(bao.clone(), Arc::new(admin.clone())));
    let mount = Mount { bao, admin };

    let key = keys::head(path);
    let found = mount.read(&key, &mut budget()).await?;
    let found = found.ok_or_else(|| AdoptError::Absent(mount.at(&key)))?;
    if let Some(head) = head_of(&found)? {
        if !head.owner.same_resource(&who.owner(0)) {
            return Err(AdoptError::Foreign { path: path.clone(), owner: head.owner.to_string() });
        }
        let originals = originals(&mount, kv.as_ref(), path).await?;
        return Ok(Done::Already { owner: head.owner, originals });
    }
    let content = content::read(&found.data).map_err(|why| AdoptError::Content { key: mount.at(&key), why })?;
    mount.unlocked(path.as_str(), &mut budget()).await?;
    mount.stays(path.as_str(), &mut budget()).await?;
    let taken = |error| match error {
        ClaimError::Conflict(owner) => {
            AdoptError::Taken { owner, mount: setup.mount.to_string(), key: keys::owner(path) }
        }
        other => AdoptError::Claim(other),
    };
    owners::free_for(kv.as_ref(), path, &who, &mut budget()).await.map_err(taken)?;
    let object = keys::original(&Sha256Sum::of(found.data.as_bytes()));
    let mut adopted = Adopted {
        owner: format!("{namespace}/{name} of instance {}", instance.as_str()),
        form: content.form,
        entry: found.entry.revision.0,
        serial: content.facts.serial,
        lineage: content.facts.lineage,
        size: content.body.len(),
        sha256: Sha256Sum::of(&content.body),
        original: mount.at(&keys::part(path, &object, 0)),
        parts: None,
    };
    if *dry_run {
        return Ok(Done::Possible(adopted));
    }

    let claim = owners::claim(kv.as_ref(), path, &who, false, &mut budget()).await.map_err(taken)?;
    let engine = Engine::new(EngineOptions::default(), EngineMetrics::default());
    let state = engine.open(Registration {
        path: path.clone(),
        kv,
        owner: who.owner(claim),
        mark: None,
        settings: Settings::default(),
    });
    adopted.parts = Some(state.keep_original(found.data.as_bytes(), &mut budget()).await?.parts);
    // Once more: keeping it took its time.
    mount.unlocked(path.as_str(), &mut budget()).await?;
    match state.adopt(&content.body, found.entry.revision, IDENTITY, &mut budget()).await {
        Ok(_) => Ok(Done::Adopted(adopted)),
        Err(StateError::Store { error: KvError::CasMismatch, .. }) => Err(AdoptError::Changed(mount.at(&key))),
        Err(error) => Err(error.into()),
    }
}

/// The head that an entry is; `None` where it is another's entry.
fn head_of(found: &Found) -> Result<Option<Head>, HeadError> {
    let Value::Document(text) = &found.entry.value else { return Ok(None) };
    match Head::parse(text) {
        Ok(head) => Ok(Some(head)),
        Err(HeadError::NotAHead(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where old entries of a path are kept.
async fn originals(mount: &Mount<'_>, kv: &dyn Kv, path: &StatePath) -> Result<Vec<String>, AdoptError> {
    let listed = kv.list_parts(&keys::versions(path)).await;
    let listed = listed.map_err(|error| StateError::Store { doing: "looking for the original", error })?;
    let first = |key: &str| keys::parse_part(path, key).is_some_and(|part| keys::is_original(part.0) && part.1 == 0);
    let mut keys: Vec<String> =
        listed.into_iter().filter(|listed| first(&listed.key)).map(|listed| mount.at(&listed.key)).collect();
    keys.sort();
    Ok(keys)
}

fn budget() -> Budget {
    Budget::new(TIME)
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted(adopted) => write!(f, "adopted for {}\n{adopted}", adopted.owner),
            Self::Possible(adopted) => {
                write!(f, "can be adopted for {}; nothing was changed\n{adopted}", adopted.owner)
            }
            Self::Already { owner, originals } => {
                write!(f, "already adopted: nothing to do; it belongs to {owner}")?;
                originals.iter().try_for_each(|key| write!(f, "\n  original: kept at {key}"))
            }
        }
    }
}

impl fmt::Display for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lineage = self.lineage.as_deref().map_or_else(|| "none".to_owned(), content::shorten);
        writeln!(f, "  serial: {}, lineage: {lineage}", self.serial)?;
        writeln!(f, "  size: {} bytes, SHA-256: {}", self.size, self.sha256)?;
        writeln!(f, "  was: {}, version {} of the entry", self.form, self.entry)?;
        match self.parts {
            None => write!(f, "  original: would be kept at {}", self.original)?,
            Some(1) => write!(f, "  original: kept at {}", self.original)?,
            Some(parts) => write!(f, "  original: kept at {}, in {parts} parts", self.original)?,
        }
        let Form::Nested { large, .. } = self.form else { return Ok(()) };
        write!(
            f,
            "\nnote: the state was stored as JSON in JSON: its bytes are as OpenBao wrote them, not as a client sent them"
        )?;
        if large > 0 {
            write!(
                f,
                "\nwarning: OpenBao rounds whole numbers beyond 2^53 in such JSON, and {large} of its numbers are that large: look at them in the state, where they are ids of something"
            )?;
        }
        Ok(())
    }
}
