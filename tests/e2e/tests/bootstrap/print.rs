//! `--print`: its commands, run by a shell with the real `bao`, set up what the check wants.

use std::{fs, process::Command};

use tofustate_e2e::{process::Process, tools::OPENBAO};

use crate::world::{World, clean, path, said, token};

#[test]
fn the_printed_commands_do_the_same() {
    // The stand-in has no command line.
    let Some(world) = World::start("the_printed_commands_do_the_same", Some("team/tofu")) else { return };
    let ca = world.folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&ca, rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    let kubernetes = [
        "--kubernetes-auth=kubernetes",
        "--kubernetes-host=https://api.example:6443",
        "--kubernetes-ca-file",
        path(&ca),
        "--kubernetes-service-account=a,b",
        "--kubernetes-audience",
        "open bao's",
    ];
    let operator = world.folder.path().join("it's the token");
    let print =
        [&["--print", "--revoke-admin-token", "--operator-token-file", path(&operator)], &kubernetes[..]].concat();
    // No token and no server are needed for that.
    let printed = world.bootstrap_with(&print);
    assert!(printed.status.success(), "{}", said(&printed));

    let script = world.folder.path().join("script");
    let program = OPENBAO.find().unwrap().program;
    let text = String::from_utf8(printed.stdout).unwrap();
    fs::write(&script, format!("bao() {{ '{}' \"$@\"; }}\n{text}", program.display())).unwrap();
    let admin = tofustate_e2e::bao::fixture::token(&world.server.api(), &["root"]);
    let mut shell = clean(Command::new("sh"));
    shell.arg("-eu").arg(&script).env("BAO_ADDR", world.server.url(0)).env("BAO_TOKEN", &admin.secret);
    shell.env("HOME", world.folder.path()).env("BAO_NAMESPACE", "nonsense");
    let run = Process::spawn("sh", &mut shell).wait();
    assert!(run.status.success(), "{}\n{text}", said(&run));

    let check = world.bootstrap(&[&["--check"], &kubernetes[..]].concat());
    assert!(check.status.success(), "{}\n{text}", said(&check));
    let again = world.bootstrap(&[&["--operator-token-file", path(&operator)], &kubernetes[..]].concat());
    let said = said(&again);
    assert!(
        again.status.success() && said.matches(": already so").count() == 9 && said.contains("already there"),
        "{said}"
    );
    assert!(token(&operator).expose().starts_with("s."));
    let answer =
        world.server.api().with_token(&admin.secret).ask("GET", "auth/token/lookup-self", &serde_json::Value::Null);
    assert_eq!(answer.unwrap().status, 403, "the admin's token was ended");
}
