//! What is there of a thing. Changes nothing.

use serde_json::{Value, json};

use super::{
    admin::Admin,
    item::{Difference, Entry, Item, State, TAINTED},
};
use crate::openbao::{Fault, Mount, request::Request};

impl Item {
    /// Looks for it. What the token may not read is [`State::Unread`].
    ///
    /// # Errors
    /// OpenBao cannot be asked now, or does not know the token.
    pub(super) async fn look(&self, admin: &Admin) -> Result<State, Fault> {
        match self {
            Self::Namespace { parent, name } => namespace(admin, parent.as_deref(), name).await,
            Self::Mount(at) => mount(admin, at).await,
            Self::Auth(at) => auth(admin, at).await,
            Self::Entry(entry) => entry.look(admin).await,
        }
    }
}

impl Entry {
    async fn look(&self, admin: &Admin) -> Result<State, Fault> {
        match admin.ask(&Request::get(&self.path)).await {
            Ok(found) => Ok(self.compare(&found.data)),
            Err(Fault::NotFound | Fault::Gone(_)) => Ok(State::Missing),
            Err(Fault::Denied(_)) => Ok(unread(&self.path)),
            // Something is mounted there that has no such thing.
            Err(fault @ Fault::Refused { .. }) => Ok(State::Unread(fault.to_string())),
            Err(fault) => Err(fault),
        }
    }
}

async fn namespace(admin: &Admin, parent: Option<&str>, name: &str) -> Result<State, Fault> {
    let path = format!("sys/namespaces/{name}");
    match admin.within(parent)?.ask(&Request::get(&path)).await {
        Ok(found) => {
            let wrong = [TAINTED, "locked"].into_iter().filter(|field| found.data[field] == true);
            let wrong: Vec<_> = wrong.map(|field| Difference::of(field, &json!(true), &json!(false))).collect();
            Ok(if wrong.is_empty() { State::Good } else { State::Differs(wrong) })
        }
        Err(Fault::NotFound | Fault::Gone(_)) => Ok(State::Missing),
        // Vault without a licence.
        Err(Fault::Refused { status: 404 | 405, .. }) => Ok(State::Unread(
            "this server has no namespaces, which are OpenBao's: leave --namespace out, and read in docs/openbao.md what that means"
                .to_owned(),
        )),
        Err(Fault::Denied(_) | Fault::InvalidToken) => {
            // A token of the namespace itself knows nothing of the one around it.
            let full = parent.map_or_else(|| name.to_owned(), |parent| format!("{parent}/{name}"));
            match admin.within(Some(&full))?.ask(&Request::lookup_self()).await {
                Ok(_) => Ok(State::Good),
                Err(Fault::Gone(_)) => Ok(State::Missing),
                Err(Fault::Denied(_)) => Ok(unread(&path)),
                Err(fault) => Err(fault),
            }
        }
        Err(fault) => Err(fault),
    }
}

async fn mount(admin: &Admin, mount: &Mount) -> Result<State, Fault> {
    match admin.ask(&Request::get(format!("{mount}/config"))).await {
        Ok(_) | Err(Fault::NotFound | Fault::Refused { .. }) => {}
        Err(Fault::Gone(_)) => return Ok(State::Missing),
        Err(Fault::Denied(_)) => return Ok(unread(&format!("{mount}/config"))),
        Err(fault) => return Err(fault),
    }
    // Any token that may do something in a mount may read this.
    let found = match admin.ask(&Request::get(format!("sys/internal/ui/mounts/{mount}"))).await {
        Ok(found) => found.data,
        Err(Fault::Denied(_)) => return Ok(unread(&format!("sys/internal/ui/mounts/{mount}"))),
        Err(fault) => return Err(fault),
    };
    // A mount around it would have answered as well.
    if found["path"].as_str().is_some_and(|path| path.trim_end_matches('/') != mount.as_str()) {
        return Ok(State::Missing);
    }
    let version = |found: &Value| match (found["type"].as_str(), found["options"]["version"].as_str()) {
        (Some("kv"), Some(version)) => format!("kv version {version}"),
        (Some("kv"), None) => "kv version 1".to_owned(),
        (other, _) => other.unwrap_or("unknown").to_owned(),
    };
    match version(&found).as_str() {
        "kv version 2" => Ok(State::Good),
        other => Ok(State::Differs(vec![Difference::of("type", &json!(other), &json!("kv version 2"))])),
    }
}

async fn auth(admin: &Admin, mount: &Mount) -> Result<State, Fault> {
    let path = format!("sys/auth/{mount}");
    match admin.ask(&Request::get(&path)).await {
        Ok(found) if found.data["type"] == "kubernetes" => Ok(State::Good),
        Ok(found) => Ok(State::Differs(vec![Difference::of("type", &found.data["type"], &json!("kubernetes"))])),
        // There is no other status for that.
        Err(Fault::NotFound | Fault::Gone(_) | Fault::Refused { status: 400, .. }) => Ok(State::Missing),
        Err(Fault::Denied(_)) => Ok(unread(&path)),
        Err(fault) => Err(fault),
    }
}

fn unread(path: &str) -> State {
    State::Unread(format!("this token may not read {path}"))
}
