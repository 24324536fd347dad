//! What is remembered of the states outside the store, so that a store that was set back is noticed.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use tofustate_e2e::{
    slow::Slow,
    standalone::{Standalone, writer},
    wait,
};

const PATH: &str = "team/app";

fn revision(server: &Standalone) -> u64 {
    let text = fs::read_to_string(server.data().join("records/team/app.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["headRevision"].as_u64().unwrap()
}

/// A write whose body ends after the server was told to stop is answered, and then known to have been.
#[test]
fn the_last_write_of_a_stop_is_in_the_records() {
    let mut server = Standalone::serving(&[PATH]);
    let mut before = revision(&server);
    for serial in 1..=2 {
        let mut write = Slow::write(&server.address(), PATH, &writer(PATH), serial);
        let process = server.signal(Signal::TERM);
        wait::until("it stops", || match process.stderr() {
            said if said.contains("stopping") => Ok(()),
            said => Err(said),
        });
        let answer = write.finish();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server.ended();
        let after = revision(&server);
        assert!(after > before, "{before} {after}");
        server.start();
        assert_eq!(server.bytes(PATH).unwrap(), write.body.as_bytes());
        assert_eq!(revision(&server), after, "nothing was left to be remembered");
        before = after;
    }
}
