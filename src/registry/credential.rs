//! Credentials as they are kept in memory: salted hashes, compared in constant time.

use std::{fmt, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Redacted;

/// Tokens shorter than this are reported as weak, in characters.
pub const WEAK_TOKEN: usize = 20;

/// How many replaced credentials of a path may still end their run, the last ones: with one that is replaced each minute the
/// run that the first began still has its hour.
pub const MOST_FORMER: usize = 64;

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// GET.
    ReadOnly,
    /// All verbs.
    ReadWrite,
}

/// Somebody who may use a path.
#[derive(Clone, Debug)]
pub struct Credential {
    /// As who it is recorded: `token`, or `access/<name>`.
    pub identity: String,
    /// What it may do.
    pub role: Role,
    /// The hash of the token.
    pub hash: CredentialHash,
}

/// The identity of an `access` entry.
#[must_use]
pub fn identity(access: &str) -> String {
    format!("access/{access}")
}

/// A token's hash with this process's salt: of no use outside of it.
#[derive(Clone, Copy)]
pub struct CredentialHash([u8; 32]);

static SALT: LazyLock<[u8; 32]> = LazyLock::new(rand::random);

impl CredentialHash {
    /// The hash of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::new().chain_update(*SALT).chain_update(token).finalize().into())
    }

    /// Whether both are of the same token. Takes the same time whatever they are.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The hash of a token with a salt of its own: to be kept where another process compares it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaltedHash {
    salt: [u8; 16],
    hash: [u8; 32],
}

impl SaltedHash {
    /// The hash of a token, with a new salt.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self::with(rand::random(), token)
    }

    fn with(salt: [u8; 16], token: &str) -> Self {
        Self { salt, hash: Sha256::new().chain_update(salt).chain_update(token).finalize().into() }
    }

    /// Whether it is of this token. Takes the same time whatever it is.
    #[must_use]
    pub fn is_of(&self, token: &str) -> bool {
        Self::with(self.salt, token).hash.ct_eq(&self.hash).into()
    }

    /// From the text that was kept; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (salt, hash) = text.split_once('.')?;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        Some(Self { salt: bytes(salt)?.try_into().ok()?, hash: bytes(hash)?.try_into().ok()? })
    }

    /// The text to be kept.
    #[must_use]
    pub fn to_text(&self) -> Redacted<String> {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(self.salt), URL_SAFE_NO_PAD.encode(self.hash)).into()
    }
}

impl fmt::Debug for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedHash(..)")
    }
}

/// A credential that was replaced. It may still end the run whose lock it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// As who it was recorded.
    pub identity: String,
    /// The hash of the token.
    pub hash: SaltedHash,
    /// Until when, by the store's clock.
    pub until: Timestamp,
}

impl fmt::Debug for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_hash_is_of_its_token_only_and_shows_nothing() {
        let (one, other) = (SaltedHash::of("s3cret"), SaltedHash::of("s3cret"));
        assert!(one != other, "each has a salt of its own");
        for hash in [one, SaltedHash::parse(one.to_text().expose()).unwrap()] {
            assert!(hash.is_of("s3cret") && !hash.is_of("s3cret ") && !hash.is_of(""));
        }
        assert_eq!(format!("{one:?} {:?}", one.to_text()), "SaltedHash(..) [redacted]");
        for bad in ["", ".", "a.b", &one.to_text().expose()[1..]] {
            assert!(SaltedHash::parse(bad).is_none(), "{bad}");
        }
    }
}
