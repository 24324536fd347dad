//! A watch: what the API server tells of changes, line by line.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use serde_json::Value;

use crate::wait::DEADLINE;

/// What a running watch told. It ends with the server's answer, 5 minutes after its begin at the latest.
#[derive(Debug)]
pub struct Watch {
    path: String,
    events: Receiver<(Instant, Value)>,
}

impl Watch {
    pub(super) fn of(path: &str, body: impl Read + Send + 'static) -> Self {
        let (told, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(body).lines() {
                let Ok(line) = line else { return };
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if told.send((Instant::now(), event)).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_owned(), events }
    }

    /// The next event, `{"type": …, "object": …}`, and when it came; `None` where the watch has ended.
    ///
    /// # Panics
    /// Where none comes.
    pub fn next(&self) -> Option<(Instant, Value)> {
        match self.events.recv_timeout(DEADLINE) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing to see at {} after {DEADLINE:?}", self.path),
        }
    }

    /// The first event from now on that is so, and when it came.
    ///
    /// # Panics
    /// Where none comes, with those that came.
    pub fn until(&self, what: &str, mut so: impl FnMut(&Value) -> bool) -> (Instant, Value) {
        let began = Instant::now();
        let mut others = Vec::new();
        loop {
            let left = DEADLINE.saturating_sub(began.elapsed());
            match self.events.recv_timeout(left) {
                Ok((at, event)) if so(&event) => return (at, event),
                Ok((_, event)) => others.push(event),
                Err(why) => panic!("{what}: {why}; {} told {}", self.path, Value::Array(others)),
            }
        }
    }
}
