//! Connections that are open and send nothing, ten thousand of them.

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tofustate_e2e::{
    standalone::{Standalone, viewer},
    wait,
};

const CROWD: usize = 10_000;

/// They are more than the server takes at a time (4,096): clients get through all the same, and the crowd is cut off.
#[test]
fn c41_ten_thousand_connections_that_send_nothing() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = maximum.is_none_or(|most| most as usize > CROWD + 500);
    if raised.is_err() || !allowed {
        println!("SKIPPED: ten thousand connections need {} open files, and ulimit -Hn says {maximum:?}", CROWD + 500);
        return;
    }
    let server = Standalone::serving(&["team/app"]);
    let address: SocketAddr = server.address().parse().unwrap();
    let mut crowd: Vec<TcpStream> = Vec::new();
    for _ in 0..CROWD {
        crowd.push(TcpStream::connect(address).unwrap());
    }
    assert!(open(&server) > 1_000, "the server has taken many of them: {}", open(&server));
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let agent = agent.timeout_global(Some(Duration::from_secs(10))).build().new_agent();
    wait::until("a client is answered", || {
        let token = format!("Bearer {}", viewer("team/app"));
        match agent.get(server.url("team/app")).header("Authorization", token).call() {
            Ok(answer) if answer.status() == 404 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // Without a byte from us each is closed by the server.
    for stream in &mut crowd {
        stream.set_read_timeout(Some(wait::DEADLINE)).unwrap();
        let read = stream.read(&mut [0]);
        let silent = read.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!silent && !matches!(read, Ok(1..)), "it is closed: {read:?}");
    }
    wait::until("all of them are gone", || match open(&server) {
        0 | 1 => Ok(()),
        more => Err(format!("{more} are open")),
    });
    assert_eq!(server.bytes("team/app"), None);
}

/// How many connections of clients the server counts.
fn open(server: &Standalone) -> usize {
    let metrics = server.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("tofustate_http_connections "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}
