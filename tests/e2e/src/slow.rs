//! A request whose body takes its time.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use crate::wait;

/// A request of which the first bytes are sent.
pub struct Slow {
    client: TcpStream,
    /// The body as a whole.
    pub body: String,
}

impl Slow {
    /// Sends what comes first of it; the server reads the body already.
    ///
    /// # Panics
    /// Where the server says something else than to go on.
    pub fn begin(address: &str, method: &str, path: &str, token: &str, body: String) -> Self {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        let mut go_on = [0; 25];
        client.read_exact(&mut go_on).unwrap();
        assert!(go_on.starts_with(b"HTTP/1.1 100"), "the body is being read");
        client.write_all(&body.as_bytes()[..9]).unwrap();
        Self { client, body }
    }

    /// A write to a state.
    pub fn write(address: &str, path: &str, token: &str, serial: u64) -> Self {
        let body = format!(r#"{{"version":4,"serial":{serial},"lineage":"l","resources":[]}}"#);
        Self::begin(address, "POST", path, token, body)
    }

    /// Sends the rest, and gives the answer.
    pub fn finish(&mut self) -> String {
        self.client.write_all(&self.body.as_bytes()[9..]).unwrap();
        let mut answer = String::new();
        self.client.read_to_string(&mut answer).unwrap();
        answer
    }
}
