//! Wrong usage: exit code 2 and an error before anything is opened or run.

use crate::util::{Server, Setup, ask, connect, helloop, run, run_helloop};
use crate::{assert_wrong_usage, serve_at};

#[test]
fn wrong_usage_of_serve_is_explained() {
    for (flags, parts) in [
        (["--framing", "words"], ["--framing", "chunk"]),
        (["--delay", "1"], ["--delay", "250ms"]),
        (["--delay=-1s", "-v"], ["--delay", "250ms"]),
        (["--delay", "-1s"], ["--delay", "250ms"]),
        (["--backlog", "-1"], ["--backlog", "64KiB"]),
        (
            ["--record-turns", "5"],
            ["--record FILE", "Usage: helloop serve "],
        ),
        (
            ["--line-timeout", "5s"],
            ["--framing line", "Usage: helloop serve "],
        ),
        (
            ["--max-datagram", "0"],
            ["--max-datagram", "at least 1 byte"],
        ),
        (
            ["--max-datagram", "65500"],
            ["--max-datagram", "at most 65499 bytes"],
        ),
        (["--max-datagram", "1kilo"], ["--max-datagram", "64KiB"]),
        (["--backlog", "0"], ["--backlog", "at least 1"]),
        (["--max-clients", "0"], ["--max-clients", "at least 1"]),
        (
            ["--write-timeout", "0s"],
            ["--write-timeout", "more than 0s"],
        ),
        (
            ["--max-buffered", "0"],
            ["--max-buffered", "at least 256KiB"],
        ),
        (["--model", "fibers"], ["--model", "reactor"]),
        (["--no-such", "flag"], ["--no-such", "Usage"]),
        (["-v", "-q"], ["--verbose", "--quiet"]),
    ] {
        assert_wrong_usage(&serve_at("127.0.0.1:0", &flags), &parts);
    }
}

#[test]
fn wrong_usage_of_a_command_is_explained() {
    let page = ["--listen", "127.0.0.1:9", "--observe", "127.0.0.1:9"];
    let listen = "stress --check --spawn -- --listen 127.0.0.1:3";
    let threads = "stress --spawn -- --model threads --max-clients 5";
    for (line, words) in [
        ("no-such-command", "no-such-command"),
        ("--delay 1s tcp", "--delay must follow the command"),
        ("man no-such-command", "serve, tcp, udp"),
        ("completions csh", "bash, "),
        ("tcp --to 127.0.0.1", "it has no port"),
        ("udp --to 127.0.0.1:99999", "from 0 to 65535"),
        ("stress --to :9", "no valid host"),
        ("stress --spawn --to 127.0.0.1:9", "cannot be used with"),
        ("stress --spawn -- --bogus", "Usage: helloop serve "),
        ("stress --spawn -- --delay 1", "250ms"),
        ("stress --spawn -- Michael", "unexpected argument"),
        (listen, "after -- cannot be used with --spawn"),
        (&listen.replace("n 1", "n=1"), "a free port"),
        (
            "stress --find-rate --slo p99<1s --html a",
            "cannot be used with",
        ),
        ("report - -", "standard input once"),
        (threads, "does not support --max-clients"),
        ("stress --json - --html -", "standard output"),
        ("stress --json - --html /dev/stdout", "standard output"),
        ("stress --json a --html ./a", "a file of its own"),
        ("stress --json src", "src is a directory"),
        (&page.join(" "), "--observe 127.0.0.1:9 is where --listen"),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        assert_wrong_usage(&run_helloop(&arguments), &[words]);
    }
}

/// The same addresses as for the other commands; the table is in src/cli/values.rs.
#[test]
fn an_address_that_cannot_be_one_is_wrong_usage() {
    for name in [
        "localhost",
        "127.0.0.1:65536",
        "no..such..host:9999",
        ":1:2",
    ] {
        assert_wrong_usage(&serve_at(name, &[]), &["--listen", name, "127.0.0.1:9999"]);
        assert_wrong_usage(
            &serve_at("127.0.0.1:0", &["--observe", name]),
            &["--observe"],
        );
    }
}

#[test]
fn a_bad_variable_names_itself_and_stops_serve_alone() {
    let server = Server::start(&[]);
    let to = server.tcp_address().to_string();
    for (variable, value) in [
        ("HELLOOP_DELAY", "soon"),
        ("HELLOOP_FRAMING", "words"),
        ("HELLOOP_LISTEN", "127.0.0.1"),
        ("HELLOOP_MAX_BUFFERED", "1"),
        ("HELLOOP_DELAY", ""),
        ("HELLOOP_NO_UDP", "maybe"),
        ("HELLOOP_REUSE_PORT", ""),
    ] {
        let error = format!("invalid value '{value}' for '{variable}'");
        let error = error.as_str();
        for arguments in [
            ["serve"].as_slice(),
            &["-v", "serve"],
            &[],
            &["--backlog", "9"],
        ] {
            let mut command = helloop(arguments);
            command.env(variable, value);
            assert_wrong_usage(&run(command), &[error]);
        }
        for arguments in [
            ["tcp", "--to", &to, "Ada"].as_slice(),
            &["udp", "--to", &to, "Ada"],
            &["man"],
            &["completions", "bash"],
            &["show", "tests/three-clients.json"],
            &["stress", "--check", "--spawn"],
            &["--help"],
            &["--version"],
        ] {
            let mut command = helloop(arguments);
            command.env(variable, value);
            let ended = run(command);
            assert_eq!(
                (ended.code, ended.stderr.as_str()),
                (Some(0), ""),
                "{variable} {arguments:?}"
            );
        }
    }
    // Each switch says what it takes.
    for variable in ["HELLOOP_NO_UDP", "HELLOOP_REUSE_PORT"] {
        let setup = Setup::new(&[]).environment(variable, "maybe");
        let error = format!(
            "invalid value 'maybe' for '{variable}': must be true or false, 1 or 0, yes or no"
        );
        assert_wrong_usage(&run(setup.command()), &[&error]);
    }
    // The flag is wrong, and not the variable.
    let setup = Setup::new(&["--delay", "now"]).environment("HELLOOP_DELAY", "1s");
    assert_wrong_usage(&run(setup.command()), &["'now' for '--delay <TIME>'"]);
}

/// `-v` and `-q` before or after the command, and after `--spawn --`.
#[test]
fn the_level_of_the_log_may_be_set_on_either_side_of_the_command() {
    for arguments in [
        ["-v", "serve", "--listen", "127.0.0.1:0"].as_slice(),
        &["serve", "-v", "--listen", "127.0.0.1:0"],
        &["-v", "--listen", "127.0.0.1:0"],
    ] {
        let process = crate::Process::start(helloop(arguments));
        let line = process.stdout.wait_for("listening on ");
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
        process.stderr.wait_for("accepted 127.0.0.1:");
    }
    let run = |before: &[&str], after: &[&str]| {
        let short = "stress --spawn --clients 1 --messages 1 --warmup 0s";
        let short: Vec<&str> = short.split(' ').collect();
        let ended = run_helloop(&[before, &short, after].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stderr
    };
    assert_eq!(run(&["-q"], &[]), "");
    assert!(run(&[], &["--", "-v"]).contains("accepted 127."));
    assert!(!run(&[], &[]).contains("accepted 127."));
}
