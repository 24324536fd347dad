//! `make tools`: finds or builds the programs that the tests run, and prints each. With `table FILE`: the closing table of
//! `make e2e`. With `manifests`: writes what is rendered from the chart (`make manifests`).

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
};

use tofustate_e2e::{
    chart::{CHART, Helm},
    tools::{ALL, HELM},
    used,
};

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let mut out = io::stdout();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            writeln!(out, "{:<24} {:<15} PROGRAM", "TOOL", "VERSION")?;
            for tool in ALL {
                match tool.find_or_build() {
                    Ok(found) => writeln!(out, "{:<24} {:<15} {}", tool.name, found.version, found.program.display())?,
                    Err(reason) => writeln!(out, "{:<24} {:<15} not there: {reason}", tool.name, "-")?,
                }
            }
            Ok(())
        }
        ["manifests"] => {
            let helm = HELM.find_or_build().map_err(io::Error::other)?;
            let home = tempfile::tempdir()?;
            let folder = Path::new(CHART).join("../operator");
            for (file, text) in Helm::new(&helm, home.path()).operator_yaml() {
                fs::write(folder.join(file), text)?;
            }
            Ok(())
        }
        ["table", notes] => write!(out, "{}", used::table(Path::new(notes))?),
        _ => Err(io::Error::other("usage: tools [table FILE | manifests]")),
    }
}
