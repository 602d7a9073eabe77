//! The command line.
//!
//! **Owns** the commands and their flags, the logger, the exit code and the standard streams:
//! results go to standard output, everything else to standard error. **Must never touch** a socket.
//! **Invariant**: any input ends in a result or in one clear error line, never in a panic.

mod compare;
mod destination;
mod get;
mod greet;
mod manual;
mod observe;
mod report;
mod serve;
mod show;
mod stress;
mod usage;
mod values;

use crate::output::{LAST_LINES_TIMEOUT, LogWriter, end_log};
use crate::system::{self, Output};
use clap::{ArgAction, Args, Parser, Subcommand};
use env_logger::Target;
use log::{LevelFilter, warn};
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};
use usage::Environment;

/// A greeting server on one thread, with its clients and a load generator.
///
/// Without a command, helloop serves, with the flags of `helloop serve`: `helloop --delay 1s` is
/// `helloop serve --delay 1s`.
///
/// Results go to standard output, the log and errors to standard error.
#[derive(Debug, Parser)]
#[command(
    name = "helloop",
    version,
    after_help = "Examples:\n  \
        helloop                               # serve TCP and UDP on 127.0.0.1:9999\n  \
        helloop --observe 127.0.0.1:9998      # the same, with a page of the loop\n  \
        helloop tcp Michael Tracy             # greet over TCP\n  \
        helloop udp Sarah                     # greet over UDP\n  \
        helloop stress --spawn --clients 10k  # load-test a server of its own\n  \
        helloop compare                       # one loop, or a thread per client?\n  \
        helloop report a.json b.json          # compare two reports of stress\n  \
        helloop man stress | man -l -         # the man page of a command"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
    #[command(flatten)]
    verbosity: Verbosity,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Tcp(greet::Tcp),
    Udp(greet::Udp),
    Get(get::Get),
    Show(show::Show),
    Stress(Box<stress::Stress>),
    Compare(compare::Compare),
    Report(report::Report),
    Completions(manual::Completions),
    Man(manual::Man),
}

#[derive(Args, Debug)]
struct Verbosity {
    /// Log each connection; with -vv each event too.
    ///
    /// Without -v and -q, the variable RUST_LOG sets the level, as in RUST_LOG=debug or
    /// RUST_LOG=helloop::server=debug. NO_COLOR turns colours off.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Logging")]
    verbose: u8,
    /// Log only errors.
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Logging"
    )]
    quiet: bool,
}

impl Verbosity {
    /// Starts the logger on standard error: at the level of the flags, otherwise that of RUST_LOG,
    /// otherwise `info` for helloop and `warn` for its dependencies.
    fn start_logging(&self) {
        let mut builder = env_logger::Builder::new();
        builder.filter_level(LevelFilter::Warn);
        match (self.quiet, self.verbose) {
            (true, _) => builder.filter_module("helloop", LevelFilter::Error),
            // Without a level for the module, which would override a bare `warn` in RUST_LOG.
            (false, 0) if std::env::var_os("RUST_LOG").is_some_and(|value| !value.is_empty()) => {
                builder.parse_default_env()
            }
            (false, 0) => builder.filter_module("helloop", LevelFilter::Info),
            (false, 1) => builder.filter_module("helloop", LevelFilter::Debug),
            (false, _) => builder.filter_module("helloop", LevelFilter::Trace),
        };
        let colours = anstream::AutoStream::choice(&io::stderr());
        builder.write_style(colours.into());
        builder.target(Target::Pipe(Box::new(LogWriter::new())));
        builder.format_timestamp_millis().init();
    }
}

/// A failed command: the exit code, and a line for the user unless it is empty.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// A failure with exit code 1.
    fn new(message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            code: 1,
        }
    }
}

impl From<crate::client::Error> for Failure {
    fn from(error: crate::client::Error) -> Self {
        let message = if error.is_closed_output() {
            String::new()
        } else {
            error.to_string()
        };
        Self {
            message,
            code: error.exit_code(),
        }
    }
}

/// Parses the arguments, runs the command and returns the exit code.
#[must_use]
pub fn run() -> u8 {
    let cli = match usage::parse(std::env::args_os(), Environment::Read) {
        Ok(cli) => cli,
        Err(error) => return end(usage::print(&error)),
    };
    cli.verbosity.start_logging();
    end(match &cli.command {
        None => cli.serve.run(),
        Some(Command::Serve(arguments)) => arguments.run(),
        Some(Command::Tcp(arguments)) => arguments.run(),
        Some(Command::Udp(arguments)) => arguments.run(),
        Some(Command::Get(arguments)) => arguments.run(),
        Some(Command::Show(arguments)) => arguments.run(),
        Some(Command::Stress(arguments)) => arguments.run(),
        Some(Command::Compare(arguments)) => arguments.run(),
        Some(Command::Report(arguments)) => arguments.run(),
        Some(Command::Completions(arguments)) => arguments.run(),
        Some(Command::Man(arguments)) => arguments.run(),
    })
}

/// Prints the error of a command, if any, and returns the exit code.
fn end(result: Result<u8, Failure>) -> u8 {
    let (code, last_line) = match result {
        Ok(code) => (code, String::new()),
        Err(failure) if failure.message.is_empty() => (failure.code, String::new()),
        Err(failure) => (failure.code, format!("error: {}\n", failure.message)),
    };
    end_log(&last_line);
    code
}

/// Prints one line on standard output and flushes it, because scripts wait for it. Returns `false` if
/// the reader has closed it, which is not an error.
fn print_line(line: impl fmt::Display) -> Result<bool, Failure> {
    print(format!("{line}\n").as_bytes())
}

/// The same without a line ending.
fn print(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    printed(out.write_all(bytes).and_then(|()| out.flush()))
}

fn printed(written: io::Result<()>) -> Result<bool, Failure> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if system::has_lost_reader(&error) => Ok(false),
        Err(error) => Err(Failure::new(format_args!(
            "cannot write to standard output: {error}"
        ))),
    }
}

/// Prints the last line of a program. If standard output does not take it within
/// [`LAST_LINES_TIMEOUT`], the program ends without it.
fn print_last_line(line: impl fmt::Display) -> Result<(), Failure> {
    let out = Output::new(io::stdout());
    match out.write_within(format!("{line}\n").as_bytes(), LAST_LINES_TIMEOUT) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            warn!("standard output has no room for: {line}");
            Ok(())
        }
        written => printed(written).map(drop),
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(format_args!("cannot write JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_valid() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_flag_of_serve_has_an_environment_variable() {
        let definition = Cli::command();
        let serve = definition.find_subcommand("serve").expect("it is defined");
        for flag in serve.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let name = flag.get_long().expect("serve has no positional arguments");
            let variable = format!("HELLOOP_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(
                flag.get_env().and_then(std::ffi::OsStr::to_str),
                Some(variable.as_str()),
                "--{name}"
            );
        }
    }
}
