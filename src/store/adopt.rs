//! The first head of a path in the place of an entry that another service left there: its bytes are kept first, then a
//! head takes its place by compare-and-swap. What the entry means, and who may do this, is decided elsewhere.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tracing::info;

use super::{
    Budget, Expect, Head, KvError, OpId, Revision, Sha256Sum, State, StateError, Value,
    engine::Inner,
    head::{Body, Inline, NewBody, ObjectRef, Step, Version, WriteRequest},
    intake::Intake,
    keys, object_name,
    parts::PartError,
};

impl State {
    /// Keeps the bytes of a foreign entry as an object that no head names and no sweep takes, reads it back and compares.
    /// What is kept already, whole or up to some part, is gone on from. Answers the object.
    ///
    /// # Errors
    /// The store's; or something else stands where it is to be kept.
    pub async fn keep_original(&self, original: &[u8], budget: &mut Budget) -> Result<ObjectRef, StateError> {
        let work = async {
            let name = keys::original(&Sha256Sum::of(original));
            let (mut object, mut rest) = (ObjectRef { name, parts: 0 }, Bytes::copy_from_slice(original));
            while !rest.is_empty() {
                let index = object.parts;
                match self.inner.get_part(&object, index, budget).await {
                    Ok(part) if !part.is_empty() && rest.starts_with(&part) => {
                        rest.advance(part.len());
                        object.parts += 1;
                    }
                    Err(PartError::Missing(_)) => {
                        let size = self.inner.part_size().min(rest.len());
                        self.inner.put_parts(&object.name, &mut index.clone(), rest.slice(..size), budget).await?;
                    }
                    Err(PartError::Store(error)) => return Err(error),
                    Ok(_) | Err(PartError::Damaged(_)) => {
                        let key = keys::part(&self.inner.path, &object.name, index);
                        let error = KvError::Other(format!(
                            "what stands at {key} is not a part of it: look what that is, and move it away"
                        ));
                        return Err(StateError::Store { doing: "keeping the original entry", error });
                    }
                }
            }
            Ok(object)
        };
        self.timed("keep_original", work).await
    }

    /// Puts a head with `body` as version 1 where a foreign entry stands at revision `at`. Done once: where an attempt
    /// whose answer was lost has done it, that is found out.
    ///
    /// # Errors
    /// [`KvError::CasMismatch`] in [`StateError::Store`] where the entry is another by now: nothing was written over it.
    /// After [`StateError::Unavailable`] it may have happened.
    pub async fn adopt(
        &self,
        body: &[u8],
        at: Revision,
        by: &str,
        budget: &mut Budget,
    ) -> Result<Arc<Version>, StateError> {
        self.timed("adopt", self.adopt_within(body, at, by, budget)).await
    }

    async fn adopt_within(
        &self,
        body: &[u8],
        at: Revision,
        by: &str,
        budget: &mut Budget,
    ) -> Result<Arc<Version>, StateError> {
        let inner = &self.inner;
        let mut intake = Intake::new(inner.settings.load().max_size);
        intake.push(body)?;
        let taken = intake.finish()?;
        let rest = taken.rest.compressed()?;
        let stored = rest.len() as u64;
        let place = if stored <= inner.shared.options.inline.version {
            let inline = Inline::new(&rest).map_err(|error| internal(error.to_string()))?;
            Body::Inline(inline)
        } else {
            // Where this breaks off, the sweep finds them.
            let mut object = ObjectRef { name: object_name(1), parts: 0 };
            inner.put_parts(&object.name, &mut object.parts, rest, budget).await?;
            Body::Object(object)
        };
        let ask = WriteRequest {
            lock: None,
            identity: by.to_owned(),
            facts: taken.facts,
            size: taken.size,
            sha256: taken.sha256,
            md5: taken.md5,
            body: Some(NewBody { body: place, stored, of: None }),
            lock_required: false,
            tried: Vec::new(),
        };
        let retention = inner.settings.load().retention.clone();
        let new = Head::new(inner.owner.clone());
        let Step::Change(head, _) = new.written(&ask, OpId::random(), &retention, inner.kv.now())? else {
            return Err(internal("an empty head took a first version for a repeat".to_owned()));
        };
        head.check().map_err(|fault| internal(fault.to_owned()))?;
        inner.put_instead(&head, at, budget).await?;
        let version = head.current().ok_or_else(|| internal("the new head has no version".to_owned()))?;
        info!(path = %inner.path, owner = %inner.owner, serial = version.serial, size = version.size, "state adopted");
        Ok(version.clone())
    }
}

impl Inner {
    /// Puts a first head in the place of what stands at revision `at`.
    async fn put_instead(&self, head: &Head, at: Revision, budget: &mut Budget) -> Result<(), StateError> {
        let doing = "putting the head in the place of the entry";
        let (key, value) = (keys::head(&self.path), Value::Document(head.encode().into()));
        loop {
            let error = match self.call("put", budget, self.kv.put(&key, &value, Expect::At(at))).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if matches!(error, KvError::CasMismatch) {
                // An earlier attempt of this call, whose answer was lost, may be the change; others may have come since.
                return match self.load_raw(budget).await {
                    Ok((Some(base), _)) if base.head.epoch == head.epoch => Ok(()),
                    Ok(_) | Err(StateError::Head(_)) => Err(StateError::Store { doing, error }),
                    Err(other) => Err(other),
                };
            }
            self.retry(doing, budget, error).await?;
        }
    }
}

fn internal(fault: String) -> StateError {
    StateError::Internal { doing: "making a head of a state", fault }
}
