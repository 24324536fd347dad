//! Makes recorded calls again, without the engine.

use std::{collections::HashMap, sync::Arc};

use tofustate::store::{Expect, Kv, Revision};

use crate::paced::Call;

/// Makes recorded calls, with the revisions that this store gives.
pub(crate) struct Replay {
    kv: Arc<dyn Kv>,
    revisions: HashMap<String, Revision>,
}

impl Replay {
    pub(crate) fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv, revisions: HashMap::new() }
    }

    pub(crate) async fn run(&mut self, calls: &[Call]) {
        for call in calls {
            match call {
                Call::Get(key) => drop(self.kv.get(key).await.unwrap()),
                Call::Put(key, value) => {
                    let expect = self.revisions.get(key).map_or(Expect::Absent, |at| Expect::At(*at));
                    let revision = self.kv.put(key, value, expect).await.unwrap();
                    self.revisions.insert(key.clone(), revision);
                }
                Call::Delete(key) => self.kv.delete_part(key).await.unwrap(),
            }
        }
    }
}
