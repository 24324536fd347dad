//! The four calls of KV v2 by hand: the lock as an entry of its own that is made with `cas=0`, the state read, the state
//! written, the lock's entry deleted. The state is one JSON string, as `bao kv put` writes a file.

use std::{borrow::Cow, io, net::SocketAddr, sync::atomic::Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::{
    client::Connection,
    load::{Way, Work, ask},
    lock_info::lock_info,
    world::{BARE, World},
};

/// As much of a state as surely fits an entry of a mebibyte, with its quotes escaped. A larger one does not fit four calls:
/// then it is this many bytes a call more, written and read one after the other.
const FITS: usize = 750_000;

pub(crate) struct ByHand {
    address: SocketAddr,
    token: String,
    /// What names its states.
    name: String,
}

#[derive(Serialize)]
struct Put<'a> {
    options: Cas,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Cas {
    cas: u64,
}

#[derive(Serialize, Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Got<'a> {
    #[serde(borrow)]
    data: Inner<'a>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    #[serde(borrow)]
    data: Data<'a>,
    metadata: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

impl ByHand {
    pub(crate) fn new(world: &World, name: &str) -> Self {
        Self { address: world.address(), token: world.token.clone(), name: name.to_owned() }
    }
}

impl Way for ByHand {
    fn open(&self) -> io::Result<Connection> {
        Connection::with_headers(self.address, format!("X-Vault-Token: {}\r\n", self.token))
    }

    fn path(&self, state: usize) -> String {
        format!("{}-s{state}", self.name)
    }

    fn cycle(
        &self,
        connection: &mut Connection,
        work: &Work<'_>,
        number: usize,
        answer: &mut Vec<u8>,
    ) -> Result<usize, String> {
        let path = &work.path;
        let (_, info) = lock_info(number as u64);
        let lock = put(0, &info);
        ask(connection, answer, ("POST", &format!("/v1/{BARE}/data/{path}.lock")), None, &lock, &[200])?;
        let serial = work.taken.fetch_add(1, Relaxed);
        let body = std::str::from_utf8(&work.bodies[serial].0).unwrap();
        let before = serial.checked_sub(1).map(|serial| work.bodies[serial].0.as_slice());
        let mut versions = Vec::new();
        for (at, expected) in pieces(before.unwrap_or_default()).enumerate() {
            let status = ask(connection, answer, ("GET", &entry(path, at)), None, &[], &[200, 404])?;
            if status == 404 {
                break;
            }
            let got: Got<'_> = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
            if got.data.data.value.as_bytes() != expected {
                return Err("GET: not what was written".to_owned());
            }
            versions.push(got.data.metadata.version);
        }
        if before.is_none() {
            ask(connection, answer, ("GET", &entry(path, 0)), None, &[], &[404])?;
        }
        for (at, piece) in pieces(body.as_bytes()).enumerate() {
            let cas = versions.get(at).copied().unwrap_or(0);
            let piece = put(cas, std::str::from_utf8(piece).unwrap());
            ask(connection, answer, ("POST", &entry(path, at)), None, &piece, &[200])?;
        }
        ask(connection, answer, ("DELETE", &format!("/v1/{BARE}/metadata/{path}.lock")), None, &[], &[204])?;
        Ok(0)
    }
}

fn pieces(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.chunks(FITS)
}

fn entry(path: &str, at: usize) -> String {
    format!("/v1/{BARE}/data/{path}.{at}")
}

fn put(cas: u64, value: &str) -> Vec<u8> {
    serde_json::to_vec(&Put { options: Cas { cas }, data: Data { value: value.into() } }).unwrap()
}
