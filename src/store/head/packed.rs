//! How versions stand in a head's JSON: the newest as it is, for whoever looks into the store, and before it all older
//! ones as one text. What they say of themselves is much the same: packed, it takes a quarter.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::SerializeSeq as _,
};

use super::Version;
use crate::store::compression::{compress, decompress};

/// How large the older versions may be unpacked, in bytes: sixteen times the largest head.
const MOST: usize = 4 << 20;

/// Versions, by number.
#[derive(Default)]
pub struct Versions {
    all: Vec<Arc<Version>>,
    /// The older ones as they were packed last: a lock changes none of them.
    packed: Mutex<Option<Arc<Packed>>>,
}

struct Packed {
    older: Vec<Arc<Version>>,
    /// `None` where they are too many to be unpacked again, or could not be packed: they stand there as they are then.
    text: Option<String>,
}

impl Deref for Versions {
    type Target = Vec<Arc<Version>>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl DerefMut for Versions {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.all
    }
}

impl Clone for Versions {
    fn clone(&self) -> Self {
        let packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        Self { all: self.all.clone(), packed: Mutex::new(packed.clone()) }
    }
}

impl fmt::Debug for Versions {
    /// Without what is packed, which has states in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

impl PartialEq for Versions {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Eq for Versions {}

impl<'a> IntoIterator for &'a Versions {
    type Item = &'a Arc<Version>;
    type IntoIter = std::slice::Iter<'a, Arc<Version>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl Serialize for Versions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let older = self.all.split_last().map_or(&[][..], |(_, older)| older);
        let packed = {
            let mut last = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
            match last.as_ref().filter(|packed| packed.is_of(older)) {
                Some(packed) => packed.clone(),
                None => last.insert(Arc::new(Packed::new(older))).clone(),
            }
        };
        let plain = self.all.get(if packed.text.is_some() { older.len().. } else { 0.. }).unwrap_or_default();
        let mut seq = serializer.serialize_seq(Some(plain.len() + usize::from(packed.text.is_some())))?;
        if let Some(text) = &packed.text {
            seq.serialize_element(text)?;
        }
        for version in plain {
            seq.serialize_element(version)?;
        }
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { all: deserializer.deserialize_seq(All)?, packed: Mutex::default() })
    }
}

impl Packed {
    fn new(older: &[Arc<Version>]) -> Self {
        let json = if older.is_empty() { None } else { serde_json::to_vec(older).ok() };
        let packed = json.filter(|json| json.len() <= MOST).and_then(|json| compress(&[], &json).ok());
        Self { older: older.to_vec(), text: packed.map(|packed| BASE64.encode(packed)) }
    }

    /// Whether it is of these. None of its own can be changed in place: it shares them.
    fn is_of(&self, older: &[Arc<Version>]) -> bool {
        self.older.len() == older.len() && self.older.iter().zip(older).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

fn unpack(packed: &str) -> Result<Vec<Arc<Version>>, &'static str> {
    let bytes = BASE64.decode(packed).map_err(|_| "the older versions are no base64")?;
    let json = decompress(&[], &bytes, MOST).map_err(|_| "the older versions cannot be unpacked")?;
    serde_json::from_slice(&json).map_err(|_| "the older versions do not read as such")
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Vec<Arc<Version>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("versions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = seq.next_element()? {
            match item {
                Item::Older(packed) => all.extend(unpack(&packed).map_err(A::Error::custom)?),
                Item::One(version) => all.push(Arc::new(*version)),
            }
        }
        Ok(all)
    }
}

enum Item {
    Older(String),
    One(Box<Version>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(One)
    }
}

struct One;

impl<'de> Visitor<'de> for One {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version, or older ones packed")
    }

    fn visit_str<E: serde::de::Error>(self, packed: &str) -> Result<Item, E> {
        Ok(Item::Older(packed.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Item, A::Error> {
        Version::deserialize(MapAccessDeserializer::new(map)).map(|version| Item::One(Box::new(version)))
    }
}
