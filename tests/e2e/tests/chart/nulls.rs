//! A value that is taken away by null: helm then knows no default of it.

use serde_json::{Value, json};
use tofustate_e2e::{
    chart::{CHART, Helm, LEAST},
    project::said,
};

use crate::world::{helm, values};

/// What somebody may want to do without: the chart then says nothing of it, and the cluster's defaults hold.
const FREE: [&str; 5] = [
    "updateStrategy.rollingUpdate",
    "resources",
    "topologySpreadConstraints",
    "podSecurityContext.",
    "securityContext.",
];

/// All values, as helm has them.
fn all(helm: &Helm, home: &std::path::Path) -> Value {
    let text = r#"{apiVersion: v1, kind: ConfigMap, metadata: {name: values}, data: {all: {{ omit .Values "extraObjects" | toJson | quote }}}}"#;
    let file = home.join("show.json");
    std::fs::write(&file, json!({"extraObjects": [text]}).to_string()).unwrap();
    let show = ["template", "tofustate", CHART, "-f", file.to_str().unwrap(), "--show-only", "templates/extra.yaml"];
    let shown = helm.must(&[&show[..], LEAST].concat());
    let (_, text) = shown.split_once("{all: ").unwrap_or_else(|| panic!("no values: {shown}"));
    let text: String = serde_json::from_str(text.trim_end().strip_suffix("}}").unwrap()).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Their paths, with those of the objects around them.
fn paths(values: &Value, around: &str) -> Vec<String> {
    let Some(object) = values.as_object() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in object {
        let path = if around.is_empty() { name.clone() } else { format!("{around}.{name}") };
        all.extend(paths(value, &path));
        all.push(path);
    }
    all
}

/// The paths that a refusal by the schema names: `- at '/config': missing properties 'auth', 'tenancy'`.
fn missed(said: &str) -> Vec<String> {
    let lines =
        said.lines().filter_map(|line| line.trim_start().strip_prefix("- at '")?.split_once("': missing propert"));
    let of = |(object, names): (&str, &str)| {
        let around = object.replace('/', ".");
        let names = names.split('\'').skip(1).step_by(2);
        names.map(|name| format!("{around}.{name}").trim_start_matches('.').to_owned()).collect::<Vec<_>>()
    };
    lines.flat_map(of).collect()
}

#[test]
fn what_is_taken_away_is_missed_by_name_or_is_as_its_default() {
    let Some((helm, home)) = helm("what_is_taken_away_is_missed_by_name_or_is_as_its_default") else { return };
    let all = paths(&all(&helm, home.path()), "");
    assert!(all.len() > 140, "{all:?}");
    let render = |base: &[&str], without: &[&String]| {
        let nulls = without.iter().map(|path| format!("{path}=null")).collect::<Vec<_>>().join(",");
        helm.run(&[&["template", "tofustate", CHART], base, &["--set", &nulls]].concat())
    };
    // An object that is not there misses nothing, so those of one depth at a time.
    let mut named = Vec::new();
    for depth in 0..=3 {
        let these: Vec<_> = all.iter().filter(|path| path.matches('.').count() == depth).collect();
        named.extend(missed(&said(&render(LEAST, &these))));
    }
    assert!(named.len() > 60 && named.iter().all(|path| all.contains(path)), "{named:?}");

    let rest: Vec<_> = all.iter().filter(|path| !named.contains(path) && *path != "config.instance").collect();
    let (free, rest): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|path| FREE.iter().any(|free| path.starts_with(free)));
    let done = render(LEAST, &free);
    assert!(done.status.success(), "{}", said(&done));
    let (usual, without) = (helm.must(&[&["template", "tofustate", CHART], LEAST].concat()), render(LEAST, &rest));
    assert!(without.status.success(), "{}", said(&without));
    assert!(without.stdout == usual.as_bytes(), "there is something else without {rest:?}");
    // With all parts, a template has nothing to say that helps nobody.
    let full = values("full");
    for path in rest {
        let done = render(&["--values", &full], &[path]);
        let said = said(&done);
        assert!(done.status.success() || said.contains("these values are missing or wrong"), "{path}: {said}");
    }
}
