//! A run of tofu in a folder of its own, its environment from the connection Secret.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use tofustate_e2e::{
    kube::{Cluster, tofustates},
    process::Process,
    project::said,
    tools::{OPENTOFU, clean},
    wait,
};

use crate::{NAME, NAMESPACE, SECONDS, configuration};

pub(crate) struct Run {
    folder: PathBuf,
    /// Of the connection Secret.
    env: BTreeMap<String, String>,
}

impl Run {
    /// With the configuration of the examples.
    pub(crate) fn new(cluster: &Cluster, bin: &Path) -> Self {
        let folder = configuration(bin);
        // As a Pod gets it by envFrom.
        let template =
            "{{range $name, $value := .data}}{{$name}}={{$value | base64decode | printf \"%q\"}}{{\"\\n\"}}{{end}}";
        let secret = format!("{NAME}-tofustate");
        let args = ["get", "secret", "-n", NAMESPACE, &secret, "-o", &format!("go-template={template}")];
        let text = cluster.kubectl().must(&args);
        let variables = text.lines().map(|line| {
            let (name, value) = line.split_once('=').expect("a variable");
            (name.to_owned(), serde_json::from_str(value).expect("a quoted value"))
        });
        Self { env: variables.collect(), folder }
    }

    /// The names of the variables.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.env.keys().map(String::as_str).collect()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(OPENTOFU.find().expect("it was found").program);
        clean(&mut command);
        command.args(args).current_dir(&self.folder).env("HOME", &self.folder).envs(&self.env).stdin(Stdio::null());
        command
    }

    pub(crate) fn init(&self) {
        let done = Process::spawn("tofu init", &mut self.command(&["init", "-no-color", "-input=false"])).wait();
        assert!(done.status.success(), "tofu init: {}", said(&done));
    }

    pub(crate) fn start_apply(&self) -> Process {
        let args = ["apply", "-auto-approve", "-no-color", "-input=false", "-var", &format!("seconds={SECONDS}")];
        Process::spawn("tofu apply", &mut self.command(&args))
    }

    /// Waits until the status says who holds the lock, and gives that.
    ///
    /// # Panics
    /// Where the apply ends before.
    pub(crate) fn await_lock(&self, cluster: &Cluster, apply: &mut Process) -> String {
        let path = format!("{}/{NAME}", tofustates(NAMESPACE));
        wait::until("the lock stands in the status", || {
            if let Some(status) = apply.ended() {
                panic!("the apply ended with {status} before its lock was seen: {}", apply.said());
            }
            let answer = cluster.api().ask("GET", &path, &Value::Null)?;
            let who = answer.body["status"]["lock"]["who"].as_str();
            who.map(str::to_owned).ok_or_else(|| answer.body["status"].to_string())
        })
    }

    /// Waits for the end of the apply, and gives what it said.
    pub(crate) fn end(&self, mut apply: Process) -> String {
        let done = apply.wait();
        assert!(done.status.success(), "tofu apply: {}", said(&done));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }
}
