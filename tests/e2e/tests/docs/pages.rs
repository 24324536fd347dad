//! The commands of docs/operator.md, docs/openbao.md, docs/migration.md and docs/troubleshooting.md.

use std::fs;

use tofustate_e2e::{
    ask::{ask, state},
    bao::{self, Tls, openbao},
    client::Client,
    docs::{commands, with},
    kube::{OPERATOR_NAMESPACE, Setup},
    operator::INSTANCE,
    ports,
    standalone::{Standalone, writer},
    tools::{KUBECTL, OPENTOFU},
    wait, with_each_client,
};

use crate::shell::Shell;

#[test]
fn the_operator_begins_by_hand() {
    let test = "the_operator_begins_by_hand";
    let Some(kubectl) = KUBECTL.for_test(test) else { return };
    let Some(cluster) = Setup::default().start(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    let mut shell = Shell::new(&[&kubectl]);
    let clone = tofustate_e2e::docs::root();
    let token = server.bootstrap(INSTANCE, &[]);
    shell.go(&clone).env("KUBECONFIG", cluster.admin_kubeconfig().to_str().unwrap());
    shell.env("BAO_ADDR", &server.url(0)).env("BAO_TOKEN_FILE", token.to_str().unwrap());
    shell.env("TOFUSTATE_NAMESPACE", OPERATOR_NAMESPACE);
    let address = format!("127.0.0.1:{}", ports::free());
    shell.env("LISTEN_ADDR", &address).env("TOFUSTATE_INTERNAL_URL", &format!("http://{address}"));
    shell.env("TOFUSTATE_ADMIN_LISTEN", &format!("127.0.0.1:{}", ports::free()));
    let mut operator = shell.start(&commands("operator.md", "begin"));
    // The last of them stays.
    wait::until("the definition is there", || {
        assert!(operator.ended().is_none(), "it ended: {}", operator.said());
        let asked = cluster.api().ask("GET", "/apis/tofustate.io/v1alpha1/tofustates", &serde_json::Value::Null)?;
        if asked.status == 200 { Ok(()) } else { Err(operator.said()) }
    });
    let manifest = format!(
        "kubectl create namespace team\nkubectl apply -f - <<'EOF'\n{}EOF\n",
        commands("operator.md", "begin-state")
    );
    // The policies may not be in force yet, nor their tenancy be seen: it is asked again until it is taken.
    wait::until("the resource is taken", || {
        let manifest = manifest.replace("namespace team\n", "namespace team || true\n");
        let done = shell.start(&manifest).wait();
        if done.status.success() { Ok(()) } else { Err(tofustate_e2e::project::said(&done)) }
    });
    shell.paste(&format!("{} --timeout=120s", commands("operator.md", "begin-wait").trim_end()));
    let looks = commands("troubleshooting.md", "looks");
    // There are no Pods: the log is that of the process.
    let log = ("kubectl logs -n tofustate deployment/tofustate --since=1h", "echo '\"level\":\"WARN\"'");
    let looks = with(&looks, &[log]);
    wait::until("all three say something", || {
        let said = shell.paste(&looks);
        let all = ["team/app", "True", "Normal", "WARN"].iter().all(|word| said.contains(word));
        if all { Ok(()) } else { Err(said) }
    });
}

#[test]
fn openbao_is_set_up() {
    let test = "openbao_is_set_up";
    if openbao(test).is_none() {
        return;
    }
    let Some(server) = bao::Setup::default().start(test) else { return };
    let shell = Shell::new(&[]);
    shell.paste(&format!("cp {} admin-token; chmod 600 admin-token", server.root_token_file().display()));
    // An OpenBao that is no Pod has to be told where the API server is; nobody logs in here.
    let ca = Tls::make(&shell.at().join("tls")).ca();
    let there =
        format!("--kubernetes-auth --kubernetes-host=https://127.0.0.1:1 --kubernetes-ca-file={}", ca.display());
    let options = [("https://openbao.example:8200", &*server.url(0)), ("--kubernetes-auth", &there)];
    let block = with(&commands("openbao.md", "set-up"), &options);
    shell.paste(&block);
    let again = shell.paste(&block);
    assert!(!again.contains("made"), "safe to repeat: {again}");
}

with_each_client!(another_backend, the_data_dir_trap);

/// A project with a local state, and a shell at it.
fn shell(client: &Client) -> Shell {
    let shell = Shell::new(&[]);
    let program = tofustate_e2e::project::Project::new(client, &[]).command(&[]).get_program().to_owned();
    // What the pages call tofu.
    shell.program("tofu", &format!("#!/bin/sh\nexec {} \"$@\"\n", program.to_str().unwrap()));
    fs::write(shell.at().join("main.tf"), "resource \"terraform_data\" \"x\" {\n  input = \"a\"\n}\n").unwrap();
    shell
}

fn reach(shell: &mut Shell, server: &Standalone) {
    let url = server.url("team/app");
    for name in ["ADDRESS", "LOCK_ADDRESS", "UNLOCK_ADDRESS"] {
        shell.env(&format!("TF_HTTP_{name}"), &url);
    }
    shell.env("TF_HTTP_USERNAME", "tofustate").env("TF_HTTP_PASSWORD", &writer("team/app"));
}

/// A state comes from another backend, whole.
fn another_backend(client: &Client) {
    let server = Standalone::serving(&["team/app"]);
    let mut shell = shell(client);
    shell.paste("tofu init -no-color\ntofu apply -no-color -auto-approve");
    reach(&mut shell, &server);
    shell.paste(&commands("migration.md", "other-backend"));
    let read = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(shell.at().join(file)).unwrap()).unwrap()
    };
    let (before, after) = (read("before.tfstate"), read("after.tfstate"));
    assert_eq!(before["resources"], after["resources"]);
    assert_ne!(before["lineage"], after["lineage"], "as the page says");
    assert_eq!(server.state("team/app"), after);

    let said = shell.paste(&commands("troubleshooting.md", "curl"));
    assert!(said.starts_with("200\n") && said.contains("lineage"), "{said}");
}

/// A state where only the note of the backend should be: what is said, and the way out.
fn the_data_dir_trap(client: &Client) {
    let server = Standalone::serving(&["team/app"]);
    let mut shell = shell(client);
    shell.paste("tofu init -no-color\ntofu apply -no-color -auto-approve");
    reach(&mut shell, &server);
    fs::write(shell.at().join("backend.tf"), "terraform {\n  backend \"http\" {}\n}\n").unwrap();
    let said = shell.fails("export TF_DATA_DIR=$PWD\ntofu init -no-color -input=false -reconfigure");
    let says = if client.is_terraform() {
        "unsupported backend state version 4"
    } else {
        "does not support CLI state version 4, please update"
    };
    assert!(said.contains("Failed to load state") && said.contains(says), "{said}");
    assert!(tofustate_e2e::docs::page("troubleshooting.md").contains(says), "{says}");
    shell.env("TF_DATA_DIR", ".");
    shell.paste(&commands("troubleshooting.md", "data-dir"));
    let local: serde_json::Value =
        serde_json::from_slice(&fs::read(shell.at().join("state.tfstate")).unwrap()).unwrap();
    assert_eq!(server.state("team/app")["resources"], local["resources"]);
    shell.paste("export TF_DATA_DIR=$PWD/.terraform\ntofu plan -no-color -input=false -detailed-exitcode");
}

#[test]
fn tofu_state_is_left_step_by_step() {
    let test = "tofu_state_is_left_step_by_step";
    let Some(bao) = openbao(test) else { return };
    let Some(tofu) = OPENTOFU.for_test(test) else { return };
    let Some(server) = bao::Setup::default().start(test) else { return };
    // As tofu-state left it.
    bao::fixture::mount(&server.api(), "states", &serde_json::json!({"max_versions": 10}));
    let old = state(7, 700);
    let entry = serde_json::json!({"options": {"cas": 0}, "data": {"state": old}});
    server.api().must("POST", "states/data/team/app", &entry);

    let mut shell = Shell::new(&[&bao, &tofu]);
    let root = fs::read_to_string(server.root_token_file()).unwrap();
    shell.env("BAO_TOKEN", root.trim());
    shell.paste(&format!("cp {} admin-token; chmod 600 admin-token", server.root_token_file().display()));
    let url = server.url(0);
    let steps = [commands("migration.md", "set-up"), commands("migration.md", "adopt")].concat();
    let told = shell.paste(&with(&steps, &[("https://openbao.example:8200", &url)]));
    assert!(told.contains("serial 7") || told.contains("serial"), "{told}");

    shell.paste("mkdir manifests; printf a-token-of-twenty-characters > api-token");
    let manifest = "apiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {name: app, namespace: team}\nspec: {path: team/app}\n";
    fs::write(shell.at().join("manifests/app.yaml"), manifest).unwrap();
    let port = ports::free();
    shell
        .env("BAO_ADDR", &url)
        .env("TOFUSTATE_INSTANCE", "prod")
        .env("TOFUSTATE_ADMIN_LISTEN", &format!("127.0.0.1:{}", ports::free()));
    let serve = commands("migration.md", "serve");
    let serve = with(
        &serve,
        &[
            ("LISTEN_ADDR=:8080", &format!("LISTEN_ADDR=127.0.0.1:{port}")),
            ("export BAO_TOKEN_FILE", "unset BAO_TOKEN\nexport BAO_TOKEN_FILE"),
        ],
    );
    let mut running = shell.start(&serve);
    let found = wait::until("it serves the state", || {
        assert!(running.ended().is_none(), "it ended: {}", running.said());
        let asked =
            ask("GET", &format!("http://127.0.0.1:{port}/team/app")).token("a-token-of-twenty-characters").try_send();
        match asked {
            Ok(answer) if answer.status() == 200 => Ok(answer.text()),
            other => Err(format!("{other:?}; {}", running.said())),
        }
    });
    assert_eq!(found, old, "byte for byte");
}
