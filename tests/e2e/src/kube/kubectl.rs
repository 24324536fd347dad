//! kubectl, as whom a kubeconfig says.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{Cluster, server::clean};
use crate::{
    process::Process,
    project::{failed, succeeded},
    tools::Found,
};

/// kubectl for one user. No secret is ever among its arguments.
#[derive(Clone, Debug)]
pub struct Kubectl {
    found: Found,
    config: PathBuf,
    home: PathBuf,
}

impl Cluster {
    /// kubectl as the admin.
    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_as(&self.admin_kubeconfig())
    }

    /// kubectl with a kubeconfig file.
    pub fn kubectl_as(&self, config: &Path) -> Kubectl {
        // Here it keeps what it learned of the API.
        Kubectl { found: self.kubectl.clone(), config: config.to_owned(), home: self.folder().to_owned() }
    }
}

impl Kubectl {
    /// Starts it.
    pub fn start(&self, args: &[&str]) -> Process {
        let mut command = Command::new(&self.found.program);
        clean(&mut command);
        command.args(args).current_dir(&self.home).env("KUBECONFIG", &self.config).env("HOME", &self.home);
        Process::spawn(&format!("kubectl {args:?}"), &mut command)
    }

    /// Runs it.
    pub fn run(&self, args: &[&str]) -> Output {
        self.start(args).wait()
    }

    /// Runs it, and answers what it wrote to standard output.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn must(&self, args: &[&str]) -> String {
        succeeded(&format!("kubectl {args:?}"), self.run(args))
    }

    /// Runs it, which has to fail, and answers all that it said.
    ///
    /// # Panics
    /// Where it succeeds.
    pub fn fails(&self, args: &[&str]) -> String {
        failed(&format!("kubectl {args:?}"), &self.run(args))
    }
}
