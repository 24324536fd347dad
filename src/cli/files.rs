//! Open files: each connection is one, and many systems begin with 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use super::listen::ADMIN_CONNECTIONS;
use crate::http::MAX_WAITING;

/// What is open besides the clients' connections: those that wait for a place, those of the admin listener, the database,
/// manifests, with room.
const OTHERS: u64 = MAX_WAITING as u64 + ADMIN_CONNECTIONS as u64 + 256;

/// Raises the limit of open files to what this process may have. Answers how many connections that is enough for, up to
/// those that are wanted.
pub(super) fn allow(connections: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let Some(limit) = (if raised { maximum } else { current }) else { return connections };
    let enough = usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(64);
    if enough < connections {
        warn!(
            open_files = limit,
            connections = enough,
            wanted = connections,
            "fewer connections are taken than --max-connections says, for too few open files are allowed: raise that limit (ulimit -n, LimitNOFILE)"
        );
    }
    connections.min(enough)
}
