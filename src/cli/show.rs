//! What `standalone` shows: for each state the lines to paste, and on a terminal who holds which lock.

use std::{
    collections::{HashMap, HashSet},
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, mpsc},
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    http::StateRow,
    registry::{
        Registry,
        folder::{Generated, Report, Served},
    },
    store::{Budget, Mark, StatePath},
};

/// Shows each state's settings once, and what is wrong as it comes up.
pub(super) struct Settings {
    url: String,
    shown: HashSet<String>,
    printer: Printer,
}

/// Standard output, written by a thread of its own: a terminal that is stopped, or a pipe that nobody reads, holds nothing
/// else up. What does not fit any more is lost, and so is everything once standard output is closed.
#[derive(Clone)]
pub(super) struct Printer(mpsc::SyncSender<String>);

impl Printer {
    pub(super) fn new() -> Self {
        let (sender, texts) = mpsc::sync_channel::<String>(1_024);
        std::thread::spawn(move || {
            for text in texts {
                let _ = io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush());
            }
        });
        Self(sender)
    }

    fn print(&self, text: String) {
        let _ = self.0.try_send(text);
    }
}

impl Settings {
    pub(super) fn new(url: String, printer: Printer) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), shown: HashSet::new(), printer }
    }

    /// Prints what is new in a report.
    pub(super) fn show(&mut self, report: &Report) {
        let mut text = String::new();
        for served in &report.served {
            let made = report.generated.iter().find(|generated| generated.path == served.path);
            if self.shown.insert(served.path.to_string()) || made.is_some() {
                text.push_str(&self.block(served, made));
            }
        }
        self.printer.print(text);
    }

    fn block(&self, served: &Served, made: Option<&Generated>) -> String {
        let address = format!("{}/{}", self.url, served.path);
        let Served { resource, path, token_file, .. } = served;
        let password = match (made, token_file) {
            (Some(made), _) => format!(
                "# This token was made now. It is kept in {} and not shown again.\nexport TF_HTTP_PASSWORD={}\n",
                made.file.display(),
                made.token.expose()
            ),
            (None, Some(file)) => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone()).display().to_string();
                format!("export TF_HTTP_PASSWORD=\"$(cat '{}')\"\n", file.replace('\'', r"'\''"))
            }
            (None, None) => "# TF_HTTP_PASSWORD: the token of its Secret, or API_TOKEN\n".to_owned(),
        };
        format!(
            r#"
# {path} (resource {resource}), for a .tf file:
terraform {{
  backend "http" {{
    address        = "{address}"
    lock_address   = "{address}"
    unlock_address = "{address}"
  }}
}}
# and for the shell:
export TF_HTTP_USERNAME=tofustate
{password}"#
        )
    }
}

/// Up to how many states the table begins with.
const FIRST: usize = 100;

/// Who holds which lock: all states at first, then each that changed. On a terminal only.
pub(super) async fn table(
    registry: Arc<Registry>,
    printer: Printer,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut shown: HashMap<StatePath, Option<Mark>> = HashMap::new();
    loop {
        let wait = tokio::time::sleep(Duration::from_secs(1));
        tokio::select! {
            _ = stop.changed() => return Ok(()),
            () = wait => {}
        }
        if !io::stdout().is_terminal() || !registry.is_loaded() {
            continue;
        }
        let first = shown.is_empty();
        let mut changed = registry.all();
        changed.retain(|backend| {
            let mark = backend.state.mark();
            shown.insert(backend.path().clone(), mark) != Some(mark)
        });
        let text = if first && changed.len() > FIRST {
            format!("{} states are served; each is shown here when it changes", changed.len())
        } else {
            let mut rows = Vec::new();
            for backend in &changed {
                let head = backend.state.recent(&mut Budget::new(Duration::from_secs(1))).await;
                rows.push(StateRow::new(backend, head.as_deref()));
            }
            super::states::table(&rows)
        };
        if !changed.is_empty() {
            printer.print(format!("\n{text}\n"));
        }
    }
}
