//! The operator's own token: got by a login or taken as it is given, renewed, replaced when it is lost, ended where a login
//! made it.

mod upkeep;

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tracing::warn;

use crate::openbao::{
    Bao, Credential, CredentialError, Fault, Instance, Token, TokenSource,
    credential::read_given_token,
    pace::{self, Pace, Supplier as _},
    request::Request,
};

/// How often a token file is looked at, and what is due is looked for.
const LOOK: Duration = Duration::from_secs(5);
/// How long the end of a process waits for OpenBao.
const END: Duration = Duration::from_secs(5);

/// The operator's own token. Cloning shares it.
#[derive(Clone)]
pub struct Login {
    inner: Arc<Inner>,
}

struct Inner {
    bao: Bao,
    credential: Credential,
    /// What the token should have, for a person.
    policy: String,
    held: ArcSwapOption<Held>,
    /// One works at a time: logs in, renews, replaces.
    work: Arc<Mutex<Work>>,
    /// From 0 to 1: spreads the renewals of many replicas.
    spread: f64,
}

struct Held {
    token: Token,
    /// Of a token that a login made.
    accessor: Option<String>,
}

#[derive(Default)]
struct Work {
    pace: Pace,
    span: Option<Span>,
    /// What is wrong, as it was last logged.
    trouble: Option<Fault>,
    /// The process ends, and needs no other.
    ended: bool,
}

/// What is known of how long a token lives, by the clock of this machine.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// `None`: it does not end.
    ends: Option<Duration>,
    whole: Duration,
    renewable: bool,
}

impl Login {
    /// Prepares the one of an installation. Reads the token file, if there is one; asks OpenBao nothing yet.
    ///
    /// # Errors
    /// The token file cannot be used.
    pub fn new(bao: Bao, credential: Credential, instance: &Instance) -> Result<Self, CredentialError> {
        let given = match &credential {
            Credential::Kubernetes(_) => None,
            Credential::Token(token) => Some(token.clone()),
            Credential::File(file) => Some(read_given_token(file)?),
        };
        let held = ArcSwapOption::new(given.map(|token| Arc::new(Held { token, accessor: None })));
        let (policy, spread) = (instance.operator_policy(), rand::random_range(0.0..1.0));
        Ok(Self { inner: Arc::new(Inner { bao, credential, policy, held, work: Arc::default(), spread }) })
    }

    /// Keeps the token alive until `stop`. It is not ended then: what is under way may need it.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow() {
            self.look().await;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    /// What keeps it from having a token that lives on, if something does.
    pub async fn trouble(&self) -> Option<String> {
        self.inner.work.lock().await.trouble.as_ref().map(ToString::to_string)
    }

    /// Whether it may have another token while this process runs: by a login, or from a file.
    #[must_use]
    pub fn may_have_another(&self) -> bool {
        !matches!(self.inner.credential, Credential::Token(_))
    }

    /// Whether OpenBao answers to this token.
    ///
    /// # Errors
    /// It cannot be asked now, or there is no token that it knows.
    pub async fn answers(&self) -> Result<(), Fault> {
        let token = self.obtain().await?;
        self.inner.look_up(&token).await.map(drop)
    }

    async fn look(&self) {
        let mut work = self.inner.work.lock().await;
        let done = self.inner.maintain(&mut work).await;
        self.inner.note(&mut work, done.as_ref().err());
    }

    /// Ends the token where a login made it: the last that a process does, after [`super::OpenBaoStores::end`].
    pub async fn end(&self) {
        let mut work = self.inner.work.lock().await;
        work.ended = true;
        let Some(held) = self.inner.held.swap(None) else { return };
        let Some(accessor) = &held.accessor else { return };
        self.inner.end(accessor, &held.token).await;
    }
}

impl Inner {
    /// Ends a token that a login made, with that one or a later one.
    async fn end(&self, accessor: &str, with: &Token) {
        match timeout(END, self.bao.request(Some(with), &Request::revoke(accessor))).await {
            Ok(Ok(_) | Err(Fault::NoSuchToken)) => {}
            Ok(Err(fault)) => warn!(%fault, "the token of the login could not be ended: it ends by itself"),
            Err(_) => warn!("OpenBao did not answer: the token of the login ends by itself"),
        }
    }
}

#[async_trait]
impl TokenSource for Login {
    fn token(&self) -> Option<Token> {
        self.inner.held()
    }

    async fn obtain(&self) -> Result<Token, Fault> {
        pace::obtain(&self.inner, "the login gave none").await
    }

    async fn refused(&self, token: &Token) -> bool {
        pace::refused(&self.inner, token).await
    }

    async fn why_none(&self) -> Option<Fault> {
        self.inner.work.lock().await.trouble.clone()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("credential", &self.inner.credential).finish_non_exhaustive()
    }
}
