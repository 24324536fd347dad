//! Tokens of states: got when first needed, once; kept; healed whatever was done to them; renewed; ended.

mod healed;
mod kept;
mod made;
mod paths;
mod renewed;

use std::{sync::Arc, time::Duration};

use tofustate::{
    openbao::{OpenBaoStores, ScopedToken},
    store::{Expect, Kv, KvError, Value as Entry},
};

const PATH: &str = "team/app";

fn held(stores: &OpenBaoStores) -> ScopedToken {
    stores.token("team", "app").expect("the store was asked for this state")
}

async fn write(kv: &dyn Kv) {
    kv.put(PATH, &Entry::Document("{}".into()), Expect::Absent).await.unwrap();
}

/// As the engine: repeats while the store is not there.
async fn read(kv: &dyn Kv) -> Result<(), KvError> {
    for _ in 0..200 {
        match kv.get(PATH).await {
            Err(KvError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(50)).await,
            done => return done.map(drop),
        }
    }
    Err(KvError::Other("it stayed away".to_owned()))
}

/// Twenty read at once, and none is told of anything.
async fn twenty_read(kv: &Arc<dyn Kv>) {
    let many: Vec<_> = (0..20)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move { read(&*kv).await })
        })
        .collect();
    for one in many {
        one.await.unwrap().expect("who asked waited for the next one");
    }
}
