//! Where the clients take names from.

use crate::util::{Ended, Process, Server, helloop};
use crate::{assert_failed, assert_wrong_usage};
use std::io::Write;

/// Runs `helloop ARGUMENTS` with this standard input.
fn run_with_input(arguments: &[&str], input: &[u8]) -> Ended {
    let mut process = Process::start(helloop(arguments));
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    process.wait()
}

#[test]
fn names_come_from_standard_input_when_it_is_not_a_terminal() {
    let server = Server::start(&[]);
    let to = server.tcp_address().to_string();
    for (client, welcome) in [("tcp", "Welcome!\n"), ("udp", "")] {
        for (input, replies) in [
            ("Ada\nGrace Hopper\n", "Hello, Ada!\nHello, Grace Hopper!\n"),
            ("Ada\r\nGrace", "Hello, Ada!\nHello, Grace!\n"),
            ("", ""),
        ] {
            let ended = run_with_input(&[client, "--to", &to], input.as_bytes());
            assert_eq!(ended.code, Some(0), "{ended:?}");
            assert_eq!(ended.stdout, format!("{welcome}{replies}"));
        }
        // Names on the command line take its place.
        let ended = run_with_input(&[client, "--to", &to, "Ada"], b"Tracy\n");
        assert_eq!(ended.stdout, format!("{welcome}Hello, Ada!\n"));
        let ended = run_with_input(&[client, "--to", &to], b"Ada\n\nTracy\n");
        assert_eq!(ended.stdout, format!("{welcome}Hello, Ada!\n"));
        assert_failed(
            &Ended {
                stdout: String::new(),
                ..ended
            },
            &["line 2 of the input", "empty"],
        );
    }
}

#[test]
fn a_line_may_be_as_long_as_the_protocol_allows() {
    let server = Server::start(&["--framing", "line", "--max-datagram", "65499"]);
    let to = server.tcp_address().to_string();
    for (arguments, bytes) in [
        (["tcp", "--to", &to, "--framing", "line"].as_slice(), 65_536),
        (&["udp", "--to", &to], 65_499),
    ] {
        let name = "x".repeat(bytes);
        let ended = run_with_input(arguments, name.as_bytes());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.ends_with(&format!("Hello, {name}!\n")));
        let ended = run_with_input(arguments, format!("{name}x\nAda\n").as_bytes());
        let limit = format!("line 1 of the input cannot be sent: it is longer than {bytes} bytes");
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains(&limit), "{}", ended.stderr);
    }
}

/// No server is needed to reject them.
#[test]
fn a_name_that_cannot_be_sent_is_wrong_usage() {
    let long = "x".repeat(1_025);
    for (arguments, words) in [
        (["tcp", ""].as_slice(), "it is empty"),
        (&["tcp", "Ada", "a\nb"], "contains a line ending"),
        (&["tcp", &long], "longer than 1024 bytes"),
        (&["tcp", "Ada", "exit", "Tracy"], "cannot greet Tracy"),
        (&["udp", "Ada", ""], "it is empty"),
        (&["stress", "--name", ""], "name"),
        (&["stress", "--name", "exit"], "name"),
        (&["stress", "--name", "a\nb"], "line ending"),
    ] {
        let ended = crate::run(helloop(arguments));
        let usage = format!("Usage: helloop {} ", arguments[0]);
        assert_wrong_usage(&ended, &[words, &usage]);
    }
}
