//! What does the run on the embedded store: OpenTofu or Terraform where there is one, else requests as they make them.

use std::{
    fmt::{self, Display, Formatter},
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::json;
use tofustate_e2e::{
    ask::ask,
    process::Process,
    project::said,
    tools::{Found, OPENTOFU, TERRAFORM, clean},
};

/// The id of the lock of a run by requests.
const LOCK: &str = "5f3c1c1e-3d0b-4c63-9a5c-6f3d7c0a6d11";
/// How long an apply takes, so that its lock can be looked at.
const SECONDS: &str = "5";

/// Who does it.
pub(crate) enum Hands {
    /// A client.
    Client(Found),
    /// Requests by curl.
    Curl,
    /// Requests by this program.
    Own,
}

/// Where the state is.
pub(crate) struct Backend {
    /// The address of the state.
    pub(crate) url: String,
    /// The file with its token.
    pub(crate) token_file: PathBuf,
    /// A folder with a configuration.
    pub(crate) folder: PathBuf,
}

/// A run that holds the lock, or is about to.
pub(crate) struct Run<'a> {
    backend: &'a Backend,
    by: By,
}

enum By {
    Client(Process),
    Requests { curl: bool },
}

impl Display for Hands {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(found) => write!(formatter, "{} {}, which takes {SECONDS} s", found.name, found.version),
            Self::Curl => formatter.write_str("curl, since no tofu and no terraform is here"),
            Self::Own => formatter.write_str("this program's own requests, since no tofu, terraform or curl is here"),
        }
    }
}

impl Hands {
    /// The best that is there.
    pub(crate) fn find() -> Self {
        if let Some(found) = [OPENTOFU, TERRAFORM].iter().find_map(|tool| tool.find().ok()) {
            return Self::Client(found);
        }
        let curl = Command::new("curl").arg("--version").stdin(Stdio::null()).output();
        if curl.is_ok_and(|output| output.status.success()) { Self::Curl } else { Self::Own }
    }

    /// Takes the lock; a client does so in a moment.
    pub(crate) fn begin<'a>(&self, backend: &'a Backend) -> Run<'a> {
        let by = match self {
            Self::Client(found) => By::Client(backend.apply(found)),
            Self::Curl | Self::Own => By::Requests { curl: matches!(self, Self::Curl) },
        };
        let run = Run { backend, by };
        run.request("LOCK", "", &lock());
        run
    }

    /// Lines for the shell of a person.
    pub(crate) fn how_to(&self, backend: &Backend) -> String {
        let (url, token, folder) = (&backend.url, backend.token_file.display(), backend.folder.display());
        match self {
            Self::Client(found) => format!(
                "\nand in a third one, with the same first line:\n\n  \
                 export TF_HTTP_ADDRESS={url} TF_HTTP_LOCK_ADDRESS={url} TF_HTTP_UNLOCK_ADDRESS={url}\n  \
                 export TF_HTTP_USERNAME=tofustate TF_HTTP_PASSWORD=\"$(cat '{token}')\"\n  \
                 cd {folder}\n  {} init\n  {0} apply -var cidr=10.1.0.0/16 -var seconds=30",
                found.name
            ),
            Self::Curl => format!(
                "\n  printf 'user = \"tofustate:%s\"' \"$(cat '{token}')\" | curl --config - {url}\n\n\
                 With tofu or terraform on the PATH the demo says how these are used."
            ),
            Self::Own => "\nWith tofu or terraform on the PATH the demo says how these are used.".to_owned(),
        }
    }
}

impl Backend {
    fn token(&self) -> String {
        fs::read_to_string(&self.token_file).expect("the token that the server made").trim().to_owned()
    }

    fn client(&self, found: &Found, args: &[&str]) -> Process {
        let mut command = Command::new(&found.program);
        clean(&mut command);
        for name in ["TF_HTTP_ADDRESS", "TF_HTTP_LOCK_ADDRESS", "TF_HTTP_UNLOCK_ADDRESS"] {
            command.env(name, &self.url);
        }
        command.env("TF_HTTP_USERNAME", "tofustate").env("TF_HTTP_PASSWORD", self.token());
        command.args(args).current_dir(&self.folder).env("HOME", &self.folder);
        Process::spawn(&format!("{} {}", found.name, args[0]), &mut command)
    }

    /// Begins an apply.
    fn apply(&self, found: &Found) -> Process {
        let done = self.client(found, &["init", "-no-color", "-input=false"]).wait();
        assert!(done.status.success(), "{} init: {}", found.name, said(&done));
        let seconds = format!("seconds={SECONDS}");
        self.client(found, &["apply", "-auto-approve", "-no-color", "-input=false", "-var", &seconds])
    }
}

impl Run<'_> {
    /// # Panics
    /// Where a client ended.
    pub(crate) fn still_runs(&mut self) {
        let By::Client(apply) = &mut self.by else { return };
        if let Some(status) = apply.ended() {
            panic!("the apply ended with {status} before its lock was seen: {}", apply.said());
        }
    }

    /// Writes the state and gives the lock back; a client does so itself.
    pub(crate) fn end(mut self) {
        if let By::Client(apply) = &mut self.by {
            let done = apply.wait();
            assert!(done.status.success(), "the apply: {}", said(&done));
            println!("{}", String::from_utf8_lossy(&done.stdout));
        }
        let state = json!({"version": 4, "serial": 1, "lineage": "demo", "outputs": {}, "resources": []});
        self.request("POST", &format!("?ID={LOCK}"), &state.to_string());
        self.request("UNLOCK", "", &lock());
    }

    /// One request, where the run is made of them.
    fn request(&self, method: &str, query: &str, body: &str) {
        let By::Requests { curl } = self.by else { return };
        let url = format!("{}{query}", self.backend.url);
        if !curl {
            println!("{method} {url}");
            let _ = ask(method, &url).token(&self.backend.token()).body(body).send().is(200);
            return;
        }
        // Nothing secret is among the arguments.
        let (config, file) = (self.backend.folder.join("curl.conf"), self.backend.folder.join("body.json"));
        tofustate_e2e::bao::tls::write_secret(&config, &format!("user = \"tofustate:{}\"\n", self.backend.token()));
        fs::write(&file, body).unwrap();
        let data = format!("@{}", file.display());
        println!("$ curl --config curl.conf --request {method} --data @body.json '{url}'");
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--noproxy",
            "*",
            "--request",
            method,
            "--data-binary",
            &data,
        ]);
        command.arg("--config").arg(&config).arg(&url);
        let done = Process::spawn("curl", &mut command).wait();
        assert!(done.status.success(), "curl, {method}: {}", said(&done));
    }
}

/// What a client says of itself.
fn lock() -> String {
    json!({
        "ID": LOCK, "Operation": "OperationTypeApply", "Who": "you@the-demo", "Version": "1.12.6",
        "Created": "2026-01-02T03:04:05Z", "Info": "", "Path": "",
    })
    .to_string()
}
