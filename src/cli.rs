//! What a user can ask, and what is printed for it.
//!
//! **Owns** the command line, the log's set-up, the exit code, and the process's streams:
//! results go to standard output, all else to standard error. **Must never touch** a socket.
//! **Invariant**: whatever is typed ends in a result or in one clear line, never in a panic.

mod compare;
mod fetch;
mod greet;
mod manual;
mod serve;
mod show;
mod stress;
mod values;
mod watching;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use log::LevelFilter;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

/// A greeting server on one thread, its clients and its load.
///
/// Without a command helloop serves, with the flags of `helloop serve`: `helloop --delay 1s` is
/// `helloop serve --delay 1s`.
#[derive(Debug, Parser)]
#[command(
    name = "helloop",
    version,
    after_help = "Examples:\n  \
        helloop                                # serve TCP and UDP on 127.0.0.1:9999\n  \
        helloop --observe 127.0.0.1:9998       # the same, and show the loop on a page\n  \
        helloop tcp Michael Tracy              # greet over TCP\n  \
        helloop udp Sarah                      # greet over UDP\n  \
        helloop stress --spawn --clients 10k   # stress a server with very many clients\n  \
        helloop compare                        # one loop, or a thread for each client?\n  \
        helloop man stress | man -l -          # a command's man page"
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
    Get(fetch::Get),
    Show(show::Show),
    Stress(Box<stress::Stress>),
    Compare(compare::Compare),
    Completions(manual::Completions),
    Man(manual::Man),
}

#[derive(Args, Debug)]
struct Verbosity {
    /// Log each connection's story; -vv: each event too.
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Logging")]
    verbose: u8,
    /// Log errors only.
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
    /// Logs to standard error: as the flags say, else as RUST_LOG says, else trouble and the
    /// start and stop.
    fn start_logging(&self) {
        let mut builder = env_logger::Builder::new();
        builder.filter_level(LevelFilter::Warn);
        match (self.quiet, self.verbose) {
            (true, _) => builder.filter_module("helloop", LevelFilter::Error),
            // Whole, since a level of our own for the module would outrank a bare `warn` there.
            (false, 0) if std::env::var_os("RUST_LOG").is_some_and(|words| !words.is_empty()) => {
                builder.parse_default_env()
            }
            (false, 0) => builder.filter_module("helloop", LevelFilter::Info),
            (false, 1) => builder.filter_module("helloop", LevelFilter::Debug),
            (false, _) => builder.filter_module("helloop", LevelFilter::Trace),
        };
        builder.format_timestamp_millis().init();
    }
}

/// Why a command ended other than well: its one line, and the exit code.
#[derive(Debug)]
struct Failure {
    words: String,
    code: u8,
}

impl Failure {
    /// One that could not do what was asked.
    fn new(words: impl fmt::Display) -> Self {
        Self {
            words: words.to_string(),
            code: 1,
        }
    }
}

impl From<crate::client::Error> for Failure {
    fn from(error: crate::client::Error) -> Self {
        let words = if error.is_closed_output() {
            String::new()
        } else {
            error.to_string()
        };
        Self {
            words,
            code: error.exit_code(),
        }
    }
}

/// Parses the arguments, does what they ask, and returns the exit code. Wrong usage, help and
/// the version are answered here, and end the process.
#[must_use]
pub fn run() -> u8 {
    let cli = asked(std::env::args_os()).unwrap_or_else(|error| error.exit());
    cli.verbosity.start_logging();
    let done = match &cli.command {
        None => cli.serve.run(),
        Some(Command::Serve(arguments)) => arguments.run(),
        Some(Command::Tcp(arguments)) => arguments.run(),
        Some(Command::Udp(arguments)) => arguments.run(),
        Some(Command::Get(arguments)) => arguments.run(),
        Some(Command::Show(arguments)) => arguments.run(),
        Some(Command::Stress(arguments)) => arguments.run(),
        Some(Command::Compare(arguments)) => arguments.run(),
        Some(Command::Completions(arguments)) => arguments.run(),
        Some(Command::Man(arguments)) => arguments.run(),
    };
    done.unwrap_or_else(|failure| {
        if !failure.words.is_empty() {
            // With standard error closed as well there is nobody left to tell.
            let _ = writeln!(io::stderr(), "error: {}", failure.words);
        }
        failure.code
    })
}

/// What these arguments ask for; an error where it contradicts itself.
fn asked<A: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = A>,
) -> Result<Cli, clap::Error> {
    let mut definition = manual::laid_out(with_negatives(Cli::command()));
    let matches = definition.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))?;
    let contradicts = |definition: &mut clap::Command, words| {
        Err(definition.error(ErrorKind::ArgumentConflict, words))
    };
    if let Some(stray) = stray_flag(&matches) {
        let words = format!("--{stray} belongs behind the command");
        return contradicts(&mut definition, words);
    }
    let Err(words) = cli.check(&matches) else {
        return Ok(cli);
    };
    // The usage that is shown with it is that of the command at fault.
    let command = matches.subcommand_name();
    match command.and_then(|name| definition.find_subcommand_mut(name)) {
        Some(definition) => contradicts(definition, words),
        None => contradicts(&mut definition, words),
    }
}

impl Cli {
    /// Whether the flags that were given belong together.
    fn check(&self, given: &clap::ArgMatches) -> Result<(), String> {
        match &self.command {
            None => self.serve.check_usage(given),
            Some(Command::Serve(serve)) => {
                serve.check_usage(given.subcommand_matches("serve").unwrap_or(given))
            }
            Some(Command::Tcp(tcp)) => tcp.check_usage(),
            Some(Command::Stress(stress)) => stress.check_usage(),
            Some(_) => Ok(()),
        }
    }
}

/// What a flag takes, by its name in the help, where `-1` is a wrong value and no flag: so that
/// the value's own error is told.
const AMOUNTS: [&str; 7] = ["TIME", "N", "SIZE", "K", "M", "R", "P"];

fn with_negatives(definition: clap::Command) -> clap::Command {
    let lenient = |flag: clap::Arg| {
        let names = flag.get_value_names().unwrap_or_default();
        let amount = names.iter().any(|name| AMOUNTS.contains(&name.as_str()));
        flag.allow_hyphen_values(amount)
    };
    definition
        .mut_args(lenient)
        .mut_subcommands(|command| command.mut_args(lenient))
}

/// A flag of `serve` that was given before the name of a command, where it would mean nothing.
fn stray_flag(given: &clap::ArgMatches) -> Option<String> {
    given.subcommand_name()?;
    given
        .ids()
        .map(clap::Id::as_str)
        .filter(|id| !["verbose", "quiet"].contains(id) && given.try_get_raw(id).is_ok())
        .find(|id| given.value_source(id) == Some(ValueSource::CommandLine))
        .map(|id| id.replace('_', "-"))
}

/// Prints one line on standard output at once, for scripts read it. Whether somebody still
/// reads there: a reader that left is no error.
fn say(line: fmt::Arguments<'_>) -> Result<bool, Failure> {
    put(format!("{line}\n").as_bytes())
}

/// The same for what is whole already.
fn put(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format_args!(
            "cannot write to standard output: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_flag_of_serve_has_its_environment_variable() {
        let definition = Cli::command();
        let serve = definition.find_subcommand("serve").expect("it is defined");
        for flag in serve.get_arguments().filter(|flag| !flag.is_hide_set()) {
            let name = flag.get_long().expect("serve has flags alone");
            let variable = format!("HELLOOP_{}", name.replace('-', "_").to_uppercase());
            assert_eq!(
                flag.get_env().and_then(std::ffi::OsStr::to_str),
                Some(variable.as_str()),
                "--{name}"
            );
        }
    }
}
