//! What clients ask of a replica, and what it must answer.

use serde_json::Value;
use tofustate_e2e::ask::{Answer, Ask, ask, lock_info};

use crate::replica::{Replica, TOKEN};

impl Replica {
    /// A request of a client; `path` may have a query.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask {
        ask(method, &format!("{}/{path}", self.url)).token(TOKEN)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send()
    }

    pub(crate) fn lock(&self, path: &str, id: &str) -> Answer {
        self.ask("LOCK", path).body(lock_info(id)).send()
    }

    pub(crate) fn unlock(&self, path: &str, id: &str) -> Answer {
        self.ask("UNLOCK", path).body(lock_info(id)).send()
    }

    /// `lock`: empty for none.
    pub(crate) fn post(&self, path: &str, lock: &str, body: &[u8]) -> Answer {
        let under = if lock.is_empty() { path.to_owned() } else { format!("{path}?ID={lock}") };
        self.ask("POST", &under).body(body).send()
    }

    /// Each verb once; `lock` is the one that is held, or was. One after the other: those that change something wait for
    /// each other, and who waited in vain is told that and no more.
    pub(crate) fn every_verb(&self, path: &str, lock: &str) -> [(&'static str, Answer); 5] {
        [
            ("GET", self.get(path)),
            ("LOCK", self.lock(path, "another-lock")),
            ("POST", self.post(path, lock, &body(99, 1_000))),
            ("UNLOCK", self.unlock(path, lock)),
            ("DELETE", self.ask("DELETE", path).send()),
        ]
    }

    /// Each verb is answered 503, with a sentence that has one of these in it. Never "no state yet".
    pub(crate) fn says(&self, path: &str, lock: &str, one_of: &[&str]) {
        for (verb, answer) in self.every_verb(path, lock) {
            let text = answer.text();
            assert_eq!(answer.status(), 503, "{verb}: {text}");
            let sentence = serde_json::from_str::<Value>(&text).unwrap()["error"].as_str().unwrap().to_owned();
            assert!(one_of.iter().any(|part| sentence.contains(part)), "{verb}: {sentence}");
        }
    }

    /// Whether the state is these bytes.
    pub(crate) fn has(&self, path: &str, bytes: &[u8]) {
        let answer = self.get(path);
        assert!(answer.is(200).bytes() == bytes, "{path} is something else");
    }
}

/// A state of that serial and about that many bytes, that hardly compress.
pub(crate) fn body(serial: u64, len: usize) -> Vec<u8> {
    let mut seed = serial.wrapping_mul(2).wrapping_add(1);
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + (seed >> 59) as u8 % 26)
    });
    let noise: String = noise.take(len).collect();
    format!(r#"{{"version":4,"serial":{serial},"lineage":"l","resources":[],"noise":"{noise}"}}"#).into_bytes()
}
