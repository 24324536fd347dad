//! What keeps the operator's token alive: looks at it, renews it, replaces it, tells of its end.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::{Held, Inner, Span, Work};
use crate::{
    openbao::{
        Credential, Fault, Life, Minted, ServiceAccount, Token,
        credential::read_given_token,
        pace::Supplier,
        request::{Reply, Request},
        tokens::{life, minted},
    },
    store::{BootClock, Clock as _, machine_time},
};

impl Inner {
    pub(super) async fn maintain(&self, work: &mut Work) -> Result<(), Fault> {
        let taken = match &self.credential {
            Credential::File(file) => self.take_file(work, file),
            _ => Ok(()),
        };
        // What it has lives on, whatever is in the file now.
        let kept = self.keep(work).await;
        kept.and(taken)
    }

    async fn keep(&self, work: &mut Work) -> Result<(), Fault> {
        let Some(held) = self.held.load_full() else { return self.replace(work, None).await };
        let Some(span) = work.span else {
            return match self.look_up(&held.token).await {
                Ok(found) => {
                    self.tell(&found);
                    work.span = Some(Span::of(&found));
                    Ok(())
                }
                Err(Fault::InvalidToken) => self.replace(work, Some(&held.token)).await,
                Err(fault) => Err(fault),
            };
        };
        if !span.renewable || !span.due(self.spread) {
            return Ok(());
        }
        let request = Request::post("auth/token/renew-self", json!({}));
        match self.own(&held.token, &request).await {
            Ok(reply) => {
                let left = Duration::from_secs(reply.auth.ok_or_else(|| request.strange())?.lease_duration);
                let renewed = Span { ends: Some(BootClock.boot() + left), whole: span.whole.max(left), ..span };
                work.span = Some(renewed);
                if !renewed.due(self.spread) {
                    return Ok(());
                }
                // It nears an end that no renewal moves.
                if matches!(self.credential, Credential::Kubernetes(_)) {
                    return self.replace(work, Some(&held.token)).await;
                }
                work.span = Some(Span { renewable: false, ..renewed });
                self.tell_end(machine_time().saturating_add(left).unwrap_or(Timestamp::MAX));
                Ok(())
            }
            Err(Fault::InvalidToken) => self.replace(work, Some(&held.token)).await,
            Err(fault) => Err(fault),
        }
    }

    /// Has another token than the one that is `lost`, at a pace.
    async fn replace(&self, work: &mut Work, lost: Option<&Token>) -> Result<(), Fault> {
        if work.ended {
            return Err(Fault::NoToken("this process ends".to_owned()));
        }
        if !work.pace.turn().await {
            let refused = || Fault::NoToken("the last one was refused".to_owned());
            return Err(work.trouble.clone().unwrap_or_else(refused));
        }
        let done = self.replace_now(work, lost).await;
        work.pace.came_to(&done.clone().map(|()| true));
        done
    }

    async fn replace_now(&self, work: &mut Work, lost: Option<&Token>) -> Result<(), Fault> {
        match &self.credential {
            Credential::Kubernetes(account) => {
                let made = self.log_in(account).await?;
                info!(role = account.role, ttl = made.ttl.as_secs(), "logged in to OpenBao");
                let ends = Some(BootClock.boot() + made.ttl);
                work.span = Some(Span { ends, whole: made.ttl, renewable: true });
                let held = Arc::new(Held { token: made.token, accessor: Some(made.accessor) });
                let former = self.held.swap(Some(held.clone()));
                // It may live for as long as a login does. Whoever uses it at the moment is refused, and takes the other.
                if let Some(former) = former.as_ref().and_then(|former| former.accessor.as_ref()) {
                    self.end(former, &held.token).await;
                }
                Ok(())
            }
            Credential::File(file) => {
                self.take_file(work, file)?;
                match self.held.load().as_ref().map(|held| &held.token) {
                    held if held == lost => Err(self.dead()),
                    _ => Ok(()),
                }
            }
            Credential::Token(_) => Err(self.dead()),
        }
    }

    fn take_file(&self, work: &mut Work, file: &Path) -> Result<(), Fault> {
        let token = read_given_token(file).map_err(|error| Fault::NoToken(error.to_string()))?;
        if self.held.load().as_ref().is_none_or(|held| held.token != token) {
            info!(file = %file.display(), "took another token for OpenBao from the file");
            self.held.store(Some(Arc::new(Held { token, accessor: None })));
            work.span = None;
        }
        Ok(())
    }

    pub(super) async fn look_up(&self, token: &Token) -> Result<Life, Fault> {
        life(self.own(token, &Request::lookup_self()).await?.data)
    }

    /// Asks what the operator's policy allows each token that has it. One that is denied it lives, so another would have
    /// no more rights.
    async fn own(&self, token: &Token, request: &Request) -> Result<Reply, Fault> {
        match self.bao.request(Some(token), request).await {
            Err(Fault::Denied(_)) => Err(Fault::PolicyGone(self.policy.clone())),
            done => done,
        }
    }

    async fn log_in(&self, account: &ServiceAccount) -> Result<Minted, Fault> {
        let ServiceAccount { mount, role, .. } = account;
        let jwt = account.read().map_err(|error| Fault::NoToken(error.to_string()))?;
        let request = Request::post(format!("auth/{mount}/login"), json!({ "role": role, "jwt": jwt.expose() }));
        match self.bao.request(None, &request).await {
            Ok(reply) => minted(reply.auth),
            Err(fault @ (Fault::InvalidToken | Fault::Denied(_))) => {
                let said = match fault {
                    Fault::Denied(said) => format!(" ({said})"),
                    _ => String::new(),
                };
                Err(Fault::NoToken(format!(
                    "the login at auth/{mount} with role {role} was refused{said}: are the ServiceAccount, its namespace and the audience of its token those of the role, and may OpenBao review tokens? Its log says why; tofustate bootstrap --check says whether this login is set up"
                )))
            }
            Err(Fault::Refused { message, .. }) if message.contains("invalid role name") => {
                Err(Fault::RoleGone(format!("auth/{mount} in OpenBao has no role {role}")))
            }
            Err(fault) => Err(fault),
        }
    }

    /// The variable or the file that a given token is from.
    fn place(&self) -> String {
        match &self.credential {
            Credential::Kubernetes(account) => format!("the login with role {}", account.role),
            Credential::Token(_) => "BAO_TOKEN".to_owned(),
            Credential::File(file) => file.display().to_string(),
        }
    }

    fn dead(&self) -> Fault {
        Fault::NoToken(format!(
            "OpenBao does not know the one of {} any more: it was revoked or has expired; make another, for example with tofustate bootstrap --operator-token-file",
            self.place()
        ))
    }

    /// Tells what a person should know of a token that was given.
    fn tell(&self, found: &Life) {
        if found.policies.iter().any(|policy| policy == "root") {
            warn!(
                token = self.place(),
                "this is a root token, which may do everything: make one with tofustate bootstrap --operator-token-file"
            );
        }
        let at_end = || found.left.map(|left| machine_time().saturating_add(left).unwrap_or(Timestamp::MAX));
        if let Some(ends) = if found.renewable { found.at_most } else { at_end() } {
            self.tell_end(ends);
        }
    }

    fn tell_end(&self, ends: Timestamp) {
        if !matches!(self.credential, Credential::Kubernetes(_)) {
            warn!(token = self.place(), %ends, "this token for OpenBao ends then, and no renewal moves that: put another in its place before");
        }
    }

    /// Tells what is wrong, once.
    pub(super) fn note(&self, work: &mut Work, fault: Option<&Fault>) {
        if let Some(fault) = fault.filter(|fault| work.trouble.as_ref() != Some(fault)) {
            warn!(%fault, "the operator's own token for OpenBao cannot be used, or kept alive");
        }
        work.trouble = fault.cloned();
    }
}

#[async_trait]
impl Supplier for Inner {
    type Work = Work;

    fn held(&self) -> Option<Token> {
        self.held.load().as_ref().map(|held| held.token.clone())
    }

    fn work(&self) -> &Arc<Mutex<Work>> {
        &self.work
    }

    async fn have(&self, work: &mut Work, refused: Option<&Token>) -> Result<bool, Fault> {
        if let Some(token) = refused {
            match self.look_up(token).await {
                Err(Fault::InvalidToken) => work.span = None,
                Err(fault @ Fault::PolicyGone(_)) => {
                    // It is looked at again until it may be.
                    work.span = None;
                    self.note(work, Some(&fault));
                    return Err(fault);
                }
                // One that lives was refused for want of a right: another one of the same login has no more.
                _ => return Err(Fault::NoToken("the one that it has lacks a right".to_owned())),
            }
        }
        let done = self.replace(work, refused).await;
        self.note(work, done.as_ref().err());
        done.map(|()| true)
    }
}

impl Span {
    fn of(found: &Life) -> Self {
        let ends = found.left.map(|left| BootClock.boot() + left);
        Self { ends, whole: found.whole, renewable: found.renewable }
    }

    /// Whether half of it is over. `spread`, from 0 to 1, moves that to up to a tenth earlier.
    fn due(&self, spread: f64) -> bool {
        let left = self.ends.map(|ends| ends.saturating_sub(BootClock.boot()));
        left.is_some_and(|left| left < self.whole.mul_f64(0.5 + spread / 10.0))
    }
}
