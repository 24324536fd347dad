//! `make tools`: finds or builds the programs that the tests run, and prints each. With `table FILE`: the closing table of
//! `make e2e`.

use std::{
    env,
    io::{self, Write},
    path::Path,
};

use tofustate_e2e::{tools::ALL, used};

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
        ["table", notes] => write!(out, "{}", used::table(Path::new(notes))?),
        _ => Err(io::Error::other("usage: tools [table FILE]")),
    }
}
