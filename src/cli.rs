//! The command line: what the subcommands are and what each starts. No work of its own.

mod adopt;
mod bootstrap;
mod connection;
mod files;
mod listen;
mod openbao;
mod operator;
mod prompt;
mod serving;
mod show;
mod standalone;
mod states;
mod stop;
mod tasks;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::stop::Stop;
use crate::telemetry::{self, TelemetryError};

/// Registers OpenTofu and Terraform state paths as Kubernetes resources and serves them over the http backend protocol.
#[derive(Debug, Parser)]
#[command(name = "tofustate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the CustomResourceDefinition of TofuStateBackend as YAML.
    ///
    /// To install or update it: tofustate crd | kubectl apply --server-side -f -
    Crd {
        /// Print the reference of its fields as Markdown instead: docs/api.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Serve states without a cluster: a folder of manifests is the registry, an embedded database or OpenBao the store.
    Standalone(Box<standalone::StandaloneArgs>),
    /// Register and serve the states of a cluster: TofuStateBackends are the registry, OpenBao the store.
    Operator(Box<operator::OperatorArgs>),
    /// Set up OpenBao as the store, once, with an admin's token.
    Bootstrap(Box<bootstrap::BootstrapArgs>),
    /// Turn one entry of tofu-state in OpenBao into a state of tofustate, in its place. The old entry is kept.
    Adopt(adopt::AdoptArgs),
    /// List the states of a running server: who holds which lock.
    States(states::StatesArgs),
}

#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("cannot write the CustomResourceDefinition as YAML: {0}")]
    Yaml(#[from] serde_yaml::ser::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    Standalone(#[from] standalone::StandaloneError),
    #[error(transparent)]
    Operator(#[from] operator::OperatorError),
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::BootstrapError),
    #[error(transparent)]
    Adopt(#[from] adopt::AdoptCommandError),
    #[error(transparent)]
    States(#[from] states::StatesError),
}

/// Runs the command that `args` (the program's name first) ask for, with its output to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut impl Write) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are "errors" that go to standard output. Nothing is left to do if that is closed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match start(cli.command, out) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough: `tofustate crd | head`.
        Err(CliError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tofustate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        Command::Crd { markdown: true } => out.write_all(crate::crd::reference().as_bytes())?,
        Command::Crd { markdown: false } => out.write_all(crate::crd::yaml()?.as_bytes())?,
        Command::Bootstrap(args) => block_on(bootstrap::run(*args, out))??,
        Command::Adopt(args) => block_on(adopt::run(args, out))??,
        Command::States(args) => block_on(states::run(args, out))??,
        Command::Standalone(args) => block_on(async {
            let telemetry = telemetry::start()?;
            let stop = Stop::new().map_err(CliError::Runtime)?;
            Ok::<(), CliError>(standalone::run(*args, &telemetry, stop).await?)
        })??,
        Command::Operator(args) => block_on(async {
            let telemetry = telemetry::start()?;
            let stop = Stop::new().map_err(CliError::Runtime)?;
            Ok::<(), CliError>(operator::run(*args, &telemetry, stop).await?)
        })??,
    }
    Ok(out.flush()?)
}

/// Runs `work` on a runtime of its own. All of TLS here is ring's.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CliError> {
    // Another call of this function did it already: that is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    Ok(runtime.block_on(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(io::ErrorKind);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_arguments_are_declared_soundly() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn crd_prints_the_definition() {
        let mut out = Vec::new();
        assert_eq!(run(args(&["tofustate", "crd"]), &mut out), ExitCode::SUCCESS);
        assert_eq!(String::from_utf8(out).unwrap(), crate::crd::yaml().unwrap());
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        for (kind, code) in
            [(io::ErrorKind::BrokenPipe, ExitCode::SUCCESS), (io::ErrorKind::StorageFull, ExitCode::FAILURE)]
        {
            assert_eq!(run(args(&["tofustate", "crd"]), &mut Closed(kind)), code);
        }
    }

    #[test]
    fn an_unknown_command_is_a_usage_error() {
        assert_eq!(run(args(&["tofustate", "no-such"]), &mut Vec::new()), ExitCode::from(2));
    }
}
