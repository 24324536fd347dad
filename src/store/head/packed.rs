//! How versions stand in a head's JSON: the newest as it is, for whoever looks into the store, and before it all older
//! ones as one text. What they say of themselves is much the same: packed, it takes a quarter.

use std::{fmt, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
    ser::{Error as _, SerializeSeq as _},
};

use super::Version;
use crate::store::compression::{compress, decompress};

/// How large the older versions may be unpacked, in bytes: sixteen times the largest head.
const MOST: usize = 4 << 20;

type Versions = Vec<Arc<Version>>;

pub(super) fn serialize<S: Serializer>(versions: &Versions, serializer: S) -> Result<S::Ok, S::Error> {
    let (older, newest) = versions.split_at(versions.len().saturating_sub(1));
    let packed = pack(older).map_err(S::Error::custom)?;
    let plain = if packed.is_some() { newest } else { versions };
    let mut seq = serializer.serialize_seq(Some(plain.len() + usize::from(packed.is_some())))?;
    if let Some(packed) = packed {
        seq.serialize_element(&packed)?;
    }
    for version in plain {
        seq.serialize_element(version)?;
    }
    seq.end()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Versions, D::Error> {
    deserializer.deserialize_seq(All)
}

/// `None` where there are none, or too many to be unpacked again.
fn pack(older: &[Arc<Version>]) -> io::Result<Option<String>> {
    if older.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_vec(older)?;
    if json.len() > MOST {
        return Ok(None);
    }
    Ok(Some(BASE64.encode(compress(&[], &json)?)))
}

fn unpack(packed: &str) -> Result<Versions, &'static str> {
    let bytes = BASE64.decode(packed).map_err(|_| "the older versions are no base64")?;
    let json = decompress(&[], &bytes, MOST).map_err(|_| "the older versions cannot be unpacked")?;
    serde_json::from_slice(&json).map_err(|_| "the older versions do not read as such")
}

struct All;

impl<'de> Visitor<'de> for All {
    type Value = Versions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("versions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Versions, A::Error> {
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
