//! States put together from patches (`head::patch`), and the few that are kept in memory: the next write is told from one,
//! and the next read of the same bytes is one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    Budget, Head, Sha256Sum,
    compression::decompress,
    engine::Inner,
    head::{Inline, ObjectRef, Root, Version},
    parts::PartError,
};

/// States that were used last, by their sums, up to so many bytes of all states together.
pub(super) struct Wholes {
    most: usize,
    /// The last used one is the last.
    kept: Mutex<VecDeque<(Sha256Sum, Bytes)>>,
}

impl Wholes {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: Mutex::default() }
    }

    pub(super) fn get(&self, sum: &Sha256Sum) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|(known, _)| known == sum)?;
        let found = kept.remove(at)?;
        let bytes = found.1.clone();
        kept.push_back(found);
        Some(bytes)
    }

    /// Keeps a state whose sum was seen to be `sum`; where it takes the place of another, that one goes.
    pub(super) fn put(&self, sum: Sha256Sum, bytes: &Bytes, instead: Option<&Sha256Sum>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != sum && Some(known) != instead);
        kept.push_back((sum, bytes.clone()));
        let mut all: usize = kept.iter().map(|(_, bytes)| bytes.len()).sum();
        while all > self.most
            && let Some((_, gone)) = kept.pop_front()
        {
            all -= gone.len();
        }
    }
}

impl Inner {
    /// The state of a version that is a patch, or an object that patches may hang on; checked against its sum. `head` has
    /// the version.
    pub(super) async fn whole(&self, head: &Head, version: &Version, budget: &mut Budget) -> Result<Bytes, PartError> {
        if let Some(bytes) = self.shared.wholes.get(&version.sha256) {
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
        self.shared.wholes.put(version.sha256, &bytes, None);
        Ok(bytes)
    }

    fn apply(&self, base: &[u8], delta: &Inline) -> Option<Bytes> {
        decompress(base, &delta.bytes()?, self.largest()).ok().map(Bytes::from)
    }

    fn largest(&self) -> usize {
        usize::try_from(self.shared.options.patches.state).unwrap_or(usize::MAX)
    }

    async fn root(&self, root: &Root, budget: &mut Budget) -> Result<Bytes, PartError> {
        if let Some(bytes) = self.shared.wholes.get(&root.sha256) {
            return Ok(bytes);
        }
        let fault = |what: &str| PartError::Damaged(format!("object {}, which it hangs on, {what}", root.object.name));
        let size = usize::try_from(root.size).ok().filter(|size| *size <= self.largest());
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
        let wholes = Wholes::new(11);
        wholes.put(a, &one, None);
        wholes.put(b, &two, None);
        wholes.put(c, &three, None);
        assert_eq!(wholes.get(&a), Some(one.clone()));
        wholes.put(d, &four, None);
        assert_eq!([wholes.get(&b), wholes.get(&c)], [None, None], "the ones that were not asked for went first");
        assert_eq!([wholes.get(&a), wholes.get(&d)], [Some(one), Some(four)]);
        wholes.put(b, &two, Some(&d));
        assert_eq!([wholes.get(&d), wholes.get(&b)], [None, Some(two)]);
        wholes.put(a, &Bytes::from(vec![0; 12]), None);
        assert_eq!([wholes.get(&a), wholes.get(&b)], [None, None], "one that is too large is not kept");
    }
}
