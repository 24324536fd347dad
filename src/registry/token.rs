//! What makes a value a token: what a Secret's value must be for it. Nothing of a value is ever in a message.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Redacted, WEAK_TOKEN};

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 4096;
/// Random bytes of a generated token.
const BYTES: usize = 32;

/// A value that is a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The token, without the white space around it.
    pub token: Redacted<String>,
    /// There was white space around it.
    pub trimmed: bool,
    /// It is shorter than [`WEAK_TOKEN`] characters.
    pub weak: bool,
}

/// Why a value is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// Nothing but white space.
    #[error("is empty: write a token of at least {WEAK_TOKEN} characters")]
    Empty,
    /// No text.
    #[error("is not UTF-8: a token is a text")]
    NotText,
    /// Over [`MAX_TOKEN`] bytes.
    #[error("has more than {MAX_TOKEN} bytes")]
    TooLong,
    /// A client could not send it.
    #[error("has control characters, such as a line break, in it: write one line")]
    Control,
}

/// Reads a value as a token.
///
/// # Errors
/// It is none.
pub fn read(value: &[u8]) -> Result<Read, NoToken> {
    let text = std::str::from_utf8(value).map_err(|_| NoToken::NotText)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(NoToken::Empty);
    }
    if token.len() > MAX_TOKEN {
        return Err(NoToken::TooLong);
    }
    if token.chars().any(char::is_control) {
        return Err(NoToken::Control);
    }
    let weak = token.chars().count() < WEAK_TOKEN;
    Ok(Read { token: Redacted::from(token.to_owned()), trimmed: token.len() != text.len(), weak })
}

/// A new token: 256 random bits.
#[must_use]
pub fn generate() -> Redacted<String> {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>()).into()
}
