//! KV v2 as the engine's store: entries of one mount, read and written with one token. What an entry looks like is in
//! `entry`, the calls are in `call`.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Bao, Fault, TokenSource,
    call::Call,
    entry::{self, Written},
};
use crate::store::{Entry, Expect, Kv, KvError, Listed, Revision, Value, keys};

/// How many parts are asked for their age at a time.
const AT_ONCE: usize = 8;

/// The states' mount as a store, by the right of one token: a state's own, or the operator's for the owners.
///
/// Reads are those of the active node, and believed only after it said, on the same connection, that it still was; but for
/// parts that are found, which cannot be out of date. A write is sent to a node that said so just before; again only with
/// another token, after a 403.
#[derive(Clone)]
pub struct OpenBaoKv {
    bao: Bao,
    tokens: Arc<dyn TokenSource>,
    limited: bool,
}

impl OpenBaoKv {
    /// The mount that the connection's settings name, with the token that `tokens` has.
    #[must_use]
    pub fn new(bao: Bao, tokens: Arc<dyn TokenSource>) -> Self {
        Self { bao, tokens, limited: false }
    }

    /// Within the connection's limit of calls: what no client asked for.
    #[must_use]
    pub fn limited(self) -> Self {
        Self { limited: true, ..self }
    }

    fn path(&self, kind: &str, key: &str) -> Result<String, KvError> {
        if !is_key(key) {
            return Err(KvError::Denied(format!("{key:?} is no key of tofustate's")));
        }
        Ok(format!("{}/{kind}/{key}", self.bao.settings().mount))
    }

    async fn call(&self, call: Call) -> Result<super::wire::Answer, Fault> {
        if self.limited {
            self.bao.rate().turn().await;
        }
        self.bao.call(&call, self.tokens.as_ref()).await
    }

    /// The names under a folder; an absent folder has none.
    async fn names(&self, folder: &str) -> Result<Vec<String>, KvError> {
        #[derive(Deserialize)]
        struct Names {
            keys: Vec<String>,
        }
        let path = self.path("metadata", folder)?;
        match self.call(Call::new("list", Method::GET, format!("{path}?list=true"))).await {
            Ok(answer) => Ok(entry::data::<Names>(&answer.body).ok_or_else(|| self.no_kv2())?.keys),
            Err(Fault::NotFound) => Ok(Vec::new()),
            Err(fault) => Err(fault.into()),
        }
    }

    /// When a part was written last; `None` where it has gone.
    async fn written(&self, key: String) -> Result<Option<Listed>, KvError> {
        #[derive(Deserialize)]
        struct Metadata {
            updated_time: Timestamp,
        }
        match self.call(Call::new("age", Method::GET, self.path("metadata", &key)?)).await {
            Ok(answer) => {
                let metadata = entry::data::<Metadata>(&answer.body).ok_or_else(|| self.no_kv2())?;
                Ok(Some(Listed { key, created: metadata.updated_time }))
            }
            Err(Fault::NotFound) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// KV version 1 says of an entry that it has not what version 2 says. Much hangs on there being no head, and that is
    /// rare: so it is asked what is mounted, as any token may that has some right there.
    async fn is_kv2(&self) -> Result<(), KvError> {
        #[derive(Deserialize)]
        struct Mounted {
            options: Option<Options>,
        }
        #[derive(Deserialize)]
        struct Options {
            version: Option<String>,
        }
        let path = format!("sys/internal/ui/mounts/{}", self.bao.settings().mount);
        let answer = self.call(Call::new("mount", Method::GET, path)).await?;
        let version = entry::data::<Mounted>(&answer.body).and_then(|found| found.options?.version);
        if version.as_deref() == Some("2") { Ok(()) } else { Err(self.no_kv2()) }
    }

    fn no_kv2(&self) -> KvError {
        KvError::Gone(format!(
            "what is mounted at {} is no KV version 2: see tofustate bootstrap --check",
            self.bao.settings().mount
        ))
    }
}

#[async_trait]
impl Kv for OpenBaoKv {
    async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let call = Call::new("get", Method::GET, self.path("data", key)?);
        // A part is written once, under a name of its own, and the head that names it was read from the active node.
        let part = key.starts_with(keys::VERSIONS);
        let room = if part { entry::room(self.part_bytes()) } else { 0 };
        match self.call(Call { room, proves_itself: part, ..call }).await {
            Ok(answer) => entry::decode(&answer.body).map(Some).ok_or_else(|| self.no_kv2()),
            Err(Fault::NotFound) if part => Ok(None),
            Err(Fault::NotFound) => self.is_kv2().await.map(|()| None),
            // Not "there is none": a head is never deleted by tofustate, so this is damage, and not to be written over.
            Err(Fault::Deleted { version, how }) => {
                let what = format!(
                    "a KV entry of which version {version} was {how}, not by tofustate: bring it back with `bao kv undelete`, or \
                     restore OpenBao from a snapshot; where that state was to go, `bao kv metadata delete` makes the path free"
                );
                Ok(Some(Entry { value: Value::Deleted(what), revision: Revision(version) }))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn put(&self, key: &str, value: &Value, expect: Expect) -> Result<Revision, KvError> {
        let body = entry::encode(value, expect);
        let body = body.ok_or_else(|| KvError::Denied(format!("{key}: tofustate did not write this entry")))?;
        let call = Call { body, ..Call::new("put", Method::POST, self.path("data", key)?) };
        match self.call(call).await {
            Ok(answer) => match entry::data::<Written>(&answer.body) {
                Some(Written { version }) => Ok(Revision(version)),
                None => Err(KvError::Other(format!(
                    "a write was answered without a version: what is mounted at {} is no KV version 2, which would have \
                     compared before it wrote; see tofustate bootstrap --check",
                    self.bao.settings().mount
                ))),
            },
            Err(fault) => {
                if let (Fault::TooLarge { limit, .. }, Value::Part(part)) = (&fault, value) {
                    self.bao.too_large(part.bytes.len(), *limit);
                }
                Err(fault.into())
            }
        }
    }

    async fn delete_part(&self, key: &str) -> Result<(), KvError> {
        if !key.starts_with(keys::VERSIONS) {
            return Err(KvError::Denied(format!("{key} is no part: only keys under {} are deleted", keys::VERSIONS)));
        }
        match self.call(Call::new("delete", Method::DELETE, self.path("metadata", key)?)).await {
            Ok(_) | Err(Fault::NotFound) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The list has no times, so each part is asked for its own: KV v2's metadata has them, and a state's token may read
    /// that.
    async fn list_parts(&self, prefix: &str) -> Result<Vec<Listed>, KvError> {
        let names = self.names(prefix).await?;
        let parts = names.into_iter().filter(|name| !name.ends_with('/')).map(|name| format!("{prefix}{name}"));
        let ages = stream::iter(parts.map(|key| self.written(key))).buffer_unordered(AT_ONCE);
        ages.try_filter_map(|listed| async { Ok(listed) }).try_collect().await
    }

    fn now(&self) -> Timestamp {
        self.bao.clock().now()
    }

    fn part_bytes(&self) -> usize {
        self.bao.part_bytes()
    }

    fn generation(&self) -> u64 {
        self.bao.generation()
    }
}

impl fmt::Debug for OpenBaoKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBaoKv").field("mount", &self.bao.settings().mount).finish_non_exhaustive()
    }
}

/// What needs no escape in a URL, and leads nowhere else. A folder ends in `/`.
fn is_key(key: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let parts = key.strip_suffix('/').unwrap_or(key).split('/');
    parts.into_iter().all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_place_in_the_mount() {
        for key in ["a", "team/net-work_1.prod", ".versions/team:net/41-9f3c.2", ".owners/a:b", ".versions/a:b/"] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "/", "/a", "a//b", "a/../b", "./a", "a?b", "a#b", "a%2fb", "a b", "ä", "a\nb"] {
            assert!(!is_key(key), "{key}");
        }
    }
}
