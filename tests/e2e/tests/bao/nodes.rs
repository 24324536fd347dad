//! Three nodes: another one takes over, whatever happens to the active one, and nothing acknowledged is lost.

use serde_json::{Value, json};
use tofustate_e2e::bao::{Bao, Setup, fixture};

use crate::{read, status, write};

fn three() -> Setup {
    Setup { nodes: 3, ..Setup::default() }
}

/// Writes once, lets something happen to the active node, and finds the write at another one. Gives the former.
fn fails_over(bao: &mut Bao, version: u64, happens: impl FnOnce(&mut Bao, usize)) -> usize {
    let first = bao.active();
    assert_eq!(status(write(&bao.node_api(first), "a", "written", version - 1)), 200);
    happens(bao, first);
    let next = bao.active_but(first);
    assert_eq!(read(&bao.node_api(next), "a"), (json!("written"), version));
    first
}

#[test]
fn another_node_takes_over() {
    let Some(mut bao) = three().start("another_node_takes_over") else { return };
    fixture::states(&bao.api());

    let killed = fails_over(&mut bao, 1, Bao::kill);
    bao.restart(killed);
    bao.settled();

    let frozen = fails_over(&mut bao, 2, Bao::freeze);
    bao.thaw(frozen);
    bao.settled();

    let sealed = fails_over(&mut bao, 3, |bao, active| assert_eq!(bao.seal(), active));
    bao.unseal(sealed);
    bao.settled();

    fails_over(&mut bao, 4, |bao, active| assert_eq!(bao.step_down(), active));
    bao.settled();
}

#[test]
fn nodes_send_clients_to_each_others_proxies() {
    let setup = Setup { proxied: true, ..three() };
    let Some(bao) = setup.start("nodes_send_clients_to_each_others_proxies") else { return };
    let (active, standby) = (bao.active(), bao.standby());
    let leader = bao.proxied_api(standby).must("GET", "sys/leader", &Value::Null);
    assert_eq!(leader["leader_address"], *bao.url(active));
    assert_eq!(bao.url(active), bao.proxy(active).url());
    assert_eq!((bao.proxy(standby).untouched(), bao.proxy(active).untouched()), (1, 0));
}

#[test]
fn nodes_join_over_https() {
    let setup = Setup { tls: true, ..three() };
    let Some(bao) = setup.start("nodes_join_over_https") else { return };
    fixture::states(&bao.api());
    assert_eq!(status(write(&bao.api(), "a", "1", 0)), 200);
}
