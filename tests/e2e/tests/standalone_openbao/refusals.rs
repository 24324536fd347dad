//! What it does not start with, nor write over.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};
use tofustate_e2e::{
    ask::{lock_info, state},
    bao::{Setup, fixture},
    standalone::{Standalone, viewer, writer},
    wait,
};

use crate::{INSTANCE, PATH, ask, lines, on, world};

#[test]
fn all_that_is_wrong_is_one_message() {
    let mut server = Standalone::new();
    let open = server.root().join("token");
    fs::write(&open, "s.hush-hush").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(server.data()).unwrap();
    fs::write(server.data().join("states.redb"), "").unwrap();
    for (name, value) in [
        ("TOFUSTATE_STORE", "openbao"),
        ("BAO_ADDR", "http://u:hush@bao.example:8200"),
        ("BAO_CACERT", "/no/such/ca.pem"),
        ("BAO_CLIENT_KEY", "/no/such/key.pem"),
        ("BAO_NAMESPACE", "a b"),
        ("BAO_TOKEN_FILE", open.to_str().unwrap()),
        ("API_TOKEN", " "),
        ("LISTEN_ADDR", ":0"),
    ] {
        server.env(name, value);
    }
    server.arg("--existing-data");
    let said = server.refuses();
    for part in [
        "--instance (TOFUSTATE_INSTANCE)",
        "address 1 of BAO_ADDR",
        "/no/such/ca.pem (BAO_CACERT)",
        "BAO_CLIENT_CERT is not",
        "BAO_NAMESPACE is no path",
        "chmod 600",
        "API_TOKEN",
        "0.0.0.0:0",
        "--allow-plain-http",
        "states.redb",
        "no records, and --existing-data",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.starts_with("tofustate: it cannot start:\n- ") && !said.contains("hush"), "{said}");
    assert!(!server.data().join("tofustate.lock").exists(), "nothing was begun");

    // Nothing at all.
    let refused = |store: &str| {
        let mut standalone = Standalone::new();
        standalone.env("TOFUSTATE_STORE", store);
        standalone.refuses()
    };
    let said = refused("openbao");
    for part in ["TOFUSTATE_INSTANCE", "BAO_ADDR", "BAO_TOKEN_FILE", "TOFUSTATE_OPENBAO_KUBERNETES_AUTH"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = refused("vault");
    assert!(said.contains("embedded") && said.contains("openbao"), "{said}");
}

#[test]
fn what_bootstrap_has_not_set_up_is_all_told() {
    let Some(server) = Setup::default().start("what_bootstrap_has_not_set_up_is_all_told") else { return };
    let root = server.root_token_file();
    let mut standalone = Standalone::on(&server, INSTANCE, &root);
    standalone.register(PATH, "");
    let said = standalone.refuses();
    for part in [
        "OpenBao is not set up as tofustate needs it (mount states, instance prod)",
        "\n- the KV v2 mount states is missing",
        "\n- the config of the mount states is missing",
        "\n- the token role tofustate-prod is missing",
        "tofustate bootstrap --check",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // A token with too few rights, on a mount that would lose what it is given.
    let token = server.bootstrap(INSTANCE, &[]);
    let api = server.api();
    api.must("POST", "states/config", &json!({"cas_required": false, "max_versions": 1, "delete_version_after": "1h"}));
    let few = fixture::token(&api, &["default"]);
    let file = server.secret_file("few", &few.secret);
    let said = Standalone::on(&server, INSTANCE, &file).refuses();
    assert!(said.contains("what the operator's token may do"), "{said}");
    assert!(said.contains("states/data/.owners/*") || said.contains("may not"), "{said}");
    let said = Standalone::on(&server, INSTANCE, &token).refuses();
    assert!(said.contains("cas_required") && said.contains("delete_version_after"), "{said}");
    assert_eq!(api.ask("LIST", "states/metadata", &Value::Null).unwrap().status, 404, "nothing was written");

    // A token of nobody.
    let file = server.secret_file("none", "s.not-a-token-of-this-server");
    let said = Standalone::on(&server, INSTANCE, &file).refuses();
    assert!(said.contains("does not know the token") || said.contains("may not even ask"), "{said}");
    assert!(said.contains("--operator-token-file") && !said.contains("s.not-a-token"), "{said}");
}

/// An entry of the program that had the mount before, at a path that is registered now.
#[test]
fn an_entry_of_another_program_is_never_written_over() {
    let Some(server) = Setup::default().start("an_entry_of_another_program_is_never_written_over") else { return };
    let api = server.api();
    fixture::mount(&api, "states", &json!({"max_versions": 10}));
    let old = json!({"state": "{\"version\":4,\"serial\":7,\"hush\":1}"});
    api.must("POST", "states/data/team/app", &json!({"data": old}));
    server.bootstrap(INSTANCE, &["--existing-entries"]);
    let mut standalone = on(&server);
    standalone.register("team/new", "");
    standalone.start();
    let line = wait::until("it is logged", || lines(&standalone, "PathHasState").pop().ok_or_else(String::new));
    let said = line["message"].as_str().unwrap();
    for part in ["team/app", "an entry with the fields [state]", "answered with 503", "tofustate adopt team/app"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let asked = [
        ask(&standalone, "GET", ""),
        ask(&standalone, "POST", "").body(state(8, 10)),
        ask(&standalone, "LOCK", "").body(lock_info("x")),
        ask(&standalone, "UNLOCK", "").body(lock_info("x")),
        ask(&standalone, "DELETE", ""),
    ];
    for asked in asked {
        let answer = asked.send();
        assert!(answer.status() == 503 && answer.text().contains("tofustate adopt"), "{}", answer.text());
    }
    let row = standalone.row(PATH);
    assert!(row["error"].as_str().is_some_and(|error| !error.is_empty()), "{row}");
    let now = api.must("GET", "states/data/team/app", &Value::Null);
    assert_eq!((&now["data"], &now["metadata"]["version"]), (&old, &json!(1)));
    // Others are served, and nothing of the entry is in a log.
    ask_at(&standalone, "team/new", "POST").body(state(1, 10)).send().is(200);
    assert_eq!(standalone.bytes("team/new").unwrap(), state(1, 10).as_bytes());
    standalone.terminate();
    assert!(!format!("{:?}", standalone.log()).contains("hush"));
    assert_eq!(api.must("GET", "states/data/team/app", &Value::Null)["data"], old);

    // A person takes it away, and the path is served without another start.
    standalone.start();
    ask(&standalone, "GET", "").send().is(503);
    api.must("DELETE", "states/metadata/team/app", &Value::Null);
    wait::until("the path is served", || match standalone_status(&standalone) {
        404 => Ok(()),
        status => Err(format!("{status}")),
    });
    ask(&standalone, "POST", "").body(state(1, 10)).send().is(200);
}

/// Adoption is no way out of this one.
#[test]
fn an_entry_that_another_program_deleted_is_told_of_with_what_helps() {
    let test = "an_entry_that_another_program_deleted_is_told_of_with_what_helps";
    let Some(server) = Setup::default().start(test) else { return };
    let api = server.api();
    fixture::mount(&api, "states", &json!({"max_versions": 10}));
    api.must("POST", "states/data/team/app", &json!({"data": {"state": "{\"version\":4}"}}));
    api.must("DELETE", "states/data/team/app", &Value::Null);
    server.bootstrap(INSTANCE, &["--existing-entries"]);
    let mut standalone = on(&server);
    standalone.start();
    let line = wait::until("it is logged", || lines(&standalone, "was deleted at").pop().ok_or_else(String::new));
    let said = line["message"].as_str().unwrap();
    for part in ["team/app", "of which version 1", "bao kv undelete", "`bao kv metadata delete` makes the path free"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("adopt"), "{said}");
    ask(&standalone, "GET", "").send().is(503);
    api.must("DELETE", "states/metadata/team/app", &Value::Null);
    wait::until("the path is served", || match standalone_status(&standalone) {
        404 => Ok(()),
        status => Err(format!("{status}")),
    });
}

fn standalone_status(server: &Standalone) -> u16 {
    ask(server, "GET", "").send().status()
}

fn ask_at(server: &Standalone, path: &str, method: &str) -> tofustate_e2e::ask::Ask {
    tofustate_e2e::ask::ask(method, &server.url(path)).token(&writer(path))
}

/// The head is gone from OpenBao: never "no state yet", for this process and for the next.
#[test]
fn a_head_that_was_seen_and_is_gone_is_no_new_state() {
    let Some((server, mut standalone)) = world("a_head_that_was_seen_and_is_gone_is_no_new_state") else { return };
    standalone.start();
    ask(&standalone, "POST", "").body(state(1, 10)).send().is(200);
    let api = server.api();
    api.must("DELETE", "states/metadata/team/app", &Value::Null);
    ask(&standalone, "GET", "").send().is_error(503, "head_lost");
    standalone.terminate();
    standalone.launch();
    wait::until("the loss is logged", || lines(&standalone, "HeadLost").pop().ok_or_else(String::new));
    tofustate_e2e::ask::ask("GET", &standalone.url(PATH)).token(&viewer(PATH)).send().is_error(503, "head_lost");
    assert_eq!(api.ask("GET", "states/data/team/app", &Value::Null).unwrap().status, 404, "nothing was made");
    standalone.terminate();
    standalone.arg("--accept-restore");
    standalone.start();
    assert_eq!(standalone.bytes(PATH), None);
}

#[test]
fn a_second_process_on_the_data_is_told_so() {
    let Some((server, mut standalone)) = world("a_second_process_on_the_data_is_told_so") else { return };
    standalone.start();
    let mut second = on(&server);
    second.share_data(&standalone);
    let said = second.refuses();
    assert!(said.contains(standalone.data().to_str().unwrap()) && said.contains("in use"), "{said}");
    // With the other store as well.
    let mut embedded = Standalone::new();
    embedded.share_data(&standalone);
    let said = embedded.refuses();
    assert!(said.contains("in use"), "{said}");
    assert!(!standalone.data().join("states.redb").exists());
}
