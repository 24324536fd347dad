//! `terraform_remote_state`: another configuration reads the outputs, with a credential that may only read.

use tofustate_e2e::{
    client::Client,
    project::{APPLY, INIT, Project, VALUE, waits},
    standalone::{Standalone, viewer},
    with_each_client,
};

use crate::PATH;

with_each_client!(reads_the_outputs_of_another);

const OTHER: &str = "team/net";

const READS: &str = r#"
variable "address" {}
variable "token" {}

data "terraform_remote_state" "app" {
  backend = "http"
  config = {
    address  = var.address
    username = "tofustate"
    password = var.token
  }
}

output "seen" {
  value = data.terraform_remote_state.app.outputs.value
}
"#;

fn reads_the_outputs_of_another(client: &Client) {
    let server = Standalone::serving(&[PATH, OTHER]);
    let app = Project::at(&server, PATH, client, &[VALUE, &waits("a", None)]);
    app.run(INIT);
    app.go("a");
    app.run(APPLY);
    let before = server.bytes(PATH);

    let mut net = Project::at(&server, OTHER, client, &[READS]);
    net.env("TF_VAR_address", &server.url(PATH));
    net.env("TF_VAR_token", &viewer(PATH));
    net.run(INIT);
    net.run(APPLY);
    assert_eq!(net.run(&["output", "-raw", "seen"]), b"one");
    assert_eq!((server.bytes(PATH), server.row(PATH).get("lock")), (before, None));

    // The credential of one state is none of another.
    net.env("TF_VAR_token", &viewer(OTHER));
    net.fails(APPLY);
}
