//! What the rendered container is told is what the program reads.

use std::process::Command;

use tofustate_e2e::{chart::CHART, standalone::binary};

use crate::{
    rendered,
    world::{SETS, helm, one, values},
};

fn help() -> String {
    let help = Command::new(binary()).args(["operator", "--help"]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

/// A variable that is called by another name than the program reads would say nothing.
#[test]
fn every_variable_and_argument_is_one_that_the_program_knows() {
    let Some(world) = rendered::cluster("every_variable_and_argument_is_one_that_the_program_knows") else { return };
    let help = help();
    let docs = [include_str!("../../../../docs/openbao.md"), include_str!("../../../../docs/telemetry.md")].concat();
    let mut seen = 0;
    for set in SETS {
        let objects = world.would_apply(&world.rendered(set, &["--values", &values(set)]));
        let container = &one(&objects, "Deployment", "tofustate")["spec"]["template"]["spec"]["containers"][0];
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let known = help.contains(&format!("[env: {name}=")) || help.contains(name) || known(&docs, name);
            assert!(known || name == "POD_NAME", "{set}: {name} is no variable of the program");
            seen += 1;
        }
        for arg in container["args"].as_array().unwrap() {
            let name = arg.as_str().unwrap().split('=').next().unwrap();
            assert!(name == "operator" || help.contains(name), "{set}: {name} is no option of the program");
        }
    }
    assert!(seen > 40, "{seen}");
}

/// The documents have it, or its end behind an ellipsis.
fn known(docs: &str, name: &str) -> bool {
    docs.contains(&format!("`{name}"))
        || (0..name.len()).any(|at| name.is_char_boundary(at) && docs.contains(&format!("`…{}`", &name[at..])))
}

/// What the chart says is not said once more, by another name: an option goes before the variable.
#[test]
fn an_option_of_what_the_chart_sets_is_refused_with_the_value_to_set() {
    let Some((helm, _home)) = helm("an_option_of_what_the_chart_sets_is_refused_with_the_value_to_set") else { return };
    let defaults = helm.must(&["show", "values", CHART]);
    let help = help();
    let mut tried = Vec::new();
    for set in SETS {
        let rendered = helm.must(&["template", "tofustate", CHART, "--values", &values(set)]);
        for (option, variable) in options(&help) {
            if !rendered.contains(&format!("- {{name: {variable}, ")) {
                continue;
            }
            for (value, says) in [
                (format!("extraArgs={{{option}=x}}"), format!("extraArgs: {option} is the chart's own: set ")),
                (format!("extraEnv[0].name={variable}"), format!("extraEnv: {variable} is the chart's own: set ")),
            ] {
                let said = helm.fails(&["template", "tofustate", CHART, "--values", &values(set), "--set", &value]);
                let (_, named) = said.split_once(&says).unwrap_or_else(|| panic!("{set}, {value}: {said}"));
                // The last part of a name that there is.
                let name = named.split(['\n', ',', '=']).next().unwrap().rsplit('.').next().unwrap();
                let there = defaults.contains(&format!("{name}: ")) || name == "helm's --namespace";
                assert!(there, "{set}, {value}: there is no value {name}");
            }
            tried.push(option);
        }
    }
    tried.sort();
    tried.dedup();
    assert!(tried.len() >= 16, "{tried:?}");
}

#[test]
fn what_no_value_sets_is_said_by_a_variable_or_an_option() {
    let Some((helm, _home)) = helm("what_no_value_sets_is_said_by_a_variable_or_an_option") else { return };
    let rendered = |name: &str, set: &str| {
        let variable = format!("{set},extraEnv[0].name={name},extraEnv[0].value=mine");
        helm.must(&["template", "tofustate", CHART, "--values", &values("secret"), "--set", &variable])
    };
    for (variable, set) in [
        // A CA from elsewhere, the token of the admin listener, a collector on each node.
        ("TOFUSTATE_CA_FILE", "tls.caKey="),
        ("TOFUSTATE_ALLOW_PLAIN_HTTP", "extraArgs={--lease=20,--workers=4}"),
        ("BAO_CACERT", "config.baoCa.secret="),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "config.otelEndpoint="),
        ("TOFUSTATE_ADMIN_TOKEN_FILE", "replicas=2"),
    ] {
        let text = rendered(variable, set);
        assert!(text.contains(&format!("- name: {variable}\n")), "{variable}: {text}");
    }
}

/// Each option that a variable sets, too, with that.
fn options(help: &str) -> Vec<(String, String)> {
    let (mut all, mut option) = (Vec::new(), String::new());
    for line in help.lines() {
        if let Some(name) = line.trim_start().strip_prefix("--") {
            option = format!("--{}", name.split([' ', '=']).next().unwrap());
        }
        if let Some((_, variable)) = line.split_once("[env: ") {
            all.push((option.clone(), variable.split('=').next().unwrap().to_owned()));
        }
    }
    all
}
