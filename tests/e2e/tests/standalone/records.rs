//! What is remembered of the states outside the store, so that a store that was set back is noticed.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use rustix::process::Signal;
use serde_json::Value;
use tofustate_e2e::{
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
        let body = format!(r#"{{"version":4,"serial":{serial},"lineage":"l","resources":[]}}"#);
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let head = format!(
            "POST /{PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            writer(PATH),
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        client.read_exact(&mut go_on).unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100"), "the body is being read");
        client.write_all(&body.as_bytes()[..9]).unwrap();
        let process = server.signal(Signal::TERM);
        wait::until("it stops", || match process.stderr() {
            said if said.contains("stopping") => Ok(()),
            said => Err(said),
        });
        client.write_all(&body.as_bytes()[9..]).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server.ended();
        let after = revision(&server);
        assert!(after > before, "{before} {after}");
        server.start();
        assert_eq!(server.bytes(PATH).unwrap(), body.as_bytes());
        assert_eq!(revision(&server), after, "nothing was left to be remembered");
        before = after;
    }
}
