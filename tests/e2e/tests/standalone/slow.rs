//! A write whose body takes its time.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use tofustate_e2e::{
    standalone::{Standalone, writer},
    wait,
};

pub(crate) struct SlowWrite {
    client: TcpStream,
    pub(crate) body: String,
}

impl SlowWrite {
    /// Sends what comes first of it; the server reads the body already.
    pub(crate) fn begin(server: &Standalone, path: &str, serial: u64) -> Self {
        let body = format!(r#"{{"version":4,"serial":{serial},"lineage":"l","resources":[]}}"#);
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
            writer(path),
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        client.read_exact(&mut go_on).unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100"), "the body is being read");
        client.write_all(&body.as_bytes()[..9]).unwrap();
        Self { client, body }
    }

    /// Sends the rest, and gives the answer.
    pub(crate) fn finish(&mut self) -> String {
        self.client.write_all(&self.body.as_bytes()[9..]).unwrap();
        let mut answer = String::new();
        self.client.read_to_string(&mut answer).unwrap();
        answer
    }
}
