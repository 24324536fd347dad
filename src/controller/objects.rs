//! The connection Secret and the ConfigMap beside it, as objects: what they are to be, and whether one that is there is so,
//! or anybody else's. Pure.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{
    credentials::{TOKEN, Values},
    ledger::Ledger,
    outputs::{BACKEND_HCL, Connection},
};
use crate::{
    crd::{GROUP, TofuStateBackend, VERSION},
    store::Redacted,
};

/// Says of an object that tofustate wrote it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "tofustate");
/// The uid of the resource that it is for.
pub const OF_UID: &str = "tofustate.io/resource-uid";
/// The name of that resource: after a restore from a backup uids are others.
const OF_NAME: &str = "tofustate.io/resource";
/// Where the token is from.
const TOKEN_FROM: &str = "tofustate.io/token";
const GENERATED: &str = "generated";
const NAMED: &str = "secret";
/// The credentials that the state had and has, as hashes.
const LEDGER: &str = "tofustate.io/credentials";
/// The key of the token.
const PASSWORD: &str = "TF_HTTP_PASSWORD";
/// What the names of all keys begin with.
const KEYS: &str = "TF_HTTP_";

/// What a resource's runs are given.
pub struct Outputs {
    secret: Value,
    config: Value,
}

/// What there is under the name of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// It is as it should be.
    Good,
    /// Ours, and otherwise.
    Differs,
    /// Somebody else's.
    Foreign,
}

/// What the connection Secret has kept.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// The generated token.
    pub token: Option<Redacted<String>>,
    /// In its place there is another, that was not written by tofustate.
    pub altered: bool,
    /// The credentials.
    pub ledger: Ledger,
}

impl Outputs {
    /// The objects of a resource, both by this name.
    #[must_use]
    pub fn new(
        resource: &TofuStateBackend,
        name: &str,
        connection: &Connection<'_>,
        generated: bool,
        ledger: &Ledger,
    ) -> Self {
        let encoded: BTreeMap<String, String> =
            connection.secret().iter().map(|(key, value)| (key.clone(), STANDARD.encode(value.expose()))).collect();
        let mut notes = BTreeMap::from([(TOKEN_FROM, if generated { GENERATED } else { NAMED }.to_owned())]);
        notes.insert(LEDGER, ledger.to_text());
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata(resource, name, notes),
            "type": "Opaque",
            "data": encoded,
        });
        let config = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(resource, name, BTreeMap::new()),
            "data": {BACKEND_HCL: connection.hcl()},
        });
        Self { secret, config }
    }

    /// The Secret, to be created.
    #[must_use]
    pub fn secret(&self) -> &Value {
        &self.secret
    }

    /// The ConfigMap, to be created.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// A merge patch that makes the Secret that is there this one.
    #[must_use]
    pub fn patch_of_secret(&self, found: &Secret) -> Value {
        let mut patch = patch(&self.secret, &found.metadata);
        let keys = found.data.iter().flat_map(BTreeMap::keys);
        for key in keys.filter(|key| is_stray(key, &self.secret)) {
            patch["data"][key] = Value::Null;
        }
        patch
    }

    /// A merge patch that makes the ConfigMap that is there this one.
    #[must_use]
    pub fn patch_of_config(&self, found: &ConfigMap) -> Value {
        patch(&self.config, &found.metadata)
    }

    /// What the Secret that is there is to this one.
    #[must_use]
    pub fn of_secret(&self, found: Option<&Secret>) -> Found {
        compare(found, found.map(|secret| &secret.metadata), &self.secret)
    }

    /// What the ConfigMap that is there is to this one.
    #[must_use]
    pub fn of_config(&self, found: Option<&ConfigMap>) -> Found {
        compare(found, found.map(|config| &config.metadata), &self.config)
    }
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("config", &self.config).finish_non_exhaustive()
    }
}

fn metadata(resource: &TofuStateBackend, name: &str, mut annotations: BTreeMap<&str, String>) -> Value {
    let own = &resource.metadata;
    annotations.insert(OF_NAME, own.name.clone().unwrap_or_default());
    json!({
        "name": name,
        "namespace": own.namespace,
        "labels": {MANAGED_BY.0: MANAGED_BY.1, OF_UID: own.uid},
        "annotations": annotations,
        "ownerReferences": [{
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "TofuStateBackend",
            "name": own.name,
            "uid": own.uid,
            "controller": true,
        }],
    })
}

/// A merge patch from what was found, and of that only: what changed since is looked at again. What others added stays, but
/// for owners of the same kind: before a restore from a backup the resource had another uid.
fn patch(wanted: &Value, found: &ObjectMeta) -> Value {
    let mut patch = wanted.clone();
    patch["metadata"]["resourceVersion"] = json!(found.resource_version);
    let others = found.owner_references.iter().flatten().filter(|owner| owner.kind != "TofuStateBackend");
    if let Some(owners) = patch["metadata"]["ownerReferences"].as_array_mut() {
        owners.extend(others.map(|owner| json!(owner)));
    }
    patch
}

/// Whether a key is read by a run though it is none of those that are wanted.
fn is_stray(key: &str, wanted: &Value) -> bool {
    key.starts_with(KEYS) && wanted["data"].get(key).is_none()
}

/// Whether tofustate wrote an object for this resource: by its owner, or by what was noted on it.
fn is_of(metadata: &ObjectMeta, name: Option<&str>, uid: Option<&str>) -> bool {
    let mut owners = metadata.owner_references.iter().flatten();
    if uid.is_some() && owners.any(|owner| Some(owner.uid.as_str()) == uid) {
        return true;
    }
    let has = |map: Option<&BTreeMap<String, String>>, key: &str, value: Option<&str>| {
        value.is_some() && map.and_then(|map| map.get(key)).map(String::as_str) == value
    };
    has(metadata.labels.as_ref(), MANAGED_BY.0, Some(MANAGED_BY.1)) && has(metadata.annotations.as_ref(), OF_NAME, name)
}

fn compare<T: serde::Serialize>(found: Option<&T>, metadata: Option<&ObjectMeta>, wanted: &Value) -> Found {
    let (Some(found), Some(metadata)) = (found, metadata) else { return Found::Nothing };
    let name = wanted["metadata"]["annotations"][OF_NAME].as_str();
    let uid = wanted["metadata"]["labels"][OF_UID].as_str();
    if !is_of(metadata, name, uid) {
        return Found::Foreign;
    }
    let Ok(found) = serde_json::to_value(found) else { return Found::Differs };
    let only = found["data"].as_object().is_some_and(|data| !data.keys().any(|key| is_stray(key, wanted)));
    if covers(&found, wanted) && only { Found::Good } else { Found::Differs }
}

/// Whether all that is wanted is there as it is wanted. What others added does not count.
fn covers(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => wanted.iter().all(|(key, wanted)| {
            // What the API server does not repeat where it is read by type.
            matches!(key.as_str(), "apiVersion" | "kind") && !found.contains_key(key)
                || wanted.is_null()
                || found.get(key).is_some_and(|found| covers(found, wanted))
        }),
        (Value::Array(found), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| found.iter().any(|found| covers(found, wanted)))
        }
        (found, wanted) => found == wanted,
    }
}

/// Whether a connection Secret is this resource's own.
#[must_use]
pub fn is_own(secret: &Secret, resource: &TofuStateBackend) -> bool {
    let own = &resource.metadata;
    is_of(&secret.metadata, own.name.as_deref(), own.uid.as_deref())
}

/// What a connection Secret of this resource has kept; nothing of one that is not its own. `known`: the credentials as this
/// process knows them, which count more than those that the Secret has.
///
/// A token counts only where it is the one that was written: who may change Secrets, and not read them, must not choose it.
#[must_use]
pub fn kept(found: Option<&Secret>, resource: &TofuStateBackend, known: &Ledger) -> Kept {
    let Some(secret) = found.filter(|found| is_own(found, resource)) else {
        return Kept { ledger: known.clone(), ..Kept::default() };
    };
    let note = |key: &str| secret.metadata.annotations.as_ref().and_then(|all| all.get(key)).map(String::as_str);
    let ledger = match known.is_empty() {
        true => note(LEDGER).map(Ledger::parse).unwrap_or_default(),
        false => known.clone(),
    };
    // A token that a Secret named would else live on where it is not named any more.
    let password = secret.data.as_ref().and_then(|data| data.get(PASSWORD));
    let password = password.filter(|_| note(TOKEN_FROM) == Some(GENERATED));
    let read = password.and_then(|value| crate::registry::token::read(&value.0).ok());
    let token = read.filter(|read| ledger.is_current(TOKEN, read.token.expose())).map(|read| read.token);
    Kept { altered: password.is_some() && token.is_none(), token, ledger }
}

/// The values of a Secret that was read.
#[must_use]
pub fn values(secret: Secret) -> Values {
    secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0.into())).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::crd::{StatePath, TofuStateBackendSpec};

    fn resource(uid: &str) -> TofuStateBackend {
        let mut resource = TofuStateBackend::new("app", TofuStateBackendSpec::new("team/app"));
        resource.metadata.namespace = Some("team".to_owned());
        resource.metadata.uid = Some(uid.to_owned());
        resource
    }

    fn outputs(resource: &TofuStateBackend, token: &str, ca: Option<&str>) -> Outputs {
        let (path, token) = (StatePath::parse("team/app").unwrap(), Redacted::from(token.to_owned()));
        let connection = Connection { endpoint: "https://x", path: &path, token: &token, ca, lock_by_post: false };
        Outputs::new(resource, "app-tofustate", &connection, true, &Ledger::default())
    }

    const TOKEN: &str = "0123456789-0123456789";

    /// As it is written, with the token's hash.
    fn written(resource: &TofuStateBackend) -> Secret {
        let mut secret: Secret = serde_json::from_value(outputs(resource, TOKEN, None).secret().clone()).unwrap();
        secret.metadata.annotations.as_mut().unwrap().insert(LEDGER.to_owned(), ledger(TOKEN).to_text());
        secret
    }

    fn ledger(token: &str) -> Ledger {
        let tokens = [(super::TOKEN.to_owned(), token.to_owned().into())];
        Ledger::default().with(&tokens, None, jiff::Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_there_is_good_ours_or_anothers() {
        let own = resource("1");
        let wanted = outputs(&own, TOKEN, Some("PEM"));
        assert_eq!(wanted.of_secret(None), Found::Nothing);
        let secret: Secret = serde_json::from_value(wanted.secret().clone()).unwrap();
        let config: ConfigMap = serde_json::from_value(wanted.config().clone()).unwrap();
        assert_eq!((wanted.of_secret(Some(&secret)), wanted.of_config(Some(&config))), (Found::Good, Found::Good));
        let mut more = secret.clone();
        more.data.as_mut().unwrap().insert("OTHER".to_owned(), Default::default());
        assert_eq!(wanted.of_secret(Some(&more)), Found::Good);
        assert_eq!(outputs(&own, "another", Some("PEM")).of_secret(Some(&secret)), Found::Differs);
        assert_eq!(outputs(&own, TOKEN, None).of_secret(Some(&secret)), Found::Differs, "a key too many");
        assert_eq!(outputs(&resource("2"), TOKEN, Some("PEM")).of_secret(Some(&secret)), Found::Differs, "restored");
        let mut bare = secret.clone();
        bare.metadata.labels = None;
        assert_eq!(wanted.of_secret(Some(&bare)), Found::Differs, "its owner is told still");
        let mut foreign = bare;
        foreign.metadata.owner_references = None;
        assert_eq!(wanted.of_secret(Some(&foreign)), Found::Foreign);
        let mut other = resource("3");
        other.metadata.name = Some("other".to_owned());
        assert_eq!(outputs(&other, TOKEN, Some("PEM")).of_secret(Some(&secret)), Found::Foreign);
        assert!(!format!("{wanted:?}").contains(TOKEN));
    }

    #[test]
    fn a_generated_token_is_taken_up_again_and_a_named_one_is_not() {
        let own = resource("1");
        let secret = written(&own);
        let kept = |secret: &Secret, resource: &TofuStateBackend| kept(Some(secret), resource, &Ledger::default());
        assert_eq!(kept(&secret, &own).token.unwrap().expose(), TOKEN);
        assert_eq!(kept(&secret, &resource("2")).token.unwrap().expose(), TOKEN, "restored under another uid");
        let mut named = secret.clone();
        named.metadata.annotations.as_mut().unwrap().insert(TOKEN_FROM.to_owned(), NAMED.to_owned());
        assert!(kept(&named, &own).token.is_none() && !kept(&named, &own).altered);
        let mut foreign = secret;
        (foreign.metadata.labels, foreign.metadata.owner_references) = (None, None);
        assert!(kept(&foreign, &own).token.is_none());
    }

    #[test]
    fn a_token_that_somebody_put_there_is_none() {
        let own = resource("1");
        let secret = written(&own);
        let mut edited = secret.clone();
        let chosen = ByteString(b"a-token-that-somebody-knows".to_vec());
        edited.data.as_mut().unwrap().insert(PASSWORD.to_owned(), chosen);
        let is_kept = |secret: &Secret, known: &Ledger| {
            let kept = kept(Some(secret), &own, known);
            assert_eq!(kept.altered, kept.token.is_none());
            kept.token.is_some()
        };
        let known = ledger(TOKEN);
        for known in [&known, &Ledger::default()] {
            assert!(is_kept(&secret, known) && !is_kept(&edited, known));
        }
        // With a hash that goes with it: this process knows better.
        edited
            .metadata
            .annotations
            .as_mut()
            .unwrap()
            .insert(LEDGER.to_owned(), ledger("a-token-that-somebody-knows").to_text());
        assert!(!is_kept(&edited, &known));
        let mut bare = secret;
        bare.metadata.annotations.as_mut().unwrap().remove(LEDGER);
        assert!(!is_kept(&bare, &Ledger::default()), "nothing says that it was written");
        assert_eq!(kept(None, &own, &known).ledger, known);
    }
}
