//! `make demo ONCE=1`, as a newcomer runs it but for the build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::process::Command;

use tofustate_e2e::{
    process::Process,
    project::said,
    standalone::{binary, clean},
    tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU},
};

#[test]
fn the_demo_ends_well_where_all_of_it_was_seen() {
    let test = "the_demo_ends_well_where_all_of_it_was_seen";
    // It would build what is missing.
    let all = [ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU].map(|tool| tool.for_test(test).is_some());
    if all.contains(&false) {
        return;
    }
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_demo")));
    command.env("ONCE", "1").env("TOFUSTATE_BIN", binary());
    let done = Process::spawn("make demo ONCE=1", &mut command).wait();
    let text = String::from_utf8(done.stdout.clone()).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    for seen in ["OperationTypeApply", "Apply complete!", "Seen: the lock of ", "The operator ended well"] {
        assert!(text.contains(seen), "{seen} in {text}");
    }
}
