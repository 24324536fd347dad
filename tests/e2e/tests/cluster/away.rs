//! An API server that is away or frozen keeps no request waiting, and is told the last of what happened.

use std::time::Duration;

use serde_json::json;
use tofustate_e2e::{
    kube::{Part, Setup},
    wait,
};

use crate::world::{Reports, Store, client, created, lock, off, run, status_until, unlock, write};

const BURST: u64 = 50;

#[test]
fn a_burst_is_told_by_its_last_and_nobody_waits_for_the_api_server() {
    let test = "a_burst_is_told_by_its_last_and_nobody_waits_for_the_api_server";
    let Some(mut cluster) = (Setup { crds: true, ..Setup::default() }).start(test) else { return };
    cluster.install_operator_rights();
    let namespace = cluster.namespace("burst");
    let made = created(cluster.api(), &namespace, "net");
    run(async {
        let reports = Reports::start(off(|| client(&cluster, "burst")).await);
        let store = Store::new();
        let state = store.state(&namespace, "net").await;
        reports.follow(&made, &state);
        let shows = |cluster: &tofustate_e2e::kube::Cluster, what: &str, serial: u64| {
            off(|| {
                status_until(cluster.api(), &namespace, "net", what, |status| {
                    status["state"]["serial"] == serial && status["locked"] == false
                })
            })
        };
        wait::until("the head shows", || if reports.patches("applied") == 1 { Ok(()) } else { Err(String::new()) });

        off(|| cluster.freeze(Part::ApiServer));
        for n in 1..=BURST {
            lock(&state, &format!("id-{n}"), "ann").await;
            write(&state, &format!("id-{n}"), n).await;
            unlock(&state, &format!("id-{n}")).await;
        }
        off(|| cluster.thaw(Part::ApiServer));
        let shown = shows(&cluster, "the last of the burst", BURST);
        assert_eq!(shown["status"]["headRevision"], json!(1 + 3 * BURST));
        let (applied, failed) = (reports.patches("applied"), reports.patches("failed"));
        println!("{} changes, told by {applied} patches, {failed} that were not answered", 3 * BURST);
        // The first, the one that was under way, and the last; and one that was not answered for each time it was tried.
        assert!(applied <= 4, "{applied}");

        // Killed, with the lock taken before and released while it is away.
        lock(&state, "held", "ann").await;
        off(|| status_until(cluster.api(), &namespace, "net", "the lock", |status| status["locked"] == true));
        off(|| cluster.kill(Part::ApiServer));
        write(&state, "held", 1000).await;
        wait::until(
            "it noticed",
            || {
                if reports.patches("failed") > failed { Ok(()) } else { Err("not yet".to_owned()) }
            },
        );
        unlock(&state, "held").await;
        off(|| cluster.restart(Part::ApiServer));
        shows(&cluster, "what happened while it was away", 1000);

        // What is left is told at the end; and where that cannot be, the end comes all the same.
        lock(&state, "last", "ann").await;
        reports.stop().await;
        off(|| {
            status_until(cluster.api(), &namespace, "net", "the last lock", |status| status["lock"]["id"] == "last")
        });
        let reports = Reports::start(off(|| client(&cluster, "burst")).await);
        reports.follow(&made, &state);
        off(|| cluster.freeze(Part::ApiServer));
        unlock(&state, "last").await;
        tokio::time::timeout(Duration::from_secs(60), reports.stop()).await.unwrap();
        off(|| cluster.thaw(Part::ApiServer));
    });
}
