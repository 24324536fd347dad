//! The log: a line of JSON each, and text on a terminal.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    process::{Child, Command, Stdio},
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tofustate_e2e::standalone::binary;

use crate::{PATH, lines, lock_and_unlock, server};

#[test]
fn one_line_of_json_for_a_change() {
    let mut server = server();
    server.start();
    lock_and_unlock(&server, "one");
    let locked = &lines(&server, "locked")[0];
    let field = |name: &str| locked[name].as_str().unwrap_or_default();
    assert_eq!((field("level"), field("message"), field("path")), ("INFO", "locked", PATH));
    assert_eq!((field("identity"), field("lock"), field("who")), ("token", "one", "somebody@elsewhere"));
    assert!(field("timestamp").ends_with('Z'), "{locked}");
    assert_eq!(lines(&server, "unlocked")[0]["forced"], false);
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn text_on_a_terminal() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();

    let server = server();
    let mut command = Command::new(binary());
    command.arg("standalone").arg("--manifests").arg(server.root().join("manifests")).arg("--data").arg(server.data());
    command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).env_remove("RUST_LOG");
    command.env("NO_COLOR", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(terminal);
    let _child = Ended(command.spawn().unwrap());
    // It still has the terminal's end: reading fails once the server has ended.
    drop(command);

    let mut terminal = File::from(master);
    let (mut text, mut bytes) = (String::new(), [0; 4_096]);
    while !text.contains(" INFO served resource=team/app path=team/app") {
        let count = terminal.read(&mut bytes).unwrap_or_else(|error| panic!("{error} after {text}"));
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}
