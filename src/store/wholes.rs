//! States put together from patches (`head::patch`), and the few that are kept in memory: the next write is told from one,
//! and the next read of the same bytes is one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Budget, Head, Sha256Sum, StatePath,
    compression::decompress,
    engine::Inner,
    head::{Inline, ObjectRef, Root, Version},
    parts::PartError,
};

/// States that were used last, by path and sum, up to so many bytes of all states together. Not by the sum alone: what one
/// path's head says must not bring out the state of another.
pub(super) struct Wholes {
    most: usize,
    /// The last used one is the last.
    kept: Mutex<VecDeque<Kept>>,
}

struct Kept {
    path: StatePath,
    sum: Sha256Sum,
    bytes: Bytes,
}

impl Kept {
    fn is(&self, path: &StatePath, sum: &Sha256Sum) -> bool {
        self.sum == *sum && self.path == *path
    }
}

/// The largest state that is put together, in bytes. It may only grow: heads have patches of states up to what a release
/// before allowed.
const LARGEST: usize = 1 << 20;
/// How long the base of a new patch may take to be read: without it the state is stored whole, for which there has to be
/// time.
pub(super) const BASE: Duration = Duration::from_secs(3);

impl Wholes {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    pub(super) fn get(&self, path: &StatePath, sum: &Sha256Sum) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|one| one.is(path, sum))?;
        let found = kept.remove(at)?;
        let bytes = found.bytes.clone();
        kept.push_back(found);
        Some(bytes)
    }

    /// Keeps a state whose sum was seen to be `sum`; where it takes the place of another, that one goes.
    pub(super) fn put(&self, path: &StatePath, sum: Sha256Sum, bytes: &Bytes, instead: Option<&Sha256Sum>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| !one.is(path, &sum) && !instead.is_some_and(|instead| one.is(path, instead)));
        kept.push_back(Kept { path: path.clone(), sum, bytes: bytes.clone() });
        let mut all: usize = kept.iter().map(|one| one.bytes.len()).sum();
        while all > self.most
            && let Some(gone) = kept.pop_front()
        {
            all -= gone.bytes.len();
        }
    }
}

impl Inner {
    /// The state of a version that is a patch, or an object that patches may hang on; checked against its sum. `head` has
    /// the version.
    pub(super) async fn whole(&self, head: &Head, version: &Version, budget: &mut Budget) -> Result<Bytes, PartError> {
        let kept = self.shared.wholes.get(&self.path, &version.sha256);
        if let Some(bytes) = kept.filter(|bytes| bytes.len() as u64 == version.size) {
            return Ok(bytes);
        }
        let damaged = |fault: &str| PartError::Damaged(fault.to_owned());
        let (root, deltas) =
            head.traced(version.number).ok_or_else(|| damaged("nothing in the head tells what it is a patch of"))?;
        let mut bytes = self.root(&root, budget).await?;
        for delta in &deltas {
            bytes = self.apply(&bytes, delta).ok_or_else(|| damaged("a delta that it is made of is damaged"))?;
            tokio::task::yield_now().await;
        }
        if bytes.len() as u64 != version.size || Sha256Sum::of(&bytes) != version.sha256 {
            return Err(damaged("its SHA-256 is not the one in the head"));
        }
        self.shared.wholes.put(&self.path, version.sha256, &bytes, None);
        Ok(bytes)
    }

    fn apply(&self, base: &[u8], delta: &Inline) -> Option<Bytes> {
        let mut bytes = decompress(base, &delta.bytes()?, LARGEST).ok()?;
        // It may be kept for long.
        bytes.shrink_to_fit();
        Some(bytes.into())
    }

    async fn root(&self, root: &Root, budget: &mut Budget) -> Result<Bytes, PartError> {
        let kept = self.shared.wholes.get(&self.path, &root.sha256);
        if let Some(bytes) = kept.filter(|bytes| bytes.len() as u64 == root.size) {
            return Ok(bytes);
        }
        let fault = |what: &str| PartError::Damaged(format!("object {}, which it hangs on, {what}", root.object.name));
        let size = usize::try_from(root.size).ok().filter(|size| *size <= LARGEST);
        let size = size.ok_or_else(|| fault("is larger than any that is patched"))?;
        let frame = self.object(&root.object, size, budget).await?.ok_or_else(|| fault("has too many bytes"))?;
        let bytes = decompress(&[], &frame, size).map_err(|_| fault("does not decompress"))?;
        if bytes.len() != size || Sha256Sum::of(&bytes) != root.sha256 {
            return Err(fault("does not match the SHA-256 in the head"));
        }
        Ok(bytes.into())
    }

    /// All parts of an object; `None` where they are more than a frame of `size` bytes can be.
    async fn object(&self, object: &ObjectRef, size: usize, budget: &mut Budget) -> Result<Option<Vec<u8>>, PartError> {
        let mut frame = Vec::new();
        for index in 0..object.parts {
            frame.extend_from_slice(&self.get_part(object, index, budget).await?);
            if frame.len() > size + size / 128 + 1024 {
                return Ok(None);
            }
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_that_were_used_last_are_kept() {
        let state = |text: &'static str| (Sha256Sum::of(text.as_bytes()), Bytes::from_static(text.as_bytes()));
        let [(a, one), (b, two), (c, three), (d, four)] = [state("one"), state("two"), state("three"), state("four")];
        let (wholes, path) = (Wholes::new(11), StatePath::parse("team/app").unwrap());
        let put = |sum, bytes: &Bytes, instead| wholes.put(&path, sum, bytes, instead);
        let get = |sum| wholes.get(&path, sum);
        put(a, &one, None);
        put(b, &two, None);
        put(c, &three, None);
        assert_eq!(get(&a), Some(one.clone()));
        assert_eq!(wholes.get(&StatePath::parse("team/other").unwrap(), &a), None, "it is another's");
        put(d, &four, None);
        assert_eq!([get(&b), get(&c)], [None, None], "the ones that were not asked for went first");
        assert_eq!([get(&a), get(&d)], [Some(one), Some(four)]);
        put(b, &two, Some(&d));
        assert_eq!([get(&d), get(&b)], [None, Some(two)]);
        put(a, &Bytes::from(vec![0; 12]), None);
        assert_eq!([get(&a), get(&b)], [None, None], "one that is too large is not kept");
    }
}
