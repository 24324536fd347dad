//! Tries a set-up: with a token of the operator's rights a token is made as for a state, which writes, reads and deletes an
//! entry that no state has. Nothing of it stays.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    PERIOD, Setup,
    admin::{Admin, SetupError},
};
use crate::{
    openbao::{Fault, Minted, Policy, PolicyName, Tokens, policy::probe_versions, request::Request, tokens::minted},
    store::keys,
};

/// What one try uses, so that two at a time do not meet.
struct Probe<'a> {
    admin: &'a Admin,
    setup: &'a Setup,
    policy: PolicyName,
    /// The entry: `.versions/.probe/<random>`.
    key: String,
}

/// Tries it.
///
/// # Errors
/// What does not work, or works and should not.
pub(super) async fn probe(admin: &Admin, setup: &Setup) -> Result<(), SetupError> {
    let random = format!("{:016x}", rand::random::<u64>());
    let policy = PolicyName::probe(&setup.instance, &random);
    let probe = Probe { admin, setup, policy, key: format!("{}{random}", probe_versions()) };
    let mut made = Vec::new();
    let done = probe.run(&mut made).await;
    probe.tidy(&made).await;
    done.map_err(SetupError::Probe)
}

impl Probe<'_> {
    async fn run(&self, made: &mut Vec<String>) -> Result<(), String> {
        let Setup { mount, instance, .. } = self.setup;
        let said = |doing: &'static str| move |fault: Fault| format!("{doing}: {fault}");

        let operator = self.operator().await.map_err(said("making a token with the operator's policy"))?;
        made.push(operator.accessor.clone());
        let own = Arc::new(operator.token.clone());
        let tokens = Tokens::new(self.admin.bao.clone(), own, instance.clone(), mount.clone());
        let operator = self.admin.with(operator.token);
        let policy = Policy::of_probe(mount);
        tokens.ensure_policy(&self.policy, &policy).await.map_err(said("the operator writes a state's policy"))?;
        let scoped = tokens.mint(&self.policy).await.map_err(said("the operator makes a state's token"))?;
        made.push(scoped.accessor.clone());
        let renewed = tokens.renew(&scoped.accessor).await.map_err(said("the operator renews a state's token"))?;
        if renewed != Duration::from_secs(PERIOD) {
            return Err(format!(
                "a state's token lives for {} s without a renewal, and not for {PERIOD} s: the server allows less (max_lease_ttl)",
                renewed.as_secs()
            ));
        }

        let state = self.admin.with(scoped.token);
        let data = format!("{mount}/data/{}", self.key);
        let value = json!({ "probe": self.key });
        let write = Request::post(&data, json!({"options": {"cas": 0}, "data": value}));
        let written = state.ask(&write).await.map_err(said("a state's token writes"))?;
        if written.data["version"] != 1 {
            return Err("a write was answered without a version: the mount is no KV v2".to_owned());
        }
        match state.ask(&write).await {
            Err(Fault::CasMismatch) => {}
            Ok(_) => return Err("a write that expected no entry replaced one: check-and-set does not hold".to_owned()),
            Err(fault) => return Err(said("a state's token writes again")(fault)),
        }
        let read = state.ask(&Request::get(&data)).await.map_err(said("a state's token reads"))?;
        if read.data["data"] != value {
            return Err("what was read is not what was written".to_owned());
        }
        let owners = format!("{mount}/data/{}.probe", keys::OWNERS);
        match operator.ask(&Request::get(&owners)).await {
            Err(Fault::NotFound) => {}
            Ok(_) => return Err(format!("there is an entry {owners}")),
            Err(fault) => return Err(said("the operator reads an owner entry")(fault)),
        }
        denied(&operator, &data, "the operator's token reads a state").await?;
        denied(&state, &owners, "a state's token reads an owner entry").await?;
        denied(&state, &format!("{mount}/data/x"), "a state's token reads another state").await?;

        let part = format!("{mount}/metadata/{}", self.key);
        state.ask(&Request::delete(part)).await.map_err(said("a state's token deletes a part"))?;
        tokens.revoke(&scoped.accessor).await.map_err(said("the operator ends a state's token"))?;
        tokens.delete_policy(&self.policy).await.map_err(said("the operator deletes a state's policy"))
    }

    /// A token with the operator's rights. It ends with the admin's, or soon.
    async fn operator(&self) -> Result<Minted, Fault> {
        let body = json!({
            "policies": [self.setup.instance.operator_policy()],
            "no_default_policy": true,
            "ttl": "5m",
            "renewable": false,
            "display_name": "tofustate probe",
        });
        minted(self.admin.ask(&Request::post("auth/token/create", body)).await?.auth)
    }

    /// Removes what a try left that did not come to its end; where that fails, all but the policy ends by itself.
    async fn tidy(&self, made: &[String]) {
        let Setup { mount, .. } = self.setup;
        let _ = self.admin.ask(&Request::delete(format!("{mount}/metadata/{}", self.key))).await;
        for accessor in made {
            let _ = self.admin.ask(&Request::revoke(accessor)).await;
        }
        let _ = self.admin.ask(&Request::delete(format!("sys/policies/acl/{}", self.policy))).await;
    }
}

async fn denied(who: &Admin, path: &str, what: &str) -> Result<(), String> {
    match who.ask(&Request::get(path)).await {
        Err(Fault::Denied(_)) => Ok(()),
        Ok(_) | Err(Fault::NotFound) => Err(format!("{what}, and should not be able to")),
        Err(fault) => Err(format!("{what}: {fault}")),
    }
}
