//! The client's LockInfo: kept byte for byte, read only for what the engine and the status need.

/// The largest LockInfo, in bytes.
pub const MAX_LOCK_INFO: usize = 16 * 1024;
/// The longest lock id, in bytes: every version written under a lock names it. Clients send a UUID, 36 bytes.
pub const MAX_LOCK_ID: usize = 256;

/// What a client says of the lock it asks for. All strings; none but `ID` has to be there.
/// Source: OpenTofu `internal/states/statemgr/locker.go`, `LockInfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockInfo {
    /// The lock's id, made by the client.
    pub id: String,
    /// What the client is about to do, such as `OperationTypeApply`.
    pub operation: String,
    /// Extra information, free text.
    pub info: String,
    /// `user@host` of the client.
    pub who: String,
    /// The client's version.
    pub version: String,
    /// The client's time, as it wrote it.
    pub created: String,
    /// Where the state is, for local states.
    pub path: String,
}

/// Why a LOCK or UNLOCK body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockInfoError {
    /// Over [`MAX_LOCK_INFO`].
    #[error("the lock body has {0} bytes; at most {MAX_LOCK_INFO} are taken")]
    TooLarge(usize),
    /// Not a JSON object with string fields.
    #[error("the lock body is not a JSON object of strings as OpenTofu sends it (line {line}, column {column})")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// No `ID`, or an empty one.
    #[error("the lock body has no ID; send the LockInfo object with an ID that is new for each lock")]
    NoId,
    /// An `ID` over [`MAX_LOCK_ID`].
    #[error("the ID of the lock has {0} bytes; at most {MAX_LOCK_ID} are taken, and a UUID is 36")]
    LongId(usize),
    /// An `ID` with control characters.
    #[error("the ID of the lock has control characters; send a plain text such as a UUID")]
    ControlId,
}

impl LockInfo {
    /// Reads a LOCK or UNLOCK body. Any field but `ID` that is missing, null or no string counts as empty: a strange
    /// client must still be able to show its lock.
    ///
    /// # Errors
    /// Too large, no JSON object, no `ID`.
    pub fn parse(body: &[u8]) -> Result<Self, LockInfoError> {
        if body.len() > MAX_LOCK_INFO {
            return Err(LockInfoError::TooLarge(body.len()));
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body)
            .map_err(|error| LockInfoError::NotJson { line: error.line(), column: error.column() })?;
        let field = |name: &str| object.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let info = Self {
            id: field("ID"),
            operation: field("Operation"),
            info: field("Info"),
            who: field("Who"),
            version: field("Version"),
            created: field("Created"),
            path: field("Path"),
        };
        match info.id.len() {
            0 => Err(LockInfoError::NoId),
            long if long > MAX_LOCK_ID => Err(LockInfoError::LongId(long)),
            _ if info.id.chars().any(char::is_control) => Err(LockInfoError::ControlId),
            _ => Ok(info),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_opentofu_sends_and_what_it_does_not() {
        let body = br#"{"ID":"a","Operation":"OperationTypeApply","Info":"","Who":"u@h","Version":"1.12.6","Created":"x","Path":""}"#;
        let info = LockInfo::parse(body).unwrap();
        assert_eq!((info.id.as_str(), info.who.as_str()), ("a", "u@h"));
        let odd = LockInfo::parse(br#"{"ID":"a","Who":7,"Created":null,"Extra":[1]}"#).unwrap();
        assert_eq!((odd.who.as_str(), odd.created.as_str()), ("", ""));
    }

    #[test]
    fn refuses_what_has_no_id() {
        assert_eq!(LockInfo::parse(b"{}"), Err(LockInfoError::NoId));
        assert_eq!(LockInfo::parse(br#"{"ID":""}"#), Err(LockInfoError::NoId));
        assert_eq!(LockInfo::parse(br#"{"ID":3}"#), Err(LockInfoError::NoId));
        assert_eq!(LockInfo::parse(br#"{"ID":"a\u0000b"}"#), Err(LockInfoError::ControlId));
        let long = format!("{{\"ID\":\"{}\"}}", "x".repeat(257));
        assert_eq!(LockInfo::parse(long.as_bytes()), Err(LockInfoError::LongId(257)));
        assert!(matches!(LockInfo::parse(b"[]"), Err(LockInfoError::NotJson { .. })));
        assert!(matches!(LockInfo::parse(b""), Err(LockInfoError::NotJson { .. })));
        assert!(matches!(LockInfo::parse(&[0xff; 4]), Err(LockInfoError::NotJson { .. })));
        assert_eq!(LockInfo::parse(&[b' '; MAX_LOCK_INFO + 1]), Err(LockInfoError::TooLarge(MAX_LOCK_INFO + 1)));
    }
}
