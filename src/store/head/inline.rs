//! Stored bytes that stand in the head itself, kept as the JSON text that they are there: each change of the head writes
//! all of it, and most of it is these bytes. Copied, not escaped again, three times as fast.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

/// Stored bytes of one version as they stand in a head: base64 in quotes.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Inline(Box<RawValue>);

impl Inline {
    /// Of these bytes.
    ///
    /// # Errors
    /// Never, as far as base64 is JSON.
    pub fn new(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let mut text = String::with_capacity(bytes.len() * 4 / 3 + 6);
        text.push('"');
        BASE64.encode_string(bytes, &mut text);
        text.push('"');
        RawValue::from_string(text).map(Self)
    }

    /// The bytes; `None` where the text is no base64.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        BASE64.decode(self.text()?).ok()
    }

    /// How many they are.
    #[must_use]
    pub fn size(&self) -> u64 {
        let text = self.text().unwrap_or_default();
        let padding = text.len() - text.trim_end_matches('=').len();
        (text.len() / 4 * 3).saturating_sub(padding) as u64
    }

    /// What stands between the quotes.
    fn text(&self) -> Option<&str> {
        self.0.get().strip_prefix('"')?.strip_suffix('"')
    }
}

impl<'de> Deserialize<'de> for Inline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Self(Box::deserialize(deserializer)?);
        if read.text().is_some() { Ok(read) } else { Err(D::Error::custom("inline bytes are not a text")) }
    }
}

impl PartialEq for Inline {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl Eq for Inline {}

/// A state is secret: only how long it is.
impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} characters", self.0.get().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_there_and_back() {
        for bytes in [&b""[..], b"a", &[0xff; 1_000]] {
            let inline = Inline::new(bytes).unwrap();
            let text = serde_json::to_string(&inline).unwrap();
            assert_eq!(text, format!("\"{}\"", BASE64.encode(bytes)));
            let read: Inline = serde_json::from_str(&text).unwrap();
            assert_eq!((read.bytes().as_deref(), &read), (Some(bytes), &inline));
            assert_eq!(read.size(), bytes.len() as u64);
        }
    }

    #[test]
    fn what_is_no_base64_is_found_out() {
        for damaged in ["7", "null", "{}", "[\"aGk=\"]"] {
            assert!(serde_json::from_str::<Inline>(damaged).is_err(), "{damaged}");
        }
        for damaged in [r#""a""#, r#""aGk=\n""#, r#""\u0061Gk=""#, r#""aG\"k""#] {
            assert_eq!(serde_json::from_str::<Inline>(damaged).unwrap().bytes(), None, "{damaged}");
        }
    }
}
