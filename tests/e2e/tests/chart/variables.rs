//! What the rendered container is told is what the program reads.

use std::process::Command;

use tofustate_e2e::standalone::binary;

use crate::{
    rendered,
    world::{SETS, one, values},
};

/// A variable that is called by another name than the program reads would say nothing.
#[test]
fn every_variable_and_argument_is_one_that_the_program_knows() {
    let Some(world) = rendered::cluster("every_variable_and_argument_is_one_that_the_program_knows") else { return };
    let help = Command::new(binary()).args(["operator", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let docs = [include_str!("../../../../docs/openbao.md"), include_str!("../../../../docs/telemetry.md")].concat();
    let mut seen = 0;
    for set in SETS {
        let objects = world.would_apply(&world.rendered(set, &["--values", &values(set)]));
        let container = &one(&objects, "Deployment", "tofustate")["spec"]["template"]["spec"]["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let known = help.contains(&format!("[env: {name}=")) || help.contains(name) || known(&docs, name);
            assert!(known || name == "POD_NAME", "{set}: {name} is no variable of the program");
            seen += 1;
        }
        for arg in container["args"].as_array().unwrap() {
            let name = arg.as_str().unwrap().split('=').next().unwrap();
            assert!(name == "operator" || help.contains(name), "{set}: {name} is no option of the program");
        }
    }
    assert!(seen > 40, "{seen}");
}

/// The documents have it, or its end behind an ellipsis.
fn known(docs: &str, name: &str) -> bool {
    docs.contains(&format!("`{name}"))
        || (0..name.len()).any(|at| name.is_char_boundary(at) && docs.contains(&format!("`…{}`", &name[at..])))
}
