//! Which test ran with which tool, and the closing table of `make e2e` made from it. The notes are lines of the file that
//! `$TOFUSTATE_E2E_USED` names: the tests are processes of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use crate::tools::{ALL, Tool};

const RAN: &str = "ran";
const SKIPPED: &str = "SKIPPED";

/// Notes that a test ran with a tool, or why not; then it also says so, past the output that the harness captures.
pub(crate) fn note(tool: &str, test: &str, found: Result<(), &String>) {
    if let Err(reason) = found {
        let _ = writeln!(io::stderr(), "{SKIPPED} {test}: no {tool}: {reason}");
    }
    let Some(file) = env::var_os("TOFUSTATE_E2E_USED") else { return };
    let line = match found {
        Ok(()) => format!("{RAN}\t{tool}\t{test}\t\n"),
        Err(reason) => format!("{SKIPPED}\t{tool}\t{test}\t{}\n", reason.replace(['\t', '\n'], " ")),
    };
    // In one write at the end of the file: lines of several processes do not mix.
    let appended =
        OpenOptions::new().append(true).create(true).open(&file).and_then(|mut file| file.write_all(line.as_bytes()));
    appended.unwrap_or_else(|error| panic!("cannot note what was used in {}: {error}", file.display()));
}

/// Notes for the closing table that a test is not run with a tool that is there, and why.
pub fn skip(tool: &Tool, test: &str, reason: &str) {
    note(tool.name, test, Err(&reason.to_owned()));
}

/// The closing table: each tool, its version, and the tests that ran with it or were skipped for want of it.
///
/// # Errors
/// The notes cannot be read.
pub fn table(notes: &Path) -> io::Result<String> {
    let notes = fs::read_to_string(notes)?;
    let mut tests: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in notes.lines() {
        if let [outcome, tool, test, reason] = line.split('\t').collect::<Vec<_>>()[..] {
            tests.entry((outcome, tool)).or_default().insert(test);
            reasons.entry(tool).or_default().extend((outcome == SKIPPED).then_some(reason));
        }
    }
    let mut text = format!("{:<24} {:<15} TESTS\n", "TOOL", "VERSION");
    for tool in ALL {
        let count = |outcome| tests.get(&(outcome, tool.name)).map_or(0, BTreeSet::len);
        let version = tool.find().map_or_else(|_| "-".to_owned(), |found| found.version);
        let why = reasons.get(tool.name).into_iter().flatten().copied().collect::<Vec<_>>().join("; ");
        let outcome = match (count(RAN), count(SKIPPED)) {
            (0, 0) => "none asked for it".to_owned(),
            (ran, 0) => format!("{ran} ran"),
            (0, skipped) => format!("{skipped} {SKIPPED}: {why}"),
            (ran, skipped) => format!("{ran} ran, {skipped} {SKIPPED}: {why}"),
        };
        let _ = writeln!(text, "{:<24} {version:<15} {outcome}", tool.name);
    }
    Ok(text)
}
