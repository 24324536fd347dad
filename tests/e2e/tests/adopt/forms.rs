//! Each form of an entry, small and large; a second run; a run that changes nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tofustate_e2e::bao::Setup;

use crate::old::{Old, SECRET, state};

/// What an entry holds, and the state's bytes in it.
fn forms() -> Vec<(&'static str, Value, String, &'static str)> {
    let text = state(7, 100);
    let middle = state(8, 40_000);
    let nested = json!({"version": 4, "serial": 9, "lineage": "5f7b", "resources": [{"secret": SECRET}]});
    let encrypted = format!(
        r#"{{"serial":10,"lineage":"5f7b","meta":{{}},"encrypted_data":"{SECRET}","encryption_version":"v0"}}"#
    );
    vec![
        ("team/text", json!({ "state": text }), text.clone(), "text in the field state"),
        ("team/middle", json!({ "data": middle }), middle.clone(), "text in the field data"),
        ("team/base64", json!({ "value": STANDARD.encode(&text) }), text.clone(), "base64 in the field value"),
        ("team/nested", nested.clone(), nested.to_string(), "nested JSON"),
        ("team/a/within", json!({ "state": nested }), nested.to_string(), "nested JSON in the field state"),
        ("team/encrypted", json!({ "state": encrypted }), encrypted.clone(), "text in the field state"),
    ]
}

#[test]
fn every_form_is_adopted_as_it_was_and_served_from_then_on() {
    let name = "every_form_is_adopted_as_it_was_and_served_from_then_on";
    let Some(old) = Old::start(name) else { return };
    let others = old.get("other/entry");
    for (key, data, body, form) in forms() {
        // Not its first life.
        old.put(key, &json!({"state": "{}"}));
        let version = old.put(key, &data);
        let resource = key.rsplit('/').next().unwrap();

        let before = old.everything();
        let tried = old.adopt_with(key, resource, &["--dry-run"]);
        let would = String::from_utf8(tried.stdout).unwrap();
        assert!(tried.status.success() && would.contains("nothing was changed"), "{would}");
        assert_eq!(old.everything(), before, "a dry run changed something");

        let done = old.adopt_with(key, resource, &[]);
        let told = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{told}{}", String::from_utf8_lossy(&done.stderr));
        let serial: Value = serde_json::from_str(&body).unwrap();
        for says in [
            format!("{key}: adopted for team/{resource} of instance prod\n"),
            format!("serial: {}, lineage: 5f7b\n", serial["serial"]),
            format!("size: {} bytes, SHA-256: {}\n", body.len(), tofustate::store::Sha256Sum::of(body.as_bytes())),
            format!("was: {form}, version {version} of the entry\n"),
            format!("original: kept at states/.versions/{}/original_", key.replace('/', ":")),
        ] {
            assert!(told.contains(&says), "{says:?} is not in\n{told}");
        }
        let lines = |text: &str| text.lines().filter(|line| line.starts_with("  ")).count();
        assert_eq!(lines(&told), lines(&would));
        assert_eq!(told.contains("note: the state was stored as JSON in JSON"), form.starts_with("nested"), "{told}");
        assert!(!told.contains("warning:"), "{told}");
        assert_eq!(serde_json::from_str::<Value>(&old.original(key)).unwrap(), data);

        let before = old.everything();
        let again = old.adopt_with(key, resource, &[]);
        let text = String::from_utf8(again.stdout).unwrap();
        assert!(again.status.success() && text.contains("already adopted: nothing to do"), "{text}");
        assert!(text.contains("original: kept at states/.versions/"), "{text}");
        assert_eq!(old.everything(), before, "a second run changed something");

        old.serves(key, resource, body.as_bytes());
        assert_eq!(serde_json::from_str::<Value>(&old.original(key)).unwrap(), data);
        let served = old.adopt_with(key, resource, &[]);
        assert!(served.status.success(), "a state that went on is adopted all the same");
    }
    assert_eq!(old.get("other/entry"), others);
}

#[test]
fn numbers_that_openbao_rounded_are_told_of() {
    let Some(old) = Old::start("numbers_that_openbao_rounded_are_told_of") else { return };
    let text = r#"{"data":{"version":4,"serial":7,"lineage":"l","id":9007199254740993,"small":9007199254740991},"options":{"cas":0}}"#;
    let (status, _) = old.world.api().bytes("POST", "states/data/team/app", text.as_bytes()).unwrap();
    assert_eq!(status, 200);
    let told = old.must("team/app");
    assert!(told.contains("warning: OpenBao rounds whole numbers beyond 2^53") && told.contains(" 1 of its"), "{told}");
    let kept = old.original("team/app");
    assert!(kept.contains(r#""id":9007199254740992,"#) && kept.contains(r#""small":9007199254740991,"#), "{kept}");
    old.serves("team/app", "app", kept.as_bytes());
}

#[test]
fn an_entry_as_large_as_it_can_be_goes_in_parts() {
    let name = "an_entry_as_large_as_it_can_be_goes_in_parts";
    let Some(old) = Old::start(name) else { return };
    let body = state(7, 1_000_000);
    let data = json!({ "state": body });
    old.put("team/app", &data);
    let told = old.must("team/app");
    assert!(told.contains(", in 2 parts"), "{told}");
    assert_eq!(serde_json::from_str::<Value>(&old.original("team/app")).unwrap(), data);
    old.serves("team/app", "app", body.as_bytes());
}

#[test]
fn a_server_that_takes_more_has_larger_entries() {
    let name = "a_server_that_takes_more_has_larger_entries";
    let server = Setup { max_entry_size: Some(12 << 20), ..Setup::default() };
    let Some(old) = Old::of(name, server) else { return };
    let body = state(7, 5 << 20);
    let data = json!({ "state": body });
    old.put("team/app", &data);
    let told = old.must("team/app");
    assert!(told.contains(", in 9 parts"), "{told}");
    old.serves("team/app", "app", body.as_bytes());
    // What lay there may be had back with what bao and a shell have.
    assert_eq!(serde_json::from_str::<Value>(&old.original("team/app")).unwrap(), data);
}
