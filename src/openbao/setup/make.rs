//! Makes a thing, or changes it to what it should be.

use serde_json::json;

use super::{
    admin::{Admin, SetupError, doing},
    item::{Item, State},
};
use crate::{
    openbao::{Fault, Mount, request::Request},
    store::keys,
};

impl Item {
    /// Makes it what it should be; it was found to be `state`, which is not that.
    pub(super) async fn make(&self, admin: &Admin, state: &State) -> Result<(), SetupError> {
        let made = |done: Result<_, Fault>| doing(format!("making {}", self.what()), done.map(drop));
        match self {
            Self::Namespace { .. } | Self::Mount(_) | Self::Auth(_) if *state != State::Missing => {
                let what = self.what();
                Err(SetupError::Refused(format!(
                    "{what} {state}; this is not changed: choose another, or change it by hand"
                )))
            }
            Self::Namespace { parent, name } => {
                let around = doing("making a namespace", admin.within(parent.as_deref()))?;
                made(around.ask(&Request::post(format!("sys/namespaces/{name}"), json!({}))).await)
            }
            Self::Mount(mount) => {
                let body = json!({"type": "kv", "options": {"version": "2"}, "description": "states of OpenTofu and Terraform (tofustate)"});
                made(admin.ask(&Request::post(format!("sys/mounts/{mount}"), body)).await)
            }
            Self::Auth(mount) => {
                made(admin.ask(&Request::post(format!("sys/auth/{mount}"), json!({"type": "kubernetes"}))).await)
            }
            Self::Entry(entry) => {
                let request = Request::post(&entry.path, entry.body());
                doing(format!("writing {}", entry.what), admin.ask(&request).await.map(drop))
            }
        }
    }
}

/// Whether a mount holds entries, and none of them from here.
pub(super) async fn foreign(admin: &Admin, mount: &Mount) -> Result<bool, SetupError> {
    match admin.ask(&Request::list(format!("{mount}/metadata"))).await {
        Ok(found) => {
            let found = found.data["keys"].as_array().cloned().unwrap_or_default();
            // The latter also of another bootstrap's try.
            Ok(!found.is_empty() && !found.iter().any(|key| key == keys::OWNERS || key == keys::VERSIONS))
        }
        Err(Fault::NotFound) => Ok(false),
        Err(fault) => Err(SetupError::Fault { doing: format!("listing the mount {mount}"), fault }),
    }
}
