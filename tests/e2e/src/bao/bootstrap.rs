//! The real `tofustate bootstrap`, and what it leaves.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};

use super::Bao;
use crate::{
    process::Process,
    project::said,
    standalone::{binary, clean},
};

impl Bao {
    /// Sets an installation up, and answers the file with its token.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn bootstrap(&self, instance: &str, args: &[&str]) -> PathBuf {
        let file = self.folder.path().join(format!("operator-{instance}"));
        let done = self.try_bootstrap(instance, &[&["--operator-token-file", file.to_str().unwrap()], args].concat());
        assert!(done.status.success(), "{}", said(&done));
        file
    }

    /// Runs it with the root token.
    pub fn try_bootstrap(&self, instance: &str, args: &[&str]) -> Output {
        let mut command = clean(Command::new(binary()));
        command.args(["bootstrap", "--instance", instance, "--openbao-addr", &self.url(self.active())]);
        command.arg("--admin-token-file").arg(self.root_token_file()).args(args);
        Process::spawn("tofustate bootstrap", &mut command).wait()
    }

    /// What the server knows of a token; `None` where it is not there.
    pub fn look_up(&self, accessor: &str) -> Option<Value> {
        let asked = self.api().ask("POST", "auth/token/lookup-accessor", &json!({"accessor": accessor})).unwrap();
        (asked.status == 200).then(|| asked.body["data"].clone())
    }

    /// The accessors of all tokens that are there with a policy whose name begins so.
    pub fn tokens_of(&self, policy: &str) -> Vec<String> {
        let all = self.api().must("LIST", "auth/token/accessors", &Value::Null);
        let all = all["keys"].as_array().unwrap().iter().map(|accessor| accessor.as_str().unwrap().to_owned());
        let has = |found: Value| {
            found["policies"].as_array().unwrap().iter().any(|name| name.as_str().unwrap().starts_with(policy))
        };
        all.filter(|accessor| self.look_up(accessor).is_some_and(has)).collect()
    }
}
