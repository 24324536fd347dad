//! Ports that are free, and stay free for a server that is started again.

use std::{
    net::{Ipv4Addr, TcpListener},
    process,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the ports that the kernel gives to outgoing connections: none of those takes the port of a server that is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nobody listens on, given once in this process.
///
/// # Panics
/// Where all are taken.
pub fn free() -> u16 {
    // Processes that test at the same time begin at different ones.
    let start = u16::try_from(process::id().wrapping_mul(997) % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start + next % COUNT) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port on loopback is free");
}
