//! Why a call on OpenBao did not do what it was for, and what that is to the engine. Which answer means which is in
//! `answer`.

use std::time::Duration;

use super::KeeperError;
use crate::store::KvError;

/// Why a call on OpenBao did not do what it was for. No token and nothing of a state is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The entry is not at the revision that the write named.
    #[error("the entry changed since it was read")]
    CasMismatch,
    /// There is nothing there.
    #[error("there is no such thing in OpenBao")]
    NotFound,
    /// The entry was deleted, and KV v2 remembers that. Nothing of tofustate's does that to a head.
    #[error("the entry's version {version} was {how}")]
    Deleted {
        /// The version that was there.
        version: u64,
        /// `deleted at …` or `destroyed`.
        how: String,
    },
    /// An entry of this size is not taken.
    #[error("{message}")]
    TooLarge {
        /// What OpenBao said.
        message: String,
        /// The most bytes that it takes, where it said so.
        limit: Option<usize>,
    },
    /// The token has no right to this.
    #[error("OpenBao denies this to the token: {0}")]
    Denied(String),
    /// There is no such token (any more).
    #[error("OpenBao does not know the token: it was revoked, has expired, or is of another namespace")]
    InvalidToken,
    /// There is no token to ask with, and why.
    #[error("there is no token for OpenBao: {0}")]
    NoToken(String),
    /// Where tokens are kept cannot be asked now.
    #[error("{0}")]
    NotKept(String),
    /// The token cannot be kept until a person did what this says.
    #[error("{0}")]
    KeptByNobody(String),
    /// The token that was named by its accessor is not there (any more).
    #[error("OpenBao has no token of this accessor: it was revoked or has expired")]
    NoSuchToken,
    /// The token role is not there (any more): nothing is minted, and what was minted is not renewed.
    #[error("{0}: run tofustate bootstrap")]
    RoleGone(String),
    /// The operator's token lives, and may not even look at itself: its policy, named here, is not there or is another.
    #[error("the operator's policy {0} is missing, or is another, or is not its token's: run tofustate bootstrap")]
    PolicyGone(String),
    /// The mount or the namespace is not there.
    #[error("{0}")]
    Gone(String),
    /// OpenBao is sealed.
    #[error("OpenBao at {0} is sealed: unseal it")]
    Sealed(String),
    /// The node is a standby, or does not know who is active. It did nothing.
    #[error("the node at {0} is not the active one")]
    Standby(String),
    /// Too many requests. OpenBao did nothing.
    #[error("OpenBao limits the rate of requests: {message}")]
    Limited {
        /// What OpenBao said.
        message: String,
        /// How long to wait.
        retry_after: Option<Duration>,
    },
    /// It will be there in a moment. OpenBao did nothing.
    #[error("OpenBao is not ready: {0}")]
    NotReady(String),
    /// The server failed. It may have done it all the same.
    #[error("{message}")]
    Failed {
        /// What was seen.
        message: String,
        /// How long to wait.
        retry_after: Option<Duration>,
    },
    /// No connection was made: nothing was sent.
    #[error("{0}")]
    Unreachable(String),
    /// TLS refused: nothing was sent.
    #[error("{0}")]
    Tls(String),
    /// It was sent, and no answer came. The server may have done it.
    #[error("{0}")]
    Lost(String),
    /// Something answered that is not OpenBao, or not as it should.
    #[error("{0}")]
    Strange(String),
    /// The server said no for another reason, and did nothing.
    #[error("OpenBao answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What OpenBao said.
        message: String,
    },
}

impl Fault {
    /// The kind, as metrics have it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::CasMismatch => "cas_mismatch",
            Self::NotFound => "not_found",
            Self::Deleted { .. } => "deleted",
            Self::TooLarge { .. } => "too_large",
            Self::Denied(_) => "denied",
            Self::InvalidToken => "invalid_token",
            Self::NoToken(_) => "no_token",
            Self::NotKept(_) => "not_kept",
            Self::KeptByNobody(_) => "kept_by_nobody",
            Self::NoSuchToken => "no_such_token",
            Self::RoleGone(_) => "role_gone",
            Self::PolicyGone(_) => "policy_gone",
            Self::Gone(_) => "gone",
            Self::Sealed(_) => "sealed",
            Self::Standby(_) => "standby",
            Self::Limited { .. } => "limited",
            Self::NotReady(_) => "not_ready",
            Self::Failed { .. } => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Lost(_) => "lost",
            Self::Strange(_) => "strange",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether the server may have done what it was asked for.
    #[must_use]
    pub fn ambiguous(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Lost(_) | Self::Strange(_))
    }

    /// Whether another node may be the active one by now.
    #[must_use]
    pub fn asks_for_another_node(&self) -> bool {
        matches!(
            self,
            Self::Sealed(_)
                | Self::Standby(_)
                | Self::Failed { .. }
                | Self::Unreachable(_)
                | Self::Tls(_)
                | Self::Lost(_)
        )
    }

    /// Whether the same call may do better in a moment.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.is_away() || matches!(self, Self::NotKept(_))
    }

    /// Whether that is because OpenBao is away: every other call would meet the same.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.asks_for_another_node() || matches!(self, Self::Limited { .. } | Self::NotReady(_) | Self::Strange(_))
    }
}

impl From<KeeperError> for Fault {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Passes(_) => Self::NotKept(error.to_string()),
            KeeperError::Stays(_) => Self::KeptByNobody(error.to_string()),
        }
    }
}

impl From<Fault> for KvError {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        match fault {
            Fault::CasMismatch => Self::CasMismatch,
            Fault::TooLarge { .. } => Self::TooLarge(message),
            Fault::Denied(_)
            | Fault::InvalidToken
            | Fault::NoToken(_)
            | Fault::PolicyGone(_)
            | Fault::KeptByNobody(_) => Self::Denied(message),
            Fault::Gone(_) => Self::Gone(message),
            Fault::Limited { retry_after, .. } | Fault::Failed { retry_after, .. } => {
                Self::Unavailable { retry_after, message }
            }
            fault if fault.passes() => Self::Unavailable { retry_after: None, message },
            _ => Self::Other(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_kept_is_no_absence_of_openbao() {
        let away = Fault::Sealed("node".to_owned());
        let (passes, stays) = (KeeperError::Passes("slow".to_owned()), KeeperError::Stays("taken".to_owned()));
        let of = |fault: &Fault| (fault.passes(), fault.is_away());
        assert_eq!(of(&away), (true, true));
        assert_eq!(of(&passes.into()), (true, false));
        assert_eq!(of(&stays.clone().into()), (false, false));
        assert!(matches!(KvError::from(Fault::from(stays)), KvError::Denied(_)));
    }
}
