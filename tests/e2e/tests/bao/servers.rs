//! One node: what it stores, logs and restores; TLS, limits, namespaces.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};
use tofustate_e2e::bao::{Setup, fixture};

use crate::{read, status, write};

#[test]
fn a_server_keeps_entries_under_compare_and_swap() {
    let Some(bao) = Setup::default().start("a_server_keeps_entries_under_compare_and_swap") else { return };
    let token = fixture::states(&bao.api());
    let api = bao.api().with_token(&token.secret);
    assert_eq!(status(write(&api, "team/app", "1", 0)), 200);
    assert_eq!(status(write(&api, "team/app", "2", 0)), 400);
    assert_eq!(status(write(&api, "team/app", "2", 1)), 200);
    assert_eq!(read(&api, "team/app"), (json!("2"), 2));
    let without_cas = api.ask("POST", "states/data/team/app", &json!({"data": {"value": "3"}}));
    assert_eq!(status(without_cas), 400, "cas_required");
    assert_eq!(status(api.ask("GET", "sys/mounts", &Value::Null)), 403, "the token is for the mount alone");
    bao.api().must("POST", "sys/auth/kubernetes", &json!({"type": "kubernetes"}));
    assert_eq!(status(api.with_token("none").ask("GET", "states/data/team/app", &Value::Null)), 403);

    let file = bao.root_token_file();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let root = fs::read_to_string(file).unwrap();
    assert_eq!(status(api.with_token(&root).ask("GET", "sys/mounts", &Value::Null)), 200);
    for shown in [format!("{token:?}"), format!("{:?}", bao.api())] {
        assert!(!shown.contains(&root) && !shown.contains(&token.secret), "{shown}");
    }
}

#[test]
fn a_server_is_killed_sealed_frozen_stopped_and_goes_on() {
    let test = "a_server_is_killed_sealed_frozen_stopped_and_goes_on";
    let Some(mut bao) = Setup::default().start(test) else { return };
    fixture::states(&bao.api());
    assert_eq!(status(write(&bao.api(), "a", "1", 0)), 200);
    bao.kill(0);
    bao.node_api(0).health().unwrap_err();
    bao.restart(0);
    assert_eq!(read(&bao.api(), "a"), (json!("1"), 1));
    bao.seal();
    assert_eq!(bao.node_api(0).health(), Ok(503));
    bao.unseal(0);
    assert_eq!(read(&bao.api(), "a"), (json!("1"), 1));
    bao.freeze(0);
    bao.node_api(0).health().unwrap_err();
    bao.thaw(0);
    assert_eq!(read(&bao.api(), "a"), (json!("1"), 1));
    bao.terminate(0);
    bao.restart(0);
    assert_eq!(read(&bao.api(), "a"), (json!("1"), 1));
}

#[test]
fn a_snapshot_brings_the_store_back_in_time() {
    let Some(bao) = Setup::default().start("a_snapshot_brings_the_store_back_in_time") else { return };
    fixture::states(&bao.api());
    assert_eq!(status(write(&bao.api(), "a", "old", 0)), 200);
    let snapshot = bao.snapshot();
    assert_eq!(status(write(&bao.api(), "a", "new", 1)), 200);
    bao.restore(&snapshot);
    assert_eq!(read(&bao.api(), "a"), (json!("old"), 1));
}

#[test]
fn the_audit_log_names_who_read() {
    let Some(bao) = Setup::default().start("the_audit_log_names_who_read") else { return };
    let token = fixture::states(&bao.api());
    bao.audit_on();
    let api = bao.api().with_token(&token.secret);
    assert_eq!(status(api.ask("GET", "states/data/none", &Value::Null)), 404);
    let by_token = |entry: &&Value| {
        entry["type"] == "response"
            && entry["request"]["path"] == "states/data/none"
            && entry["auth"]["accessor"] == *token.accessor
    };
    assert_eq!(bao.audit().iter().filter(by_token).count(), 1, "{:?}", bao.audit());
}

#[test]
fn https_asks_for_a_client_certificate() {
    let setup = Setup { tls: true, ..Setup::default() };
    let Some(bao) = setup.start("https_asks_for_a_client_certificate") else { return };
    fixture::states(&bao.api());
    assert_eq!(status(write(&bao.api(), "a", "1", 0)), 200);
    bao.api_without_certificate(0).health().unwrap_err();
    assert_eq!(fs::metadata(bao.tls().client_key()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_lower_limit_of_an_entry_is_kept() {
    let setup = Setup { max_entry_size: Some(256 << 10), ..Setup::default() };
    let Some(bao) = setup.start("a_lower_limit_of_an_entry_is_kept") else { return };
    fixture::states(&bao.api());
    assert_eq!(status(write(&bao.api(), "small", &"x".repeat(200 << 10), 0)), 200);
    let large = write(&bao.api(), "large", &"x".repeat(300 << 10), 0).unwrap();
    assert_eq!(large.status, 500);
    assert!(large.body.to_string().contains("value being too large"), "{large:?}");
}

#[test]
fn a_namespace_has_mounts_of_its_own() {
    let setup = Setup { openbao_only: true, ..Setup::default() };
    let Some(bao) = setup.start("a_namespace_has_mounts_of_its_own") else { return };
    bao.api().must("POST", "sys/namespaces/team", &json!({}));
    let inside = bao.api().in_namespace("team");
    fixture::states(&inside);
    assert_eq!(status(write(&inside, "a", "1", 0)), 200);
    assert_eq!(status(bao.api().ask("GET", "states/data/a", &Value::Null)), 404);
}
