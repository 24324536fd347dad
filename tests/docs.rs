//! What the pages say, held against the code: every block of commands is run by a test or says why not, the tables have every
//! condition's reason, every Event and every code of an answer, docs/api.md is what is printed, and what is linked is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "e2e/src/docs.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests with real programs use the rest")]
mod docs;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use docs::{Mark, blocks, page, pages, root};

/// All files below a folder that end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path, end)),
            false => found.extend(Some(path).filter(|path| path.to_str().unwrap().ends_with(end))),
        }
    }
    found.sort();
    found
}

/// What is between the first `before` and the next `"`, wherever `before` stands.
fn literals<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Blocks of other languages, which are no commands.
const OTHERS: [&str; 9] = ["yaml", "nginx", "haproxy", "hcl", "text", "mermaid", "json", "lua", "rust"];
/// What a line of commands begins with.
const PROGRAMS: [&str; 12] = [
    "tofustate ",
    "tofu ",
    "terraform ",
    "bao ",
    "kubectl ",
    "helm ",
    "make ",
    "cargo ",
    "curl ",
    "export ",
    "etcdctl ",
    "$ ",
];

#[test]
fn every_block_of_commands_is_run_or_says_why_not() {
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        for block in blocks(&text) {
            let (at, known) = (format!("{page}:{}", block.line), OTHERS.contains(&block.language.as_str()));
            let looks_like = || {
                block.text.lines().find(|line| {
                    !line.ends_with('{') && PROGRAMS.iter().any(|program| line.trim_start().starts_with(program))
                })
            };
            match &block.mark {
                // Something that is applied, such as a manifest, may be run with the commands around it.
                Some(Mark::Run(name)) if block.is_commands() || known => named.extend([(page.clone(), name.clone())]),
                Some(Mark::NotRun(why)) if block.is_commands() && why.len() > 10 => {}
                _ if block.is_commands() => {
                    wrong.push(format!("{at}: is it run? <!-- run: name -->, or <!-- not run: why -->"));
                }
                _ if !known => {
                    wrong.push(format!("{at}: `{}` is none of {OTHERS:?}; commands are `sh`", block.language))
                }
                _ => wrong.extend(
                    looks_like().map(|line| format!("{at}: `{line}` looks like a command; make the block `sh`")),
                ),
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{wrong:#?}");

    // Each name is asked for by a test, and no test asks for one that is not there.
    let mut run = BTreeSet::new();
    for file in files(&root().join("tests/e2e/tests"), ".rs") {
        let text = fs::read_to_string(&file).unwrap();
        for call in text.split("commands(\"").skip(1) {
            let mut words = call.split('"');
            let (page, name) = (words.next().unwrap(), words.nth(1).unwrap());
            run.insert((page.to_owned(), name.to_owned()));
        }
    }
    assert_eq!(named, run, "left: marked in a page; right: asked for in tests/e2e/tests");
    assert!(named.len() > 8, "{named:?}");
}

#[test]
fn the_reference_is_what_is_printed() {
    assert_eq!(page("api.md"), tofustate::crd::reference(), "run `make docs`");
}

#[test]
fn what_is_linked_is_there() {
    let mut wrong = Vec::new();
    let decisions = files(&root().join("docs/decisions"), ".md");
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    for file in files(&root().join("docs"), ".md").into_iter().chain(top).chain(decisions) {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let said = format!("{}: {link}", file.display());
            if !target.exists() {
                wrong.push(said);
            } else if let Some(anchor) = anchor
                && !anchors(&fs::read_to_string(&target).unwrap()).contains(anchor)
            {
                wrong.push(format!("{said}: no such heading"));
            }
        }
    }
    assert_eq!(wrong, [""; 0], "{wrong:#?}");
}

/// The headings of a page as links name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let heading = |line: &&str| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#')
    };
    let slug = |line: &str| {
        let text = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|char| char.is_alphanumeric() || "-_".contains(*char)).collect()
    };
    text.lines().filter(heading).map(slug).collect()
}

#[test]
fn what_make_is_told_to_make_is_there() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(": ").or_else(|| line.split_once(":\t")))
        .map(|(name, _)| name)
        .collect();
    for (name, text) in pages() {
        for told in text.split("`make ").skip(1).chain(text.split("\nmake ").skip(1)) {
            let target = told.split(|char: char| !char.is_ascii_alphanumeric() && char != '-').next().unwrap();
            assert!(targets.contains(target), "{name}: make {target}");
        }
    }
}

/// What is in the first column of a page's section, between backticks; several of a row count each.
fn first_column(page: &str, section: &str) -> BTreeSet<String> {
    let text = self::page(page);
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("{page}: no ## {section}"));
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" |")).map(|(first, _)| first);
    rows.flat_map(|first| first.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// The code of the files below a folder, without their tests.
fn code(folder: &str) -> String {
    let texts = files(&root().join(folder), ".rs").into_iter().filter(|file| !file.ends_with("tests.rs"));
    texts.map(|file| fs::read_to_string(file).unwrap().split("#[cfg(test)]").next().unwrap().to_owned()).collect()
}

/// Words of the controller that look like a reason and are none: Kubernetes' own, and the words of others.
const NO_REASON: [&str; 4] = ["ConfigMap", "TofuStateBackend", "AlreadyExists", "FieldManagerConflict"];
/// Reasons of what is as it should be: nothing is to be done.
const GOOD: [&str; 10] =
    ["Claimed", "Reachable", "Synced", "Renewed", "Written", "Ready", "NotLocked", "Held", "StoreBack", "NotFound"];

#[test]
fn the_docs_list_every_reason_and_every_event() {
    let listed: BTreeSet<String> =
        ["Conditions", "Events"].iter().flat_map(|section| first_column("operations.md", section)).collect();
    let is_reason = |word: &&str| {
        word.len() > 4
            && word.starts_with(|first: char| first.is_ascii_uppercase())
            && word.chars().all(|char| char.is_ascii_alphanumeric())
            && word.contains(|char: char| char.is_ascii_lowercase())
            // One word alone is a reason where it is used as one.
            && (word.chars().filter(char::is_ascii_uppercase).count() > 1 || GOOD.contains(word) || *word == "Stale")
    };
    let constants = fs::read_to_string(root().join("src/crd/conditions.rs")).unwrap();
    let (_, constants) = constants.split_once("pub mod reason").unwrap();
    let constants: BTreeSet<&str> = literals(constants, "&str = \"").collect();
    let controller = code("src/controller");
    // Whatever stands between two quotes, and not every other piece: a quote in a text would put them out of step.
    let words = controller.split('"').filter(is_reason);
    let mut known: BTreeSet<String> = words.chain(constants).map(str::to_owned).collect();
    // Those of requests are made of what was asked and what came of it.
    for asked in ["ForceUnlock", "Rollback"] {
        known.remove(asked);
        known.extend(["Done", "Refused", "Failed"].map(|outcome| format!("{asked}{outcome}")));
    }
    let conditions = tofustate::crd::conditions::TYPES;
    known.retain(|word| ![&NO_REASON[..], &GOOD, &conditions].concat().contains(&word.as_str()));
    let listed: BTreeSet<String> = listed.into_iter().filter(|word| !conditions.contains(&word.as_str())).collect();
    assert_eq!(listed, known, "left: docs/operations.md; right: src/crd/conditions.rs and src/controller");
    assert!(listed.len() > 25);
}

#[test]
fn the_docs_list_every_code_of_an_answer() {
    let http = code("src/http");
    let mut codes = BTreeSet::new();
    for line in ["StatusCode::", "(S::"].iter().flat_map(|before| http.split(before).skip(1)) {
        // A status, and its code after it.
        let Some((status, rest)) = line.split_once(", \"") else { continue };
        if status.chars().all(|char| char.is_ascii_uppercase() || char == '_') {
            codes.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    codes.extend(["slow_down(\"", "unavailable(\""].iter().flat_map(|call| literals(&http, call)).map(str::to_owned));
    assert!(codes.contains("head_lost") && codes.contains("too_many_requests") && codes.len() > 20, "{codes:?}");
    assert_eq!(first_column("operations.md", "Answers"), codes, "left: docs/operations.md; right: src/http");
}

/// The rights of a table: path and capabilities, for the mount `states`, the instance `prod` and the path `team/app`.
fn rights(heading: &str) -> BTreeSet<(String, BTreeSet<String>)> {
    let text = page("openbao.md");
    let (_, rest) = text.split_once(heading).unwrap_or_else(|| panic!("openbao.md: no {heading}"));
    let table = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let mut found = BTreeSet::new();
    for row in table.filter(|row| row.contains('`')) {
        let first = row.split('|').nth(1).unwrap();
        // What may be done stands after the last colon that is in no path.
        let after = first.rsplit('`').next().unwrap().trim_start_matches(':').trim();
        let can: Vec<&str> = after.split(", ").filter(|word| !word.is_empty()).collect();
        for path in first.split('`').skip(1).step_by(2) {
            let here = [("<mount>", "states"), ("<instance>", "prod"), ("<path>", "team/app"), ("<p:q>", "team:app")];
            let path = here.iter().fold(path.to_owned(), |path, (name, here)| path.replace(name, here));
            let paths = match path.split_once('{').and_then(|(start, rest)| Some((start, rest.split_once('}')?))) {
                Some((start, (names, end))) => names.split(',').map(|name| format!("{start}{name}{end}")).collect(),
                None => vec![path],
            };
            let can: BTreeSet<String> = can.iter().map(|word| (*word).to_owned()).collect();
            found.extend(paths.into_iter().map(|path| (path, can.clone())));
        }
    }
    found
}

fn rules(policy: &tofustate::openbao::Policy) -> BTreeSet<(String, BTreeSet<String>)> {
    let can = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect();
    policy.rules().iter().map(|rule| (rule.path.clone(), can(rule.capabilities))).collect()
}

#[test]
fn the_docs_list_every_right_in_openbao() {
    use tofustate::openbao::{Instance, Mount, Policy};
    let mount = Mount::parse("states").unwrap();
    let path = tofustate::crd::StatePath::parse("team/app").unwrap();
    assert_eq!(rights("\n**A state's token**"), rules(&Policy::of_state(&mount, &path)));
    let operator = Policy::of_operator(&mount, &Instance::parse("prod").unwrap());
    assert_eq!(rights("\n**The operator's token:**"), rules(&operator));
}

#[test]
fn each_figure_of_the_readme_is_one_of_the_benchmarks() {
    let numbers = |text: &str| -> BTreeSet<String> {
        let words = text.split(|char: char| !char.is_ascii_digit() && !".,".contains(char));
        words.map(|word| word.trim_matches(['.', ',']).to_owned()).filter(|word| !word.is_empty()).collect()
    };
    let (readme, known) = (page("README.md"), numbers(&page("benchmarks.md")));
    let (_, rest) = readme.split_once("\n## Figures\n").expect("the section");
    let rows: Vec<&str> = rest.split("\n## ").next().unwrap().lines().filter(|line| line.contains("`make ")).collect();
    assert!(rows.len() > 4, "{rows:?}");
    for row in rows {
        let figures = numbers(row.split('|').nth(2).unwrap());
        let unknown: Vec<_> = figures.difference(&known).collect();
        assert!(unknown.is_empty(), "not in docs/benchmarks.md: {unknown:?} of {row}");
    }
}
