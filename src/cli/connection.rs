//! How the commands of an admin reach OpenBao: as the environment says, with options in place of some of its variables.

use crate::openbao::{Settings, SettingsError, env};

/// Options of a command line, each in place of a variable.
pub(super) struct Connection<'a> {
    /// In place of `BAO_ADDR`.
    pub(super) address: Option<&'a str>,
    /// In place of `BAO_NAMESPACE`.
    pub(super) namespace: Option<&'a str>,
    /// In place of `TOFUSTATE_OPENBAO_MOUNT`.
    pub(super) mount: Option<&'a str>,
}

impl Connection<'_> {
    /// What the options say, then the environment, then `otherwise`.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub(super) fn settings(&self, otherwise: impl Fn(&str) -> Option<String>) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            let option = match name {
                "BAO_ADDR" => self.address,
                "BAO_NAMESPACE" => self.namespace,
                "TOFUSTATE_OPENBAO_MOUNT" => self.mount,
                _ => None,
            };
            option.map(str::to_owned).or_else(|| env(name)).or_else(|| otherwise(name))
        })
    }
}
