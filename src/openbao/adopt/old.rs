//! What stands in the mount of another service's: entries as they are, with an admin's token.

use hyper::Method;
use serde::Deserialize;

use super::{
    AdoptError,
    content::{Fields, fields, shorten},
};
use crate::{
    openbao::{Bao, Fault, Token, call::Call, entry},
    store::{Budget, Entry, LockInfo},
};

/// The mount, by the right of an admin's token.
pub(super) struct Mount<'a> {
    pub(super) bao: &'a Bao,
    pub(super) admin: &'a Token,
}

/// An entry as it stands there.
pub(super) struct Found {
    /// Its own JSON, as OpenBao gives it.
    pub(super) data: String,
    /// What it is to tofustate.
    pub(super) entry: Entry,
}

impl Mount<'_> {
    /// Reads an entry; `None` where there never was one.
    pub(super) async fn read(&self, key: &str, budget: &mut Budget) -> Result<Option<Found>, AdoptError> {
        let doing = || format!("reading {}", self.at(key));
        let body = match self.get("data", key, budget).await {
            Ok(body) => body,
            Err(Fault::NotFound) => return Ok(None),
            Err(Fault::Deleted { version, how }) => return Err(AdoptError::Gone { key: self.at(key), version, how }),
            Err(fault) => return Err(AdoptError::Fault { doing: doing(), fault }),
        };
        let found = entry::decode(&body).zip(entry::verbatim(&body));
        let strange = || Fault::Strange("the answer is none of a KV v2 mount".to_owned());
        let (entry, data) = found.ok_or_else(|| AdoptError::Fault { doing: doing(), fault: strange() })?;
        Ok(Some(Found { data: data.to_owned(), entry }))
    }

    /// Refuses where the other service's lock on the state is there.
    pub(super) async fn unlocked(&self, path: &str, budget: &mut Budget) -> Result<(), AdoptError> {
        let key = format!("{path}.lock");
        match self.read(&key, budget).await {
            Ok(None) | Err(AdoptError::Gone { .. }) => Ok(()),
            Ok(Some(found)) => Err(AdoptError::Locked { key: self.at(&key), holder: holder(&found.data) }),
            Err(error) => Err(error),
        }
    }

    /// Refuses where the entry's own settings would have its versions vanish by themselves.
    pub(super) async fn stays(&self, path: &str, budget: &mut Budget) -> Result<(), AdoptError> {
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            delete_version_after: String,
        }
        let fault = |fault| AdoptError::Fault { doing: format!("reading the metadata of {}", self.at(path)), fault };
        let body = self.get("metadata", path, budget).await.map_err(fault)?;
        let metadata: Metadata = entry::data(&body)
            .ok_or_else(|| fault(Fault::Strange("the answer is none of a KV v2 mount".to_owned())))?;
        let after = metadata.delete_version_after;
        // A negative time switches it off.
        if after.is_empty() || after == "0s" || after.starts_with('-') {
            return Ok(());
        }
        Err(AdoptError::Vanishes { mount: self.bao.settings().mount.clone(), key: path.to_owned(), after })
    }

    /// Where a key stands, for a person.
    pub(super) fn at(&self, key: &str) -> String {
        format!("{}/{key}", self.bao.settings().mount)
    }

    async fn get(&self, kind: &str, key: &str, budget: &mut Budget) -> Result<Vec<u8>, Fault> {
        let call = Call::new("adopt", Method::GET, format!("{}/{kind}/{key}", self.bao.settings().mount));
        loop {
            match self.bao.call(&call, self.admin).await {
                Ok(answer) => return Ok(answer.body),
                Err(fault) if fault.passes() => budget.pause(None).await.map_err(|_| fault)?,
                Err(fault) => return Err(fault),
            }
        }
    }
}

/// What a lock entry says of its holder, where it has a LockInfo: as its own fields, or in one of them.
fn holder(data: &str) -> String {
    let parse = |text: &str| LockInfo::parse(text.as_bytes()).ok();
    let within = |inner: &Fields<'_>| {
        let texts = inner.values().filter_map(|value| {
            serde_json::from_str::<String>(value.get()).map_or_else(|_| parse(value.get()), |text| parse(&text))
        });
        texts.into_iter().next()
    };
    let Some(info) = parse(data).or_else(|| within(&fields(data)?)) else {
        return "whose holder it does not say".to_owned();
    };
    let LockInfo { id, operation, who, created, .. } = info;
    let [id, operation, who, created] = [id, operation, who, created].map(|text| match shorten(&text) {
        nothing if nothing.is_empty() => "unknown".to_owned(),
        text => text,
    });
    format!("held by {who} (operation {operation}, since {created}, lock {id})")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_holder_is_found_wherever_the_lock_has_it() {
        let info = json!({"ID": "8c3a", "Who": "ada@desk", "Operation": "OperationTypeApply", "Created": "2026-01-01"});
        let says = "held by ada@desk (operation OperationTypeApply, since 2026-01-01, lock 8c3a)";
        for entry in [info.clone(), json!({ "lock": info.to_string() }), json!({ "time": 7, "info": info })] {
            assert_eq!(holder(&entry.to_string()), says, "{entry}");
        }
        for entry in [json!({}), json!({ "locked": true }), json!({ "lock": "me" }), json!({ "ID": 7 })] {
            assert_eq!(holder(&entry.to_string()), "whose holder it does not say", "{entry}");
        }
    }

    #[test]
    fn a_holder_does_nothing_to_a_terminal() {
        let info = json!({"ID": "8c3a", "Who": format!("\u{1b}[2J\n{}", "x".repeat(500))});
        let says = holder(&info.to_string());
        assert!(says.starts_with("held by \\u{1b}[2J\\nxxx") && says.len() < 150, "{says}");
        assert!(says.ends_with("(operation unknown, since unknown, lock 8c3a)"), "{says}");
    }
}
