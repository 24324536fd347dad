//! Patches: a large state stands in the head as what differs from the version before it, down to a root that is an object of
//! its own. A run changes little of a state, so that most writes store no object and none has to be deleted later. What
//! makes states of these bytes is in `store::wholes`.

use serde::{Deserialize, Serialize};

use super::{Body, Head, Inline, ObjectRef, Version};
use crate::store::Sha256Sum;

/// What tells a state by another: each delta is a zstd frame whose dictionary is the state that the one before it makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Patch {
    /// What the first delta is of; `None`: the state of the version before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// What has to be done to it, one after the other.
    pub deltas: Vec<Inline>,
}

/// A state in an object that stays for what hangs on it, whether or not its own version is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Root {
    /// Its object.
    pub object: ObjectRef,
    /// Size of the state, in bytes.
    pub size: u64,
    /// Size as stored, in bytes.
    pub stored: u64,
    /// SHA-256 of the state.
    pub sha256: Sha256Sum,
}

/// How far patches go. All of a head is written with each change, so that a delta costs its size many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatchLimits {
    /// The largest state that is patched, in bytes: it is held in memory.
    pub state: u64,
    /// The most bytes of one delta; and it is at most a sixteenth of what its root takes.
    pub delta: u64,
    /// The most deltas that hang on a root one after the other: what a root that is lost takes with it.
    pub deltas: usize,
    /// The most bytes of those.
    pub chain: u64,
    /// The most bytes of all deltas in a head.
    pub head: u64,
}

impl Default for PatchLimits {
    fn default() -> Self {
        Self { state: 1 << 20, delta: 4 * 1024, deltas: 16, chain: 8 * 1024, head: 24 * 1024 }
    }
}

impl Patch {
    /// Bytes of its deltas.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.deltas.iter().map(Inline::size).sum()
    }
}

impl Head {
    /// What a version comes of: its root, and every delta from there on. `None` where it is neither object nor patch.
    pub(in crate::store) fn traced(&self, number: u64) -> Option<(Root, Vec<Inline>)> {
        let at = self.place(number)?;
        let mut steps: Vec<&[Inline]> = Vec::new();
        for version in self.versions.get(..=at)?.iter().rev() {
            let root = match &version.body {
                Body::Object(object) => Some(Root::of(version, object)),
                Body::Patch(patch) => {
                    steps.push(&patch.deltas);
                    patch.root.clone()
                }
                Body::Inline(_) | Body::Delta(_) => return None,
            };
            if let Some(root) = root {
                return Some((root, steps.into_iter().rev().flatten().cloned().collect()));
            }
        }
        None
    }

    /// The version that a new state may be a patch of, and how large the delta may be.
    pub(in crate::store) fn patchable(&self, limits: &PatchLimits) -> Option<(&Version, u64)> {
        let newest = self.versions.last().filter(|newest| newest.size <= limits.state && !newest.encrypted)?;
        let (root, deltas) = self.traced(newest.number)?;
        let chain: u64 = deltas.iter().map(Inline::size).sum();
        let all: u64 = self.versions.iter().filter_map(|version| version.body.patch()).map(Patch::size).sum();
        let room =
            [limits.delta, root.stored / 16, limits.chain.saturating_sub(chain), limits.head.saturating_sub(all)];
        let most = room.into_iter().min().unwrap_or(0);
        (deltas.len() < limits.deltas && root.size <= limits.state && most > 0).then_some((newest, most))
    }

    /// The version at a place goes: one that is a patch of it gets what it hung on.
    pub(super) fn bequeath(&mut self, at: usize) {
        let (Some(gone), Some(next)) = (self.versions.get(at).cloned(), self.versions.get(at + 1)) else { return };
        let Some(Patch { root: None, .. }) = next.body.patch() else { return };
        let number = next.number;
        self.edit(number, |version| {
            let Body::Patch(heir) = &mut version.body else { return };
            match &gone.body {
                Body::Object(object) => heir.root = Some(Root::of(&gone, object)),
                Body::Patch(patch) => {
                    heir.root.clone_from(&patch.root);
                    heir.deltas.splice(..0, patch.deltas.iter().cloned());
                }
                // No head has such.
                Body::Inline(_) | Body::Delta(_) => {}
            }
            version.stored = heir.size();
        });
    }

    /// Whether each patch leads to a root.
    pub(super) fn patches_have_a_root(&self) -> bool {
        let mut before: Option<&Body> = None;
        self.versions.iter().all(|version| {
            let before = before.replace(&version.body);
            version.body.patch().is_none_or(|patch| {
                let rooted = matches!(before, Some(Body::Object(_) | Body::Patch(_)));
                !patch.deltas.is_empty() && (patch.root.is_some() || rooted)
            })
        })
    }
}

impl Root {
    fn of(version: &Version, object: &ObjectRef) -> Self {
        Self { object: object.clone(), size: version.size, stored: version.stored, sha256: version.sha256 }
    }
}
