//! When passes happen: at the start, when the folder changed, and while something is to be tried again. A folder is looked
//! at by what the file system says of its files: that sees a git checkout, a ConfigMap that is swapped and a network file
//! system alike.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{FolderRegistry, Report, Retry};

/// How long until what only a person can mend is tried again.
const LATER: Duration = Duration::from_secs(30);

impl FolderRegistry {
    /// Writes what was seen of the states once more: for when their last requests have ended, after [`Self::run`].
    pub fn last_words(&self) -> impl Future<Output = ()> + Send + use<> {
        let records = self.records.clone();
        async move { records.write_all().await }
    }

    /// Keeps the registry as the folder says until `stop` is true or its sender is gone. `on_report` gets the outcome of
    /// each pass. Records are written while it runs and at its end.
    pub async fn run(mut self, on_report: impl FnMut(&Report), stop: watch::Receiver<bool>) {
        let (records, poll) = (self.records.clone(), self.options.poll);
        // A pass may take long where the store does; records do not wait for it.
        let keeping = async {
            let mut ticks = ticks(poll);
            loop {
                ticks.tick().await;
                records.write_all().await;
            }
        };
        let mut until = stop;
        tokio::select! {
            biased;
            // Both outcomes mean the end.
            _ = until.wait_for(|stop| *stop) => {}
            () = self.passes(on_report) => {}
            () = keeping => {}
        }
        records.write_all().await;
    }

    async fn passes(&mut self, mut on_report: impl FnMut(&Report)) {
        let mut ticks = ticks(self.options.poll);
        let mut last = Instant::now();
        loop {
            ticks.tick().await;
            let (contents, changed) = self.look().await;
            let due = match self.retry {
                Retry::Soon => true,
                Retry::Later => last.elapsed() >= LATER,
                Retry::No => false,
            };
            if changed || due {
                let report = self.apply(&contents).await;
                last = Instant::now();
                on_report(&report);
            }
        }
    }
}

fn ticks(poll: Duration) -> tokio::time::Interval {
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
