//! What the server prints at its start, pasted by a person.

use std::process::{Command, Output};

use crate::{process::Process, project::Project};

/// For a file, and for a shell.
///
/// # Panics
/// Where it was not printed.
pub fn parts(printed: &str) -> (&str, &str) {
    printed.split_once("# and for the shell:\n").unwrap_or_else(|| panic!("{printed}"))
}

/// A shell into which the environment was pasted runs the client.
pub fn pasted(project: &Project, environment: &str, commands: &[&str]) -> Output {
    let commands: String = commands.iter().map(|command| format!("\"$0\" {command}\n")).collect();
    let (mut shell, client) = (Command::new("sh"), project.command(&[]));
    client.get_envs().for_each(|(name, value)| match value {
        Some(value) => drop(shell.env(name, value)),
        None => drop(shell.env_remove(name)),
    });
    shell.args(["-c", &format!("set -e\n{environment}\n{commands}")]).arg(client.get_program());
    shell.current_dir(project.path(""));
    Process::spawn("the pasted commands", &mut shell).wait()
}
