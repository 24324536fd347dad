//! What this process wrote of Secrets and ConfigMaps: its own writes come back by the watch, and are no news.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{Resource, ResourceExt as _};

/// The last writes, by object.
#[derive(Default)]
pub(super) struct Written(Mutex<HashMap<u64, Write>>);

enum Write {
    /// It is under way; what the watch told of the object meanwhile, last.
    UnderWay(Option<u64>),
    /// What it made.
    Done(u64),
}

fn sum(parts: &[&str]) -> u64 {
    let mut hash = DefaultHasher::new();
    parts.hash(&mut hash);
    hash.finish()
}

/// A write that is under way. Where it is given up half-way, its object is looked at anew anyhow.
pub(super) struct UnderWay<'a> {
    written: &'a Written,
    key: u64,
}

impl UnderWay<'_> {
    /// It ended, and made this resourceVersion; `None`: it failed, or nobody knows. Answers whether the watch told of
    /// another write meanwhile.
    pub(super) fn end(self, version: Option<&str>) -> bool {
        let made = version.map(|version| sum(&[version]));
        let mut all = self.written.all();
        let told = match all.remove(&self.key) {
            Some(Write::UnderWay(told)) => told,
            _ => None,
        };
        if let Some(made) = made.filter(|made| told != Some(*made)) {
            all.insert(self.key, Write::Done(made));
        }
        drop(all);
        told.is_some() && told != made
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut all = self.written.all();
        if matches!(all.get(&self.key), Some(Write::UnderWay(_))) {
            all.remove(&self.key);
        }
    }
}

impl Written {
    /// A write begins.
    pub(super) fn begin(&self, kind: &str, namespace: &str, name: &str) -> UnderWay<'_> {
        let key = sum(&[kind, namespace, name]);
        self.all().insert(key, Write::UnderWay(None));
        UnderWay { written: self, key }
    }

    /// Whether what the watch tells of an object is news. A write that is under way says so at its end.
    pub(super) fn is_news<K: Resource<DynamicType = ()>>(&self, object: &K) -> bool {
        let version = sum(&[object.resource_version().as_deref().unwrap_or_default()]);
        let key = sum(&[&K::kind(&()), object.namespace().as_deref().unwrap_or_default(), &object.name_any()]);
        let mut all = self.all();
        match all.get_mut(&key) {
            Some(Write::UnderWay(told)) => {
                *told = Some(version);
                false
            }
            Some(Write::Done(made)) => {
                let news = *made != version;
                // It comes once.
                all.remove(&key);
                news
            }
            None => true,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Write>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    fn secret(version: &str) -> Secret {
        let mut secret = Secret::default();
        let metadata = &mut secret.metadata;
        (metadata.namespace, metadata.name) = (Some("team".to_owned()), Some("app".to_owned()));
        metadata.resource_version = Some(version.to_owned());
        secret
    }

    #[test]
    fn an_own_write_is_no_news_whether_its_answer_or_its_event_comes_first() {
        let written = Written::default();
        let begin = || written.begin("Secret", "team", "app");
        assert!(written.is_news(&secret("1")));
        let write = begin();
        assert!(!write.end(Some("2")) && !written.is_news(&secret("2")));
        assert!(written.is_news(&secret("2")), "told again, as after a list");
        let write = begin();
        assert!(!written.is_news(&secret("3")) && !write.end(Some("3")));
        assert!(written.is_news(&secret("4")));
    }

    #[test]
    fn what_another_wrote_at_the_same_time_is_news() {
        let written = Written::default();
        let begin = || written.begin("Secret", "team", "app");
        let write = begin();
        assert!(!written.is_news(&secret("2")) && write.end(None), "the own write failed");
        let write = begin();
        assert!(!written.is_news(&secret("3")) && !written.is_news(&secret("4")) && write.end(Some("3")), "after");
        let write = begin();
        assert!(!written.is_news(&secret("5")) && write.end(Some("6")), "before");
        assert!(!written.is_news(&secret("6")));
        let write = begin();
        assert!(!write.end(Some("7")) && written.is_news(&secret("8")), "theirs alone was told");
        drop(begin());
        assert!(written.is_news(&secret("9")), "it was given up");
    }
}
