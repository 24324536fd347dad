//! As tofu-state was run: one token for all, the address in LISTEN_ADDR, states at `/<group>/<project>`.

use tofustate_e2e::{
    client::Client,
    project::{APPLY, BACKEND, INIT, Project, VALUE},
    with_each_client,
};

use crate::world;

with_each_client!(one_token_for_all);

const TOKEN: &str = "one-token-for-all-states";

fn one_token_for_all(client: &Client) {
    let Some((server, mut standalone)) = world("one_token_for_all") else { return };
    let address = standalone.address();
    standalone.env("API_TOKEN", TOKEN).env("LISTEN_ADDR", &address);
    let manifest = |name: &str| {
        format!(
            "---\napiVersion: tofustate.io/v1alpha1\nkind: TofuStateBackend\nmetadata: {{name: {name}, namespace: group}}\nspec: {{path: group/{name}}}\n"
        )
    };
    standalone.manifest("group.yaml", &["project", "another"].map(manifest).concat());
    standalone.start();
    for name in ["project", "another"] {
        let path = format!("group/{name}");
        let mut project = Project::new(client, &[BACKEND, VALUE]);
        project.points_to(&standalone.url(&path), TOKEN);
        project.run(INIT);
        project.run(APPLY);
        assert!(!project.has_changes());
        let written = standalone.logged(&path, "state written");
        assert_eq!(written[0]["identity"], "api-token", "{written:?}");
        let head = server.api().must("GET", &format!("states/data/{path}"), &serde_json::Value::Null);
        assert_eq!(head["metadata"]["version"].as_u64().map(|version| version > 1), Some(true));
    }
    for wrong in ["", "wrong", &TOKEN[1..]] {
        let asked = tofustate_e2e::ask::ask("GET", &standalone.url("group/project")).token(wrong);
        assert!([401, 403].contains(&asked.send().status()), "{wrong}");
    }
    assert!(!standalone.data().join("tokens/group").exists(), "none is generated");
    let log = format!("{:?}", standalone.log());
    assert!(log.contains("API_TOKEN is set") && !log.contains(TOKEN), "{log}");
}
