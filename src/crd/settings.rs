//! The spec, checked: what the schema and its CEL rules admit, as types that cannot hold anything else. The API server
//! checks the same before a resource is stored; this is for manifests from a folder, for resources that were stored under
//! an older schema, and for the values in bytes and seconds.

use std::time::Duration;

use super::{
    Access, ClientForceUnlock, DeletionPolicy, FieldError, Invalid, SecretKeyRef, StaleAction, StatePath,
    TofuStateBackend, parse_duration, parse_quantity, rules,
};

/// The least age at which a lock may be released for its age alone.
const LEAST_RELEASE: Duration = Duration::from_secs(3600);

/// A spec that holds together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The state's path.
    pub path: StatePath,
    /// Name of the connection Secret, the default filled in.
    pub connection_secret: String,
    /// The largest state that is accepted, in bytes.
    pub max_size: u64,
    /// Which versions are kept.
    pub retention: RetentionSettings,
    /// How locks behave.
    pub lock: LockSettings,
}

/// Which versions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How many versions are kept, 1 to 200.
    pub max_versions: u32,
    /// How many bytes all kept versions may take as stored.
    pub max_bytes: Option<u64>,
    /// How old a replaced version may get.
    pub max_age: Option<Duration>,
    /// What becomes of the state when the resource is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// How locks behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockSettings {
    /// Whether a write needs the lock.
    pub required: bool,
    /// Age from which a lock counts as stale.
    pub stale_after: Option<Duration>,
    /// Age from which a lock is released: `stale_after` where `staleAction` is `Release`, never under an hour.
    pub release_after: Option<Duration>,
    /// Whether an unlock without a body may release a lock.
    pub client_force_unlock: bool,
}

impl TofuStateBackend {
    /// Name of the connection Secret: the one of the spec, or `<name>-tofustate`.
    #[must_use]
    pub fn connection_secret(&self) -> String {
        let default = || format!("{}{}", self.metadata.name.as_deref().unwrap_or_default(), rules::CONNECTION_SUFFIX);
        self.spec.connection_secret_name.clone().unwrap_or_else(default)
    }

    /// The spec with its texts made into values.
    ///
    /// # Errors
    /// Every field that is wrong, not just the first.
    pub fn settings(&self) -> Result<Settings, Invalid> {
        let spec = &self.spec;
        let mut wrong = Vec::new();

        let path =
            StatePath::parse(&spec.path).map_err(|e| wrong.push(FieldError::new("spec.path", &spec.path, e))).ok();
        let max_size = size(&mut wrong, "spec.maxSize", Some(&spec.max_size));
        let max_versions = u32::try_from(spec.retention.max_versions).ok().filter(|n| (1..=200).contains(n));
        if max_versions.is_none() {
            let found = spec.retention.max_versions.to_string();
            wrong.push(FieldError::new("spec.retention.maxVersions", &found, "write a number from 1 to 200"));
        }
        let max_bytes = size(&mut wrong, "spec.retention.maxBytes", spec.retention.max_bytes.as_ref());
        let max_age = time(&mut wrong, "spec.retention.maxAge", spec.retention.max_age.as_ref());
        let stale_after = time(&mut wrong, "spec.lock.staleAfter", spec.lock.stale_after.as_ref());
        let release_after = match (spec.lock.stale_action, &spec.lock.stale_after) {
            (StaleAction::None, _) => None,
            (StaleAction::Release, None) => {
                wrong.push(FieldError::new(
                    "spec.lock.staleAction",
                    "Release",
                    "set spec.lock.staleAfter to 1h or more",
                ));
                None
            }
            (StaleAction::Release, Some(text)) => {
                if stale_after.is_some_and(|after| after < LEAST_RELEASE) {
                    wrong.push(FieldError::new(
                        "spec.lock.staleAfter",
                        text,
                        "with staleAction: Release write 1h or more: a run whose lock is released cannot write its state",
                    ));
                }
                stale_after
            }
        };
        secrets(self, &mut wrong);
        access(&spec.access, &mut wrong);

        match (path, max_size, max_versions) {
            (Some(path), Some(max_size), Some(max_versions)) if wrong.is_empty() => Ok(Settings {
                path,
                connection_secret: self.connection_secret(),
                max_size,
                retention: RetentionSettings {
                    max_versions,
                    max_bytes,
                    max_age,
                    deletion_policy: spec.retention.deletion_policy,
                },
                lock: LockSettings {
                    required: spec.lock.required,
                    stale_after,
                    release_after,
                    client_force_unlock: spec.lock.client_force_unlock == ClientForceUnlock::Allow,
                },
            }),
            _ => Err(Invalid(wrong)),
        }
    }
}

fn size(wrong: &mut Vec<FieldError>, field: &str, text: Option<&String>) -> Option<u64> {
    let text = text?;
    parse_quantity(text).map_err(|e| wrong.push(FieldError::new(field, text, e))).ok()
}

fn time(wrong: &mut Vec<FieldError>, field: &str, text: Option<&String>) -> Option<Duration> {
    let text = text?;
    parse_duration(text).map_err(|e| wrong.push(FieldError::new(field, text, e))).ok()
}

fn secrets(resource: &TofuStateBackend, wrong: &mut Vec<FieldError>) {
    let connection = resource.connection_secret();
    if !subdomain(&connection) {
        let (field, expected) = match &resource.spec.connection_secret_name {
            Some(_) => ("spec.connectionSecretName", SECRET_NAME),
            None => ("metadata.name", "-tofustate cannot be added to this name; set spec.connectionSecretName"),
        };
        wrong.push(FieldError::new(field, &connection, expected));
    }
    if let Some(reference) = &resource.spec.access_token_secret_ref {
        secret_ref(reference, "spec.accessTokenSecretRef", wrong);
        if reference.name == connection {
            wrong.push(FieldError::new(
                "spec.accessTokenSecretRef.name",
                &reference.name,
                "this is the connection Secret, which tofustate writes; name another Secret or set spec.connectionSecretName",
            ));
        }
    }
}

fn access(access: &[Access], wrong: &mut Vec<FieldError>) {
    if access.len() > rules::MAX_ACCESS {
        let expected = format!("write at most {} entries", rules::MAX_ACCESS);
        wrong.push(FieldError::new("spec.access", &format!("{} entries", access.len()), expected));
    }
    for (n, entry) in access.iter().enumerate() {
        let field = format!("spec.access[{n}]");
        if !label(&entry.name) || entry.name.len() > rules::MAX_LABEL {
            let expected =
                "write at most 63 lower-case letters, digits and '-', beginning and ending with a letter or a digit";
            wrong.push(FieldError::new(format!("{field}.name"), &entry.name, expected));
        }
        if access.iter().take(n).any(|earlier| earlier.name == entry.name) {
            wrong.push(FieldError::new(format!("{field}.name"), &entry.name, "write a name that no other entry has"));
        }
        secret_ref(&entry.secret_ref, &format!("{field}.secretRef"), wrong);
    }
}

const SECRET_NAME: &str = "write the name of a Secret: at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or a digit";

fn secret_ref(reference: &SecretKeyRef, field: &str, wrong: &mut Vec<FieldError>) {
    if !subdomain(&reference.name) {
        wrong.push(FieldError::new(format!("{field}.name"), &reference.name, SECRET_NAME));
    }
    let key = &reference.key;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if key.is_empty()
        || key.len() > rules::MAX_SUBDOMAIN
        || !key.bytes().all(inner)
        || key == "."
        || key.starts_with("..")
    {
        let expected = "write a key of a Secret: at most 253 letters, digits, '-', '_' and '.'; not '.' and nothing that begins with '..'";
        wrong.push(FieldError::new(format!("{field}.key"), key, expected));
    }
}

/// Whether this can be the name of a namespace: a DNS-1123 label.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.len() <= rules::MAX_LABEL && label(text)
}

/// Whether this can be the name of a resource: a DNS-1123 subdomain.
#[must_use]
pub fn is_subdomain(text: &str) -> bool {
    subdomain(text)
}

/// A DNS-1123 label, but for its length.
fn label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
}

/// A DNS-1123 subdomain.
fn subdomain(text: &str) -> bool {
    text.len() <= rules::MAX_SUBDOMAIN && text.split('.').all(label)
}
