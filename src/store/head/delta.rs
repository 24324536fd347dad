//! Deltas: older states stand in the head as what differs from the one after them, their base. An apply changes little of
//! a state, so that twenty of them take less than twice the room of one. The newest always stands there whole.

use std::io;

use super::{Body, Head, Inline, Version};
use crate::store::{
    Sha256Sum,
    compression::{self, SMALL},
};

impl Head {
    /// The state of a version that stands in the head, whole; `None` where it does not, or is damaged.
    pub(super) fn whole(&self, number: u64) -> Option<Vec<u8>> {
        let at = self.place(number)?;
        let chain = self.versions.get(at..)?;
        let deltas = chain.iter().take_while(|version| version.body.is_delta()).count();
        let mut bytes = Vec::new();
        for version in chain.get(..=deltas)?.iter().rev() {
            // The first is none, and has no base.
            bytes = read(&bytes, version)?;
        }
        (Sha256Sum::of(&bytes) == self.versions.get(at)?.sha256).then_some(bytes)
    }

    /// A version that stands in the head as it would without the others, compressed; `None` as with [`Self::whole`].
    pub(in crate::store) fn alone(&self, number: u64) -> Option<Inline> {
        match &self.version(number)?.body {
            Body::Inline(inline) => Some(inline.clone()),
            Body::Delta(_) => compress(&[], &self.whole(number)?).ok(),
            Body::Object(_) | Body::Patch(_) => None,
        }
    }

    /// Makes a delta of the version at a place, where that saves anything; of one whose base is gone anew, or a whole
    /// again. `whole` is its state then.
    pub(super) fn fold(&mut self, at: usize, whole: Option<Vec<u8>>) {
        let Some(version) = self.versions.get(at) else { return };
        let (number, small) = (version.number, version.size <= SMALL as u64 && !version.encrypted);
        let alone = match (&version.body, &whole) {
            (Body::Inline(inline), _) => inline.clone(),
            (Body::Delta(_), Some(whole)) => match compress(&[], whole) {
                Ok(alone) => alone,
                Err(_) => return,
            },
            // It could not be read before either: its bytes stay, for whoever looks into it.
            (Body::Delta(damaged), None) => damaged.clone(),
            (Body::Object(_) | Body::Patch(_), _) => return,
        };
        let base = self.versions.get(at + 1).filter(|base| small && base.size <= SMALL as u64);
        let delta = base.and_then(|base| {
            let whole = whole.or_else(|| self.whole(number))?;
            let base = self.whole(base.number)?;
            compress(&base, &whole).ok().filter(|delta| delta.size() <= alone.size() / 2)
        });
        self.edit(number, |version| version.body = delta.map_or(Body::Inline(alone), Body::Delta));
    }

    /// Whether the base of each delta stands in the head.
    pub(super) fn deltas_have_a_base(&self) -> bool {
        let deltas = self.versions.iter().enumerate().filter(|(_, version)| version.body.is_delta());
        deltas
            .map(|(at, _)| self.versions.get(at + 1))
            .all(|base| base.is_some_and(|base| base.body.inline().is_some()))
    }
}

fn compress(base: &[u8], whole: &[u8]) -> io::Result<Inline> {
    Inline::new(&compression::compress(base, whole)?).map_err(io::Error::other)
}

/// The state of `version`; `base` is empty where it is no delta.
fn read(base: &[u8], version: &Version) -> Option<Vec<u8>> {
    let bytes = version.body.inline()?.bytes()?;
    let size = usize::try_from(version.size).ok().filter(|size| *size <= SMALL)?;
    compression::decompress(base, &bytes, size).ok()
}
