//! A folder with a configuration in which a client runs, and what it may be: pieces of HCL that need no provider.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    client::Client,
    process::Process,
    standalone::{Standalone, writer},
    tools::clean,
    wait,
};

/// The state is where the environment says.
pub const BACKEND: &str = "terraform {\n  backend \"http\" {}\n}\n";

/// One resource, and an output.
pub const VALUE: &str = r#"
variable "value" {
  default = "one"
}

resource "terraform_data" "it" {
  input = var.value
}

output "value" {
  value = terraform_data.it.output
}
"#;

/// `init`, with nobody at the terminal.
pub const INIT: &[&str] = &["init", "-no-color", "-input=false"];
/// `plan`.
pub const PLAN: &[&str] = &["plan", "-no-color", "-input=false"];
/// `apply`.
pub const APPLY: &[&str] = &["apply", "-auto-approve", "-no-color", "-input=false"];
/// `destroy`.
pub const DESTROY: &[&str] = &["destroy", "-auto-approve", "-no-color", "-input=false"];

/// A resource that, while it is made, says so in the file `<name>.begun` and waits for `<name>.go`; it is made after
/// `after`. The wait also ends with the folder.
pub fn waits(name: &str, after: Option<&str>) -> String {
    let after = after.map(|after| format!("  depends_on = [terraform_data.{after}]\n")).unwrap_or_default();
    let wait = format!("touch {name}.begun; while [ -e {name}.begun ] && [ ! -e {name}.go ]; do sleep 0.05; done");
    format!(
        "resource \"terraform_data\" \"{name}\" {{\n{after}  provisioner \"local-exec\" {{\n    command = \"{wait}\"\n  }}\n}}\n"
    )
}

/// The folder, and the environment of what runs in it.
#[derive(Debug)]
pub struct Project {
    client: Client,
    folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Project {
    /// A folder with these pieces of HCL as `main.tf`.
    pub fn new(client: &Client, pieces: &[&str]) -> Self {
        let mut project = Self { client: client.clone(), folder: TempDir::new().unwrap(), env: BTreeMap::new() };
        project.env("TF_IN_AUTOMATION", "1");
        project.write("main.tf", pieces.concat());
        project
    }

    /// With [`BACKEND`] and these pieces, against a state of a server and with the token that may write.
    pub fn at(server: &Standalone, path: &str, client: &Client, pieces: &[&str]) -> Self {
        let mut project = Self::new(client, &[&[BACKEND], pieces].concat());
        project.points_to(&server.url(path), &writer(path));
        project
    }

    /// Sets the address of the state, also for locks, and the token.
    pub fn points_to(&mut self, url: &str, token: &str) {
        for name in ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"] {
            self.env(name, url);
        }
        self.env("TF_HTTP_USERNAME", "tofustate");
        self.env("TF_HTTP_PASSWORD", token);
    }

    /// Sets a variable of the environment of what runs from now on.
    pub fn env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// A file of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Reads a file that is JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The client, to be run with these arguments.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.client.found.program);
        clean(&mut command);
        command.args(args).current_dir(self.folder.path()).envs(&self.env);
        command
    }

    /// Starts the client.
    pub fn start(&self, args: &[&str]) -> Process {
        Process::spawn(&format!("{} {args:?}", self.client.found.name), &mut self.command(args))
    }

    /// Starts an apply, and waits until the resource `name`, one of [`waits`], is being made.
    ///
    /// # Panics
    /// Where the apply ends instead.
    pub fn start_apply(&self, name: &str) -> Process {
        let mut apply = self.start(APPLY);
        self.await_begun(&mut apply, name);
        apply
    }

    /// Waits until the resource `name` is being made.
    ///
    /// # Panics
    /// Where the apply ends instead.
    pub fn await_begun(&self, apply: &mut Process, name: &str) {
        wait::until(&format!("{name} is being made"), || {
            if let Some(status) = apply.ended() {
                panic!("the apply ended with {status}: {}", apply.said());
            }
            let begun = self.path(&format!("{name}.begun")).exists();
            begun.then_some(()).ok_or_else(|| apply.said())
        });
    }

    /// Lets the making of a resource end.
    pub fn go(&self, name: &str) {
        self.write(&format!("{name}.go"), "");
    }

    /// Runs the client, and answers what it wrote to standard output.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn run(&self, args: &[&str]) -> Vec<u8> {
        let output = self.start(args).wait();
        assert!(output.status.success(), "{args:?}: {}: {}", output.status, said(&output));
        output.stdout
    }

    /// Runs the client, which has to fail, and answers all that it said.
    ///
    /// # Panics
    /// Where it succeeds.
    pub fn fails(&self, args: &[&str]) -> String {
        let output = self.start(args).wait();
        assert!(!output.status.success(), "{args:?} should not have succeeded: {}", said(&output));
        said(&output)
    }

    /// Whether a plan finds anything to do.
    ///
    /// # Panics
    /// Where it fails.
    pub fn has_changes(&self) -> bool {
        let output = self.start(&[PLAN, &["-detailed-exitcode"]].concat()).wait();
        match output.status.code() {
            Some(0) => false,
            Some(2) => true,
            _ => panic!("plan: {}: {}", output.status, said(&output)),
        }
    }

    /// The state as the client pulls it, which puts a line's end behind it.
    ///
    /// # Panics
    /// Where it cannot be pulled.
    pub fn pull(&self) -> Vec<u8> {
        let mut bytes = self.run(&["state", "pull"]);
        assert_eq!(bytes.pop(), Some(b'\n'));
        bytes
    }
}

/// All that a program said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a program that was to succeed wrote to standard output.
///
/// # Panics
/// Where it failed, with what it said.
pub fn succeeded(what: &str, output: Output) -> String {
    assert!(output.status.success(), "{what}: {}: {}", output.status, said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// All that a program said that was to fail.
///
/// # Panics
/// Where it succeeded.
pub fn failed(what: &str, output: &Output) -> String {
    assert!(!output.status.success(), "{what} should not have succeeded: {}", said(output));
    said(output)
}
