//! Shell completions and man pages.

mod util;

use std::io::{self, Write};
use std::process::{Command, Stdio};
use util::{helloop, run_helloop};

/// All commands.
const COMMANDS: [&str; 10] = [
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

/// A flag for parent processes, documented nowhere.
const HIDDEN_FLAG: &str = "exit-with-stdin";

#[track_caller]
fn output_of(arguments: &[&str]) -> String {
    let ended = run_helloop(arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[test]
fn each_shell_completes_each_command_and_no_hidden_flag() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = output_of(&["completions", shell]);
        for word in COMMANDS.into_iter().chain(["drain-timeout", "slo"]) {
            assert!(script.contains(word), "no {word} for {shell}");
        }
        assert!(
            !script.contains(HIDDEN_FLAG),
            "{shell} completes --{HIDDEN_FLAG}"
        );
    }
}

/// What is typed, and words that are offered for it. None of them may be offered twice or hidden.
const COMPLETED: [(&str, &[&str]); 6] = [
    ("helloop stress --sp", &["--spawn"]),
    ("helloop man s", &["serve", "show", "stress"]),
    ("helloop completions f", &["fish"]),
    (
        "helloop stress --spawn -- --li",
        &["--line-timeout", "--listen"],
    ),
    (
        "helloop stress --spawn --clients 5 -- --delay 1s --no",
        &["--no-udp"],
    ),
    ("helloop --drain", &["--drain-timeout"]),
];

/// Runs a shell with a script as its input; `None` if it is not installed.
fn shell(arguments: &[&str], script: String) -> Option<String> {
    let mut shell = Command::new(arguments[0])
        .args(&arguments[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .inspect_err(|_| eprintln!("skipped: {} is not installed", arguments[0]))
        .ok()?;
    let input = shell.stdin.take();
    input.unwrap().write_all(script.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(String::from_utf8);
    assert_eq!(stderr.unwrap(), "");
    Some(stdout.unwrap())
}

#[test]
fn bash_loads_its_completions_and_completes() {
    for (typed, offered) in COMPLETED {
        // The function that bash calls, as it calls it.
        let probe = format!(
            "\nread -ra COMP_WORDS <<< '{typed}'; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             [[ $(complete -p helloop) =~ -F\\ ([^ ]+) ]]\n\
             \"${{BASH_REMATCH[1]}}\" helloop \"${{COMP_WORDS[COMP_CWORD]}}\" \
             \"${{COMP_WORDS[COMP_CWORD - 1]}}\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\" | sort\n"
        );
        let script = output_of(&["completions", "bash"]) + &probe;
        if let Some(output) = shell(&["bash", "--norc", "-s"], script) {
            assert_eq!(output.lines().collect::<Vec<_>>(), offered, "{typed}");
        }
    }
}

#[test]
fn fish_loads_its_completions_and_completes() {
    for (typed, offered) in COMPLETED {
        let script = output_of(&["completions", "fish"]) + &format!("\ncomplete -C '{typed}'\n");
        if let Some(output) = shell(&["fish", "--no-config"], script) {
            let mut words: Vec<&str> = output
                .lines()
                .filter_map(|line| line.split('\t').next())
                .collect();
            words.sort_unstable();
            assert_eq!(words, offered, "{typed}");
        }
    }
}

/// zsh completes only at a terminal; it must accept the script.
#[test]
fn zsh_loads_its_completions() {
    let script = output_of(&["completions", "zsh"]);
    assert!(script.contains("words=(\"$words[1]\" serve "), "{script}");
    let quiet = "autoload -U compinit; compinit -u -D 2>/dev/null\n".to_owned();
    if let Some(output) = shell(
        &["zsh", "-f", "-s"],
        quiet + &script + "\nwhence -w _helloop\n",
    ) {
        assert_eq!(output, "_helloop: function\n");
    }
}

#[test]
fn the_main_page_lists_each_command_and_each_command_has_a_page() {
    let main = output_of(&["man"]);
    for command in COMMANDS {
        assert!(main.contains(&format!("helloop\\-{command}(1)")), "{main}");
        let page = output_of(&["man", command]);
        assert!(page.contains(&format!(".TH helloop-{command} 1 ")));
        // It has the flags of the help.
        let help = output_of(&[command, "--help"]);
        let flags = help.lines().filter_map(|line| {
            let flag = line.strip_prefix("      --")?;
            flag.split([' ', '.']).next()
        });
        for flag in flags {
            let flag = format!("\\fB\\-\\-{}\\fR", flag.replace('-', "\\-"));
            assert!(page.contains(&flag), "no {flag} in {page}");
        }
        // Each example has its own line.
        let examples = page
            .split_once("\n.SH EXAMPLES\n.nf\n")
            .expect("examples")
            .1;
        let examples = examples.split_once("\n.fi\n").expect("their end").0;
        let own = format!("helloop {command}");
        assert!(examples.lines().any(|line| line.starts_with(&own)));
        assert!(examples.lines().all(|line| line.starts_with("helloop ")));
        assert!(!page.contains(&HIDDEN_FLAG.replace('-', "\\-")));
    }
    // The main page has two names.
    for name in ["helloop", "help"] {
        assert_eq!(output_of(&["man", name]), main);
    }
}

/// The sections that a page must have, and what must be in them.
#[test]
fn each_page_has_values_exit_codes_and_variables() {
    let section = |page: &str, title: &str| {
        let page = page.replace("\n.SH \"EXIT STATUS\"\n", "\n.SH EXIT STATUS\n");
        let (_, rest) = page.split_once(&format!("\n.SH {title}\n"))?;
        let text = rest.split("\n.SH ").next()?;
        Some(
            text.replace("\\-", "-")
                .replace("\\fB", "")
                .replace("\\fI", "")
                .replace("\\fR", ""),
        )
    };
    for command in COMMANDS {
        let page = output_of(&["man", command]);
        let part = |title| section(&page, title).unwrap_or_else(|| panic!("no {title} in {page}"));
        // Each value of the help is in the synopsis.
        let help = output_of(&[command, "-h"]);
        let synopsis = part("SYNOPSIS");
        assert!(
            synopsis.starts_with(&format!("helloop {command} ")),
            "{synopsis}"
        );
        for line in help
            .lines()
            .filter(|line| line.trim_start().starts_with("--"))
        {
            let flag = line.trim_start().split("  ").next().unwrap();
            let flag = flag.replace(['<', '>'], "");
            assert!(
                synopsis.contains(&format!("[{flag}]")),
                "no {flag} in {synopsis}"
            );
        }
        let codes = part("EXIT STATUS");
        assert!(codes.contains("\n2\nwrong usage"), "{codes}");
        let variables = part("ENVIRONMENT");
        for variable in ["RUST_LOG", "NO_COLOR"] {
            assert!(variables.contains(variable), "{command}: {variables}");
        }
        assert_eq!(
            variables.contains("HELLOOP_DRAIN_TIMEOUT"),
            command == "serve"
        );
    }
    let serve = section(&output_of(&["man", "serve"]), "EXIT STATUS").unwrap();
    assert!(
        serve.contains("\n129, 130 or 143\nended by a second SIGHUP"),
        "{serve}"
    );
    let main = section(&output_of(&["man"]), "ENVIRONMENT").unwrap();
    assert!(main.contains("HELLOOP_*"), "{main}");
}

#[test]
fn an_unknown_page_is_an_error_that_lists_the_pages() {
    let ended = run_helloop(&["man", "no-such-command"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("serve, tcp, udp"), "{ended:?}");
}

/// As in `helloop man | head`: neither an error nor a panic.
#[test]
fn a_closed_output_is_no_error() {
    for arguments in [["man", "serve"], ["completions", "zsh"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let child = helloop(&arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""));
    }
}
