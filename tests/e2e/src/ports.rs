//! Ports that are free, and stay free for a server that is started again.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::{Mutex, PoisonError},
};

/// Below the ports that the kernel gives to outgoing connections: none of those takes the port of a server that is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;
/// Processes that test at the same time have blocks of so many ports to themselves.
const BLOCK: u16 = 200;

/// The block that ports are taken from, as the listener on its first port, the next port, and the blocks before.
struct Blocks {
    held: Vec<TcpListener>,
    next: u16,
    end: u16,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { held: Vec::new(), next: 0, end: 0 });

/// A port on loopback that nobody listens on, given once in this process, and to no other process as long as this one lives.
///
/// # Panics
/// Where all are taken.
pub fn free() -> u16 {
    let mut blocks = BLOCKS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while blocks.next < blocks.end {
            let port = blocks.next;
            blocks.next += 1;
            if listen(port).is_some() {
                return port;
            }
        }
        blocks.take();
    }
}

impl Blocks {
    /// Takes another block: whoever listens on the first port of one has it.
    fn take(&mut self) {
        let all = COUNT / BLOCK;
        let start = u16::try_from(process::id() % u32::from(all)).unwrap();
        let firsts = (0..all).map(|block| FIRST + (start + block) % all * BLOCK);
        let (first, listener) = firsts.filter_map(|first| Some((first, listen(first)?))).next().expect("a free port");
        self.held.push(listener);
        (self.next, self.end) = (first + 1, first + BLOCK);
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
}
