//! The calls of an admin: in the namespace of the set-up, and in those around it.

use std::{iter::successors, time::Duration};

use tokio::time::{Instant, sleep};

use crate::openbao::{
    Bao, Fault, Settings, Token,
    request::{Reply, Request},
};

/// How long a mount that was just made may take until it can be used, and another hindrance until it passes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Why a set-up, or a look at one, did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// OpenBao did not do it.
    #[error("{doing}: {fault}")]
    Fault {
        /// What was being done.
        doing: String,
        /// What was seen.
        fault: Fault,
    },
    /// It would do harm.
    #[error("{0}")]
    Refused(String),
    /// All is there, and yet it does not work.
    #[error("all is set up, and yet it does not work as it should: {0}")]
    Probe(String),
}

/// OpenBao with the token of one who may do this.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) bao: Bao,
    pub(super) token: Token,
}

impl Admin {
    /// Makes a call. What passes, such as a mount that is just being made, is waited out.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply, Fault> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.bao.request(Some(&self.token), request).await {
                Err(Fault::NotReady(_) | Fault::Limited { .. }) if Instant::now() < until => sleep(PAUSE).await,
                done => return done,
            }
        }
    }

    /// The same one in another namespace.
    pub(super) fn within(&self, namespace: Option<&str>) -> Result<Self, Fault> {
        let namespace = namespace.map(str::to_owned);
        let settings = Settings { namespace, ..self.bao.settings().clone() };
        // Its files were read once already.
        let bao =
            Bao::new(settings, self.bao.metrics().clone()).map_err(|error| Fault::Unreachable(error.to_string()))?;
        Ok(Self { bao, token: self.token.clone() })
    }

    /// Whether OpenBao knows the token, in this namespace or one around it: a namespace that is not there knows none.
    ///
    /// # Errors
    /// It does not.
    pub(super) async fn known(&self) -> Result<(), SetupError> {
        const LOOKING: &str = "looking at the admin's token";
        for namespace in outward(self.bao.settings().namespace.as_deref()) {
            let here = doing(LOOKING, self.within(namespace))?;
            match (here.ask(&Request::lookup_self()).await, namespace) {
                (Err(Fault::InvalidToken | Fault::Gone(_)), Some(_)) => {}
                (Err(fault @ Fault::InvalidToken), None) => return doing(LOOKING, Err(fault)),
                // It may not look at itself, or something else is wrong, which is told of what is looked for.
                _ => break,
            }
        }
        Ok(())
    }

    /// The same connection with another token.
    pub(super) fn with(&self, token: Token) -> Self {
        Self { bao: self.bao.clone(), token }
    }
}

/// A namespace and those around it, up to the root, which is `None`.
pub(super) fn outward(namespace: Option<&str>) -> impl Iterator<Item = Option<&str>> {
    successors(Some(namespace), |inner| inner.map(|inner| inner.rsplit_once('/').map(|(outer, _)| outer)))
}

/// Names what was being done.
pub(super) fn doing<T>(doing: impl Into<String>, done: Result<T, Fault>) -> Result<T, SetupError> {
    done.map_err(|fault| SetupError::Fault { doing: doing.into(), fault })
}
