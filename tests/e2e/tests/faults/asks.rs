//! What clients ask of a replica, and what it must answer.

use serde_json::Value;
use tofustate_e2e::{
    ask::{Answer, Ask, ask, lock_info, noisy_state},
    wait,
};

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
            ("POST", self.post(path, lock, &noisy_state(99, 1_000))),
            ("UNLOCK", self.unlock(path, lock)),
            ("DELETE", self.ask("DELETE", path).send()),
        ]
    }

    /// Each verb is answered 503, with a sentence that has one of these in it. Never "no state yet". Where this machine is busy,
    /// a request may end before it has met what is wrong: it is made again.
    pub(crate) fn says(&self, path: &str, lock: &str, one_of: &[&str]) {
        wait::until("each verb says why", || {
            for (verb, answer) in self.every_verb(path, lock) {
                let text = answer.text();
                assert_eq!(answer.status(), 503, "{verb}: {text}");
                let sentence = serde_json::from_str::<Value>(&text).unwrap()["error"].as_str().unwrap().to_owned();
                if !one_of.iter().any(|part| sentence.contains(part)) {
                    return Err(format!("{verb}: {sentence}"));
                }
            }
            Ok(())
        });
    }

    /// Locks a path by `held`, and writes a state of about `size` bytes under that.
    pub(crate) fn hold(&self, path: &str, size: usize) -> Vec<u8> {
        let state = noisy_state(1, size);
        self.lock(path, "held").is(200);
        self.post(path, "held", &state).is(200);
        state
    }

    /// Waits until the state is answered again.
    pub(crate) fn heals(&self, path: &str) {
        wait::until("it is healed", || match self.get(path) {
            answer if answer.status() == 200 => Ok(()),
            answer => Err(answer.text()),
        });
    }

    /// Whether the state is these bytes.
    pub(crate) fn has(&self, path: &str, bytes: &[u8]) {
        let answer = self.get(path);
        assert!(answer.is(200).bytes() == bytes, "{path} is something else");
    }
}
