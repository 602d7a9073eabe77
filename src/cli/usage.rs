//! From the arguments to a command, or to the reason why they are wrong.
//!
//! **Owns** the parsing of arguments and variables, the checks across flags, and how the help and a
//! usage error are printed. **Must never touch** a socket or a file's content. **Invariant**: wrong
//! usage is exit code 2 and is found before anything is opened or run. The `HELLOOP_*` variables are
//! read for `serve` alone, and an error about one names the variable.

use super::{Cli, Command, Failure, manual, printed};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::io::{self, Write};

/// Whether the variables `HELLOOP_*` set defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    /// Those of this process do.
    Read,
    /// They do not: the arguments are for a process that does not have them.
    Ignored,
}

/// Parses the arguments and checks that they are consistent.
pub(super) fn parse<A: Into<OsString>>(
    arguments: impl IntoIterator<Item = A>,
    environment: Environment,
) -> Result<Cli, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let mut definition = definition(environment);
    let matches = matches_of(&mut definition, &arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))?;
    let (message, command) = match misplaced_flag(&definition, &matches) {
        Some(flag) => (format!("--{flag} must follow the command"), None),
        None => match cli.check(&matches) {
            Ok(()) => {
                check_spawned(&cli)?;
                return Ok(cli);
            }
            Err(message) => (message, matches.subcommand_name()),
        },
    };
    // The error shows the usage of the command that it is about.
    definition.build();
    let command = match command.and_then(|name| definition.find_subcommand_mut(name)) {
        Some(command) => command,
        None => &mut definition,
    };
    Err(command.error(ErrorKind::ArgumentConflict, message))
}

/// Checks the flags after `stress --spawn --` as the server does that is started with them. It has no
/// `HELLOOP_*` variables.
fn check_spawned(cli: &Cli) -> Result<(), clap::Error> {
    let arguments = match &cli.command {
        Some(Command::Stress(stress)) => stress.server_arguments(),
        _ => None,
    };
    arguments.map_or(Ok(()), |arguments| {
        parse(arguments, Environment::Ignored).map(drop)
    })
}

fn definition(environment: Environment) -> clap::Command {
    let definition = with_negative_values(Cli::command());
    match environment {
        Environment::Read => definition,
        Environment::Ignored => without_variables(definition)
            .mut_subcommands(|command| command.mut_args(|flag| flag.env(None::<&str>))),
    }
}

/// Without the variables of the flags that precede a command. Those of the commands stay.
fn without_variables(definition: clap::Command) -> clap::Command {
    definition.mut_args(|flag| flag.env(None::<&str>))
}

fn matches_of(
    definition: &mut clap::Command,
    arguments: &[OsString],
) -> Result<ArgMatches, clap::Error> {
    let matches = without_variables(definition.clone()).try_get_matches_from(arguments);
    let matches = match matches {
        // Without a command, helloop serves, and the variables apply.
        Ok(matches) if matches.subcommand_name().is_none() => {
            definition.try_get_matches_from_mut(arguments)
        }
        // Errors list the values of a flag, which the layout of the help moves elsewhere.
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            manual::with_help_layout(definition.clone()).try_get_matches_from(arguments)
        }
        matches => matches,
    };
    matches.map_err(|error| name_variable(error, arguments))
}

/// Lets an error about the value of a variable name the variable instead of the flag.
fn name_variable(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = flag.split([' ', '=']).next().unwrap_or_default().to_owned();
    let is_typed = arguments.iter().any(|argument| {
        let rest = argument.as_encoded_bytes().strip_prefix(flag.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
    });
    let serve = Cli::command();
    let serve = serve.find_subcommand("serve");
    let mut flags = serve.into_iter().flat_map(clap::Command::get_arguments);
    let variable = flags
        .find(|arg| arg.get_long() == flag.strip_prefix("--"))
        .and_then(Arg::get_env)
        .filter(|variable| !is_typed && std::env::var_os(variable).is_some());
    if let Some(variable) = variable {
        let name = variable.to_string_lossy().into_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    error
}

/// A flag as the user gave it: `--delay`, or `HELLOOP_DELAY`.
pub(super) fn given_as(flag: &Arg, given: &ArgMatches) -> String {
    let is_variable = given.value_source(flag.get_id().as_str()) == Some(ValueSource::EnvVariable);
    match flag.get_env().filter(|_| is_variable) {
        Some(variable) => variable.to_string_lossy().into_owned(),
        None => format!("--{}", flag.get_long().unwrap_or_default()),
    }
}

/// Whether a flag is on the command line.
pub(super) fn is_typed(flag: &str, given: &ArgMatches) -> bool {
    given.value_source(flag) == Some(ValueSource::CommandLine)
}

impl Cli {
    /// Checks that the given flags are consistent. The error is a message for the user.
    fn check(&self, given: &ArgMatches) -> Result<(), String> {
        match &self.command {
            None => self.serve.check_usage(given),
            Some(Command::Serve(serve)) => {
                serve.check_usage(given.subcommand_matches("serve").unwrap_or(given))
            }
            Some(Command::Tcp(tcp)) => tcp.check_usage(),
            Some(Command::Udp(udp)) => udp.check_usage(),
            Some(Command::Stress(stress)) => stress.check_usage(),
            Some(Command::Report(report)) => report.check_usage(),
            Some(_) => Ok(()),
        }
    }
}

/// The value names of quantities. After such a flag `-1` is an invalid value and not a flag, so
/// that the error is about the value.
const QUANTITIES: [&str; 7] = ["TIME", "N", "SIZE", "K", "M", "R", "P"];

fn with_negative_values(definition: clap::Command) -> clap::Command {
    let lenient = |flag: Arg| {
        let names = flag.get_value_names().unwrap_or_default();
        let quantity = names.iter().any(|name| QUANTITIES.contains(&name.as_str()));
        flag.allow_hyphen_values(quantity)
    };
    definition
        .mut_args(lenient)
        .mut_subcommands(|command| command.mut_args(lenient))
}

/// A flag of `serve` given before a command, where it would have no effect.
fn misplaced_flag<'a>(definition: &'a clap::Command, given: &ArgMatches) -> Option<&'a str> {
    given.subcommand_name()?;
    let mut flags = definition.get_arguments();
    flags
        .find(|flag| !flag.is_global_set() && is_typed(flag.get_id().as_str(), given))?
        .get_long()
}

/// Prints the help or the version on standard output, or a usage error on standard error, and returns
/// the exit code.
///
/// # Errors
///
/// Standard output cannot be written.
pub(super) fn print(error: &clap::Error) -> Result<u8, Failure> {
    let code = u8::try_from(error.exit_code()).unwrap_or(1);
    let printed_all = error.print().and_then(|()| io::stdout().flush());
    if error.use_stderr() {
        // If standard error is closed, there is nowhere to report that.
        return Ok(code);
    }
    printed(printed_all).map(|_| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_all_commands_may_precede_the_command() {
        for flag in ["-v", "-vv", "-q", "--verbose", "--quiet"] {
            for command in ["serve", "stress", "tcp", "compare"] {
                let parsed = parse(["helloop", flag, command], Environment::Ignored);
                assert!(parsed.is_ok(), "{flag} {command}");
            }
        }
    }
}
