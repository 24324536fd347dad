//! The tokens of states: files that nobody else reads, used again after a crash, ended with the process.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::Value;
use tofustate_e2e::standalone::Standalone;

use crate::{ask, lines, run, world};

/// The kept tokens: accessor by file.
fn kept(server: &Standalone) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(&server.data().join("openbao"), &mut |file| {
        let kept: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o600, "{}", file.display());
        found.insert(file.file_name().unwrap().to_str().unwrap().to_owned(), kept["accessor"].as_str().unwrap().into());
    });
    found
}

fn files(folder: &Path, each: &mut impl FnMut(&Path)) {
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o7777, 0o700, "{}", folder.display());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, each) } else { each(&path) }
    }
}

#[test]
fn a_token_is_used_again_after_a_crash_and_ends_with_the_process() {
    let Some((server, mut standalone)) = world("a_token_is_used_again_after_a_crash_and_ends_with_the_process") else {
        return;
    };
    standalone.register("team/other", "");
    standalone.start();
    run(&standalone, 1);
    let first = kept(&standalone);
    assert_eq!(first.keys().collect::<Vec<_>>(), ["app.json", "other.json"]);
    for (file, accessor) in &first {
        let found = server.look_up(accessor).unwrap();
        let policy = format!("tofustate/prod/team/{}", file.trim_end_matches(".json"));
        assert_eq!(found["policies"], serde_json::json!([policy]));
    }

    standalone.kill();
    standalone.start();
    run(&standalone, 2);
    assert_eq!(kept(&standalone), first, "those of before are used");
    assert_eq!(server.tokens_of("tofustate/prod/").len(), 2, "and no others were made");

    let own = server.tokens_of("tofustate-operator-prod");
    standalone.terminate();
    assert!(kept(&standalone).is_empty(), "{:?}", kept(&standalone));
    assert!(first.values().all(|accessor| server.look_up(accessor).is_none()), "they are ended");
    assert_eq!(server.tokens_of("tofustate-operator-prod"), own, "the operator's own was given, not made here");

    // One that was ended behind its back is replaced.
    standalone.start();
    let second = kept(&standalone);
    standalone.kill();
    server.api().must("POST", "auth/token/revoke-accessor", &serde_json::json!({"accessor": second["app.json"]}));
    standalone.start();
    run(&standalone, 3);
    assert_ne!(kept(&standalone)["app.json"], second["app.json"]);
    assert_eq!(kept(&standalone)["other.json"], second["other.json"]);
    // One whose manifest went while nobody ran is ended with the others.
    standalone.kill();
    fs::remove_file(standalone.root().join("manifests/team-other.yaml")).unwrap();
    standalone.start();
    run(&standalone, 4);
    assert_eq!(kept(&standalone)["other.json"], second["other.json"]);
    let secret = fs::read_to_string(standalone.data().join("openbao/team/app.json")).unwrap();
    let secret: Value = serde_json::from_str(&secret).unwrap();
    let log = format!("{:?}{}", standalone.log(), standalone.printed());
    assert!(!log.contains(secret["token"].as_str().unwrap()), "{log}");
    standalone.terminate();
    assert!(kept(&standalone).is_empty() && server.tokens_of("tofustate/prod/").is_empty());
}

#[test]
fn what_cannot_be_ended_is_kept_for_the_next_start() {
    let Some((mut server, mut standalone)) = world("what_cannot_be_ended_is_kept_for_the_next_start") else { return };
    standalone.start();
    run(&standalone, 1);
    let first = kept(&standalone);
    server.kill(0);
    standalone.terminate();
    assert_eq!(lines(&standalone, "kept").len(), 1, "{:?}", standalone.log());
    assert_eq!(kept(&standalone), first);
    server.restart(0);
    server.active();
    standalone.start();
    ask(&standalone, "GET", "").send().is(200);
    assert_eq!(kept(&standalone), first);
    standalone.terminate();
    assert_eq!(server.tokens_of("tofustate/prod/").len(), 0);
}
