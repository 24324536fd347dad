//! Tokens, and where the one of a call comes from.

use std::fmt;

use async_trait::async_trait;

use super::Fault;
use crate::store::Redacted;

/// An OpenBao token. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Redacted<String>);

/// Why a text is no token. Nothing of the text is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// It could not be sent as a header.
    #[error("the token has spaces, control or non-ASCII characters in it: is it the right file?")]
    Characters,
}

impl Token {
    /// Takes a token without the white space around it.
    ///
    /// # Errors
    /// It is empty, or no text that a header can carry.
    pub fn parse(text: &str) -> Result<Self, BadToken> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadToken::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadToken::Characters);
        }
        Ok(Self(Redacted::from(text.to_owned())))
    }

    /// The token itself. Not for a log, a message or a label.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the token of a state comes from, as it is at the moment.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The token to use now; `None` where there is none yet.
    fn token(&self) -> Option<Token>;

    /// The token to use now; got first, where there is none yet.
    ///
    /// # Errors
    /// There is none to be had now.
    async fn obtain(&self) -> Result<Token, Fault> {
        self.token().ok_or_else(|| Fault::NoToken("none was got yet".to_owned()))
    }

    /// OpenBao refused `token`. A source that can look for another does so, and answers whether it has one now.
    async fn refused(&self, token: &Token) -> bool;

    /// Why there is no other token than one that was refused, where that is known: what a person has to do about it.
    async fn why_none(&self) -> Option<Fault> {
        None
    }
}

/// What is told of a call that was refused, where there is no other token: why there is none, if that is known.
pub(super) async fn without_another(tokens: &dyn TokenSource, refusal: Fault) -> Fault {
    match (refusal, tokens.why_none().await) {
        (refusal, None) => refusal,
        // It may lack a right, whatever else is wrong.
        (Fault::Denied(said), Some(trouble)) => Fault::Denied(format!("{said} ({trouble})")),
        (_, Some(no_token @ Fault::NoToken(_))) => no_token,
        (_, Some(trouble)) => Fault::NoToken(trouble.to_string()),
    }
}

/// One token that stays.
#[async_trait]
impl TokenSource for Token {
    fn token(&self) -> Option<Token> {
        Some(self.clone())
    }

    async fn refused(&self, _: &Token) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bad(Option<Fault>);

    #[async_trait]
    impl TokenSource for Bad {
        fn token(&self) -> Option<Token> {
            None
        }

        async fn refused(&self, _: &Token) -> bool {
            false
        }

        async fn why_none(&self) -> Option<Fault> {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn a_refusal_says_why_there_is_no_other_token() {
        let gone = Fault::RoleGone("unknown role x".to_owned());
        for (trouble, says) in [
            (None, "OpenBao does not know the token"),
            (Some(gone), "there is no token for OpenBao: unknown role x: run tofustate bootstrap"),
            (Some(Fault::NoToken("a".to_owned())), "there is no token for OpenBao: a"),
        ] {
            let told = without_another(&Bad(trouble), Fault::InvalidToken).await.to_string();
            assert!(told.starts_with(says), "{told}");
        }
        let denied = Fault::Denied("permission denied".to_owned());
        let told = without_another(&Bad(Some(Fault::NotKept("full".to_owned()))), denied).await.to_string();
        assert_eq!(told, "OpenBao denies this to the token: permission denied (full)");
    }

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let token = Token::parse(" s.abc\n").unwrap();
        assert_eq!(token.expose(), "s.abc");
        assert_eq!(format!("{token:?}"), "[redacted]");
        assert_eq!(Token::parse(" \n"), Err(BadToken::Empty));
        for bad in ["s.a\nb", "s.a b", "s.ä", "s.a\u{0}b"] {
            assert_eq!(Token::parse(bad), Err(BadToken::Characters), "{bad:?}");
        }
    }
}
