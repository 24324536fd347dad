//! A value that is kept of each of thousands of resources and seldom looked at, as text: so it takes a fraction of the room.

use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

/// A value, packed.
#[derive(Clone)]
pub(super) struct Packed<T> {
    json: Box<str>,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Packs it; `None` where it has no form as JSON, as no object of the API server is.
    pub(super) fn new(value: &T) -> Option<Self> {
        let json = serde_json::to_string(value).ok()?;
        Some(Self { json: json.into_boxed_str(), of: PhantomData })
    }

    /// The value.
    pub(super) fn get(&self) -> Option<T> {
        serde_json::from_str(&self.json).ok()
    }
}
