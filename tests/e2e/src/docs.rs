//! The commands of README.md and docs/: which there are, and what is done with each. A block of commands (` ```sh `) has a mark
//! on the line before it, which a reader of the page does not see:
//!
//! - `<!-- run: name -->`: a test runs it, by [`commands`] with that page and name. Blocks of one name are one script.
//! - `<!-- not run: why -->`: nothing can.
//!
//! `tests/docs.rs` goes through the pages, and through the tests for the names: an unmarked block is a failure, and so is a
//! name that nothing runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The languages whose blocks are commands.
const COMMANDS: [&str; 3] = ["sh", "bash", "console"];

/// The clone.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let up = if here.join("README.md").exists() { "." } else { "../.." };
    here.join(up).canonicalize().unwrap()
}

/// A fenced block of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its fence, from 1.
    pub line: usize,
    /// What follows the fence: `sh`, `yaml`, …
    pub language: String,
    /// The comment before it.
    pub mark: Option<Mark>,
    /// What is in it, without the indent of its fence.
    pub text: String,
}

/// What is done with a block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A test runs it under this name.
    Run(String),
    /// Nothing does, for this reason.
    NotRun(String),
}

impl Block {
    /// Whether it is commands.
    pub fn is_commands(&self) -> bool {
        COMMANDS.contains(&self.language.as_str())
    }
}

/// The pages, by name: `README.md`, and those of docs/ by their file names.
pub fn pages() -> Vec<(String, String)> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        top.into_iter().chain(docs).filter(|file| file.extension() == Some("md".as_ref())).collect();
    files.sort();
    let name = |file: &Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

/// The text of a page.
///
/// # Panics
/// Where there is none.
pub fn page(name: &str) -> String {
    pages().into_iter().find(|(page, _)| page == name).unwrap_or_else(|| panic!("there is no page {name}")).1
}

/// The blocks of a page, in order.
///
/// # Panics
/// Where one has no end.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let Some(language) = lines[at].trim_start().strip_prefix("```") else {
            at += 1;
            continue;
        };
        let indent = lines[at].len() - lines[at].trim_start().len();
        let length = lines[at + 1..].iter().position(|line| line.trim() == "```");
        let length = length.unwrap_or_else(|| panic!("the block of line {} has no end", at + 1));
        let inside = lines[at + 1..at + 1 + length].iter().map(|line| line.get(indent..).unwrap_or_default());
        let text = inside.map(|line| format!("{line}\n")).collect();
        let mark = at.checked_sub(1).and_then(|before| mark(lines[before]));
        found.push(Block { line: at + 1, language: language.trim().to_owned(), mark, text });
        at += length + 2;
    }
    found
}

fn mark(line: &str) -> Option<Mark> {
    let text = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    let run = text.strip_prefix("run: ").map(|name| Mark::Run(name.trim().to_owned()));
    run.or_else(|| text.strip_prefix("not run: ").map(|why| Mark::NotRun(why.trim().to_owned())))
}

/// The blocks of a page that are marked with `run:` and this name, one after the other.
///
/// # Panics
/// Where there is none.
pub fn commands(page: &str, name: &str) -> String {
    let mark = Mark::Run(name.to_owned());
    let all = blocks(&self::page(page));
    let text: String =
        all.into_iter().filter(|block| block.mark.as_ref() == Some(&mark)).map(|block| block.text).collect();
    assert!(!text.is_empty(), "no block of {page} is marked <!-- run: {name} -->");
    text
}

/// The text with each of these put in place of what stands there, which has to be there.
///
/// # Panics
/// Where one is not.
pub fn with(text: &str, instead: &[(&str, &str)]) -> String {
    instead.iter().fold(text.to_owned(), |text, (usual, ours)| {
        assert!(text.contains(usual), "{usual} is not in\n{text}");
        text.replace(usual, ours)
    })
}
