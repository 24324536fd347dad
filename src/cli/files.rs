//! Open files: each connection is one, and many systems begin with 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// What is open besides connections: the database, manifests, listeners, with room.
const OTHERS: u64 = 256;

/// Raises the limit of open files to what this process may have. Answers how many connections that is enough for, up to
/// those that are wanted.
pub(super) fn allow(connections: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let Some(limit) = (if raised { maximum } else { current }) else { return connections };
    let enough = usize::try_from(limit.saturating_sub(OTHERS)).unwrap_or(usize::MAX).max(16);
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
