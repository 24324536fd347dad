//! The random names of the engine: epochs, operations, objects. What a client names (a lock's id) is not here.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Hands at most 32 bytes on as hex. A head of 200 versions has 400 of them: none goes through the heap.
fn with_hex<T>(bytes: &[u8], then: impl FnOnce(&str) -> T) -> T {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    let digits = text.get(..bytes.len() * 2).unwrap_or_default();
    then(str::from_utf8(digits).unwrap_or_default())
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// A value of `N` bytes that is written as lower-case hex.
macro_rules! hex_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Reads the hex form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                unhex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                with_hex(&self.0, |hex| f.write_str(hex))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                with_hex(&self.0, |hex| f.write_str(hex))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                with_hex(&self.0, |hex| serializer.serialize_str(hex))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(concat!("expected ", stringify!($bytes), " bytes in lower-case hex"))
                })
            }
        }
    };
}

hex_type! {
    /// A life of a head: random, made with it. A head that took the place of another names the epochs it replaced.
    Epoch, 16
}
hex_type! {
    /// An operation: one id for all attempts of one request, carried by what the operation made.
    OpId, 16
}
hex_type! {
    /// SHA-256 of a state's bytes.
    Sha256Sum, 32
}
hex_type! {
    /// The first 16 bytes of a [`Sha256Sum`]: what is remembered of a write whose version was thinned.
    ShortSum, 16
}

impl Epoch {
    /// A new random epoch.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }
}

impl OpId {
    /// A new random operation.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The operation that a standing request means, such as an annotation: the same text, the same operation.
    #[must_use]
    pub fn of_request(text: &str) -> Self {
        let sum: [u8; 32] = Sha256::digest(text).into();
        Self(first_half(&sum))
    }
}

impl Sha256Sum {
    /// The sum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A finished hash.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first 16 bytes.
    #[must_use]
    pub fn short(&self) -> ShortSum {
        ShortSum(first_half(&self.0))
    }
}

impl ShortSum {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From the bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

fn first_half(sum: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&sum[..16]);
    half
}

/// A new object's name for version `number`: `<version>-<random>`. The number is the one expected when the upload began.
#[must_use]
pub fn object_name(number: u64) -> String {
    with_hex(&rand::random::<[u8; 12]>(), |hex| format!("{number}-{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_goes_there_and_back_and_refuses_the_rest() {
        let epoch = Epoch::random();
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        for bad in ["", "00", &"g".repeat(32), &"A".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(Epoch::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_request_means_one_operation() {
        assert_eq!(OpId::of_request("3@5"), OpId::of_request("3@5"));
        assert_ne!(OpId::of_request("3@5"), OpId::of_request("3@6"));
    }
}
