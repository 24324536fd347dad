//! The state engine: locks, versions, compression and retention over one small key-value trait. Knows no axum, kube or
//! vaultrs.

mod adopt;
mod background;
mod budget;
mod change;
mod check;
mod clock;
mod closed;
mod compression;
mod embedded;
mod engine;
mod error;
pub mod head;
mod ids;
mod intake;
pub mod keys;
mod kv;
mod lock_info;
mod maintain;
pub mod mutant;
pub mod owners;
mod parts;
mod read;
mod redacted;
mod shares;
mod state;
mod stores;
mod upload;

pub use crate::crd::StatePath;
pub use budget::{Budget, Exhausted};
pub use change::Mark;
pub use check::{BodyError, Checker, MAX_DEPTH, StateFacts};
pub use clock::{BootClock, Clock, machine_time};
pub use closed::ClosedKv;
pub use embedded::{DataFolder, EmbeddedKv, OpenError};
pub use engine::{Engine, EngineOptions, Registration, Settings};
pub use error::StateError;
pub use head::Head;
pub use ids::{Epoch, OpId, Sha256Sum, ShortSum, object_name};
pub use kv::{Entry, Expect, Kv, KvError, Listed, Part, PartLabel, Revision, Value};
pub use lock_info::{LockInfo, LockInfoError, MAX_LOCK_ID, MAX_LOCK_INFO};
pub use read::Reader;
pub use redacted::Redacted;
pub use state::{LockCall, State};
pub use stores::{OneStore, Stores};
pub use upload::{Upload, WriteCall};
