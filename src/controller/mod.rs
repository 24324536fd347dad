//! The operator: from a TofuStateBackend to an owner entry, a policy, a token, a connection Secret and a status. One
//! reconciliation observes, validates, plans, applies and tells (`live`), or ends a resource (`delete`). What decides is
//! pure: `validate`, `credentials`, `ledger`, `objects`, `outputs`, `conditions`, `head`, `status`.

mod cluster;
pub mod conditions;
mod context;
pub mod credentials;
mod delete;
mod events;
mod follow;
pub mod head;
pub mod keeper;
mod lease;
pub mod ledger;
mod limited;
mod links;
mod listed;
mod live;
mod news;
pub mod objects;
mod observe;
mod orphans;
pub mod outputs;
mod packed;
mod reconcile;
mod record;
mod relist;
pub mod report;
mod requests;
mod restored;
mod run;
mod salvage;
mod scope;
mod serve;
mod stale;
pub mod status;
mod store;
pub mod validate;
mod watch;
mod watched;
mod write;
mod written;

use std::time::Duration;

pub use cluster::{CallError, Cluster, ClusterError};
pub use context::Options;
pub use lease::Lead;
pub use run::{Controller, Gate};

/// Keeps a resource until its path is given up.
pub const FINALIZER: &str = "tofustate.io/state";

/// How long one thing may take in the store.
const LOOK: Duration = Duration::from_secs(5);
