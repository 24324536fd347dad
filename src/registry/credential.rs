//! Credentials as they are kept in memory: salted hashes, compared in constant time.

use std::{fmt, sync::LazyLock};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Tokens shorter than this are reported as weak, in characters.
pub const WEAK_TOKEN: usize = 20;

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

impl fmt::Debug for CredentialHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialHash(..)")
    }
}
