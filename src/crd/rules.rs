//! The texts of the CEL rules, and the bounds that keep their cost within what Kubernetes admits: every string that a
//! rule reads has a maximum length. What each rule admits is also what the parsers beside it admit; tests/crd.rs runs both.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::{Value, json};

/// The longest DNS-1123 label.
pub(crate) const MAX_LABEL: usize = 63;
/// The longest DNS-1123 subdomain, and the longest key of a Secret.
pub(crate) const MAX_SUBDOMAIN: usize = 253;
/// The most further credentials.
pub(crate) const MAX_ACCESS: usize = 32;
/// The longest `headEpoch`.
pub(crate) const MAX_EPOCH: usize = 64;
/// What the default name of the connection Secret ends in.
pub(crate) const CONNECTION_SUFFIX: &str = "-tofustate";
/// The longest name of a resource to which [`CONNECTION_SUFFIX`] can be added.
pub(crate) const MAX_NAME_FOR_DEFAULT: usize = MAX_SUBDOMAIN - CONNECTION_SUFFIX.len();

fn list(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}

/// `spec.path`.
pub(crate) fn path() -> Value {
    list(&[
        (
            "self.matches('^[a-z0-9]([a-z0-9._-]*[a-z0-9])?(/[a-z0-9]([a-z0-9._-]*[a-z0-9])?){0,7}$')",
            "write 1 to 8 segments joined by '/', such as team-a/network/prod; each is lower-case letters, digits, '.', '_' and '-', and begins and ends with a letter or a digit",
        ),
        ("!self.contains('..')", "'..' is not allowed in a path"),
        (
            "self != 'lock' && !self.endsWith('/lock') && !self.endsWith('.lock')",
            "the last segment of the path is 'lock' or ends in '.lock', which lock URLs use; choose another name",
        ),
        (
            "self == oldSelf",
            "the path cannot be changed; create another TofuStateBackend with the new path and move the state with tofu init -migrate-state",
        ),
    ])
}

/// Sizes: what `parse_quantity` parses.
pub(crate) fn quantity() -> Value {
    list(&[
        (
            "self.matches('^([0-9]{1,18}|[0-9]{1,15}([.][0-9]{1,6})?(k|Ki)|[0-9]{1,12}([.][0-9]{1,6})?(M|Mi)|[0-9]{1,9}([.][0-9]{1,6})?(G|Gi)|[0-9]{1,6}([.][0-9]{1,6})?(T|Ti)|[0-9]{1,3}([.][0-9]{1,6})?(P|Pi))$')",
            "write a size such as 256Mi, 1.5Gi, 1G or \"1048576\": digits, then nothing or one of k, M, G, T, P (powers of 1000), Ki, Mi, Gi, Ti, Pi (powers of 1024)",
        ),
        ("!self.matches('^[0.]+[A-Za-z]*$')", "write a size of at least one byte, or leave the field out"),
    ])
}

const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// Durations: what `parse_duration` parses.
pub(crate) fn duration() -> Value {
    list(&[
        (
            &format!("self.matches('{DURATION}')"),
            "write a duration such as 72h, 1h30m or 45s: one to four numbers of at most five digits, each with h, m, s or ms; there is no unit for days, 30 days are 720h",
        ),
        ("!self.matches('^[0hms]+$')", "write a duration above zero, or leave the field out"),
    ])
}

/// `spec.lock`. The API server also runs these over the default `{}` of `spec.lock` as it stands, without the defaults
/// inside: so they ask whether `staleAction` is there.
pub(crate) fn lock() -> Value {
    list(&[
        (
            "!has(self.staleAction) || self.staleAction != 'Release' || has(self.staleAfter)",
            "staleAction: Release needs staleAfter, the age of 1h or more at which a lock is released",
        ),
        // A malformed staleAfter has its own message.
        (
            &format!(
                "!has(self.staleAction) || self.staleAction != 'Release' || !has(self.staleAfter) || !self.staleAfter.matches('{DURATION}') || duration(self.staleAfter) >= duration('1h')"
            ),
            "staleAction: Release needs a staleAfter of 1h or more: a run whose lock is released cannot write its state",
        ),
    ])
}

/// `name` of a reference to a Secret, and `connectionSecretName`.
pub(crate) fn secret_name() -> Value {
    list(&[(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "write the name of a Secret: lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or a digit",
    )])
}

/// `key` of a reference to a Secret.
pub(crate) fn secret_key() -> Value {
    list(&[(
        "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
        "write a key of a Secret: letters, digits, '-', '_' and '.'; not '.' and nothing that begins with '..'",
    )])
}

/// `access[].name`.
pub(crate) fn access_name() -> Value {
    list(&[(
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "write a name of lower-case letters, digits and '-' that begins and ends with a letter or a digit",
    )])
}

/// `spec`.
pub(crate) fn spec() -> Value {
    list(&[(
        "!has(self.accessTokenSecretRef) || !has(self.connectionSecretName) || self.accessTokenSecretRef.name != self.connectionSecretName",
        "accessTokenSecretRef and connectionSecretName name the same Secret: the first is only read, the second is written; choose another name for one of them",
    )])
}

/// The whole resource: rules that need its name. `metadata.name` has no maximum length in Kubernetes' cost estimate, so
/// it is read outside of any loop.
pub(crate) fn root() -> Vec<ValidationRule> {
    let rule = |rule: String, message: String| ValidationRule { rule, message: Some(message), ..Default::default() };
    vec![
        rule(
            format!("has(self.spec.connectionSecretName) || size(self.metadata.name) <= {MAX_NAME_FOR_DEFAULT}"),
            format!(
                "metadata.name has more than {MAX_NAME_FOR_DEFAULT} characters, so {CONNECTION_SUFFIX} cannot be added to it; set spec.connectionSecretName"
            ),
        ),
        rule(
            format!(
                "has(self.spec.connectionSecretName) || !has(self.spec.accessTokenSecretRef) || self.spec.accessTokenSecretRef.name != self.metadata.name + '{CONNECTION_SUFFIX}'"
            ),
            format!(
                "spec.accessTokenSecretRef names <name>{CONNECTION_SUFFIX}, the connection Secret, which is written by tofustate; name another Secret or set spec.connectionSecretName"
            ),
        ),
    ]
}

/// `status`: what a replica that lags behind may not undo.
pub(crate) fn status() -> Value {
    list(&[
        (
            "!has(oldSelf.headEpoch) || has(self.headEpoch)",
            "headEpoch cannot be removed: it is what tells a lost state from one that never was",
        ),
        (
            "!has(oldSelf.headEpoch) || !has(oldSelf.headRevision) || !has(self.headEpoch) || self.headEpoch != oldSelf.headEpoch || (has(self.headRevision) && self.headRevision >= oldSelf.headRevision)",
            "headRevision cannot go down within an epoch: this status is older than the one that is there; read it again",
        ),
    ])
}
