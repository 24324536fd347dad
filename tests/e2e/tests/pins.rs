//! What is pinned at several places is the same at each; and nothing that a workflow runs is another tomorrow.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{fs, path::PathBuf};

use tofustate_e2e::{
    recipe::{Go, Recipe},
    tools::{ALL, HELM, OPENTOFU, Tool},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What stands after this in a file, up to the end of the word.
fn after(file: &str, start: &str) -> String {
    let text = text(file);
    let (_, rest) = text.split_once(start).unwrap_or_else(|| panic!("{start} is not in {file}"));
    rest.split(|one: char| one.is_whitespace() || "\"}'".contains(one)).next().unwrap().to_owned()
}

fn recipe(tool: &Tool) -> Option<Go> {
    match tool.recipe {
        Some(Recipe::Go(go)) => Some(go),
        _ => None,
    }
}

#[test]
fn every_action_is_pinned_by_its_commit_with_the_version_beside() {
    let mut seen = 0;
    for file in fs::read_dir(root().join(".github/workflows")).unwrap() {
        let file = file.unwrap().path();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some((_, used)) = line.split_once("uses: ") else { continue };
            let (action, version) = used.split_once(" # v").unwrap_or_else(|| panic!("no version beside it: {line}"));
            let (_, commit) = action.split_once('@').unwrap_or_else(|| panic!("{line}"));
            let of_a_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(of_a_commit, "{}: a tag can be moved: {line}", file.display());
            assert!(version.split('.').count() == 3 && version.starts_with(|one: char| one.is_ascii_digit()), "{line}");
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A tool says the version of the module that it is built from. It is that of a requirement of its own `go.mod`.
#[test]
fn each_tool_that_is_built_has_the_version_of_its_module() {
    for tool in ALL {
        let Some(go) = recipe(tool).filter(|go| !go.version.ends_with("-standin")) else { continue };
        let module = text(&format!("tests/e2e/tools/{}/go.mod", go.folder));
        let direct = module.lines().filter(|line| !line.contains("// indirect"));
        let wanted = format!(" v{}", go.version);
        assert!(
            direct.clone().any(|line| line.ends_with(&wanted)),
            "{}: {} is none of {module}",
            tool.name,
            go.version
        );
        assert!(!go.linker().contains(['{', '}']), "{}: {}", tool.name, go.linker());
        assert!(!go.ldflags.contains(go.version), "{}: a version that nobody would change: {}", tool.name, go.ldflags);
    }
}

/// Helm takes the cluster of `helm template` for one of the client that it is built with.
#[test]
fn the_kubernetes_of_helm_is_that_of_its_client() {
    let go = recipe(&HELM).unwrap();
    let client = after("tests/e2e/tools/helm/go.mod", "k8s.io/client-go v0.");
    let minor = client.split('.').next().unwrap();
    let said: Vec<_> =
        go.ldflags.split("k8sVersionMinor=").skip(1).map(|rest| rest.split(' ').next().unwrap()).collect();
    assert_eq!(said, [minor, minor]);
}

#[test]
fn what_is_named_elsewhere_is_what_the_tests_run() {
    assert_eq!(after(".github/workflows/release.yml", "with: {version: v"), HELM.recipe_version());
    assert_eq!(after("examples/gitops/states/base/job.yaml", "ghcr.io/opentofu/opentofu:"), OPENTOFU.recipe_version());
    let toolchain = after("rust-toolchain.toml", "channel = \"");
    let image = after("Containerfile", "docker.io/library/rust:");
    let image = image.split('-').next().unwrap();
    assert!(toolchain == image || toolchain.starts_with(&format!("{image}.")), "{toolchain} is built with {image}");
}

trait RecipeVersion {
    fn recipe_version(&self) -> String;
}

impl RecipeVersion for Tool {
    fn recipe_version(&self) -> String {
        recipe(self).expect("it is built").version.to_owned()
    }
}
