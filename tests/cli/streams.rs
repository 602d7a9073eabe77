//! Standard output that is closed or full.

use crate::util::{Ended, Model, Process, Server, ask, connect, helloop};
use std::fs::File;
use std::io;
use std::process::{Command, Stdio};

/// As in `helloop ... | head`: neither an error nor a panic.
#[test]
fn a_closed_standard_output_is_not_an_error() {
    let server = Server::start(&["--framing", "line"]);
    let to = server.tcp_address().to_string();
    for arguments in [
        ["tcp", "--framing", "line", "--to", &to, "Michael"].as_slice(),
        &["udp", "--to", &to, "Michael"],
        &["serve", "--help"],
        &["--version"],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ended = with_output(helloop(arguments), writer.into());
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    server.assert_serves();
}

/// As in `helloop serve | true`: the log says where it listens, and the server serves.
#[cfg(unix)] // a signal ends the server
#[test]
fn a_server_whose_standard_output_is_closed_serves() {
    for model in [Model::Reactor, Model::Threads] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--model", model.name()];
        let mut process = Process::start_into(helloop(&arguments), writer.into());
        let line = process
            .stderr
            .wait_for("standard output is closed; listening on ");
        let address = line.split("listening on ").nth(1).unwrap();
        let address = address.split(' ').next().unwrap().parse().unwrap();
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
        process.signal(nix::sys::signal::Signal::SIGTERM);
        process.stdin = None;
        assert_eq!(process.wait().code, Some(0));
    }
}

#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs Linux")]
fn a_full_standard_output_is_one_error_line() {
    for arguments in [
        ["--version"].as_slice(),
        &["--help"],
        &["serve", "--help"],
        &["help", "stress"],
        &["man", "serve"],
        &["completions", "bash"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["show", "tests/three-clients.json"],
        &["show", "tests/three-clients.json", "--turn", "0"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = with_output(helloop(arguments), full.into());
        assert_eq!(ended.code, Some(1), "{arguments:?}: {ended:?}");
        let lines: Vec<&str> = ended.stderr.lines().collect();
        assert!(
            matches!(*lines, [line] if line.starts_with("error: cannot write to standard output: No space left")),
            "{arguments:?}: {ended:?}"
        );
    }
}

/// Runs a command with this standard output.
fn with_output(mut command: Command, stdout: Stdio) -> Ended {
    let child = command.stdin(Stdio::null()).stdout(stdout);
    let child = child.stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
