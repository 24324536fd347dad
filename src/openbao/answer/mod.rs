//! What OpenBao's answers mean. Some differ by their text alone: that matching is here and nowhere else. The texts are
//! those of OpenBao 2.6 and of Vault 1.14, which it came from; the tests have them as recorded.

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Deserialize;

use super::Fault;

/// What OpenBao says of plain HTTP on a port for HTTPS, and nginx before it.
const HTTPS: [&[u8]; 2] =
    [b"Client sent an HTTP request to an HTTPS server", b"The plain HTTP request was sent to HTTPS port"];

impl Fault {
    /// What an answer other than success means. `from` is the address that it came from.
    pub(super) fn of(from: &str, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let Some(said) = Said::parse(body) else {
            if status == 400 && HTTPS.iter().any(|text| body.windows(text.len()).any(|part| part == *text)) {
                return Self::Strange(format!("what answers at {from} speaks HTTPS: write https:// in its address"));
            }
            let deleted = if status == 404 { deleted(body) } else { None };
            return deleted.unwrap_or_else(|| Self::unspoken(from, status, retry_after, body.is_empty()));
        };
        let has = |text: &str| said.text.contains(text);
        let message = || shorten(&said.text);
        match status {
            // Of an accessor that is none of this namespace, OpenBao says the latter.
            400 | 403 | 500 if has("invalid accessor") || has("cannot lookup token in different namespace") => {
                Self::NoSuchToken
            }
            400 if has("unknown role") => Self::RoleGone(message()),
            500 if has("could not be found, not renewing") => Self::RoleGone(message()),
            400 if has("check-and-set parameter did not match") => Self::CasMismatch,
            // A KV v2 mount that was just made, as the active node has it and as a standby does.
            400 if has("Upgrading from non-versioned to versioned") => Self::NotReady(message()),
            400 if has("is currently being created or deleted") => Self::NotReady(message()),
            400 if has("Waiting for the primary to upgrade") => Self::Standby(from.to_owned()),
            // A token that has no right to it is one error in a list, a token that is none the only one.
            403 if said.text == "permission denied" || has("invalid token") => Self::InvalidToken,
            403 => Self::Denied(message()),
            404 if has("no handler for route") => Self::Gone(
                "the mount is gone from OpenBao, or the address or namespace is another's: restore it, or check the \
                 settings and run tofustate bootstrap --check"
                    .to_owned(),
            ),
            404 if has("namespace not found") => {
                Self::Gone("the namespace is gone from OpenBao: restore it, or check BAO_NAMESPACE".to_owned())
            }
            404 if said.text.is_empty() => Self::NotFound,
            413 => Self::TooLarge { message: message(), limit: None },
            429 => Self::Limited { message: message(), retry_after },
            472 | 473 => Self::Standby(from.to_owned()),
            500 if has("value being too large") => Self::TooLarge { message: message(), limit: limit(&said.text) },
            500 if has("active cluster node not found") => Self::Standby(from.to_owned()),
            503 if has("is sealed") => Self::Sealed(from.to_owned()),
            503 if has("node is not active") || has("no active Vault instance") => Self::Standby(from.to_owned()),
            500.. => {
                Self::Failed { message: format!("OpenBao at {from} answered {status}: {}", message()), retry_after }
            }
            _ => Self::Refused { status, message: message() },
        }
    }

    /// What a status without OpenBao's own words means: mostly something in between answered.
    fn unspoken(from: &str, status: u16, retry_after: Option<Duration>, empty: bool) -> Self {
        match status {
            // What a standby says of a request that may not be passed on. Nobody follows it: it would take the token along.
            307 if empty => Self::Standby(from.to_owned()),
            300..=399 => {
                Self::Strange(format!("{from} sends its clients elsewhere: give the address of OpenBao itself"))
            }
            413 => Self::TooLarge {
                message: "something before OpenBao takes no request of this size: raise its limit".to_owned(),
                limit: None,
            },
            429 => Self::Limited { message: format!("something before {from}"), retry_after },
            472 | 473 => Self::Standby(from.to_owned()),
            502..=504 => Self::Failed {
                message: format!("{from} answered {status}, from something before OpenBao"),
                retry_after,
            },
            _ => Self::Strange(format!(
                "what answers at {from} is not OpenBao (status {status}, no JSON of OpenBao's): check the address"
            )),
        }
    }

    /// What a failure of vaultrs means. Its own texts may quote an answer, and are not used.
    pub(super) fn of_control(from: &str, error: vaultrs::error::ClientError) -> Self {
        use rustify::errors::ClientError as Rest;
        use vaultrs::error::ClientError as Vault;
        let strange = || Self::Strange(format!("the answer of {from} is not as it should be"));
        match error {
            Vault::APIError { code, errors } => {
                let body = serde_json::json!({ "errors": errors }).to_string();
                Self::of(from, code, None, body.as_bytes())
            }
            Vault::RestClientError { source } => match source {
                Rest::ServerResponseError { code, content } => {
                    Self::of(from, code, None, content.unwrap_or_default().as_bytes())
                }
                Rest::RequestError { source, .. } => match source.downcast_ref::<reqwest::Error>() {
                    Some(error) => Self::of_reqwest(from, error),
                    None => Self::Lost(format!("{from}: no answer")),
                },
                Rest::ResponseError { .. } => Self::Lost(format!("{from}: the answer was cut short")),
                _ => strange(),
            },
            Vault::ResponseEmptyError | Vault::ResponseDataEmptyError => strange(),
            _ => strange(),
        }
    }

    /// What a failure of reqwest means.
    pub(super) fn of_reqwest(from: &str, error: &reqwest::Error) -> Self {
        if !error.is_connect() {
            let what = if error.is_timeout() { "no answer in time" } else { "the connection broke" };
            return Self::Lost(format!("{from}: {what}"));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        match cause.downcast_ref::<rustls::Error>() {
            Some(error) => Self::of_tls(from, error),
            None => Self::Unreachable(format!("{from} cannot be reached: {cause}")),
        }
    }

    /// What a failure of TLS means.
    pub(super) fn of_tls(from: &str, error: &rustls::Error) -> Self {
        let hint = match error {
            // The first byte is none of TLS.
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                ". What answers there speaks no TLS: if that is OpenBao with plain HTTP, write http:// in its address"
            }
            _ => "",
        };
        Self::Tls(format!("{from}: TLS failed: {error}{hint}"))
    }
}

/// What OpenBao's error answers have.
struct Said {
    /// All its errors and warnings.
    text: String,
}

impl Said {
    fn parse(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Errors {
            #[serde(default)]
            errors: Option<Vec<String>>,
            #[serde(default)]
            warnings: Option<Vec<String>>,
        }
        let Errors { errors, warnings } = serde_json::from_slice(body).ok()?;
        if errors.is_none() && warnings.is_none() {
            return None;
        }
        let lines = errors.into_iter().flatten().chain(warnings.into_iter().flatten());
        Some(Self { text: lines.collect::<Vec<_>>().join("; ") })
    }
}

/// KV v2's 404 for a version that was deleted or destroyed: it has metadata and no data.
fn deleted(body: &[u8]) -> Option<Fault> {
    #[derive(Deserialize)]
    struct Outer {
        data: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        version: u64,
        deletion_time: String,
        destroyed: bool,
    }
    let Metadata { version, deletion_time, destroyed } = serde_json::from_slice::<Outer>(body).ok()?.data.metadata;
    let how = if destroyed { "destroyed".to_owned() } else { format!("deleted at {}", shorten(&deletion_time)) };
    Some(Fault::Deleted { version, how })
}

/// `…; got 156 bytes, max 1048576 bytes`: the latter.
fn limit(text: &str) -> Option<usize> {
    let after = text.split("max").nth(1)?.trim_start_matches([' ', ':']);
    after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

/// One short line.
fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
