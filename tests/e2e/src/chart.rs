//! The Helm chart, and what is rendered from it: by the real helm, against a cluster or without one.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::{
    kube::Cluster,
    process::Process,
    project::{failed, succeeded},
    tools::Found,
};

/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/chart");

/// What has to be said at least.
pub const LEAST: &[&str] = &["--set", "config.instance=prod", "--set", "tls.plainHttp=true"];

/// helm, for a cluster or for none.
#[derive(Clone, Debug)]
pub struct Helm {
    found: Found,
    home: PathBuf,
    config: Option<PathBuf>,
}

impl Helm {
    /// Without a cluster. What it keeps lies in `home`.
    pub fn new(found: &Found, home: &Path) -> Self {
        Self { found: found.clone(), home: home.to_owned(), config: None }
    }

    /// As the cluster's admin.
    pub fn with(found: &Found, cluster: &Cluster) -> Self {
        Self { config: Some(cluster.admin_kubeconfig()), ..Self::new(found, cluster.folder()) }
    }

    /// Runs it.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.found.program);
        crate::tools::clean(&mut command);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HELM_") {
                command.env_remove(name);
            }
        }
        // Nobody's settings and nobody's cluster.
        command.env("HOME", &self.home).env("KUBECONFIG", self.config.as_deref().unwrap_or(Path::new("/dev/null")));
        for folder in ["CACHE", "CONFIG", "DATA"] {
            command.env(format!("HELM_{folder}_HOME"), self.home.join("helm").join(folder));
        }
        command.args(args).current_dir(&self.home);
        Process::spawn(&format!("helm {args:?}"), &mut command).wait()
    }

    /// Runs it, and answers what it wrote to standard output.
    ///
    /// # Panics
    /// Where it fails, with what it said.
    pub fn must(&self, args: &[&str]) -> String {
        succeeded(&format!("helm {args:?}"), self.run(args))
    }

    /// Runs it, which has to fail, and answers all that it said.
    ///
    /// # Panics
    /// Where it succeeds.
    pub fn fails(&self, args: &[&str]) -> String {
        failed(&format!("helm {args:?}"), &self.run(args))
    }

    /// The files of `deploy/operator` as the chart has them: what is applied without helm, so without helm's labels.
    pub fn operator_yaml(&self) -> Vec<(&'static str, String)> {
        let of = |templates: &[&str]| {
            let mut args = vec!["template", "tofustate", CHART, "--namespace", "tofustate"];
            args.extend(LEAST);
            for template in templates {
                args.extend(["--show-only", template]);
            }
            let text = self.must(&args);
            let ours = |line: &&str| {
                !line.starts_with("# Source: ")
                    && !line.trim_start().starts_with("helm.sh/chart: ")
                    && !line.trim_start().starts_with("app.kubernetes.io/version: ")
                    && !line.trim_start().starts_with("app.kubernetes.io/managed-by: ")
            };
            let lines: Vec<_> = text.lines().filter(ours).skip_while(|line| *line == "---").collect();
            format!("# Rendered from deploy/chart by `make manifests`; do not edit.\n{}\n", lines.join("\n"))
        };
        vec![
            ("rbac.yaml", of(&["templates/serviceaccount.yaml", "templates/rbac.yaml", "templates/users.yaml"])),
            ("admission.yaml", of(&["templates/admission.yaml"])),
        ]
    }
}
