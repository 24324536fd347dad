//! `tofustate standalone --store openbao`.

use std::path::Path;

use super::Standalone;
use crate::bao::Bao;

impl Standalone {
    /// A server that is not started yet, without manifests, on an OpenBao that [`Bao::bootstrap`] set up, with the token
    /// in this file.
    pub fn on(server: &Bao, instance: &str, token: &Path) -> Self {
        let mut standalone = Self::new();
        standalone.env("TOFUSTATE_STORE", "openbao").env("TOFUSTATE_INSTANCE", instance);
        standalone.env("BAO_ADDR", &server.addresses()).env("BAO_TOKEN_FILE", token.to_str().unwrap());
        standalone
    }
}
