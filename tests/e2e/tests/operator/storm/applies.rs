//! Real applies in the storm, each through one of the replicas: what an apply that succeeded says is in the state. What one
//! that failed left behind is put right as its user would, with the client's own commands.

use std::{fs, sync::atomic::Ordering, thread::sleep, time::Duration};

use serde_json::Value;
use tofustate_e2e::{
    ask::lock_info,
    client::Client,
    project::{APPLY, BACKEND, INIT, Project, VALUE, said},
    wait,
};

use super::runs::{Runs, Storm};

/// The applies of one state.
pub(super) struct Applies<'a> {
    runs: &'a Runs,
    one: &'a Storm,
    project: Project,
    /// What the state has.
    value: Option<String>,
    pub(super) ended: u32,
    pub(super) failed: u32,
}

impl<'a> Applies<'a> {
    /// Before the storm.
    pub(super) fn new(runs: &'a Runs, one: &'a Storm, client: &Client) -> Self {
        let mut project = Project::new(client, &[BACKEND, VALUE]);
        for (name, value) in [("RETRY_MAX", "4"), ("RETRY_WAIT_MIN", "1"), ("RETRY_WAIT_MAX", "3")] {
            project.env(&format!("TF_HTTP_{name}"), value);
        }
        let mut applies = Self { runs, one, project, value: None, ended: 0, failed: 0 };
        applies.turn();
        applies.project.run(INIT);
        applies
    }

    /// Applies until the storm is over.
    pub(super) fn work(mut self) -> Self {
        for n in 0.. {
            if self.runs.stop.load(Ordering::Relaxed) {
                break;
            }
            if let Err(wrong) = self.apply(&format!("value-{n}")) {
                self.runs.failed.lock().unwrap().push(format!("{}: {wrong}", self.one.path));
                break;
            }
        }
        self
    }

    /// What comes goes through any of the replicas.
    fn turn(&mut self) {
        let replica = &self.runs.replicas[rand::random_range(0..self.runs.replicas.len())];
        self.project.points_to(&format!("{replica}/{}", self.one.path), &self.one.token);
    }

    fn apply(&mut self, value: &str) -> Result<(), String> {
        self.turn();
        let output = self.project.start(&[APPLY, &["-var", &format!("value={value}")]].concat()).wait();
        let succeeded = output.status.success();
        if succeeded {
            self.ended += 1;
        } else {
            self.failed += 1;
            self.put_right()?;
        }
        let found = self.found()?;
        let is_new = found.as_deref() == Some(value);
        // Nobody knows what became of a write whose answer was lost.
        if !is_new && (succeeded || found != self.value) {
            return Err(format!("the state has {found:?}, had {:?}, after {value}: {}", self.value, said(&output)));
        }
        self.value = found;
        Ok(())
    }

    /// The value in the state.
    fn found(&self) -> Result<Option<String>, String> {
        let answer = self.runs.ask(self.one, "GET", "", &[])?;
        match answer.status() {
            404 => Ok(None),
            200 => {
                let state: Value = serde_json::from_slice(answer.bytes()).map_err(|error| error.to_string())?;
                Ok(state["outputs"]["value"]["value"].as_str().map(str::to_owned))
            }
            other => Err(format!("{other} {}", answer.text())),
        }
    }

    /// Breaks the lock that was left, and pushes the state that could not be written.
    fn put_right(&mut self) -> Result<(), String> {
        self.unlock()?;
        let errored = self.project.path("errored.tfstate");
        if errored.exists() {
            wait::until("errored.tfstate is pushed", || {
                self.turn();
                let output = self.project.start(&["state", "push", "-no-color", "errored.tfstate"]).wait();
                if output.status.success() {
                    return Ok(());
                }
                self.unlock()?;
                Err(said(&output))
            });
            fs::remove_file(&errored).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn unlock(&mut self) -> Result<(), String> {
        loop {
            // An id that was released is not granted again.
            let probe = lock_info(&format!("looks-{:016x}", rand::random::<u64>()));
            let answer = self.runs.ask(self.one, "LOCK", "", probe.as_bytes())?;
            match answer.status() {
                200 => {
                    let answer = self.runs.ask(self.one, "UNLOCK", "", probe.as_bytes())?;
                    return if answer.status() == 200 { Ok(()) } else { Err(answer.text()) };
                }
                409 => {
                    let held: Value = serde_json::from_slice(answer.bytes()).map_err(|error| error.to_string())?;
                    let id = held["ID"].as_str().ok_or("a lock without an ID")?.to_owned();
                    self.turn();
                    // Where it does not, it is tried again.
                    let _ = self.project.start(&["force-unlock", "-force", &id]).wait();
                    sleep(Duration::from_millis(200));
                }
                other => return Err(format!("{other} {}", answer.text())),
            }
        }
    }
}
