//! What signals do to a server with work under way.

use rustix::process::Signal;
use tofustate_e2e::{
    process::Process,
    slow::Slow,
    standalone::{Standalone, writer},
    wait,
};

const PATH: &str = "team/app";

/// How many times the log has it.
fn told(process: &Process, text: &str) -> usize {
    process.stderr().matches(text).count()
}

fn stopping(process: &Process) {
    wait::until("it stops", || if told(process, "stopping: ") == 1 { Ok(()) } else { Err(process.said()) });
}

/// As process managers and terminals send them.
#[test]
fn signals_that_come_together_are_one() {
    for signals in [[Signal::TERM, Signal::INT], [Signal::INT, Signal::HUP], [Signal::HUP, Signal::TERM]] {
        let mut server = Standalone::serving(&[PATH]);
        let mut write = Slow::write(&server.address(), PATH, &writer(PATH), 1);
        let [_, process] = signals.map(|signal| server.signal(signal));
        stopping(process);
        let answer = write.finish();
        assert!(answer.starts_with("HTTP/1.1 200"), "{signals:?}: {answer}");
        server.ended();
        server.start();
        assert_eq!(server.bytes(PATH).unwrap(), write.body.as_bytes());
    }
}

#[test]
fn a_signal_that_comes_later_cuts_a_stop_off() {
    let server = Standalone::serving(&[PATH]);
    let _write = Slow::write(&server.address(), PATH, &writer(PATH), 1);
    stopping(server.signal(Signal::TERM));
    wait::until("it hears of another", || {
        let process = server.signal(Signal::INT);
        if told(process, "a second SIGINT: what was under way was cut off") == 1 { Ok(()) } else { Err(process.said()) }
    });
}
