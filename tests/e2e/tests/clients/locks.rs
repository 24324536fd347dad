//! A state that another run holds: the refusal with the holder's name, `-lock-timeout`, `-lock=false`.

use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, PLAN, Project, VALUE, said, waits},
    standalone::Standalone,
    wait, with_each_client,
};

use crate::{PATH, assert_names_holder, resources, text};

with_each_client!(refused_with_the_holders_name, waits_for_the_lock, without_a_lock);

fn refused_with_the_holders_name(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let holder = Project::at(&server, PATH, client, &[&waits("a", None)]);
    let other = Project::at(&server, PATH, client, &[VALUE]);
    holder.run(INIT);
    other.run(INIT);
    let mut apply = holder.start_apply("a");
    let lock = server.await_lock(PATH);
    assert_eq!(text(&lock, "operation"), "OperationTypeApply");
    for args in [PLAN, APPLY] {
        assert_names_holder(client, &other.fails(args), &lock);
    }
    assert_eq!(server.await_lock(PATH), lock);
    assert_eq!(server.bytes(PATH), None);
    holder.go("a");
    assert!(apply.wait().status.success(), "{}", apply.said());
    assert_eq!(server.row(PATH).get("lock"), None);
}

fn waits_for_the_lock(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let holder = Project::at(&server, PATH, client, &[&waits("a", None)]);
    let other = Project::at(&server, PATH, client, &[VALUE, &waits("a", None)]);
    holder.run(INIT);
    other.run(INIT);
    let mut first = holder.start_apply("a");
    let lock = server.await_lock(PATH);
    let mut second = other.start(&[APPLY, &["-lock-timeout=600s"]].concat());
    wait::until("the second has been refused twice", || {
        let refused = refusals(&server);
        if refused >= 2 { Ok(()) } else { Err(format!("{refused} times; {}", second.said())) }
    });
    assert_eq!((server.await_lock(PATH), second.ended()), (lock.clone(), None));
    holder.go("a");
    assert!(first.wait().status.success(), "{}", first.said());
    // It goes on from what the first has written.
    let second = second.wait();
    assert!(second.status.success(), "{}", said(&second));
    assert!(said(&second).contains("1 added, 0 changed, 0 destroyed"), "{}", said(&second));
    assert_eq!(resources(&server.state(PATH)), [("a", false), ("it", false)]);
    let locks = server.logged(PATH, "locked");
    assert!(locks.len() == 2 && locks[0]["lock"] == lock["id"], "{locks:?}");
}

/// How many times a lock was refused.
fn refusals(server: &Standalone) -> u64 {
    let metrics = server.metrics();
    let refused = metrics.lines().filter(|line| {
        line.starts_with("tofustate_http_requests_total{")
            && line.contains("verb=\"lock\"")
            && line.contains("status=\"409\"")
    });
    refused.map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap()).sum()
}

fn without_a_lock(client: &Client) {
    let server = Standalone::serving(&[PATH]);
    let holder = Project::at(&server, PATH, client, &[VALUE, &waits("a", None)]);
    let other = Project::at(&server, PATH, client, &[VALUE]);
    holder.run(INIT);
    other.run(INIT);
    other.run(&[APPLY, &["-lock=false"]].concat());
    assert_eq!(server.logged(PATH, "locked"), [] as [serde_json::Value; 0]);
    let before = server.bytes(PATH);

    // Reading goes on while another holds the lock. Writing without one does not: what the holder does is based on it.
    let mut apply = holder.start_apply("a");
    let lock = server.await_lock(PATH);
    other.run(&[PLAN, &["-lock=false"]].concat());
    other.fails(&[APPLY, &["-lock=false", "-var=value=two"]].concat());
    assert_eq!((server.await_lock(PATH), server.bytes(PATH)), (lock, before));
    assert!(other.path("errored.tfstate").exists(), "the refused state is not lost");
    holder.go("a");
    assert!(apply.wait().status.success(), "{}", apply.said());
}
