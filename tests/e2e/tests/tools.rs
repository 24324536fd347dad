//! The list of tools itself: a tool that is not there is never passed over in silence, and a recipe builds what it says.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tofustate_e2e::{project::said, recipe::Recipe, tools::ALL};

/// `make tools` on a machine where nothing is.
fn on_an_empty_machine(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tools"));
    command.env("PATH", empty.path()).env("TOFUSTATE_TOOLS", empty.path()).args(args);
    for tool in ALL {
        command.env_remove(tool.variable);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn the_table_says_what_was_skipped() {
    let notes = tempfile::NamedTempFile::new().unwrap();
    fs::write(notes.path(), "SKIPPED\ttofu\ta\tno reason\nSKIPPED\ttofu\tb\tno reason\nSKIPPED\ttofu\tb\tno reason\n")
        .unwrap();
    let output = on_an_empty_machine(&[], &["table", notes.path().to_str().unwrap()]);
    let table = said(&output);
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
    assert!(output.status.success() && line("tofu").contains("2 SKIPPED: no reason"), "{table}");
    assert!(line("terraform").contains("none asked for it"), "{table}");
}

#[test]
fn what_cannot_be_had_is_named_and_what_is_named_wrongly_fails() {
    let output = on_an_empty_machine(&[], &[]);
    let list = said(&output);
    assert!(output.status.success() && list.contains("go cannot be run"), "{list}");
    assert_eq!(list.matches("not there").count(), ALL.len(), "{list}");
    let wrong = on_an_empty_machine(&[("TERRAFORM_BIN", "/bin/true")], &[]);
    assert!(!wrong.status.success() && said(&wrong).contains("TERRAFORM_BIN"), "{}", said(&wrong));
}

#[test]
fn a_recipe_names_the_version_that_its_module_requires() {
    for tool in ALL {
        let Some(Recipe::Go(go)) = tool.recipe else { continue };
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(go.folder).join("go.mod");
        let module = fs::read_to_string(module).unwrap();
        // What a program adds to the version of its module follows a hyphen.
        let version = go.version.split('-').next().unwrap();
        assert!(module.lines().any(|line| line.ends_with(&format!(" v{version}"))), "{}: {module}", tool.name);
    }
}

#[test]
fn all_that_a_build_misses_is_named_at_once_with_what_to_do() {
    let empty = tempfile::tempdir().unwrap();
    let need = |path: &str| {
        let mut command = Command::new("/bin/sh");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/need")).env_remove("CC").env("PATH", path).output().unwrap()
    };
    let output = need(empty.path().to_str().unwrap());
    let list = said(&output);
    assert_eq!(output.status.code(), Some(1), "{list}");
    for missing in ["cargo: install Rust with https://rustup.rs", "cc, a C compiler: apt-get install gcc"] {
        assert!(list.contains(missing), "{list}");
    }
    let output = need(&std::env::var("PATH").unwrap());
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}
