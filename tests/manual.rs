//! What helloop tells of itself: completions for shells, and man pages.

mod util;

use std::io::{self, Write};
use std::process::{Command, Stdio};
use util::{helloop, run_helloop};

/// What a person can type, and find described.
const COMMANDS: [&str; 9] = [
    "serve",
    "tcp",
    "udp",
    "get",
    "show",
    "stress",
    "compare",
    "completions",
    "man",
];

/// For processes alone, and in no help.
const HIDDEN: &str = "exit-with-stdin";

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let ended = run_helloop(arguments);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout
}

#[test]
fn each_shell_completes_each_command_and_no_hidden_flag() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        for word in COMMANDS.into_iter().chain(["drain-timeout", "slo"]) {
            assert!(script.contains(word), "no {word} for {shell}");
        }
        assert!(!script.contains(HIDDEN), "{shell} completes --{HIDDEN}");
    }
}

#[test]
fn bash_reads_its_completions_and_completes() {
    let script = printed(&["completions", "bash"]);
    let probe = "\nCOMP_WORDS=(helloop stress --sp); COMP_CWORD=2\n\
                 _helloop helloop --sp stress; echo \"${COMPREPLY[@]}\"\n";
    let Ok(mut bash) = Command::new("bash")
        .args(["--norc", "-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: there is no bash here");
        return;
    };
    let input = script + probe;
    let writer = bash.stdin.take();
    writer.unwrap().write_all(input.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    let words = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(words, ["--spawn\n", ""]);
}

#[test]
fn the_main_page_has_each_command_and_each_command_has_its_page() {
    let main = printed(&["man"]);
    for command in COMMANDS {
        assert!(main.contains(&format!("helloop\\-{command}(1)")), "{main}");
        let page = printed(&["man", command]);
        assert!(page.contains(&format!(".TH helloop-{command} 1 ")));
        // Its flags are those of its help.
        let help = printed(&[command, "--help"]);
        let flags = help.lines().filter_map(|line| {
            let flag = line.strip_prefix("      --")?;
            flag.split([' ', '.']).next()
        });
        for flag in flags {
            let flag = format!("\\fB\\-\\-{}\\fR", flag.replace('-', "\\-"));
            assert!(page.contains(&flag), "no {flag} in {page}");
        }
        // Each example keeps its line.
        let examples = page
            .split_once("\n.SH EXAMPLES\n.nf\n")
            .expect("examples")
            .1;
        let examples = examples.split_once("\n.fi\n").expect("their end").0;
        let own = format!("helloop {command}");
        assert!(examples.lines().any(|line| line.starts_with(&own)));
        assert!(examples.lines().all(|line| line.starts_with("helloop ")));
        assert!(!page.contains(&HIDDEN.replace('-', "\\-")));
    }
    let serve = printed(&["man", "serve"]);
    assert!(serve.contains("HELLOOP_DRAIN_TIMEOUT"), "{serve}");
}

#[test]
fn a_page_that_is_not_there_is_told() {
    let ended = run_helloop(&["man", "no-such-command"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("serve, tcp, udp"), "{ended:?}");
}

/// `helloop man | head`: a reader that has left is not an error, and not a panic.
#[test]
fn a_reader_that_has_left_ends_it_quietly() {
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
