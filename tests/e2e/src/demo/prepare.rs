//! What a demo takes before anything runs: the server's binary and the tools, from a cache or built.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

use tofustate_e2e::{cargo::cargo, scratch, standalone::binary, tools::Found};

use crate::{stack::FULL, step};

/// Builds the server, unless `TOFUSTATE_BIN` names one.
///
/// # Panics
/// Where it cannot be built.
pub(crate) fn server() {
    if let Some(named) = env::var_os("TOFUSTATE_BIN") {
        println!("\n== The server: TOFUSTATE_BIN is {}", Path::new(&named).display());
        return;
    }
    step("The server, built with cargo: minutes the first time", || {
        let mut build = cargo(&["build", "--locked", "--message-format=json-render-diagnostics"]);
        let output = scratch::mark(&mut build).stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(output.status.success(), "cargo build --locked: {}", output.status);
        if !String::from_utf8_lossy(&output.stdout).contains("\"fresh\":false") {
            println!("from the cache: nothing had changed");
        }
    });
}

/// The folder of the programs, for a person's PATH.
pub(crate) fn bin(folder: &Path) -> PathBuf {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(binary(), bin.join("tofustate")).unwrap();
    bin
}

/// Puts a program there.
pub(crate) fn put(bin: &Path, found: &Found) {
    symlink(fs::canonicalize(&found.program).unwrap(), bin.join(found.name)).unwrap();
}

/// Finds or builds what the stack of a cluster takes.
///
/// # Panics
/// Where some cannot be had, with all of them.
pub(crate) fn tools(bin: &Path) {
    let mut missing = Vec::new();
    step("The programs that it takes", || {
        for tool in FULL {
            let began = Instant::now();
            let before = tool.find().is_ok();
            match tool.find_or_build() {
                Ok(found) => {
                    let from = match (before, tool.is_cached(&found)) {
                        (false, _) => format!("built in {:.0} s", began.elapsed().as_secs_f64()),
                        (true, true) => "from the cache".to_owned(),
                        (true, false) => "found".to_owned(),
                    };
                    println!("{:<16} {:<15} {from}: {}", tool.name, found.version, found.program.display());
                    // A person's own `bao` is a client; the stand-in is none.
                    if !found.is_stand_in() {
                        put(bin, &found);
                    }
                }
                Err(why) => missing.push(format!("{}: {why}", tool.name)),
            }
        }
    });
    let missing = missing.join("\n");
    assert!(missing.is_empty(), "these cannot be had; STACK=embedded does without:\n{missing}");
}
