//! Dependencies point one way: main -> cli -> {controller, http} -> {openbao, registry} -> store -> crd. A file that
//! names a layer or a package that it may not know turns this red.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{fs, path::Path};

/// A layer: what of this crate and which of the packages below it may name. `telemetry` is beside the layers: all may
/// count, and it knows none of them.
struct Layer {
    name: &'static str,
    knows: &'static [&'static str],
    packages: &'static [&'static str],
}

/// Packages that belong to some layers only.
const KEPT_APART: &[&str] = &[
    "axum",
    "axum_extra",
    "axum_server",
    "hyper",
    "hyper_util",
    "tower",
    "tower_http",
    "kube",
    "k8s_openapi",
    "vaultrs",
    "rustify",
    "reqwest",
    "redb",
    "clap",
];

const LAYERS: &[Layer] = &[
    Layer { name: "crd", knows: &[], packages: &["kube", "k8s_openapi"] },
    Layer { name: "telemetry", knows: &[], packages: &["reqwest"] },
    Layer { name: "rate", knows: &[], packages: &[] },
    Layer { name: "store", knows: &["crd", "telemetry"], packages: &["redb"] },
    Layer { name: "private", knows: &["store"], packages: &[] },
    Layer { name: "registry", knows: &["crd", "store", "private", "telemetry"], packages: &[] },
    Layer {
        name: "openbao",
        knows: &["crd", "store", "private", "rate", "telemetry"],
        packages: &["vaultrs", "rustify", "reqwest", "hyper", "hyper_util"],
    },
    Layer {
        name: "http",
        knows: &["crd", "store", "registry", "telemetry"],
        packages: &["axum", "axum_extra", "axum_server", "hyper", "hyper_util", "tower", "tower_http"],
    },
    Layer {
        name: "controller",
        knows: &["crd", "store", "registry", "openbao", "rate", "telemetry"],
        packages: &["kube", "k8s_openapi", "hyper", "tower"],
    },
    Layer {
        name: "cli",
        knows: &["crd", "store", "private", "rate", "registry", "openbao", "http", "controller", "telemetry"],
        packages: &["clap", "axum", "reqwest"],
    },
];

/// The name of the crate or module that each path in `line` begins with, as in `use axum::…` or `crate::store::…`.
fn roots(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let starts = code.match_indices("::").map(|(at, _)| {
        let before = &code[..at];
        let from = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        let root = &before[from..];
        if root == "crate" || root == "tofustate" {
            let rest = &code[at + 2..];
            let to = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            &code[from..at + 2 + to]
        } else if before[..from].ends_with("::") {
            ""
        } else {
            root
        }
    });
    starts.collect()
}

/// The modules that a `use crate::{…}` names, with their lines.
fn grouped(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (start, opened) in text.match_indices("crate::{") {
        let (mut depth, mut word, mut fresh) = (1, String::new(), true);
        let mut line = text[..start].lines().count().max(1);
        for c in text[start + opened.len()..].chars() {
            if c.is_alphanumeric() || c == '_' {
                word.push(c);
                continue;
            }
            if depth == 1 && fresh && !word.is_empty() {
                found.push((line, std::mem::take(&mut word)));
                fresh = false;
            }
            word.clear();
            match c {
                '\n' => line += 1,
                ',' if depth == 1 => fresh = true,
                '{' => depth += 1,
                '}' if depth == 1 => break,
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found
}

/// What a file of `layer` names and may not.
fn faults(layer: &Layer, text: &str) -> Vec<String> {
    let against = |module: &str| {
        LAYERS.iter().any(|other| other.name == module) && module != layer.name && !layer.knows.contains(&module)
    };
    let mut found: Vec<String> = grouped(text)
        .into_iter()
        .filter(|(_, module)| against(module))
        .map(|(line, module)| format!("line {line}: crate::{{{module}}}"))
        .collect();
    for (number, line) in text.lines().enumerate() {
        for root in roots(line) {
            let inner = root.strip_prefix("crate::").or_else(|| root.strip_prefix("tofustate::"));
            let wrong = match inner {
                Some(module) => against(module),
                None => KEPT_APART.contains(&root) && !layer.packages.contains(&root),
            };
            if wrong {
                found.push(format!("line {}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

fn visit(path: &Path, seen: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            visit(&entry.unwrap().path(), seen);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        seen.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn dependencies_point_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for entry in fs::read_dir(&src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name == "lib" || name == "main" {
            continue;
        }
        let layer = LAYERS.iter().find(|layer| layer.name == name);
        let layer = layer.unwrap_or_else(|| panic!("src/{name} is no layer that this test knows: add it to LAYERS"));
        let mut files = Vec::new();
        visit(&path, &mut files);
        for (file, text) in files {
            wrong.extend(faults(layer, &text).into_iter().map(|fault| format!("{file}, {fault}")));
        }
    }
    assert!(wrong.is_empty(), "these point against the layers (ARCHITECTURE.md):\n{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_is_for() {
    let store = LAYERS.iter().find(|layer| layer.name == "store").unwrap();
    for bad in [
        "use axum::Router;",
        "use crate::http::router;",
        "use crate::{http, store};",
        "    let client: kube::Client = todo();",
        "fn f(x: &crate::openbao::Client) {}",
        "pub use vaultrs::client::VaultClient;",
        "use crate::{\n    crd::{StatePath, Http},\n    http::{App, router},\n};",
    ] {
        assert_eq!(faults(store, bad).len(), 1, "{bad}");
    }
    for good in
        ["use crate::crd::StatePath;", "// axum::Router", "use std::kube::x;", "use super::http::x;", "redb::Database"]
    {
        assert_eq!(faults(store, good), Vec::<String>::new(), "{good}");
    }
}
