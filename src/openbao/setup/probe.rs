//! Tries a set-up: with a token of the operator's rights a token is made as for a state, which writes, reads and deletes an
//! entry that no state has. Nothing of it stays; where a try was killed, the next one removes what that left.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    PERIOD, Setup,
    admin::{Admin, SetupError},
};
use crate::{
    openbao::{Fault, Minted, Policy, PolicyName, Tokens, policy::probe_versions, request::Request, tokens::minted},
    store::keys,
};

/// How long a try lasts at the most: its tokens end then.
const LASTS: Duration = Duration::from_secs(600);

/// What one try uses, so that two at a time do not meet.
struct Probe<'a> {
    admin: &'a Admin,
    setup: &'a Setup,
    policy: PolicyName,
    /// The entry: `.versions/.probe/<seconds since 1970>-<random>`.
    key: String,
}

/// Tries it.
///
/// # Errors
/// What does not work, or works and should not.
pub(super) async fn probe(admin: &Admin, setup: &Setup) -> Result<(), SetupError> {
    let name = format!("{}-{:016x}", admin.bao.clock().now().as_second(), rand::random::<u64>());
    let probe = Probe::named(admin, setup, &name);
    let mut made = Vec::new();
    let done = probe.run(&mut made).await;
    probe.tidy(&made).await;
    done.map_err(SetupError::Probe)
}

/// Removes what tries left that were killed: policies, which no living token has any more, and entries. Answers how many
/// tries that were.
///
/// # Errors
/// OpenBao did not do it.
pub(super) async fn sweep(admin: &Admin, setup: &Setup) -> Result<usize, Fault> {
    let now = admin.bao.clock().now().as_second();
    // Nothing else is named so, and nothing else is to be removed.
    let own = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let over = |name: &String| {
        let began = name.split_once('-').and_then(|(began, _)| began.parse::<i64>().ok());
        began.is_none_or(|began| now.saturating_sub(began) > LASTS.as_secs().cast_signed())
    };
    let left: Vec<_> = probes(admin, setup).await?.into_iter().filter(own).filter(over).collect();
    for name in &left {
        Probe::named(admin, setup, name).remove().await?;
    }
    Ok(left.len())
}

/// The names of all tries of this installation whose policy is there.
async fn probes(admin: &Admin, setup: &Setup) -> Result<Vec<String>, Fault> {
    let all = PolicyName::probes(&setup.instance);
    let mut found = admin.ask(&Request::list(format!("sys/policies/acl/{all}"))).await;
    // Vault has but one list of all.
    if let Err(Fault::Refused { status: 405, .. }) = found {
        found = admin.ask(&Request::list("sys/policies/acl")).await;
    }
    match found {
        Ok(found) => {
            let names = found.data["keys"].as_array().into_iter().flatten().filter_map(Value::as_str);
            Ok(names.filter_map(|name| name.strip_prefix(&all)).map(str::to_owned).collect())
        }
        // An admin who may not look: what is left has no token that lives.
        Err(Fault::NotFound | Fault::Denied(_)) => Ok(Vec::new()),
        Err(fault) => Err(fault),
    }
}

impl<'a> Probe<'a> {
    fn named(admin: &'a Admin, setup: &'a Setup, name: &str) -> Self {
        let policy = PolicyName::probe(&setup.instance, name);
        Self { admin, setup, policy, key: format!("{}{name}", probe_versions()) }
    }

    async fn run(&self, made: &mut Vec<String>) -> Result<(), String> {
        let Setup { mount, instance, .. } = self.setup;
        let said = |doing: &'static str| move |fault: Fault| format!("{doing}: {fault}");

        let operator = self.operator().await.map_err(said("making a token with the operator's policy"))?;
        made.push(operator.accessor.clone());
        let own = Arc::new(operator.token.clone());
        let tokens = Tokens::new(self.admin.bao.clone(), own, instance.clone(), mount.clone());
        let operator = self.admin.with(operator.token);
        // Before there is its policy: should this one be left behind, it has no rights.
        let renewed = tokens.mint(&self.policy).await.map_err(said("the operator makes a state's token"))?;
        made.push(renewed.accessor.clone());
        let lives = tokens.renew(&renewed.accessor).await.map_err(said("the operator renews a state's token"))?;
        if lives != Duration::from_secs(PERIOD) {
            return Err(format!(
                "a state's token lives for {} s without a renewal, and not for {PERIOD} s: the server allows less (max_lease_ttl)",
                lives.as_secs()
            ));
        }
        tokens.revoke(&renewed.accessor).await.map_err(said("the operator ends a state's token"))?;

        let policy = Policy::of_probe(mount);
        tokens.ensure_policy(&self.policy, &policy).await.map_err(said("the operator writes a state's policy"))?;
        let scoped = tokens.mint_for(&self.policy, Some(LASTS)).await;
        let scoped = scoped.map_err(said("the operator makes a state's token"))?;
        made.push(scoped.accessor.clone());

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

    /// Removes what a try left that did not come to its end; where that fails, the next one does it.
    async fn tidy(&self, made: &[String]) {
        for accessor in made {
            let _ = self.admin.ask(&Request::revoke(accessor)).await;
        }
        let _ = self.remove().await;
    }

    /// Removes the entry, and then the policy, by which the next try would find what is left.
    async fn remove(&self) -> Result<(), Fault> {
        let part = format!("{}/metadata/{}", self.setup.mount, self.key);
        match self.admin.ask(&Request::delete(part)).await {
            Err(fault) if fault.passes() => return Err(fault),
            // Where it cannot be removed now, it could not be later.
            _ => {}
        }
        self.admin.ask(&Request::delete(format!("sys/policies/acl/{}", self.policy))).await.map(drop)
    }
}

async fn denied(who: &Admin, path: &str, what: &str) -> Result<(), String> {
    match who.ask(&Request::get(path)).await {
        Err(Fault::Denied(_)) => Ok(()),
        Ok(_) | Err(Fault::NotFound) => Err(format!("{what}, and should not be able to")),
        Err(fault) => Err(format!("{what}: {fault}")),
    }
}
