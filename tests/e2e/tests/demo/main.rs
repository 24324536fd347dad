//! `make demo`, as a newcomer runs it but for the build.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod ends;
mod stacks;
mod world;

use tofustate_e2e::tools::{ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU};

/// Whether all is there that the demo of a cluster would build.
fn full_stack(test: &str) -> bool {
    ![ETCD, KUBE_APISERVER, KUBECTL, OPENBAO, OPENTOFU].map(|tool| tool.for_test(test).is_some()).contains(&false)
}
