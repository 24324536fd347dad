//! What heads say comes into the status of their resources, with the rights that the operator has.

use serde_json::{Value, json};
use tofustate::{
    controller::report::{FIELDS, MANAGER},
    registry::ResourceName,
};
use tofustate_e2e::{kube::tofustates, wait};

use crate::world::{Reports, Store, client, created, installed, lock, off, run, status_until, unlock, write};

/// The fields of the status that a manager has.
fn fields_of(object: &Value, manager: &str) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let of = entries.iter().filter(|entry| entry["manager"] == manager && entry["subresource"] == "status");
    let names = of.flat_map(|entry| entry["fieldsV1"]["f:status"].as_object().unwrap().keys());
    names.map(|name| name.trim_start_matches("f:").to_owned()).collect()
}

#[test]
fn a_lock_and_a_version_show_and_nothing_is_patched_where_nothing_changed() {
    let test = "a_lock_and_a_version_show_and_nothing_is_patched_where_nothing_changed";
    let Some(cluster) = installed(test) else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("shows"));
    let made = created(api, &namespace, "net");
    run(async {
        let reports = Reports::start(off(|| client(&cluster, "shows")).await);
        let store = Store::new();
        let state = store.state(&namespace, "net").await;
        reports.follow(&made, &state);
        let until = |what: &str, so: &dyn Fn(&Value) -> bool| {
            off(|| status_until(api, &namespace, "net", what, |status| so(status)))
        };
        let new = until("the head shows", &|status| status["headRevision"] == 1);
        assert_eq!((&new["status"]["locked"], &new["status"]["history"]), (&json!(false), &json!([])));
        assert!(new["status"]["headEpoch"].is_string() && new["status"]["observedGeneration"] == -1, "{new}");

        lock(&state, "id-1", "ann@laptop").await;
        let locked = until("the lock shows", &|status| status["locked"] == true);
        let shown = &locked["status"]["lock"];
        assert_eq!(
            (&shown["id"], &shown["who"], &shown["identity"]),
            (&json!("id-1"), &json!("ann@laptop"), &json!("token"))
        );
        assert!(shown["since"].is_string(), "{shown}");
        write(&state, "id-1", 7).await;
        let written = until("the version shows", &|status| status["state"]["serial"] == 7);
        assert_eq!(written["status"]["history"][0]["event"], "Written");
        unlock(&state, "id-1").await;
        let free = until("the lock is gone", &|status| status["locked"] == false);
        assert_eq!(free["status"]["lock"], Value::Null);
        // Its own fields and no others.
        let mut fields = fields_of(&free, MANAGER);
        fields.sort();
        let mut own: Vec<_> = FIELDS.iter().filter(|name| **name != "lock").copied().collect();
        own.sort_unstable();
        assert_eq!(fields, own);

        // The resource as it is, again and again, to a reporter that knows and to one that does not: nothing to patch. What
        // comes after shows that it was looked at.
        let before = reports.patches("applied");
        for _ in 0..5 {
            reports.follow(&free, &state);
        }
        let other = Reports::start(off(|| client(&cluster, "shows")).await);
        other.follow(&free, &state);
        lock(&state, "id-2", "bob@ci").await;
        until("the next lock shows", &|status| status["lock"]["id"] == "id-2");
        reports.stop().await;
        let patched = other.patches("applied");
        other.stop().await;
        assert!(patched <= 1 && before >= 4, "{patched}, {before}");
    });
}

#[test]
fn a_reporter_that_starts_patches_only_what_differs() {
    let Some(cluster) = installed("a_reporter_that_starts_patches_only_what_differs") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("starts"));
    let made = created(api, &namespace, "net");
    run(async {
        let store = Store::new();
        let state = store.state(&namespace, "net").await;
        let first = Reports::start(off(|| client(&cluster, "starts")).await);
        first.follow(&made, &state);
        let shown =
            off(|| status_until(api, &namespace, "net", "the head shows", |status| status["headRevision"] == 1));
        first.stop().await;
        let path = format!("{}/net", tofustates(&namespace));
        let next = Reports::start(off(|| client(&cluster, "starts")).await);
        next.follow(&shown, &state);
        // It tells what is left when it stops, too: nothing.
        let patches = |reports: &Reports| {
            ["applied", "forced", "stale", "refused", "gone", "failed"].map(|kind| reports.patches(kind))
        };
        assert_eq!(patches(&next), [0; 6]);
        let metrics = next;
        lock(&state, "id", "ann").await;
        off(|| status_until(api, &namespace, "net", "the lock shows", |status| status["locked"] == true));
        // It is counted when the answer is there.
        off(|| {
            wait::until("one patch", || match patches(&metrics) {
                [1, 0, 0, 0, 0, 0] => Ok(()),
                other => Err(format!("{other:?}")),
            });
        });
        // Somebody is not followed any more: what was told stays.
        let name = ResourceName { namespace: namespace.clone(), name: "net".to_owned() };
        metrics.reporter.forget(&name);
        metrics.stop().await;
        assert_eq!(off(|| api.get(&path)).unwrap()["status"]["locked"], true);
    });
}

#[test]
fn what_somebody_wrote_into_the_status_is_put_right() {
    let Some(cluster) = installed("what_somebody_wrote_into_the_status_is_put_right") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("tampered"));
    let made = created(api, &namespace, "net");
    let path = format!("{}/net", tofustates(&namespace));
    run(async {
        let reports = Reports::start(off(|| client(&cluster, "tampered")).await);
        let store = Store::new();
        let state = store.state(&namespace, "net").await;
        reports.follow(&made, &state);
        let until = |what: &str, so: &dyn Fn(&Value) -> bool| {
            off(|| status_until(api, &namespace, "net", what, |status| so(status)))
        };
        until("the head shows", &|status| status["headRevision"] == 1);
        let tamper = |status: Value| off(|| api.merge(&format!("{path}/status"), &json!({"status": status})).done());
        // A lock that nobody has.
        let lie = json!({"locked": true, "lock": {"who": "eve", "id": "none"}, "state": {"serial": 9}});
        let seen = tamper(lie);
        reports.follow(&seen, &state);
        let right = until("it is put right", &|status| status["locked"] == false && status["lock"].is_null());
        assert_eq!(right["status"]["state"], Value::Null);
        off(|| {
            wait::until("it is counted", || match reports.patches("forced") {
                0 => Err("not yet".to_owned()),
                _ => Ok(()),
            });
        });
        // A real lock, with another's name to it and something that it has not; the next change puts it right, whether or
        // not anybody saw.
        lock(&state, "id-1", "ann@laptop").await;
        until("the lock shows", &|status| status["lock"]["who"] == "ann@laptop");
        tamper(json!({"lock": {"who": "eve", "info": "mine"}, "history": [{"event": "Written", "who": "eve"}]}));
        write(&state, "id-1", 1).await;
        let right =
            until("it is put right", &|status| status["state"]["serial"] == 1 && status["lock"]["info"].is_null());
        assert_eq!(
            (&right["status"]["lock"]["who"], &right["status"]["history"][0]["who"]),
            (&json!("ann@laptop"), &Value::Null)
        );
        tamper(json!({"lock": {"who": "eve"}}));
        unlock(&state, "id-1").await;
        until("nothing of it is left", &|status| status["locked"] == false && status["lock"].is_null());
        reports.stop().await;
    });
}

#[test]
fn a_replica_that_lags_behind_reads_again_and_a_head_that_went_back_is_left_alone() {
    let test = "a_replica_that_lags_behind_reads_again_and_a_head_that_went_back_is_left_alone";
    let Some(cluster) = installed(test) else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("lags"));
    let made = created(api, &namespace, "net");
    let path = format!("{}/net", tofustates(&namespace));
    run(async {
        let store = Store::new();
        let (ahead, lags) = (store.state(&namespace, "net").await, store.state(&namespace, "net").await);
        let reports = Reports::start(off(|| client(&cluster, "lags")).await);
        reports.follow(&made, &ahead);
        lock(&ahead, "id-1", "ann").await;
        unlock(&ahead, "id-1").await;
        lock(&ahead, "id-2", "ann").await;
        let shown = off(|| status_until(api, &namespace, "net", "it shows", |status| status["headRevision"] == 4));
        reports.stop().await;
        // It knows nothing of the resource but its name, and of the state the first head.
        let behind = Reports::start(off(|| client(&cluster, "lags")).await);
        behind.follow(&made, &lags);
        tofustate_e2e::wait::until("it read the head again", || match lags.mark() {
            Some(mark) if mark.revision == 4 => Ok(()),
            mark => Err(format!("{mark:?}")),
        });
        let after = off(|| api.get(&path)).unwrap();
        assert_eq!(after["status"], shown["status"]);
        assert_eq!(after["metadata"]["resourceVersion"], shown["metadata"]["resourceVersion"], "nothing was changed");

        assert_eq!((behind.patches("stale"), behind.patches("applied"), behind.patches("refused")), (1, 0, 0));

        // Somebody set the status further than the store is: it stays, the reporter says so and goes on.
        let epoch = shown["status"]["headEpoch"].clone();
        let far = off(|| api.merge(&format!("{path}/status"), &json!({"status": {"headRevision": 1000}})).done());
        behind.follow(&far, &lags);
        unlock(&lags, "id-2").await;
        let object = off(|| api.get(&path)).unwrap();
        assert_eq!((&object["status"]["headRevision"], &object["status"]["headEpoch"]), (&json!(1000), &epoch));
        let other = json!({"status": {"headEpoch": "another", "headRevision": 1}});
        let back = off(|| api.merge(&format!("{path}/status"), &other).done());
        behind.follow(&back, &lags);
        let right =
            off(|| status_until(api, &namespace, "net", "it is right again", |status| status["headEpoch"] == epoch));
        assert_eq!((&right["status"]["locked"], &right["status"]["headRevision"]), (&json!(false), &json!(5)));
        behind.stop().await;
    });
}

#[test]
fn the_status_of_another_resource_of_the_name_is_left_alone() {
    let Some(cluster) = installed("the_status_of_another_resource_of_the_name_is_left_alone") else { return };
    let (api, namespace) = (cluster.api(), cluster.namespace("renamed"));
    let path = format!("{}/net", tofustates(&namespace));
    let old = created(api, &namespace, "net");
    api.delete(&path).done();
    let new = created(api, &namespace, "net");
    run(async {
        let reports = Reports::start(off(|| client(&cluster, "renamed")).await);
        let store = Store::new();
        let state = store.state(&namespace, "net").await;
        reports.follow(&old, &state);
        tofustate_e2e::wait::until("it was tried", || match reports.patches("stale") {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        });
        assert_eq!(off(|| api.get(&path)).unwrap()["metadata"]["resourceVersion"], new["metadata"]["resourceVersion"]);
        // And one that is gone.
        off(|| api.delete(&path).done());
        let gone = reports.patches("gone");
        lock(&state, "id", "ann").await;
        tofustate_e2e::wait::until("it was tried again", || {
            if reports.patches("gone") > gone { Ok(()) } else { Err("not yet".to_owned()) }
        });
        assert!(off(|| api.get(&path)).is_none());
        let made = off(|| created(api, &namespace, "net"));
        reports.follow(&made, &state);
        off(|| status_until(api, &namespace, "net", "the new one shows it", |status| status["lock"]["who"] == "ann"));
        reports.stop().await;
    });
}
