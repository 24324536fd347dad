//! One way to start and one to stop: tasks by name, ended by a signal or by the unexpected end of any of them.

use std::time::Duration;

use tokio::{sync::watch, task::JoinSet, time::timeout};
use tracing::{error, info};

use super::stop::Stop;

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
pub(super) enum TaskError {
    #[error("{0} failed: {1}")]
    Failed(&'static str, String),
    #[error("{0} ended, and should not have")]
    Ended(&'static str),
    #[error("{0} panicked; this is a fault of tofustate, please report it")]
    Panicked(String),
    #[error("what was under way did not finish in {0:?}")]
    Late(Duration),
    #[error("a second {0}: what was under way was cut off")]
    Cut(&'static str),
}

/// The tasks of the process.
pub(super) struct Tasks {
    running: JoinSet<(&'static str, Result<(), String>)>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { running: JoinSet::new() }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        self.running.spawn(async move { (name, work.await) });
    }

    /// Waits for a signal or for the end of any task, then tells all to stop and waits for them.
    pub(super) async fn run(
        mut self,
        stop: &mut Stop,
        stopping: watch::Sender<bool>,
        deadline: Duration,
    ) -> Result<(), TaskError> {
        let first = tokio::select! {
            signal = stop.wait() => {
                info!(signal, "stopping: what is under way is finished first; another signal, a second from now or later, cuts it off");
                Ok(())
            }
            Some(ended) = self.running.join_next() => Err(match ended {
                Ok((name, Ok(()))) => TaskError::Ended(name),
                Ok((name, Err(fault))) => TaskError::Failed(name, fault),
                Err(error) => TaskError::Panicked(error.to_string()),
            }),
        };
        if let Err(error) = &first {
            error!(%error, "stopping");
        }
        stopping.send_replace(true);
        let ended = timeout(deadline, async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok((name, Err(fault))) = ended {
                    error!(task = name, fault, "failed while stopping");
                }
            }
        });
        let in_time = tokio::select! {
            ended = ended => ended.map_err(|_| TaskError::Late(deadline)),
            signal = stop.wait() => Err(TaskError::Cut(signal)),
        };
        first.and(in_time)
    }
}
