//! Real clients against a real server: OpenTofu and Terraform as users run them, each scenario with both. Nothing is
//! downloaded: the resource is `terraform_data`, which is part of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use tofustate_e2e::{standalone::Standalone, tools};

#[test]
fn skeleton() {
    let mut server = Standalone::serving(&["team/app", "team/net"]);
    assert_eq!(server.bytes("team/app"), None);
    server.terminate();
    server.start();
    server.kill();
    server.start();
    println!("{:?}\n{}\n{:?}\n{}", server.row("team/net"), server.printed(), server.log(), server.states(&[]));
    for tool in tools::ALL {
        println!("{:?}", tool.for_test("skeleton"));
    }
}
