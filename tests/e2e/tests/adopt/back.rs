//! The way back to the other service, by the commands of docs/migration.md, with the real `bao`.

use std::process::Command;

use serde_json::{Value, json};
use tofustate_e2e::{bao, docs::commands, process::Process};

use crate::{
    old::{Old, state},
    world::{clean, said},
};

/// Pastes commands into a shell of the admin's.
fn paste(old: &Old, program: &std::path::Path, commands: &str) -> String {
    let folder = old.world.folder.path();
    let mut shell = clean(Command::new("bash"));
    let usual = std::env::var("PATH").unwrap();
    shell.env("PATH", format!("{}:{usual}", program.parent().unwrap().display())).env("HOME", folder);
    let root = std::fs::read_to_string(old.world.server.root_token_file()).unwrap();
    shell.env("BAO_ADDR", old.world.server.url(0)).env("BAO_TOKEN", root.trim());
    shell.args(["-eo", "pipefail", "-c", commands]).current_dir(folder);
    let done = Process::spawn("the pasted commands", &mut shell).wait();
    assert!(done.status.success(), "{commands}\n{}", said(&done));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_old_service_goes_on_after_the_commands_of_the_docs() {
    let test = "the_old_service_goes_on_after_the_commands_of_the_docs";
    let Some(server) = bao::openbao(test) else { return };
    // Under its own name, it is what the commands call.
    let Some(old) = Old::start(test) else { return };
    let api = old.world.api();
    let data = json!({ "state": state(7, 700_000) });
    old.put("team/app", &data);
    let told = old.must("team/app");
    assert!(told.contains(", in 2 parts"), "{told}");
    let first = told.split_once("kept at states/.versions/team:app/").unwrap().1.split([',', '\n']).next().unwrap();

    let (original, back) = (commands("migration.md", "original"), commands("migration.md", "back"));
    let named = "original_0123456789abcdef original_0123456789abcdef.1";
    assert!(original.contains(named), "{original}");
    let sum = paste(&old, &server.program, &original.replace(named, &format!("{first} {first}.1")));
    assert!(sum.starts_with(first.strip_prefix("original_").unwrap()), "{sum} of {first}");
    assert_eq!(api.must("GET", "states/config", &Value::Null)["cas_required"], true);
    paste(&old, &server.program, &back);
    assert_eq!(old.get("team/app"), data);
    assert_eq!(api.must("GET", "states/config", &Value::Null)["max_versions"], 10);
    // As tofu-state writes: without check-and-set.
    let next = json!({ "state": state(8, 10) });
    api.must("POST", "states/data/team/app", &json!({ "data": next }));
    assert_eq!(old.get("team/app"), next);

    // And once more, for another resource.
    let done = old.world.bootstrap(&["--existing-entries"]);
    assert!(done.status.success(), "{}", said(&done));
    old.must_of("team/app", "other");
    old.serves("team/app", "other", state(8, 10).as_bytes());
}
