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

#[test]
fn bash_loads_its_completions_and_completes() {
    let script = output_of(&["completions", "bash"]);
    let probe = "\nCOMP_WORDS=(helloop stress --sp); COMP_CWORD=2\n\
                 _helloop helloop --sp stress; echo \"${COMPREPLY[@]}\"\n";
    let Ok(mut bash) = Command::new("bash")
        .args(["--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: bash is not installed");
        return;
    };
    let input = script + probe;
    let writer = bash.stdin.take();
    writer.unwrap().write_all(input.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    let streams = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(streams, ["--spawn\n", ""]);
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
    let serve = output_of(&["man", "serve"]);
    assert!(serve.contains("HELLOOP_DRAIN_TIMEOUT"), "{serve}");
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
