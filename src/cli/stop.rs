//! The signals that end the process. Process managers and terminals often send two at once, or the same one twice: these are
//! one wish to stop, not the impatience of a person.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

/// Signals that come so soon after one that counted are part of it.
const TOGETHER: Duration = Duration::from_secs(1);

/// Hears of signals from when it is made.
pub(super) struct Stop {
    counted: mpsc::Receiver<&'static str>,
}

impl Stop {
    /// On a runtime.
    ///
    /// # Errors
    /// The system does not let it.
    pub(super) fn new() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (count, counted) = mpsc::channel(1);
        // When one came counts, not when somebody asks for it.
        tokio::spawn(async move {
            let mut last: Option<Instant> = None;
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    _ = hangup.recv() => "SIGHUP",
                };
                if last.is_none_or(|last| last.elapsed() >= TOGETHER) {
                    last = Some(Instant::now());
                    // Where one waits to be heard already, another says no more.
                    let _ = count.try_send(name);
                }
            }
        });
        Ok(Self { counted })
    }

    /// Waits for one that counts, and answers its name.
    pub(super) async fn wait(&mut self) -> &'static str {
        match self.counted.recv().await {
            Some(name) => name,
            // Only where the runtime ends.
            None => std::future::pending().await,
        }
    }
}
