//! OpenBao comes after the server, goes and comes back: the gate of its name says so, and nothing crashes.

use tofustate_e2e::ask::state;

use crate::{ask, lines, run, world};

#[test]
fn an_openbao_that_is_away_at_the_start_is_waited_for() {
    let Some((mut server, mut standalone)) = world("an_openbao_that_is_away_at_the_start_is_waited_for") else {
        return;
    };
    standalone.start();
    run(&standalone, 1);
    standalone.terminate();

    server.kill(0);
    standalone.launch();
    let missing = standalone.await_shut("store: OpenBao is waited for: ");
    assert!(missing.contains("registry: "), "{missing}");
    // Not 403, nor 404: it is not known yet what is registered.
    ask(&standalone, "GET", "").send().is(503);
    ask(&standalone, "LOCK", "").send().is(503);
    server.restart(0);
    server.active();
    standalone.await_ready();
    ask(&standalone, "GET", "").send().is(200);
    assert!(!lines(&standalone, "OpenBao cannot be used yet").is_empty());
    assert_eq!(lines(&standalone, "OpenBao is set up as tofustate needs it").len(), 2);
    standalone.terminate();

    // Sealed, and stopped while it waits.
    server.seal();
    standalone.launch();
    standalone.await_shut("is sealed: unseal it");
    standalone.terminate();
}

#[test]
fn one_that_goes_for_long_shuts_the_gate_until_it_is_back() {
    let test = "one_that_goes_for_long_shuts_the_gate_until_it_is_back";
    let Some((mut server, mut standalone)) = world(test) else { return };
    standalone.start();
    run(&standalone, 1);
    server.kill(0);
    let missing = standalone.await_shut("store: OpenBao is away: ");
    assert!(!missing.contains("registry"), "{missing}");
    server.restart(0);
    server.active();
    standalone.await_ready();
    assert_eq!(ask(&standalone, "GET", "").send().is(200).text(), state(1, 100));
    assert_eq!((lines(&standalone, "OpenBao is away").len(), lines(&standalone, "answers again").len()), (1, 1));
    run(&standalone, 2);
}
