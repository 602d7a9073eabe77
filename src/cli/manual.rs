//! `helloop completions`, `helloop man`, and how `--help` is laid out.
//!
//! **Owns** what is generated from the definition of the command line: help, man pages and shell
//! completions. **Must never touch** the meaning of the definition. **Invariant**: hidden flags
//! appear in none of them, all other flags in each.

mod page;
mod shells;

use super::{Cli, Failure, print};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Args, Command, CommandFactory};
use clap_complete::Shell;

/// Print a shell completion script.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop completions bash > ~/.local/share/bash-completion/completions/helloop\n  \
    helloop completions fish > ~/.config/fish/completions/helloop.fish\n  \
    helloop completions zsh > ~/.zfunc/_helloop  # a directory in $fpath")]
pub(super) struct Completions {
    /// Shell: bash, elvish, fish, powershell or zsh.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Print the man page of helloop or of a command.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop man | man -l -         # read the main page\n  \
    helloop man stress | man -l -  # read the page of a command\n  \
    helloop man > ~/.local/share/man/man1/helloop.1")]
pub(super) struct Man {
    /// Command, such as stress [default: helloop itself]
    #[arg(value_name = "COMMAND", value_parser = pages())]
    command: Option<String>,
}

/// The commands that have a page.
const PAGES: [&str; 10] = [
    "serve",
    "tcp",
    "udp",
    "get",
    "show",
    "stress",
    "compare",
    "report",
    "completions",
    "man",
];

/// Other words for the main page.
const MAIN_PAGES: [&str; 2] = ["helloop", "help"];

/// The commands, for completions and errors.
fn pages() -> PossibleValuesParser {
    let shown = PAGES.map(PossibleValue::new);
    let hidden = MAIN_PAGES.map(|name| PossibleValue::new(name).hide(true));
    PossibleValuesParser::new(shown.into_iter().chain(hidden))
}

impl Completions {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        print(shells::script(self.shell, Cli::command()).as_bytes())?;
        Ok(0)
    }
}

impl Man {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        // The flags of `serve` are on its own page.
        let mut definition = hide_serve_flags(Cli::command()).disable_help_subcommand(true);
        definition.build();
        let command = self.command.as_deref();
        let command = command.and_then(|name| definition.find_subcommand(name));
        let mut page = Vec::new();
        page::render(command.unwrap_or(&definition), &mut page)
            .map_err(|error| Failure::new(format_args!("cannot write the page: {error}")))?;
        print(&page)?;
        Ok(0)
    }
}

/// The definition as `-h` and `--help` show it: the flags of `serve` only in the help of `serve`;
/// environment variables and the meaning of named values only in `--help`, so that `-h` has one line
/// for each flag.
pub(super) fn with_help_layout(definition: Command) -> Command {
    hide_serve_flags(definition).mut_subcommands(|command| command.mut_args(with_long_help))
}

/// Moves to the long help what clap would add to both.
fn with_long_help(flag: Arg) -> Arg {
    let help = flag.get_long_help().or_else(|| flag.get_help());
    let mut help = help.map(ToString::to_string).unwrap_or_default();
    // A switch has the values true and false.
    let takes_values = flag.get_action().takes_values();
    let values = flag.get_possible_values();
    if takes_values && !values.is_empty() {
        help += "\n\nPossible values:";
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            help += &format!("\n- {}", value.get_name());
            if let Some(meaning) = value.get_help() {
                help += &format!(": {meaning}");
            }
        }
    }
    if let Some(variable) = flag.get_env() {
        help += &format!("\n\n[env: {}]", variable.to_string_lossy());
    }
    flag.hide_env(true)
        .hide_possible_values(takes_values)
        .long_help(help)
}

/// Hides the flags of `serve`, which helloop also takes without a command.
fn hide_serve_flags(definition: Command) -> Command {
    definition.mut_args(|flag| {
        let own = ["verbose", "quiet", "help", "version"].contains(&flag.get_id().as_str());
        flag.hide(!own)
    })
}

#[cfg(test)]
mod tests {
    use super::super::usage::{self, Environment};
    use super::page::examples_of;
    use super::*;

    /// The width that the short help and every example fit into.
    const COLUMNS: usize = 80;

    fn each_command() -> Vec<Command> {
        let mut definition = with_help_layout(Cli::command()).disable_help_subcommand(true);
        definition.build();
        let commands = definition.get_subcommands().cloned();
        let all: Vec<Command> = commands.chain([definition.clone()]).collect();
        all.into_iter()
            .map(|command| command.term_width(COLUMNS))
            .collect()
    }

    /// The words of a line up to a comment, a pipe or a redirection. A quoted name may be split:
    /// the parser accepts several names.
    fn words_of(line: &str) -> Vec<&str> {
        line.split_whitespace()
            .take_while(|word| !["#", "|", ">", "<"].contains(word))
            .map(|word| word.trim_matches('\''))
            .collect()
    }

    #[test]
    fn each_command_has_a_page() {
        let commands = each_command();
        let names: Vec<&str> = commands.iter().map(Command::get_name).collect();
        assert_eq!(names, [&PAGES[..], &MAIN_PAGES[..1]].concat());
    }

    #[test]
    fn each_example_of_each_help_parses() {
        for command in each_command() {
            let name = command.get_bin_name().unwrap_or("helloop").to_owned();
            let examples = examples_of(&command);
            assert!(!examples.is_empty(), "{name} has no examples");
            for example in examples {
                let parsed = usage::parse(words_of(&example), Environment::Ignored);
                assert!(parsed.is_ok(), "{example}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn the_short_help_has_one_line_for_each_flag_and_command() {
        for mut command in each_command() {
            let help = command.render_help().to_string();
            for line in help.lines() {
                let indent = line.len() - line.trim_start().len();
                let own_line = indent <= 2 || line.starts_with("      --");
                assert!(own_line && line.len() <= COLUMNS, "{line:?} in {help}");
            }
        }
    }

    #[test]
    fn both_helps_have_one_style() {
        for mut command in each_command() {
            let name = command.get_name().to_owned();
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let help = flag.get_help().map(ToString::to_string);
                let help = help.unwrap_or_else(|| panic!("{name}: {flag} has no help"));
                assert!(help.starts_with(char::is_uppercase), "{name}: {help}");
                assert!(!help.ends_with('.'), "{name}: {help}");
            }
            let help = command.render_long_help().to_string();
            assert!(!help.contains("exit-with-stdin"), "{name} shows it");
            assert_eq!(help.matches("Examples:").count(), 1, "{name}");
        }
    }
}
