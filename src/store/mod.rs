//! The state engine: locks, versions, compression and retention over one small key-value trait. Knows no axum, kube or
//! vaultrs.

mod check;
pub mod keys;
mod kv;

pub use check::{BodyError, Checker, MAX_DEPTH, StateFacts};
pub use kv::{Entry, Expect, Kv, KvError, Listed, Part, PartLabel, Revision, Value};
