//! The calls that the operator makes with its own token for the tokens of states: policy, mint, look up, renew, revoke.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use vaultrs::api::{AuthInfo, token::responses::LookupTokenResponse};

use super::{
    Bao, Fault, Instance, Mount, Policy, PolicyName, Token, TokenSource,
    request::{Reply, Request},
    token::without_another,
};

/// What makes policies and tokens of states. Cloning shares it.
#[derive(Clone)]
pub struct Tokens {
    bao: Bao,
    own: Arc<dyn TokenSource>,
    instance: Instance,
    mount: Mount,
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The token.
    pub token: Token,
    /// What names it without giving its rights.
    pub accessor: String,
    /// How long it lives, if it is not renewed.
    pub ttl: Duration,
}

/// What OpenBao knows of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// How long it still lives; `None` for one that does not end.
    pub left: Option<Duration>,
    /// How long it lived when it was made or, where it has a period, lives when it is renewed.
    pub whole: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Until when it lives at the most, whatever renews it; `None` for no such limit.
    pub at_most: Option<Timestamp>,
    /// What it may do.
    pub policies: Vec<String>,
    /// What names it without giving its rights.
    pub accessor: String,
}

impl Tokens {
    /// Makes its calls with `own`, the operator's token.
    #[must_use]
    pub fn new(bao: Bao, own: Arc<dyn TokenSource>, instance: Instance, mount: Mount) -> Self {
        Self { bao, own, instance, mount }
    }

    /// The connection.
    #[must_use]
    pub fn bao(&self) -> &Bao {
        &self.bao
    }

    /// The installation.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The mount of the states.
    #[must_use]
    pub fn mount(&self) -> &Mount {
        &self.mount
    }

    /// The operator's own token.
    #[must_use]
    pub fn own(&self) -> &Arc<dyn TokenSource> {
        &self.own
    }

    /// Sees to it that a policy has this text; answers which it had in place of it: an empty one, where there was none.
    ///
    /// # Errors
    /// OpenBao did not do it.
    pub async fn ensure_policy(&self, name: &PolicyName, policy: &Policy) -> Result<Option<String>, Fault> {
        let at = format!("sys/policies/acl/{name}");
        let wanted = policy.to_string();
        let before = match self.ask(&Request::get(&at)).await {
            Ok(found) if found.data["policy"] == wanted => return Ok(None),
            Ok(found) => found.data["policy"].as_str().unwrap_or_default().to_owned(),
            Err(Fault::NotFound) => String::new(),
            Err(fault) => return Err(fault),
        };
        self.ask(&Request::post(&at, json!({ "policy": wanted }))).await?;
        Ok(Some(before))
    }

    /// Deletes a policy; none is as good.
    ///
    /// # Errors
    /// OpenBao did not do it.
    pub async fn delete_policy(&self, name: &PolicyName) -> Result<(), Fault> {
        self.ask(&Request::delete(format!("sys/policies/acl/{name}"))).await.map(drop)
    }

    /// Makes a token with one policy, which has to be there: OpenBao would make the token all the same.
    ///
    /// # Errors
    /// OpenBao did not do it; [`Fault::RoleGone`] where the token role is missing.
    pub async fn mint(&self, policy: &PolicyName) -> Result<Minted, Fault> {
        self.mint_for(policy, None).await
    }

    /// The same; `at_most`: the token ends after that, whatever renews it.
    pub(super) async fn mint_for(&self, policy: &PolicyName, at_most: Option<Duration>) -> Result<Minted, Fault> {
        let (namespace, name) = policy.resource();
        let mut body = json!({
            "policies": [policy.as_str()],
            "no_default_policy": true,
            "renewable": true,
            // For a person who looks it up.
            "display_name": format!("tofustate {namespace}/{name}"),
        });
        if let Some(at_most) = at_most {
            body["explicit_max_ttl"] = json!(format!("{}s", at_most.as_secs()));
        }
        let request = Request::post(format!("auth/token/create/{}", self.instance.role()), body);
        minted(self.ask(&request).await?.auth)
    }

    /// What OpenBao knows of a token; `None` where it is not there any more.
    ///
    /// # Errors
    /// It cannot be asked now.
    pub async fn look_up(&self, accessor: &str) -> Result<Option<Life>, Fault> {
        let request = Request::post("auth/token/lookup-accessor", json!({ "accessor": accessor }));
        match self.ask(&request).await {
            Ok(found) => life(found.data).map(Some),
            Err(Fault::NoSuchToken) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Renews a token, and answers how long it lives now.
    ///
    /// # Errors
    /// [`Fault::NoSuchToken`], [`Fault::RoleGone`], or it cannot be asked now.
    pub async fn renew(&self, accessor: &str) -> Result<Duration, Fault> {
        let request = Request::post("auth/token/renew-accessor", json!({ "accessor": accessor }));
        let renewed = self.ask(&request).await?.auth.ok_or_else(|| request.strange())?;
        Ok(Duration::from_secs(renewed.lease_duration))
    }

    /// Ends a token; none is as good.
    ///
    /// # Errors
    /// It cannot be asked now.
    pub async fn revoke(&self, accessor: &str) -> Result<(), Fault> {
        match self.ask(&Request::revoke(accessor)).await {
            Ok(_) | Err(Fault::NoSuchToken) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Reply, Fault> {
        let token = self.own.obtain().await?;
        match self.bao.request(Some(&token), request).await {
            Err(fault @ (Fault::InvalidToken | Fault::Denied(_))) => match self.own.refused(&token).await {
                true => self.bao.request(Some(&self.own.obtain().await?), request).await,
                false => Err(without_another(self.own.as_ref(), fault).await),
            },
            done => done,
        }
    }
}

/// What an answer with a new token says.
pub(super) fn minted(auth: Option<AuthInfo>) -> Result<Minted, Fault> {
    let strange = |what: &str| Fault::Strange(format!("OpenBao gave no token that can be used: {what}"));
    let made = auth.ok_or_else(|| strange("the answer has none"))?;
    let token = Token::parse(&made.client_token).map_err(|wrong| strange(&wrong.to_string()))?;
    Ok(Minted { token, accessor: made.accessor, ttl: Duration::from_secs(made.lease_duration) })
}

/// What the answer of a look-up says.
pub(super) fn life(data: Value) -> Result<Life, Fault> {
    let found: LookupTokenResponse = serde_json::from_value(data)
        .map_err(|_| Fault::Strange("OpenBao's answer about a token is not as it should be".to_owned()))?;
    Ok(Life {
        left: found.expire_time.is_some().then(|| Duration::from_secs(found.ttl)),
        whole: Duration::from_secs(found.creation_ttl),
        renewable: found.renewable.unwrap_or(false),
        at_most: (found.explicit_max_ttl > 0).then(|| end(found.creation_time, found.explicit_max_ttl)),
        policies: found.policies,
        accessor: found.accessor,
    })
}

fn end(made: u64, lives: u64) -> Timestamp {
    let seconds = i64::try_from(made.saturating_add(lives)).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("instance", &self.instance).field("mount", &self.mount).finish_non_exhaustive()
    }
}
