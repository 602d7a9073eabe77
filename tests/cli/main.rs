//! The command line of `serve`: its errors, flags and environment variables. The log and the ports
//! have their own modules.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(unused_imports))]

#[macro_use]
#[path = "../util/mod.rs"]
mod util;

mod log;
mod names;
mod ports;
mod streams;
mod usage;

use std::time::{Duration, Instant};
use util::{
    Ended, Model, Process, Setup, ask, ask_udp, connect, expect, helloop, run, run_helloop,
};

/// Checks for one `error: ...` line on standard error, empty standard output, and exit code 1.
#[track_caller]
fn assert_failed(ended: &Ended, parts: &[&str]) {
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(1), ""),
        "{ended:?}"
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in {ended:?}");
    }
}

/// Checks for exit code 2 and a message on standard error only.
#[track_caller]
fn assert_wrong_usage(ended: &Ended, parts: &[&str]) {
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{ended:?}"
    );
    for part in parts {
        assert!(ended.stderr.contains(part), "no {part:?} in {ended:?}");
    }
}

fn serve_at(address: &str, flags: &[&str]) -> Ended {
    run(Setup::new(flags).listen(&[address]).command())
}

const FLAGS_OF_THE_REACTOR: [(&str, &str); 6] = [
    ("--reuse-port", ""),
    ("--max-clients", "5"),
    ("--max-buffered", "1MiB"),
    ("--idle-timeout", "1s"),
    ("--write-timeout", "1s"),
    ("--line-timeout", "1s"),
];

/// A limit that is requested and ignored would be worse than none.
#[test]
fn the_thread_model_rejects_flags_that_it_does_not_support() {
    for (flag, value) in FLAGS_OF_THE_REACTOR {
        let mut flags = vec!["--model", "threads", flag];
        if !value.is_empty() {
            flags.push(value);
        }
        assert_wrong_usage(
            &serve_at("127.0.0.1:0", &flags),
            &[
                "--model threads does not support",
                flag,
                "Usage: helloop serve ",
            ],
        );
        // The same without the name of the command.
        flags.extend(["--listen", "127.0.0.1:0"]);
        assert_wrong_usage(&run_helloop(&flags), &[flag]);
        // The same with environment variables.
        let value = if value.is_empty() { "1" } else { value };
        let variable = variable_of(flag);
        let by_variable = Setup::new(&[])
            .environment("HELLOOP_MODEL", "threads")
            .environment(&variable, value);
        let unsupported = format!("does not support {variable}");
        assert_wrong_usage(&run(by_variable.command()), &[&unsupported]);
    }
}

#[test]
fn the_thread_model_supports_the_other_flags() {
    let flags = [
        ["--framing", "line"],
        ["--delay", "1ms"],
        ["--max-datagram", "100"],
        ["--backlog", "100"],
        ["--drain-timeout", "1s"],
    ];
    let server = Model::Threads.start(&[&flags.concat(), ["-v", "--no-udp"].as_slice()].concat());
    server.assert_serves();
    server.stderr().wait_for("accepted ");
    assert_eq!(server.stop().code, Some(0));
}

fn variable_of(flag: &str) -> String {
    let name = flag.trim_start_matches('-').replace('-', "_");
    format!("HELLOOP_{}", name.to_uppercase())
}

#[test]
fn each_flag_has_an_environment_variable() {
    let help = run_helloop(&["serve", "--help"]);
    assert_eq!(help.code, Some(0));
    let names = help.stdout.split_whitespace().filter_map(|word| {
        let name = word.strip_prefix("--")?;
        let end =
            name.find(|character: char| !character.is_ascii_alphanumeric() && character != '-');
        Some(&name[..end.unwrap_or(name.len())])
    });
    let mut flags: Vec<_> = names.collect();
    flags.sort_unstable();
    flags.dedup();
    flags.retain(|flag| !["verbose", "quiet", "help", "version"].contains(flag));
    assert!(flags.len() >= 14, "{flags:?}");
    for flag in flags {
        let variable = format!("[env: {}]", variable_of(flag));
        assert!(
            help.stdout.contains(&variable),
            "no {variable} for --{flag}"
        );
    }
}

#[test]
fn environment_variables_set_the_defaults() {
    let server = Setup::new(&[])
        .listen(&[])
        .environment("HELLOOP_LISTEN", "127.0.0.1:0,127.0.0.1:0")
        .environment("HELLOOP_FRAMING", "line")
        .environment("HELLOOP_NO_UDP", "1")
        .environment("HELLOOP_DELAY", "300ms")
        .start();
    assert_eq!(server.addresses(2).len(), 2);
    assert!(server.addresses(2).iter().all(|(_, has_udp)| !has_udp));
    let begun = Instant::now();
    server.assert_serves();
    assert!(begun.elapsed() > Duration::from_millis(150));
    #[cfg(target_os = "linux")]
    assert_eq!(server.threads(), 1);

    let server = Setup::new(&[])
        .environment("HELLOOP_MODEL", "threads")
        .start();
    server.assert_serves();
    #[cfg(target_os = "linux")]
    assert!(server.threads() > 1);

    let server = Setup::new(&[])
        .environment("HELLOOP_MAX_DATAGRAM", "3")
        .environment("HELLOOP_NO_UDP", "0")
        .start();
    let socket = server.udp();
    socket.send(b"Sarah").unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

#[test]
fn a_flag_takes_precedence_over_its_environment_variable() {
    // No machine has this address, so the server would fail if the variable took precedence.
    let server = Setup::new(&["--framing", "chunk", "--delay", "0s", "--model", "reactor"])
        .environment("HELLOOP_LISTEN", "192.0.2.1:0")
        .environment("HELLOOP_FRAMING", "line")
        .environment("HELLOOP_DELAY", "1h")
        .environment("HELLOOP_MODEL", "threads")
        .start();
    server.assert_serves();
    #[cfg(target_os = "linux")]
    assert_eq!(server.threads(), 1);
}

#[cfg(unix)] // a signal ends the server
#[test]
fn serve_is_the_default_command() {
    let help = run_helloop(&["-h"]).stdout;
    let serve = help.lines().find(|line| line.starts_with("  serve "));
    assert!(serve.unwrap().ends_with("(the default)"), "{help}");
    let mut process = Process::start(helloop(&["--listen", "127.0.0.1:0", "--framing", "line"]));
    let line = process.stdout.wait_for("listening on ");
    let address = line.split(' ').nth(2).unwrap().parse().unwrap();
    let mut stream = connect(address);
    expect(&mut stream, b"Welcome!\n");
    ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
    process.signal(nix::sys::signal::Signal::SIGINT);
    process.stdin = None;
    assert_eq!(process.wait().code, Some(0));
}
