//! The parts of an object in the store: put, read with every check, deleted.

use bytes::{Buf as _, Bytes};

use super::{
    Budget, Expect, KvError, Part, PartLabel, Sha256Sum, StateError, Value, engine::Inner, head::ObjectRef, keys,
};

/// Why a part could not be had.
pub(super) enum PartError {
    /// It, which is named, is not there.
    Missing(String),
    /// It is there and is not what the head says.
    Damaged(String),
    /// The store did not answer.
    Store(StateError),
}

impl Inner {
    /// Stores one part. The object's name is random: where it is there already, an earlier attempt of ours put it.
    async fn put_part(&self, object: &str, index: u32, bytes: Bytes, budget: &mut Budget) -> Result<(), StateError> {
        let label = PartLabel {
            sha256: Sha256Sum::of(&bytes).to_string(),
            path: self.path.as_str().to_owned(),
            object: object.to_owned(),
            index,
        };
        let (key, value) = (keys::part(&self.path, object, index), Value::Part(Part { label, bytes }));
        loop {
            match self.call("put_part", budget, self.kv.put(&key, &value, Expect::Absent)).await {
                Ok(_) | Err(KvError::CasMismatch) => return Ok(()),
                Err(error) => self.retry("storing a part of the state", budget, error).await?,
            }
        }
    }

    /// The size of a part. May become smaller at any time: a store finds out what it takes.
    pub(super) fn part_size(&self) -> usize {
        self.kv.part_bytes().max(1)
    }

    /// Stores bytes as the next parts of an object that has `parts` of them. Each is counted before it is stored: one that
    /// fails or is dropped may be stored all the same, and has to be cleaned up.
    pub(super) async fn put_parts(
        &self,
        object: &str,
        parts: &mut u32,
        bytes: impl Into<Bytes>,
        budget: &mut Budget,
    ) -> Result<(), StateError> {
        let mut bytes = bytes.into();
        while !bytes.is_empty() {
            let size = self.part_size().min(bytes.len());
            let index = *parts;
            *parts += 1;
            let before = budget.clone();
            match self.put_part(object, index, bytes.slice(..size), budget).await {
                Ok(()) => {
                    // What got through costs nothing: a large state may take longer than a store that is away is waited for.
                    *budget = before;
                    bytes.advance(size);
                }
                // Nothing was written, and the store knows better by now what it takes.
                Err(StateError::Store { error: KvError::TooLarge(_), .. }) if self.part_size() < size => *parts = index,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one part and checks that it is the one that is meant, whole.
    pub(super) async fn get_part(
        &self,
        object: &ObjectRef,
        index: u32,
        budget: &mut Budget,
    ) -> Result<Bytes, PartError> {
        let key = keys::part(&self.path, &object.name, index);
        let before = budget.clone();
        let entry = loop {
            match self.call("get_part", budget, self.kv.get(&key)).await {
                Ok(Some(entry)) => break entry,
                Ok(None) => return Err(PartError::Missing(format!("part {index} of object {}", object.name))),
                Err(error) => {
                    self.retry("reading a part of the state", budget, error).await.map_err(PartError::Store)?;
                }
            }
        };
        // As with a put: what got through costs nothing.
        *budget = before;
        let Value::Part(Part { label, bytes }) = entry.value else {
            return Err(PartError::Damaged(format!("part {index} of object {} is no part of a state", object.name)));
        };
        let meant = (self.path.as_str(), object.name.as_str(), index);
        if (label.path.as_str(), label.object.as_str(), label.index) != meant {
            let fault = format!("part {index} of object {} is another's (see its label in the store)", object.name);
            return Err(PartError::Damaged(fault));
        }
        if Sha256Sum::of(&bytes).to_string() != label.sha256 {
            let fault = format!("part {index} of object {} does not match its SHA-256", object.name);
            return Err(PartError::Damaged(fault));
        }
        Ok(bytes)
    }

    /// Whether all parts of an object are in the store.
    pub(super) async fn has_object(&self, object: &ObjectRef, budget: &mut Budget) -> Result<bool, StateError> {
        let listed = self.list(budget).await?;
        let ours = listed.iter().filter_map(|listed| keys::parse_part(&self.path, &listed.key));
        let ours = ours.filter(|(name, index)| *name == object.name && *index < object.parts);
        Ok(ours.count() == object.parts as usize)
    }

    /// Deletes an object's parts. No client waits for it: each may take all of `budget`.
    pub(super) async fn delete_object(&self, object: &ObjectRef, budget: &Budget) -> Result<(), StateError> {
        for index in 0..object.parts {
            self.delete_part(&keys::part(&self.path, &object.name, index), &mut budget.clone()).await?;
        }
        self.shared.metrics.removed("object", 1);
        Ok(())
    }

    /// Deletes one part.
    pub(super) async fn delete_part(&self, key: &str, budget: &mut Budget) -> Result<(), StateError> {
        while let Err(error) = self.call("delete_part", budget, self.kv.delete_part(key)).await {
            self.retry("deleting a part", budget, error).await?;
        }
        Ok(())
    }
}
