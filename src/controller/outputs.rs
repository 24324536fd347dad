//! What a resource gets for its runs: the connection Secret and the ConfigMap beside it. Pure.

use std::collections::BTreeMap;

use crate::{crd::StatePath, store::Redacted};

/// The user name that clients send; nothing is decided from it.
pub const USERNAME: &str = "tofustate";
/// The key of the ConfigMap.
pub const BACKEND_HCL: &str = "backend.hcl";

/// How runs reach a state.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// Where the HTTP backend is reached, without the path.
    pub endpoint: &'a str,
    /// The state.
    pub path: &'a StatePath,
    /// The token that clients send as their password.
    pub token: &'a Redacted<String>,
    /// The CA of the endpoint's certificate, PEM, where it is none of those that systems know.
    pub ca: Option<&'a str>,
    /// Whether clients use POST for LOCK and UNLOCK, at addresses of their own: for proxies that know no other methods.
    pub lock_by_post: bool,
}

impl Connection<'_> {
    /// The address of the state.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/{}", self.endpoint.trim_end_matches('/'), self.path)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let address = self.address();
        let mut settings = vec![("address", address.clone())];
        if self.lock_by_post {
            let lock = format!("{address}/lock");
            settings.extend([("lock_address", lock.clone()), ("unlock_address", lock)]);
            settings.extend([("lock_method", "POST".to_owned()), ("unlock_method", "DELETE".to_owned())]);
        } else {
            settings.extend([("lock_address", address.clone()), ("unlock_address", address)]);
        }
        settings.push(("username", USERNAME.to_owned()));
        settings
    }

    /// The Secret's data: every variable of OpenTofu's http backend that a run needs, for `envFrom`.
    #[must_use]
    pub fn secret(&self) -> BTreeMap<String, Redacted<String>> {
        let named = |(name, value): (&str, String)| (format!("TF_HTTP_{}", name.to_ascii_uppercase()), value.into());
        let mut data: BTreeMap<String, Redacted<String>> = self.settings().into_iter().map(named).collect();
        data.insert("TF_HTTP_PASSWORD".to_owned(), self.token.clone());
        if let Some(ca) = self.ca {
            data.insert("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM".to_owned(), ca.to_owned().into());
        }
        data
    }

    /// `backend.hcl`, for `tofu init -backend-config`: all but the token.
    #[must_use]
    pub fn hcl(&self) -> String {
        let mut lines: String = self.settings().iter().map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
        if let Some(ca) = self.ca {
            lines.push_str(&format!("client_ca_certificate_pem = <<EOT\n{}\nEOT\n", ca.trim_end()));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_there_and_the_token_in_the_secret_only() {
        let (path, token) = (StatePath::parse("team/app").unwrap(), "hush-hush".to_owned().into());
        let endpoint = "https://tofustate.tofu.svc:8443/";
        let plain = Connection { endpoint, path: &path, token: &token, ca: Some("PEM\n"), lock_by_post: false };
        let secret = plain.secret();
        let get = |name: &str| secret.get(name).map(|value| value.expose().as_str());
        assert_eq!(get("TF_HTTP_ADDRESS"), Some("https://tofustate.tofu.svc:8443/team/app"));
        assert_eq!(get("TF_HTTP_LOCK_ADDRESS"), get("TF_HTTP_ADDRESS"));
        assert_eq!(get("TF_HTTP_UNLOCK_ADDRESS"), get("TF_HTTP_ADDRESS"));
        assert_eq!(get("TF_HTTP_USERNAME"), Some("tofustate"));
        assert_eq!(get("TF_HTTP_PASSWORD"), Some("hush-hush"));
        assert_eq!(get("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"), Some("PEM\n"));
        assert!(!plain.hcl().contains("hush") && plain.hcl().contains("<<EOT\nPEM\nEOT\n"), "{}", plain.hcl());
        assert!(!format!("{plain:?} {secret:?}").contains("hush"));

        let posted = Connection { lock_by_post: true, ca: None, ..plain };
        let secret = posted.secret();
        assert_eq!(secret["TF_HTTP_LOCK_ADDRESS"].expose(), "https://tofustate.tofu.svc:8443/team/app/lock");
        assert_eq!(secret["TF_HTTP_LOCK_METHOD"].expose(), "POST");
        assert_eq!(secret["TF_HTTP_UNLOCK_METHOD"].expose(), "DELETE");
        assert!(!secret.contains_key("TF_HTTP_CLIENT_CA_CERTIFICATE_PEM"));
    }
}
