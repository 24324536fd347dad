//! The same set-up as commands of `bao`, for whoever rather runs those. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    PERIOD, Setup,
    item::{Entry, Item, empty},
};

impl Setup {
    /// Commands for a shell that set up the same, with `BAO_ADDR` and an admin's `BAO_TOKEN` in its environment.
    /// `operator_token`: a file for the operator's own token.
    #[must_use]
    pub fn commands(&self, operator_token: Option<&str>, revoke_admin: bool) -> String {
        let mut text = String::from(
            "# BAO_ADDR and BAO_TOKEN, an admin's, are set. What is there already is refused by the first commands of each kind.\nunset BAO_NAMESPACE\n",
        );
        let mut entered = self.namespace.is_none();
        for item in self.items() {
            if !entered && !matches!(item, Item::Namespace { .. }) {
                let namespace = self.namespace.as_deref().unwrap_or_default();
                let _ = writeln!(text, "export BAO_NAMESPACE={}", quoted(namespace));
                entered = true;
            }
            text.push_str(&item.command());
            text.push('\n');
        }
        let policy = self.instance.operator_policy();
        if let Some(file) = operator_token {
            // Beside it first: where no token is made, one that is there and in use is not lost.
            let new = quoted(&format!("{file}.new"));
            let _ = writeln!(
                text,
                "(umask 077 && bao token create -orphan -policy={} -no-default-policy -period={PERIOD}s -display-name={} -field=token > {new} && mv {new} {})",
                quoted(&policy),
                quoted(&format!("tofustate operator {}", self.instance.as_str())),
                quoted(file)
            );
        }
        if revoke_admin {
            text.push_str("bao token revoke -self\n");
        }
        text
    }
}

impl Item {
    fn command(&self) -> String {
        match self {
            Self::Namespace { parent: None, name } => format!("bao namespace create {}", quoted(name)),
            Self::Namespace { parent: Some(parent), name } => {
                format!("bao namespace create -namespace={} {}", quoted(parent), quoted(name))
            }
            Self::Mount(mount) => format!("bao secrets enable -path={} -version=2 kv", quoted(mount.as_str())),
            Self::Auth(mount) => format!("bao auth enable -path={} kubernetes", quoted(mount.as_str())),
            Self::Entry(entry) => entry.command(),
        }
    }
}

impl Entry {
    fn command(&self) -> String {
        if let Some(name) = self.path.strip_prefix("sys/policies/acl/") {
            let text = self.fields.first().and_then(|(_, text)| text.as_str()).unwrap_or_default();
            return format!("bao policy write {} - <<'END'\n{text}END", quoted(name));
        }
        let mut command = format!("bao write {}", quoted(&self.path));
        for (name, value) in self.fields.iter().filter(|(_, value)| !empty(value)) {
            let _ = write!(command, " {name}={}", quoted(&plain(value)));
        }
        // A mount that was just made refuses its config for some moments; a token without the right is refused for good.
        if self.path.ends_with("/config") && !self.path.starts_with("auth/") {
            return format!("for try in 1 2 3 4 5 6 7 8 9 10; do {command} && break; sleep 1; done");
        }
        command
    }
}

/// As `bao write` reads a value.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    // A file would be read.
    if text.starts_with('@') { format!("\\{text}") } else { text }
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openbao::{
        Address, Instance, Mount, Settings,
        setup::{KubernetesApi, KubernetesAuth},
    };

    #[test]
    fn a_shell_reads_each_word_as_it_was_meant() {
        for (text, word) in [
            ("states", "states"),
            ("a/b-c_d.e:f=g,h@i", "a/b-c_d.e:f=g,h@i"),
            ("", "''"),
            ("a b", "'a b'"),
            ("a*", "'a*'"),
            ("it's", "'it'\\''s'"),
            ("$(x)`y`\"\\", "'$(x)`y`\"\\'"),
            ("a\nb", "'a\nb'"),
        ] {
            assert_eq!(quoted(text), word);
        }
        assert_eq!(plain(&serde_json::json!("@file")), "\\@file");
    }

    #[test]
    fn every_thing_has_its_command() {
        let mut settings = Settings::new(vec![Address::parse("https://bao:8200", false).unwrap()]);
        settings.namespace = Some("team/tofu".to_owned());
        let mut setup = Setup::new(&settings, Instance::parse("prod").unwrap()).unwrap();
        setup.kubernetes = Some(KubernetesAuth {
            mount: Mount::parse("kubernetes").unwrap(),
            role: None,
            service_accounts: vec!["a".to_owned(), "b".to_owned()],
            namespaces: vec!["n".to_owned()],
            audience: "open bao".to_owned(),
            api: Some(KubernetesApi { host: "https://api:6443".to_owned(), ca: "-----BEGIN\nx\n".to_owned() }),
        });
        let text = setup.commands(Some("a file"), true);
        for line in [
            "bao namespace create team\n",
            "bao namespace create -namespace=team tofu\nexport BAO_NAMESPACE=team/tofu\n",
            "bao secrets enable -path=states -version=2 kv\n",
            "for try in 1 2 3 4 5 6 7 8 9 10; do bao write states/config cas_required=true max_versions=1 && break; sleep 1; done\n",
            "bao policy write tofustate-operator-prod - <<'END'\npath \"states/data/.owners/*\"",
            "}\nEND\nbao write auth/token/roles/tofustate-prod allowed_policies_glob='tofustate/prod/*' orphan=true",
            "bao auth enable -path=kubernetes kubernetes\n",
            "kubernetes_host=https://api:6443 kubernetes_ca_cert='-----BEGIN\nx\n' disable_local_ca_jwt=true\n",
            "bound_service_account_names=a,b bound_service_account_namespaces=n audience='open bao'",
            "-field=token > 'a file.new' && mv 'a file.new' 'a file')\nbao token revoke -self\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        setup.namespace = None;
        assert!(!setup.commands(None, false).contains("export"));
    }
}
