//! The Job's own script, with the environment that a kubelet would give it, against the state that Kustomize made.

use std::{fs, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tofustate_e2e::{
    kube::{condition, is_true},
    process::Process,
    tools::{OPENTOFU, clean},
};

use crate::world::{World, kustomized};

#[test]
fn the_job_of_each_workspace_applies_to_its_own_state() {
    let test = "the_job_of_each_workspace_applies_to_its_own_state";
    let Some(tofu) = OPENTOFU.for_test(test) else { return };
    let Some(mut world) = World::prepare(test) else { return };
    world.operator.start();
    let all = kustomized(&world.cluster, "states");
    let file = world.cluster.folder().join("kustomized.yaml");
    world.cluster.kubectl().must(&["apply", "--server-side", "-f", file.to_str().unwrap()]);
    let mut ran = 0;
    for job in all.iter().filter(|object| object["kind"] == "Job") {
        let name = job["metadata"]["name"].as_str().unwrap();
        world.until("team-a", name, "its state is ready", |found| condition(found, "Ready").is_some_and(is_true));
        let output = run(&world, job, tofu.program.parent().unwrap());
        assert!(output.contains("Apply complete! Resources: 1 added"), "{output}");
        let workspace = name.strip_prefix("network-").unwrap();
        assert!(output.contains(&format!("the network of {workspace}")), "{output}");
        let after = world.until("team-a", name, "the run is over", |found| {
            found["status"]["locked"] == false && found["status"]["state"]["resources"] == 1
        });
        assert_eq!(after["status"]["state"]["toolVersion"], tofu.version.as_str(), "{after:#}");
        // As the next one would, with nothing to do.
        let again = run(&world, job, tofu.program.parent().unwrap());
        assert!(again.contains("No changes."), "{again}");
        ran += 1;
    }
    assert_eq!(ran, 2);
}

/// Runs the container of a Job: its command, its environment, its files.
fn run(world: &World, job: &Value, tofu: &std::path::Path) -> String {
    let pod = &job["spec"]["template"]["spec"];
    let (container, api) = (&pod["containers"][0], world.cluster.api());
    let folder = tempfile::tempdir().unwrap();
    let (work, configuration) = (folder.path().join("work"), folder.path().join("configuration"));
    for folder in [&work, &configuration] {
        fs::create_dir(folder).unwrap();
    }
    let get = |kind: &str, name: &Value| {
        let path = format!("/api/v1/namespaces/team-a/{kind}/{}", name.as_str().unwrap());
        api.get(&path).unwrap_or_else(|| panic!("there is no {path}"))["data"].clone()
    };
    for (file, text) in get("configmaps", &pod["volumes"][0]["configMap"]["name"]).as_object().unwrap() {
        fs::write(configuration.join(file), text.as_str().unwrap()).unwrap();
    }
    // Its paths are the root's.
    let here = |text: &str| {
        text.replace("/configuration", configuration.to_str().unwrap()).replace("/work", work.to_str().unwrap())
    };
    let words: Vec<_> = ["command", "args"].iter().flat_map(|field| container[field].as_array().unwrap()).collect();
    let mut command = Command::new(words[0].as_str().unwrap());
    clean(&mut command);
    command.args(words[1..].iter().map(|word| here(word.as_str().unwrap()))).current_dir(&work);
    for (name, value) in get("secrets", &container["envFrom"][0]["secretRef"]["name"]).as_object().unwrap() {
        command.env(name, String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap());
    }
    for variable in container["env"].as_array().unwrap() {
        command.env(variable["name"].as_str().unwrap(), here(variable["value"].as_str().unwrap()));
    }
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", tofu.display()));
    let mut job = Process::spawn("the Job", &mut command);
    let done = job.wait();
    assert!(done.status.success(), "{}", job.said());
    job.said()
}
