//! The programs that the tests run, and where each is found: its variable, else the PATH, else the folder of built tools
//! (`$TOFUSTATE_TOOLS`, else `~/.cache/tofustate-tools`), where `make tools` puts those that have a recipe.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    recipe::{Debian, Go, Recipe},
    used,
};

/// OpenTofu's CLI.
pub const OPENTOFU: Tool = Tool {
    name: "tofu",
    variable: "TOFU_BIN",
    asks: &["version"],
    says: "OpenTofu v",
    recipe: Some(Recipe::Go(Go {
        folder: "tofu",
        package: "github.com/opentofu/opentofu/cmd/tofu",
        version: "1.12.6",
        // Without it the version ends in -dev.
        ldflags: "-X github.com/opentofu/opentofu/version.dev=no",
    })),
};

/// Terraform's CLI. Its licence is not a free one, so nothing here builds it: it is there, or the tests say SKIPPED.
pub const TERRAFORM: Tool =
    Tool { name: "terraform", variable: "TERRAFORM_BIN", asks: &["version"], says: "Terraform v", recipe: None };

/// OpenBao's server. It is no Go module that can be built: where there is none, a stand-in is.
pub const OPENBAO: Tool = Tool {
    name: "bao",
    variable: "BAO_BIN",
    asks: &["version"],
    says: "OpenBao v",
    recipe: Some(Recipe::Go(Go { folder: "openbao-standin", package: ".", version: "1.14.0-standin", ldflags: "" })),
};

/// The web server, as a proxy.
pub const NGINX: Tool = Tool {
    name: "nginx",
    variable: "NGINX_BIN",
    asks: &["-v"],
    says: "nginx version: nginx/",
    recipe: Some(Recipe::Debian(Debian { package: "nginx", program: "usr/sbin/nginx" })),
};

/// Another web server, as a proxy. A package of it needs libraries that may not be here: it is there, or the tests say
/// SKIPPED.
pub const HAPROXY: Tool =
    Tool { name: "haproxy", variable: "HAPROXY_BIN", asks: &["-v"], says: "HAProxy version ", recipe: None };

/// The OpenTelemetry Collector, of the parts that the tests need. Others that are called `otelcol` may lack some.
pub const OTELCOL: Tool = Tool {
    name: "otelcol-e2e",
    variable: "OTELCOL_BIN",
    asks: &["--version"],
    says: "otelcol version ",
    recipe: Some(Recipe::Go(Go {
        folder: "otelcol",
        package: ".",
        version: "0.160.0",
        ldflags: "-X main.version={version}",
    })),
};

/// Kubernetes' store.
pub const ETCD: Tool = Tool {
    name: "etcd",
    variable: "ETCD_BIN",
    asks: &["--version"],
    says: "etcd Version: ",
    recipe: Some(Recipe::Go(Go {
        folder: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        version: "3.6.8",
        ldflags: "",
    })),
};

/// Kubernetes' API server.
pub const KUBE_APISERVER: Tool = Tool {
    name: "kube-apiserver",
    variable: "KUBE_APISERVER_BIN",
    asks: &["--version"],
    says: "Kubernetes v",
    recipe: kubernetes("k8s.io/kubernetes/cmd/kube-apiserver"),
};

/// Kubernetes' controllers: garbage collection and the deletion of namespaces are theirs.
pub const KUBE_CONTROLLER_MANAGER: Tool = Tool {
    name: "kube-controller-manager",
    variable: "KUBE_CONTROLLER_MANAGER_BIN",
    asks: &["--version"],
    says: "Kubernetes v",
    recipe: kubernetes("k8s.io/kubernetes/cmd/kube-controller-manager"),
};

/// Kubernetes' CLI.
pub const KUBECTL: Tool = Tool {
    name: "kubectl",
    variable: "KUBECTL_BIN",
    asks: &["version", "--client"],
    says: "Client Version: v",
    recipe: kubernetes("k8s.io/kubernetes/cmd/kubectl"),
};

const fn kubernetes(package: &'static str) -> Option<Recipe> {
    Some(Recipe::Go(Go {
        folder: "kubernetes",
        package,
        version: "1.35.4",
        // Without these it is v0.0.0, which clients refuse.
        ldflags: "-X k8s.io/component-base/version.gitVersion=v{version} -X k8s.io/component-base/version.gitMajor={major} \
                  -X k8s.io/component-base/version.gitMinor={minor} -X k8s.io/component-base/version.gitTreeState=clean \
                  -X k8s.io/component-base/version.gitCommit=unknown \
                  -X k8s.io/client-go/pkg/version.gitVersion=v{version} -X k8s.io/client-go/pkg/version.gitMajor={major} \
                  -X k8s.io/client-go/pkg/version.gitMinor={minor} -X k8s.io/client-go/pkg/version.gitTreeState=clean \
                  -X k8s.io/client-go/pkg/version.gitCommit=unknown",
    }))
}

/// Helm, which installs the chart.
pub const HELM: Tool = Tool {
    name: "helm",
    variable: "HELM_BIN",
    asks: &["version", "--template={{.Version}}"],
    says: "v",
    recipe: Some(Recipe::Go(Go {
        folder: "helm",
        package: "helm.sh/helm/v3/cmd/helm",
        version: "3.21.4",
        // The Kubernetes of its client-go, as its own Makefile says it: without it `helm template` and `helm lint` take
        // every cluster for a v1.20.
        ldflags: "-X helm.sh/helm/v3/internal/version.version=v{version} -X helm.sh/helm/v3/internal/version.metadata= \
                  -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=36 \
                  -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=36",
    })),
};

/// What GitOps tools read of a resource: the Lua of Argo CD, and Flux's library. Its version is that of the Lua.
pub const GITOPS: Tool = Tool {
    name: "gitops",
    variable: "GITOPS_BIN",
    asks: &["version"],
    says: "gitops ",
    recipe: Some(Recipe::Go(Go {
        folder: "gitops",
        package: ".",
        version: "1.1.2",
        ldflags: "-X main.version={version}",
    })),
};

/// The command line of Zstandard, for the commands of the docs.
pub const ZSTD: Tool = Tool {
    name: "zstd",
    variable: "ZSTD_BIN",
    asks: &["--version"],
    says: "*** Zstandard CLI (64-bit) v",
    recipe: None,
};

/// jq, for the commands of the docs.
pub const JQ: Tool = Tool { name: "jq", variable: "JQ_BIN", asks: &["--version"], says: "jq-", recipe: None };

/// The program as an image has it, static and optimised: `make image-check` builds it, without an engine, and runs what it is for.
pub const STATIC: Tool = Tool {
    name: "tofustate-static",
    variable: "TOFUSTATE_STATIC_BIN",
    asks: &["--version"],
    says: "tofustate ",
    recipe: None,
};

/// All of them, in the order of the closing table.
pub const ALL: &[Tool] = &[
    OPENTOFU,
    TERRAFORM,
    NGINX,
    HAPROXY,
    OTELCOL,
    OPENBAO,
    ETCD,
    KUBE_APISERVER,
    KUBE_CONTROLLER_MANAGER,
    KUBECTL,
    HELM,
    GITOPS,
    ZSTD,
    JQ,
    STATIC,
];

/// A program that tests run.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name on the PATH.
    pub name: &'static str,
    /// The variable that names it; nothing else counts where it is set.
    pub variable: &'static str,
    /// What makes it say its version.
    pub asks: &'static [&'static str],
    /// What stands before the version in its answer.
    pub says: &'static str,
    /// How it is got, if it can be.
    pub recipe: Option<Recipe>,
}

/// A program that is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub program: PathBuf,
    /// What it calls its version.
    pub version: String,
}

/// How the version of the stand-in for OpenBao ends.
const STAND_IN: &str = "-standin";

impl Found {
    /// Whether it only stands in for OpenBao.
    pub fn is_stand_in(&self) -> bool {
        self.version.ends_with(STAND_IN)
    }
}

impl Tool {
    /// Looks for it; gets nothing.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// Where the variable names something else: that is a mistake, and no reason to skip.
    pub fn find(&self) -> Result<Found, String> {
        if let Some(program) = env::var_os(self.variable).filter(|program| !program.is_empty()) {
            let found = self.try_program(Path::new(&program));
            return Ok(found.unwrap_or_else(|fault| panic!("{}: {fault}", self.variable)));
        }
        let folders = env::var_os("PATH").unwrap_or_default();
        let mut on_path = env::split_paths(&folders).map(|folder| folder.join(self.name)).filter(|file| file.is_file());
        if let Some(found) = on_path.find_map(|program| self.try_program(&program).ok()) {
            return Ok(found);
        }
        match &self.recipe {
            Some(recipe) => self.try_program(&recipe.binary(self.name)).map_err(|fault| {
                format!("not on the PATH, {} is not set, and `make tools` did not get it: {fault}", self.variable)
            }),
            None => Err(format!("not on the PATH, and {} is not set", self.variable)),
        }
    }

    /// Looks for it, and gets it where there is none and it can be got.
    ///
    /// # Errors
    /// Why there is none.
    pub fn find_or_build(&self) -> Result<Found, String> {
        match (self.find(), &self.recipe) {
            (Err(_), Some(recipe)) => {
                let built = recipe.get(self.name, |program| self.try_program(program).map(|found| found.version))?;
                self.try_program(&built)
            }
            (found, _) => found,
        }
    }

    /// Looks for it on behalf of a test, and notes for the closing table whether that test ran. Where there is none it
    /// says so past the test's captured output.
    pub fn for_test(&self, test: &str) -> Option<Found> {
        let found = self.find();
        used::note(self.name, test, found.as_ref().map(|_| ()));
        found.ok()
    }

    /// Whether this is the one that was got by its recipe.
    pub fn is_cached(&self, found: &Found) -> bool {
        self.recipe.is_some_and(|recipe| recipe.binary(self.name) == found.program)
    }

    fn try_program(&self, program: &Path) -> Result<Found, String> {
        let fault = |fault: String| format!("{}: {fault}", program.display());
        let mut command = Command::new(program);
        clean(&mut command);
        let output = command.args(self.asks).stdin(Stdio::null()).output().map_err(|error| fault(error.to_string()))?;
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let version = text.lines().find_map(|line| line.strip_prefix(self.says));
        let version = version.ok_or_else(|| fault(format!("no line begins with {:?}: {text}", self.says)))?;
        let version = version.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(Found { name: self.name, program: program.to_owned(), version })
    }
}

/// Finds or builds the tools of a benchmark, and prints each. Answers whether all are there; says which are not.
#[allow(clippy::print_stdout, reason = "for a person")]
pub fn all_there(tools: &[Tool]) -> bool {
    let mut missing = Vec::new();
    for tool in tools {
        match tool.find_or_build() {
            Ok(found) => println!("{} {}", found.name, found.version),
            Err(fault) => missing.push(format!("{}: {fault}", tool.name)),
        }
    }
    if !missing.is_empty() {
        println!("SKIPPED: these are missing:\n{}", missing.join("\n"));
    }
    missing.is_empty()
}

/// What Go calls its version, for the recipes.
///
/// # Errors
/// Why it cannot be run.
pub fn go() -> Result<String, String> {
    let output = Command::new("go").arg("version").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("go cannot be run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.strip_prefix("go version go").and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| format!("`go version` did not tell its version: {text}"))
}

/// Leaves nothing of this machine's settings for OpenTofu, Terraform and proxies in a command's environment.
pub fn clean(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("TF_") || text.ends_with("_PROXY") {
            command.env_remove(&name);
        }
    }
    command.env("CHECKPOINT_DISABLE", "1").env("TF_CLI_CONFIG_FILE", "/dev/null");
}
