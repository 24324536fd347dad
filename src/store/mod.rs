//! The state engine: locks, versions, compression and retention over one small key-value trait. Knows no axum, kube or
//! vaultrs.

mod embedded;
pub mod keys;
mod kv;

pub use embedded::{EmbeddedKv, OpenError};
pub use kv::{Entry, Expect, Kv, KvError, Listed, Part, PartLabel, Revision, Value};
