//! What it says where it cannot start, and how it ends.

use std::{fs, net::TcpListener, process::Command};

use rustix::process::Signal;
use tofustate_e2e::{
    process::Process,
    standalone::{Standalone, binary},
};

/// Runs it with these arguments and the others that it needs, and answers what it said as it ended.
fn refused(args: &[&str]) -> String {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("manifests")).unwrap();
    let mut command = Command::new(binary());
    command.arg("standalone").current_dir(root.path());
    let needed = [
        ["--manifests", "manifests"],
        ["--data", "data"],
        ["--listen", "127.0.0.1:0"],
        ["--admin-listen", "127.0.0.1:0"],
    ];
    command.args(args).args(needed.iter().filter(|[name, _]| !args.contains(name)).flatten());
    for name in ["API_TOKEN", "LISTEN_ADDR", "RUST_LOG"] {
        command.env_remove(name);
    }
    let output = Process::spawn("tofustate standalone", &mut command).wait();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let own = tempfile::tempdir().unwrap();
    let folder = own.path().to_str().unwrap();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--listen", &taken], &[&taken, "--listen"]),
        (&["--admin-listen", &taken], &[&taken, "--admin-listen"]),
        (&["--listen", "0.0.0.0:0"], &["--tls-cert", "--allow-plain-http"]),
        (&["--manifests", "nowhere"], &["nowhere", "--manifests"]),
        (&["--manifests", folder, "--data", folder], &[folder, "folders of their own"]),
        (&["--tls-cert", "none.pem", "--tls-key", "none.pem"], &["none.pem", "certificate"]),
        (&["--external-url", "states.example"], &["https://"]),
        (&["--instance", ""], &["--instance"]),
        (&["--max-connections", "0"], &["--max-connections"]),
        (&["--existing-data"], &["data", "no database"]),
    ];
    for (args, expected) in cases {
        let said = refused(args);
        assert!(expected.iter().all(|part| said.contains(part)), "{args:?}: {said}");
    }
    let token = own.path().join("token");
    fs::write(&token, "an-admin-token-of-a-test").unwrap();
    let said = refused(&["--admin-listen", "0.0.0.0:0", "--admin-token-file", token.to_str().unwrap()]);
    assert!(said.contains("--allow-plain-http") && !said.contains("an-admin-token"), "{said}");
    // Both the old and the written way.
    for tenancy in ["Annotation", "annotation"] {
        let said = refused(&["--tenancy", tenancy, "--listen", &taken]);
        assert!(said.contains(&taken), "{said}");
    }
}

#[test]
fn a_second_process_on_the_data_is_told_so() {
    let server = Standalone::serving(&["team/app"]);
    let said = refused(&["--data", server.data().to_str().unwrap()]);
    assert!(said.contains(server.data().to_str().unwrap()) && said.contains("process"), "{said}");
    assert_eq!(server.bytes("team/app"), None);
}

#[test]
fn a_signal_ends_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Standalone::serving(&["team/app"]);
        server.end(signal);
        let log = server.log();
        assert!(log.iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("stopping"))));
    }
}

#[test]
fn states_says_why_it_cannot_tell() {
    let server = Standalone::serving(&["team/app"]);
    assert!(server.states(&[]).starts_with("PATH"), "{}", server.states(&[]));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(binary());
    command.args(["states", "--admin", &nobody]);
    let output = Process::spawn("tofustate states", &mut command).wait();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("refused") && said.contains("--admin-listen"), "{said}");
}
