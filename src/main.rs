//! The binary. Everything is in the library; see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tofustate::cli::run(std::env::args_os(), &mut std::io::stdout())
}
