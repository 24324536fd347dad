//! `tofustate states`: who holds which lock, asked of a running server's admin listener.

use std::{io::Write, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::http::{LockRow, StateRow};

/// How to ask, and how to show it.
#[derive(Debug, Args)]
pub(super) struct StatesArgs {
    /// The admin listener of the running server.
    #[arg(long, env = "TOFUSTATE_ADMIN", default_value = "http://127.0.0.1:9090", value_parser = admin)]
    admin: String,
    /// A file with the admin token, where the server asks for one.
    #[arg(long, env = "TOFUSTATE_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// How to print the states.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Why the states cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum StatesError {
    #[error("cannot read the admin token from {file}: {error}")]
    Token { file: PathBuf, error: std::io::Error },
    #[error("cannot ask {admin} for its states: {fault}; is the server running, and is this its --admin-listen?")]
    Ask { admin: String, fault: String },
    #[error("{admin} did not tell its states: {status}: {answer}")]
    Refused { admin: String, status: u16, answer: String },
    #[error("cannot write to standard output: {0}")]
    Output(#[from] std::io::Error),
}

pub(super) async fn run(args: StatesArgs, out: &mut impl Write) -> Result<(), StatesError> {
    let text = ask(&args).await?;
    if args.output == Output::Json {
        return Ok(writeln!(out, "{text}")?);
    }
    let rows: Vec<StateRow> = serde_json::from_str(&text).map_err(|error| StatesError::Ask {
        admin: args.admin.clone(),
        fault: format!("its answer is no list of states ({error})"),
    })?;
    Ok(out.write_all(table(&rows).as_bytes())?)
}

async fn ask(args: &StatesArgs) -> Result<String, StatesError> {
    let fault = |fault: String| StatesError::Ask { admin: args.admin.clone(), fault };
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build();
    let client = client.map_err(|error| fault(error.to_string()))?;
    let mut request = client.get(format!("{}/states", args.admin));
    if let Some(file) = &args.admin_token_file {
        let token = std::fs::read_to_string(file);
        let token = token.map_err(|error| StatesError::Token { file: file.clone(), error })?;
        request = request.bearer_auth(token.trim());
    }
    let failed = |error: reqwest::Error| fault(causes(&error.without_url()));
    let answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let text = answer.text().await.map_err(failed)?;
    if status.is_success() {
        return Ok(text);
    }
    let sentence = serde_json::from_str::<serde_json::Value>(&text).ok();
    let sentence = sentence.and_then(|answer| Some(answer.get("error")?.as_str()?.to_owned()));
    let answer = sentence.unwrap_or(text);
    Err(StatesError::Refused { admin: args.admin.clone(), status: status.as_u16(), answer })
}

/// An error with what led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let first = error.to_string();
    std::iter::successors(error.source(), |error| error.source()).fold(first, |text, cause| format!("{text}: {cause}"))
}

/// A URL without a scheme is one of plain HTTP.
fn admin(text: &str) -> Result<String, std::convert::Infallible> {
    let text = text.trim_end_matches('/');
    Ok(if text.contains("://") { text.to_owned() } else { format!("http://{text}") })
}

/// The states as columns.
pub(super) fn table(rows: &[StateRow]) -> String {
    let mut lines =
        vec![["PATH", "LOCKED BY", "OPERATION", "SINCE (UTC)", "SERIAL", "SIZE", "VERSIONS"].map(str::to_owned)];
    for row in rows {
        let lock = |field: fn(&LockRow) -> &str| row.lock.as_ref().map_or("-", field).to_owned();
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        lines.push([
            row.path.clone(),
            printable(&lock(|lock| if lock.who.is_empty() { &lock.identity } else { &lock.who })),
            printable(&lock(|lock| &lock.operation)),
            lock(|lock| lock.since.get(..19).unwrap_or(&lock.since)),
            number(row.serial),
            number(row.size),
            row.error.clone().unwrap_or_else(|| row.versions.to_string()),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What a client said of itself, without what a terminal would obey, and not too long.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(48).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_obeys_no_client() {
        let rows = r#"[
            {"path":"a","resource":"x/a","versions":0},
            {"path":"team/app","resource":"team/app","versions":3,"serial":7,"size":90,"lock":{"id":"1","who":"u@h\u001b[2J","identity":"token","operation":"Apply","since":"2026-01-01T00:00:00Z"}},
            {"path":"b","resource":"x/b","versions":0,"error":"gone"}]"#;
        let text = table(&serde_json::from_str::<Vec<StateRow>>(rows).unwrap());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(text.contains("  2026-01-01T00:00:00  7 "), "{text}");
        assert!(!text.contains('\u{1b}') && lines[2].starts_with("team/app  u@h"), "{text}");
        assert_eq!(lines[1].find("-"), lines[0].find("LOCKED BY"), "{text}");
        assert!(lines[3].ends_with("gone"), "{text}");
    }
}
