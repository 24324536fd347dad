//! cargo, started by a program that cargo started.

use std::{
    env,
    process::{Command, Stdio},
};

use crate::docs::root;

/// cargo in the clone. What `cargo run` told this program of its own package would have some of the others built anew.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|own| text.starts_with(own)) {
            cargo.env_remove(&name);
        }
    }
    cargo.args(args).current_dir(root()).stdin(Stdio::null());
    cargo
}
