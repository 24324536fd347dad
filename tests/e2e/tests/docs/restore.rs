//! docs/operations.md: backup, restore and the word of a person after it; the same of the embedded store.

use std::fs;

use serde_json::json;
use tofustate_e2e::{
    ask::{ask, lock_info, state},
    bao::{self, openbao},
    docs::{commands, with},
    kube::{Setup, condition, is_true, tofustates},
    operator::Operator,
    ports,
    project::said,
    standalone::{Standalone, writer},
    tools::{JQ, KUBECTL, ZSTD},
    wait,
};

use crate::shell::Shell;

#[test]
fn a_snapshot_is_taken_and_restored_and_accepted() {
    let test = "a_snapshot_is_taken_and_restored_and_accepted";
    let (Some(bao), Some(jq), Some(kubectl)) = (openbao(test), JQ.for_test(test), KUBECTL.for_test(test)) else {
        return;
    };
    let Some(cluster) = (Setup { crds: true, ..Setup::default() }).start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let mut operator = Operator::new(&cluster, &server);
    operator.arg("--resync").arg("10");
    operator.start();
    let root = fs::read_to_string(server.root_token_file()).unwrap();
    let mut shell = Shell::new(&[&bao, &jq, &kubectl]);
    shell.env("BAO_ADDR", &server.url(0)).env("BAO_TOKEN", root.trim());
    shell.env("KUBECONFIG", cluster.admin_kubeconfig().to_str().unwrap());

    cluster.namespace("team");
    let object = |name: &str| format!("{}/{name}", tofustates("team"));
    let until = |name: &str, what: &str, so: &dyn Fn(&serde_json::Value) -> bool| {
        wait::until(what, || {
            let found = cluster.api().get(&object(name)).ok_or("it is not there")?;
            if so(&found) { Ok(found) } else { Err(format!("{found:#}; {}", operator.said())) }
        })
    };
    let ready = |found: &serde_json::Value| condition(found, "Ready").is_some_and(is_true);
    for name in ["app", "other"] {
        let made = json!({
            "apiVersion": "tofustate.io/v1alpha1", "kind": "TofuStateBackend", "metadata": {"name": name},
            "spec": {"path": format!("team/{name}")},
        });
        cluster.api().create(&tofustates("team"), &made).done();
        until(name, "it is ready", &ready);
    }
    let token = || {
        let found =
            shell.paste("kubectl get secret -n team app-tofustate -o jsonpath='{.data.TF_HTTP_PASSWORD}' | base64 -d");
        found.trim().to_owned()
    };
    // A lock id is known for a while: each run has another.
    let write = |token: &str, serial: u64| {
        let asks = |method: &str, query: &str, body: String| {
            ask(method, &format!("{}{query}", operator.url("team/app"))).token(token).body(body).send().is(200);
        };
        let lock = format!("run-{serial}");
        asks("LOCK", "", lock_info(&lock));
        asks("POST", &format!("?ID={lock}"), state(serial, 100));
        asks("UNLOCK", "", lock_info(&lock));
        until("app", "the serial is shown", &|found| {
            found["status"]["state"]["serial"] == serial && found["status"]["locked"] == false
        });
    };
    let read = |token: &str| ask("GET", &operator.url("team/app")).token(token).send();

    let first = token();
    write(&first, 1);
    shell.paste(&commands("operations.md", "backup"));
    shell.paste(&commands("operations.md", "resources"));
    let resources = fs::read_to_string(shell.at().join("tofustates.yaml")).unwrap();
    assert!(resources.contains("headEpoch") && resources.contains("path: team/app"), "{resources}");
    write(&first, 2);

    shell.paste(&commands("operations.md", "restore"));
    until("app", "it is seen to be older", &|found| {
        condition(found, "StoreReachable").is_some_and(|found| found["reason"] == "StoreWentBack")
    });
    read(&first).is_error(503, "head_behind");
    shell.paste(&commands("operations.md", "accept"));
    until("app", "it is ready again", &ready);
    until("other", "the other is ready", &ready);
    let text = read(&first).is(200).text();
    assert!(text.contains("\"serial\":1"), "{text}");

    // While there is a cluster: who leads, and another token.
    let leader = shell.paste(&commands("operations.md", "leader"));
    assert!(leader.trim().len() > 3, "{leader}");
    shell.paste(&commands("operations.md", "rotate"));
    wait::until("there is another token", || {
        let found = cluster.api().get("/api/v1/namespaces/team/secrets/app-tofustate").ok_or("there is none")?;
        if found["data"]["TF_HTTP_PASSWORD"].is_string() { Ok(()) } else { Err(format!("{found}")) }
    });
    let second = token();
    assert_ne!(first, second);
    wait::until("the new one is taken and the old one is not", || {
        let (new, old) = (read(&second).status(), read(&first).status());
        if (new, old) == (200, 403) { Ok(()) } else { Err(format!("{new}, {old}")) }
    });
}

/// All of OpenBao is lost but a snapshot and the keys: the same states by the same token of the operator, and by hand.
#[test]
fn a_new_openbao_is_made_of_a_snapshot() {
    let test = "a_new_openbao_is_made_of_a_snapshot";
    let (Some(bao), Some(jq), Some(zstd)) = (openbao(test), JQ.for_test(test), ZSTD.for_test(test)) else { return };
    let Some(old) = bao::Setup::default().start(test) else { return };
    let token = old.bootstrap("prod", &[]);
    let mut server = Standalone::on(&old, "prod", &token);
    server.register("team/app", "");
    server.start();
    let written = state(3, 5_000);
    ask("POST", &server.url("team/app")).token(&writer("team/app")).body(&*written).send().is(200);
    server.terminate();
    let root = fs::read_to_string(old.root_token_file()).unwrap();
    let mut shell = Shell::new(&[&bao, &jq, &zstd]);
    shell.env("BAO_ADDR", &old.url(0)).env("BAO_TOKEN", root.trim());
    shell.paste(&commands("operations.md", "backup"));
    let (token, key) = (fs::read_to_string(token).unwrap(), old.unseal_key().to_owned());
    drop(old);

    let new = bao::Setup::default().start(test).expect("it was there");
    let made = fs::read_to_string(new.root_token_file()).unwrap();
    shell.env("BAO_ADDR", &new.url(0)).env("BAO_TOKEN", made.trim());
    let block = commands("operations.md", "restore-elsewhere");
    let (restore, unseal) = block.split_once('\n').expect("two commands");
    shell.paste(restore);
    // It asks for the keys on a terminal. Until it has restored, it is not sealed.
    let unseal = with(unseal, &[("bao operator unseal ", &format!("bao operator unseal {key} "))]);
    shell.env("BAO_TOKEN", root.trim());
    wait::until("the old keys unseal it, and the old token is taken", || {
        let asked = shell.start(&format!("{unseal}\nbao token lookup")).wait();
        if asked.status.success() { Ok(()) } else { Err(said(&asked)) }
    });
    let entry = commands("operations.md", "by-hand-small");
    wait::until("the state is there", || {
        let asked = shell.start(&entry).wait();
        if asked.status.success() { Ok(()) } else { Err(said(&asked)) }
    });
    assert_eq!(fs::read_to_string(shell.at().join("app.tfstate")).unwrap(), written);

    // The same data folder, which knows what was seen, and the operator's token of before.
    let file = new.secret_file("operator-token", &token);
    server.env("BAO_ADDR", &new.addresses()).env("BAO_TOKEN_FILE", file.to_str().unwrap());
    server.start();
    assert_eq!(server.bytes("team/app").unwrap(), written.as_bytes());
    server.terminate();
}

#[test]
fn the_embedded_store_is_copied_and_put_back() {
    let mut server = Standalone::new();
    server.register("team/app", "");
    server.start();
    let write = |server: &Standalone, serial: u64| {
        let url = server.url("team/app");
        ask("POST", &url).token(&writer("team/app")).body(state(serial, 100)).send().is(200);
    };
    write(&server, 1);
    server.terminate();
    let mut shell = Shell::new(&[]);
    shell.go(server.root());
    shell.paste(&commands("operations.md", "embedded"));
    server.start();
    write(&server, 2);
    server.terminate();

    let port = ports::free();
    shell
        .env("LISTEN_ADDR", &format!("127.0.0.1:{port}"))
        .env("TOFUSTATE_ADMIN_LISTEN", &format!("127.0.0.1:{}", ports::free()));
    let mut running = shell.start(&commands("operations.md", "embedded-back"));
    let read = wait::until("it serves the state", || {
        if let Some(status) = running.ended() {
            panic!("it ended with {status}: {}", running.said());
        }
        let asked = ask("GET", &format!("http://127.0.0.1:{port}/team/app")).token(&writer("team/app")).try_send();
        match asked {
            Ok(answer) if answer.status() == 200 => Ok(answer.text()),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(read.contains("\"serial\":1"), "{read}");
    drop(running);

    // What the page says of records: those of the broken folder have it noticed.
    let at = |path: &str| server.root().join(path);
    fs::remove_dir_all(at("data/records")).unwrap();
    fs::rename(at("data.broken/records"), at("data/records")).unwrap();
    server.start();
    ask("GET", &server.url("team/app")).token(&writer("team/app")).send().is_error(503, "head_behind");
    server.terminate();
}
