//! The admin's token typed on a terminal, which shows nothing of it.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tofustate_e2e::{standalone::binary, wait};

use crate::world::{INSTANCE, World, clean, token};

/// Runs the command on a terminal of its own, types after the question, and gives all that the terminal showed, and whether
/// the command was content.
fn typed(world: &World, args: &[&str], keys: &str) -> (String, bool) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let open = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let slave = open();
    // A session of its own, with this as its terminal.
    let mut command = clean(Command::new("setsid"));
    command.args(["--ctty", "--wait"]).arg(binary()).args(["bootstrap", "--instance", INSTANCE]);
    command.args(["--openbao-addr", &world.server.url(0)]).args(args);
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
    let mut child = command.spawn().unwrap();
    drop(command);

    let mut master = File::from(master);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let reader = thread::spawn({
        let (mut master, shown) = (master.try_clone().unwrap(), shown.clone());
        move || {
            let mut bytes = [0; 1024];
            // It fails when nobody has the other end any more.
            while let Ok(read) = master.read(&mut bytes) {
                shown.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        }
    });
    let text = || String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    wait::until("the question", || if text().contains("(it is not shown): ") { Ok(()) } else { Err(text()) });
    master.write_all(keys.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    reader.join().unwrap();
    (text(), status.success())
}

#[test]
fn a_typed_token_is_not_shown() {
    let Some(world) = World::start("a_typed_token_is_not_shown", None) else { return };
    let root = token(&world.server.root_token_file());
    let (shown, content) = typed(&world, &[], &format!("{}\r", root.expose()));
    assert!(content && shown.contains("the token role tofustate-prod: made"), "{shown}");
    assert!(!shown.contains(&root.expose()[..8]) && !shown.contains("left behind"), "{shown}");
    // Mistyped and typed anew.
    let (shown, content) = typed(&world, &["--check"], &format!("wrong\x15{}x\x7f\r", root.expose()));
    assert!(content && !shown.contains("wrong"), "{shown}");
    for keys in ["\r", "abc\x03", "\x04"] {
        let (shown, content) = typed(&world, &["--check"], keys);
        assert!(!content && !shown.contains("abc") && shown.contains("admin's token"), "{keys:?}: {shown}");
    }
}
