//! What `tofustate bootstrap` sets up, as far as tests of other parts need it, by calls of their own: the mount, a policy, a
//! token.

use std::fmt;

use serde_json::{Value, json};

use super::api::Api;
use crate::wait;

/// The mount's name in [`states`].
pub const MOUNT: &str = "states";

/// A token, which `Debug` does not show.
#[derive(Clone)]
pub struct Token {
    /// What a client sends.
    pub secret: String,
    /// What names it without giving its rights.
    pub accessor: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("accessor", &self.accessor).finish_non_exhaustive()
    }
}

/// The mount `states` as the store needs it, and a token that may do everything in it and nothing else. `api` has the
/// rights for that.
pub fn states(api: &Api) -> Token {
    mount(api, MOUNT, &json!({"cas_required": true, "max_versions": 1}));
    let all = json!({"capabilities": ["create", "read", "update", "delete", "list"]});
    policy(api, MOUNT, &json!({"path": {format!("{MOUNT}/*"): all}}));
    token(api, &[MOUNT])
}

/// A KV v2 mount with this `config`, ready: for its first moments it answers that it is being upgraded.
pub fn mount(api: &Api, mount: &str, config: &Value) {
    api.must("POST", &format!("sys/mounts/{mount}"), &json!({"type": "kv", "options": {"version": "2"}}));
    wait::until(&format!("mount {mount} is ready"), || {
        let answer = api.ask("POST", &format!("{mount}/config"), config)?;
        if matches!(answer.status, 200..300) { Ok(()) } else { Err(format!("{answer:?}")) }
    });
}

/// Writes a policy.
pub fn policy(api: &Api, name: &str, rules: &Value) {
    api.must("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": rules.to_string()}));
}

/// A service token without a parent and with these policies alone, for a day.
pub fn token(api: &Api, policies: &[&str]) -> Token {
    let asked = json!({"policies": policies, "no_default_policy": true, "ttl": "24h"});
    let mut answer = api.must("POST", "auth/token/create-orphan", &asked);
    let mut field = |name: &str| match answer["auth"][name].take() {
        Value::String(text) => text,
        other => panic!("the new token's {name} is {other}"),
    };
    Token { secret: field("client_token"), accessor: field("accessor") }
}
