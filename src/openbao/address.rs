//! Where an OpenBao server is: a scheme, a host and a port, nothing else.

use std::{fmt, net::IpAddr};

use reqwest::Url;

/// The address of an OpenBao server or of a load balancer before it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    https: bool,
    /// As it stands in a URL: an IPv6 address has brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Reads `https://host:port`. Plain HTTP is for loopback, or where it was asked for.
    ///
    /// # Errors
    /// A sentence about what is wrong, without what was given: a password may stand in it.
    pub fn parse(text: &str, plain_http: bool) -> Result<Self, String> {
        // The URL parser drops tabs and line breaks silently.
        if text.is_empty() || text.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            return Err("it is empty or has spaces or control characters in it".to_owned());
        }
        let url = Url::parse(text).map_err(|error| format!("it is no URL ({error}); write https://host:8200"))?;
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("its scheme is neither https nor http".to_owned()),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user or a password stands in it; give a token by BAO_TOKEN_FILE".to_owned());
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "something follows the port; OpenBao's API is at the root of its address, without /v1".to_owned()
            );
        }
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err("it has no host".to_owned());
        };
        let address = Self { https, host: host.to_owned(), port };
        if !address.https && !plain_http && !address.is_loopback() {
            return Err(
                "it is plain HTTP, which shows tokens and states to the network; use https, or ask for it with \
                 TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP=true"
                    .to_owned(),
            );
        }
        Ok(address)
    }

    /// Whether calls there are encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host as TCP and TLS know it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as it stands in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn is_loopback(&self) -> bool {
        let ip = self.host().parse::<IpAddr>();
        self.host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_an_address_and_no_more() {
        for (text, shown) in [
            ("https://bao.example:8200", "https://bao.example:8200"),
            ("https://BAO.example/", "https://bao.example:443"),
            ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
            ("http://[::1]:8200", "http://[::1]:8200"),
            ("http://localhost:8200", "http://localhost:8200"),
        ] {
            assert_eq!(Address::parse(text, false).map(|address| address.to_string()).as_deref(), Ok(shown), "{text}");
        }
        assert_eq!(Address::parse("http://[::1]:8200", false).unwrap().host(), "::1");
        for text in [
            "",
            "bao:8200",
            "https://bao:8200/v1",
            "https://bao:8200/base/",
            "https://bao:8200?x",
            "https://bao:8200#x",
            "https://ada:secret@bao:8200",
            "https://bao:8200\n",
            "https://ba o:8200",
            "unix:///run/bao.sock",
            "http://bao:8200",
            "http://10.0.0.1:8200",
        ] {
            let wrong = Address::parse(text, false).unwrap_err();
            assert!(!wrong.contains("secret"), "{wrong}");
        }
        assert!(Address::parse("http://bao:8200", true).is_ok());
    }
}
