//! Man pages.
//!
//! **Owns** the sections of a page and their order. **Must never touch** the definition of a command:
//! what a page says comes from its help. **Invariant**: each page has a synopsis with the values of
//! the flags, the exit status, and the variables that the command reads.

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::io;

/// Starts the paragraph of the help that lists the exit codes.
const EXIT_CODES: &str = "Exit codes: ";

/// The exit codes of a command whose help lists none.
const DEFAULT_EXIT_CODES: &str = "0 success; 1 failure; 2 wrong usage";

/// The variables that every command reads.
const VARIABLES: [(&str, &str); 2] = [
    (
        "RUST_LOG",
        "The level of the log without -v and -q, as in RUST_LOG=debug or \
         RUST_LOG=helloop::server=debug.",
    ),
    (
        "NO_COLOR",
        "If it is set and not empty, no output has colours.",
    ),
];

/// Renders the page of a command.
pub(super) fn render(command: &Command, out: &mut Vec<u8>) -> io::Result<()> {
    let long = command.get_long_about().or_else(|| command.get_about());
    let long = long.map(ToString::to_string).unwrap_or_default();
    let paragraphs = long.split("\n\n");
    let (codes, about): (Vec<&str>, Vec<&str>) =
        paragraphs.partition(|paragraph| paragraph.starts_with(EXIT_CODES));
    let command = command.clone().long_about(about.join("\n\n"));
    let page = Man::new(command.clone()).source(concat!("helloop ", env!("CARGO_PKG_VERSION")));
    page.render_title(out)?;
    page.render_name_section(out)?;
    synopsis(&command).to_writer(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    let codes = codes.first().copied().unwrap_or(DEFAULT_EXIT_CODES);
    exit_status(codes).to_writer(out)?;
    environment(&command).to_writer(out)?;
    examples(&command).to_writer(out)
}

/// The command with each flag and its value, as `[--listen ADDR:PORT]`.
fn synopsis(command: &Command) -> Roff {
    let name = command.get_bin_name();
    let name = name.unwrap_or_else(|| command.get_name());
    let mut line = vec![bold(name)];
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        let (open, close) = match flag.is_required_set() {
            true => (" ", ""),
            false => (" [", "]"),
        };
        line.push(roman(open));
        if let Some(short) = flag.get_short() {
            line.push(bold(format!("-{short}")));
        }
        if let Some(long) = flag.get_long() {
            if flag.get_short().is_some() {
                line.push(roman("|"));
            }
            line.push(bold(format!("--{long}")));
        }
        if let Some(value) = value_of(flag) {
            if flag.is_last_set() {
                line.extend([bold("--"), roman(" ")]);
            } else if !flag.is_positional() {
                line.push(roman(" "));
            }
            line.push(italic(value));
        }
        line.push(roman(close));
        if may_repeat(flag) {
            line.push(roman("..."));
        }
    }
    if command.has_subcommands() {
        line.extend([roman(" ["), italic("COMMAND"), roman("]")]);
    }
    section("SYNOPSIS", line)
}

fn section(title: &str, line: Vec<Inline>) -> Roff {
    let mut section = Roff::new();
    section.control("SH", [title]).text(line);
    section
}

fn value_of(flag: &Arg) -> Option<String> {
    let names = flag.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    let takes_value = flag.get_action().takes_values();
    (takes_value && !names.is_empty()).then(|| names.join(" "))
}

fn may_repeat(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append | ArgAction::Count)
}

/// A paragraph for each code, from `0 drained; 1 cannot serve; ...`.
fn exit_status(codes: &str) -> Roff {
    let codes = codes.trim_start_matches(EXIT_CODES).trim_end_matches('.');
    let mut status = Roff::new();
    status.control("SH", ["EXIT STATUS"]);
    for clause in codes.split("; ") {
        let is_code = |letter: char| letter.is_ascii_digit() || ", ".contains(letter);
        // `129, 130 or 143 ended by ...`: the codes end before the last word that is none.
        let words = clause.split(' ');
        let count = words
            .take_while(|word| *word == "or" || *word == "and" || word.chars().all(is_code))
            .count();
        let words: Vec<&str> = clause.split(' ').collect();
        let (code, meaning) = words.split_at(count);
        status
            .control("TP", [])
            .text([bold(code.join(" "))])
            .text([roman(meaning.join(" "))]);
    }
    status
}

/// A paragraph for each variable: those of the flags, then those of every command.
fn environment(command: &Command) -> Roff {
    let mut environment = Roff::new();
    environment.control("SH", ["ENVIRONMENT"]);
    if command.has_subcommands() {
        environment
            .control("TP", [])
            .text([bold("HELLOOP_*")])
            .text([roman(
                "The defaults of the flags of `helloop serve`; no other command reads them. See \
                 helloop-serve(1).",
            )]);
    }
    for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
        if let (Some(variable), Some(long)) = (flag.get_env(), flag.get_long()) {
            environment
                .control("TP", [])
                .text([bold(variable.to_string_lossy())])
                .text([
                    roman("The default of "),
                    bold(format!("--{long}")),
                    roman("."),
                ]);
        }
    }
    for (variable, meaning) in VARIABLES {
        environment
            .control("TP", [])
            .text([bold(variable)])
            .text([roman(meaning)]);
    }
    environment
}

/// The examples, each on its own line.
fn examples(command: &Command) -> Roff {
    let mut examples = Roff::new();
    examples.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples_of(command) {
        examples.text([roman(line)]);
    }
    examples.control("fi", []);
    examples
}

/// The lines below `Examples:` at the end of the help.
pub(super) fn examples_of(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.map(|line| line.trim().to_owned()).collect()
}
