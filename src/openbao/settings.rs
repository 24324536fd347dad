//! What a connection to OpenBao needs, and how it is read from the environment. Reads no file.

use std::{fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use super::Address;

/// What a connection to OpenBao needs. No token is among it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where servers are, at least one: nodes of the cluster, or one address that always is the active one.
    pub addresses: Vec<Address>,
    /// The namespace that everything happens in.
    pub namespace: Option<String>,
    /// The KV v2 mount of the states.
    pub mount: String,
    /// Whether plain HTTP may be used outside of loopback.
    pub plain_http: bool,
    /// A bundle of CA certificates, PEM, in place of the system's.
    pub ca: Option<PathBuf>,
    /// A client certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How many calls a second are made for policies, tokens and owners, at most: not those for states, which clients ask
    /// for.
    pub rate: Option<NonZeroU32>,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError(pub Vec<String>);

/// The mount where none is named.
const MOUNT: &str = "states";
/// What is said where nothing names a server.
const NO_ADDRESS: &str = "no address of OpenBao is known: BAO_ADDR names one, or several with commas between";
const CONNECT: Duration = Duration::from_secs(2);
const CALL: Duration = Duration::from_secs(10);
/// What bao and vault read of the environment and is not used here. Left out is what means nothing to a server, such as
/// colours. BAO_SKIP_VERIFY is refused where it is on.
const UNUSED: [&str; 28] = [
    "BAO_AGENT_ADDR",
    "BAO_CACERT_BYTES",
    "BAO_CAPATH",
    "BAO_DISABLE_REDIRECTS",
    "BAO_HTTP_PROXY",
    "BAO_MAX_RETRIES",
    "BAO_PROXY_ADDR",
    "BAO_RATE_LIMIT",
    "BAO_SRV_LOOKUP",
    "BAO_TLS_SERVER_NAME",
    "BAO_WRAP_TTL",
    "VAULT_ADDR",
    "VAULT_AGENT_ADDR",
    "VAULT_CACERT",
    "VAULT_CACERT_BYTES",
    "VAULT_CAPATH",
    "VAULT_CLIENT_CERT",
    "VAULT_CLIENT_KEY",
    "VAULT_CLIENT_TIMEOUT",
    "VAULT_HTTP_PROXY",
    "VAULT_MAX_RETRIES",
    "VAULT_NAMESPACE",
    "VAULT_PROXY_ADDR",
    "VAULT_RATE_LIMIT",
    "VAULT_SKIP_VERIFY",
    "VAULT_SRV_LOOKUP",
    "VAULT_TLS_SERVER_NAME",
    "VAULT_TOKEN",
];

impl Settings {
    /// For these addresses, the rest as it is by default.
    #[must_use]
    pub fn new(addresses: Vec<Address>) -> Self {
        Self {
            addresses,
            namespace: None,
            mount: MOUNT.to_owned(),
            plain_http: false,
            ca: None,
            identity: None,
            connect_timeout: CONNECT,
            call_timeout: CALL,
            rate: None,
        }
    }

    /// What the environment says.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::read(env)
    }

    /// The names of variables of bao and vault that are set in the environment and not used here.
    #[must_use]
    pub fn unused_in_env() -> Vec<&'static str> {
        Self::unused(env)
    }

    fn unused(get: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
        let set = |name: &&str| get(name).is_some_and(|value| !value.trim().is_empty());
        UNUSED.into_iter().filter(set).collect()
    }

    /// What the variables say that `get` answers, such as those of the environment with options of the command line in
    /// place of some.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let (settings, wrong) = Self::gather(get, None);
        if wrong.is_empty() { Ok(settings) } else { Err(SettingsError(wrong)) }
    }

    /// The same, with everything that is wrong beside what is not. `wait`: how long a request waits for the store, where
    /// there are requests.
    pub(super) fn gather(get: impl Fn(&str) -> Option<String>, wait: Option<Duration>) -> (Self, Vec<String>) {
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut wrong = Vec::new();
        let mut settings = Self::new(Vec::new());
        match get("TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP").as_deref() {
            None | Some("false") => {}
            Some("true") => settings.plain_http = true,
            Some(_) => wrong.push("TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP is neither true nor false".to_owned()),
        }
        let given = get("BAO_ADDR");
        for (at, text) in given.iter().flat_map(|text| text.split(',')).enumerate() {
            match Address::parse(text.trim(), settings.plain_http) {
                Ok(address) => settings.addresses.push(address),
                Err(fault) => wrong.push(format!("address {} of BAO_ADDR: {fault}", at + 1)),
            }
        }
        settings.namespace = get("BAO_NAMESPACE");
        if let Some(mount) = get("TOFUSTATE_OPENBAO_MOUNT") {
            settings.mount = mount;
        }
        settings.ca = get("BAO_CACERT").map(PathBuf::from);
        match (get("BAO_CLIENT_CERT"), get("BAO_CLIENT_KEY")) {
            (Some(certificate), Some(key)) => settings.identity = Some((certificate.into(), key.into())),
            (None, None) => {}
            (Some(_), None) => wrong.push("BAO_CLIENT_CERT is set and BAO_CLIENT_KEY is not".to_owned()),
            (None, Some(_)) => wrong.push("BAO_CLIENT_KEY is set and BAO_CLIENT_CERT is not".to_owned()),
        }
        // A node that is frozen is noticed after one call, and another is to be asked before the request's time is over.
        let most = wait.map_or(Duration::MAX, |wait| wait / 2);
        settings.call_timeout = CALL.min(most);
        if let Some(text) = get("BAO_CLIENT_TIMEOUT") {
            match seconds(&text) {
                Some(time) if time <= most => settings.call_timeout = time,
                Some(time) => wrong.push(format!(
                    "BAO_CLIENT_TIMEOUT is {} s, and may be half of what a request waits for the store at most, {} s: lower it, or raise --store-wait (TOFUSTATE_STORE_WAIT)",
                    time.as_secs(),
                    most.as_secs_f64()
                )),
                None => {
                    wrong.push("BAO_CLIENT_TIMEOUT is no number of seconds from 1 to 600, such as 10 or 10s".to_owned())
                }
            }
        }
        if let Some(text) = get("TOFUSTATE_OPENBAO_RATE") {
            match text.parse::<u32>() {
                Ok(rate) => settings.rate = NonZeroU32::new(rate),
                Err(_) => wrong.push("TOFUSTATE_OPENBAO_RATE is no number of calls a second; 0 is any".to_owned()),
            }
        }
        if get("BAO_SKIP_VERIFY").is_some_and(|text| !["false", "0"].contains(&text.as_str())) {
            wrong.push("BAO_SKIP_VERIFY is set: certificates are always checked; name the CA by BAO_CACERT".to_owned());
        }
        // Where one was given it was just said what is wrong with it.
        wrong.extend(settings.wrong().into_iter().filter(|said| given.is_none() || said != NO_ADDRESS));
        (settings, wrong)
    }

    /// What must hold however the settings were made.
    pub(super) fn wrong(&mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.addresses.is_empty() {
            wrong.push(NO_ADDRESS.to_owned());
        }
        if let Some(namespace) = &mut self.namespace {
            *namespace = namespace.trim_matches('/').to_owned();
            if !is_path(namespace) {
                wrong.push("BAO_NAMESPACE is no path of letters, digits, '-', '_' and '.'".to_owned());
            }
        }
        self.mount = self.mount.trim_matches('/').to_owned();
        if !is_path(&self.mount) {
            wrong.push("TOFUSTATE_OPENBAO_MOUNT is no path of letters, digits, '-', '_' and '.'".to_owned());
        }
        wrong
    }
}

/// A variable of the environment.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// What needs no escape in a URL and nothing would be taken for a way up.
fn is_path(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(letter))
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: u64 = text.strip_suffix('s').unwrap_or(text).parse().ok()?;
    (1..=600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenBao cannot be used with these settings: {}", self.0.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_is_read_as_bao_reads_it() {
        let settings = read(&[
            ("BAO_ADDR", "https://a:8200, https://b:8200/"),
            ("BAO_NAMESPACE", "/team/tofu/"),
            ("BAO_CACERT", "/ca.pem"),
            ("BAO_CLIENT_CERT", "/c.pem"),
            ("BAO_CLIENT_KEY", "/k.pem"),
            ("BAO_CLIENT_TIMEOUT", "30s"),
            ("BAO_SKIP_VERIFY", "false"),
            ("TOFUSTATE_OPENBAO_MOUNT", "kv/states/"),
            ("TOFUSTATE_OPENBAO_RATE", "50"),
        ])
        .unwrap();
        let addresses: Vec<_> = settings.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["https://a:8200", "https://b:8200"]);
        assert_eq!(settings.namespace.as_deref(), Some("team/tofu"));
        assert_eq!(settings.mount, "kv/states");
        assert_eq!(settings.ca, Some("/ca.pem".into()));
        assert_eq!(settings.identity, Some(("/c.pem".into(), "/k.pem".into())));
        assert_eq!(settings.call_timeout, Duration::from_secs(30));
        assert_eq!(settings.rate, NonZeroU32::new(50));
        let least = read(&[("BAO_ADDR", "http://127.0.0.1:8200"), ("BAO_NAMESPACE", "")]).unwrap();
        assert_eq!(least, Settings::new(least.addresses.clone()));
        assert_eq!(least.mount, "states");
    }

    #[test]
    fn a_call_leaves_a_request_time_for_another() {
        let gather = |timeout: &str, wait: u64| {
            let set = [("BAO_ADDR", "https://a:8200"), ("BAO_CLIENT_TIMEOUT", timeout)];
            let get = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            Settings::gather(get, Some(Duration::from_secs(wait)))
        };
        for (timeout, wait, call) in
            [("", 25, 10_000), ("", 5, 2_500), ("", 120, 10_000), ("12s", 25, 12_000), ("60", 120, 60_000)]
        {
            let (settings, wrong) = gather(timeout, wait);
            assert_eq!((settings.call_timeout.as_millis(), wrong), (call, vec![]), "{timeout} {wait}");
        }
        for (timeout, wait, says) in [
            (
                "13",
                25,
                "BAO_CLIENT_TIMEOUT is 13 s, and may be half of what a request waits for the store at most, 12.5 s",
            ),
            ("600", 120, "at most, 60 s: lower it, or raise --store-wait"),
            ("3", 5, "at most, 2.5 s"),
        ] {
            let (_, wrong) = gather(timeout, wait);
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{timeout} {wait}: {wrong:?}");
        }
    }

    #[test]
    fn what_is_set_and_not_used_is_named() {
        let unused = |set: &[(&str, &str)]| {
            Settings::unused(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        let used =
            ["BAO_ADDR", "BAO_NAMESPACE", "BAO_CACERT", "BAO_TOKEN", "BAO_TOKEN_FILE", "BAO_CLIENT_TIMEOUT", "PATH"];
        assert_eq!(unused(&used.map(|name| (name, "x"))), Vec::<&str>::new());
        let set =
            [("VAULT_TOKEN", "s.x"), ("BAO_MAX_RETRIES", "2"), ("BAO_CAPATH", " "), ("BAO_TLS_SERVER_NAME", "bao")];
        assert_eq!(unused(&set), ["BAO_MAX_RETRIES", "BAO_TLS_SERVER_NAME", "VAULT_TOKEN"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let SettingsError(wrong) = read(&[
            ("BAO_ADDR", "https://ok:8200,http://bao:8200"),
            ("BAO_NAMESPACE", "a/../b"),
            ("BAO_CLIENT_KEY", "/k.pem"),
            ("BAO_CLIENT_TIMEOUT", "soon"),
            ("BAO_SKIP_VERIFY", "1"),
            ("TOFUSTATE_OPENBAO_MOUNT", "a b"),
            ("TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP", "yes"),
            ("TOFUSTATE_OPENBAO_RATE", "fast"),
        ])
        .unwrap_err();
        for name in [
            "TOFUSTATE_OPENBAO_ALLOW_PLAIN_HTTP",
            "address 2 of BAO_ADDR",
            "BAO_NAMESPACE",
            "BAO_CLIENT_CERT",
            "BAO_CLIENT_TIMEOUT",
            "BAO_SKIP_VERIFY",
            "TOFUSTATE_OPENBAO_MOUNT",
            "TOFUSTATE_OPENBAO_RATE",
        ] {
            assert!(wrong.iter().any(|wrong| wrong.contains(name)), "{name}: {wrong:#?}");
        }
        assert_eq!(wrong.len(), 8, "{wrong:#?}");
        assert!(read(&[]).unwrap_err().to_string().contains("no address of OpenBao is known"));
        let SettingsError(wrong) = read(&[("BAO_ADDR", "bao:8200")]).unwrap_err();
        assert!(wrong.len() == 1 && wrong[0].starts_with("address 1 of BAO_ADDR"), "{wrong:#?}");
    }
}
