//! Runs every command of the README and compares its output with the one shown. Ports, times and
//! figures may differ; the words must match.
//!
//! Three things are changed before a command is run: addresses and files are replaced by the test's
//! own, loads are made smaller and shorter, and `cargo run --release` runs the program under test. A
//! command that [`check`] does not know fails the test.

// The commands of the README are for a Unix shell.
#![cfg(unix)]

mod util;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use tempfile::TempDir;
use util::readme::{self, Command};
use util::{Ended, Process, Server, helloop, run_helloop};

/// Commands that are not run here, and what checks them instead.
const CHECKED_ELSEWHERE: [(&str, &str); 4] = [
    (
        "helloop stress --spawn --find-rate --slo 'p99<5ms' --clients 100 --duration 2s",
        "tests/find_rate.rs, the_text_has_each_step_and_the_result_as_in_the_readme",
    ),
    ("cargo test", "runs this test"),
    (
        "cargo doc --no-deps --open",
        ".ci/run builds the documentation",
    ),
    (
        "nc 127.0.0.1 9999",
        "tests/tutorial.rs, nc_prints_what_the_readme_shows",
    ),
];

/// Limit on the clients of a load: enough to need a second source address.
const MAX_CLIENTS: u64 = 1_100;

/// What the commands are run against.
struct Fixture {
    server: Server,
    /// A stand-in for `python3 -m http.server`.
    http: SocketAddr,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            server: Server::start(&[]),
            http: http_server(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The path of a file of the README, moved to the test's folder.
    fn file(&self, name: &str) -> String {
        let name = Path::new(name).file_name().unwrap();
        self.folder.path().join(name).display().to_string()
    }
}

/// Serves a page of 187 bytes with the headers that Python's server sends.
fn http_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let head = "HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6\r\nContent-Length: 187\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&[b'x'; 187]).unwrap();
        }
    });
    address
}

/// The arguments of `helloop`, or `None` for another program.
fn arguments_of(typed: &str) -> Option<Vec<String>> {
    let words = readme::words(typed);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let arguments = match words.as_slice() {
        ["helloop", rest @ ..]
        | ["cargo", "run", "--release", "-q", "--", rest @ ..]
        | ["cargo", "run", "--release", "--", rest @ ..] => rest,
        ["cargo", "run", "--release"] => &[],
        _ => return None,
    };
    Some(arguments.iter().map(ToString::to_string).collect())
}

/// Replaces the value of `flag` and returns whether the flag was present.
fn change(arguments: &mut [String], flag: &str, value: impl FnOnce(&str) -> String) -> bool {
    let Some(index) = arguments.iter().position(|argument| argument == flag) else {
        return false;
    };
    arguments[index + 1] = value(&arguments[index + 1]);
    true
}

fn drop_flag(arguments: &mut Vec<String>, flag: &str) {
    if let Some(index) = arguments.iter().position(|argument| argument == flag) {
        arguments.drain(index..index + 2);
    }
}

fn run(arguments: &[String]) -> Ended {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_helloop(&arguments)
}

/// Runs a command and checks its output.
fn check(command: &Command, fixture: &Fixture) {
    let Some(arguments) = arguments_of(&command.typed) else {
        panic!(
            "README line {}: no test for {:?}",
            command.line, command.typed
        );
    };
    let first = arguments.first().map_or("serve", String::as_str);
    match first {
        "serve" => serve(command, arguments, fixture),
        "tcp" | "udp" => greet(command, arguments, fixture),
        "get" => get(command, arguments, fixture),
        "show" => assert_eq!(run(&arguments).stdout, command.output),
        "stress" if !arguments.contains(&"-h".to_owned()) => stress(command, arguments, fixture),
        "compare" => compare(command, arguments),
        "report" => report(arguments, fixture),
        "stress" | "man" | "completions" => {
            let ended = run(&arguments);
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
            assert!(ended.stdout.contains("helloop"), "{ended:?}");
            assert_eq!(command.output, "");
        }
        _ => panic!("README line {}: no test for {first:?}", command.line),
    }
}

/// The server prints the lines shown and stops cleanly on Ctrl-C.
fn serve(command: &Command, mut arguments: Vec<String>, fixture: &Fixture) {
    if arguments.is_empty() {
        arguments.push("serve".to_owned());
    }
    let any_port = |_: &str| "127.0.0.1:0".to_owned();
    if !change(&mut arguments, "--listen", any_port) {
        arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    change(&mut arguments, "--observe", any_port);
    let recorded = change(&mut arguments, "--record", |name| fixture.file(name));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let server = Process::start(helloop(&arguments));
    server.stdout.wait_for("listening on ");
    let wanted = command.output.lines().count();
    server.stdout.wait_for_count(wanted);
    let shown: String = server.stdout.all()[..wanted].join("\n");
    let without_port = |text: &str| {
        text.lines()
            .map(|line| shape(line).join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(without_port(&shown), without_port(&command.output));
    server.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(server.wait().code, Some(0), "{}", command.typed);
    if recorded {
        let ended = run_helloop(&["show", &fixture.file("loop.json")]);
        assert!(ended.stdout.contains("born    listener"), "{ended:?}");
    }
}

fn greet(command: &Command, mut arguments: Vec<String>, fixture: &Fixture) {
    arguments.extend(["--to".to_owned(), fixture.server.tcp_address().to_string()]);
    let ended = run(&arguments);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), command.output.as_str())
    );
}

fn get(command: &Command, mut arguments: Vec<String>, fixture: &Fixture) {
    let mut shown_as = String::new();
    change(&mut arguments, "-o", |name| {
        shown_as = name.to_owned();
        fixture.file(name)
    });
    for argument in &mut arguments {
        *argument = argument.replace("127.0.0.1:8080", &fixture.http.to_string());
    }
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let printed = ended.stdout.replace(&fixture.file(&shown_as), &shown_as);
    let printed = printed.replace('\r', "");
    // `...` stands for lines that vary between servers.
    let (start, end) = command.output.split_once("...\n").unwrap();
    assert!(
        printed.starts_with(start) && printed.ends_with(end),
        "{printed}"
    );
}

fn stress(command: &Command, mut arguments: Vec<String>, fixture: &Fixture) {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (spawned, checked, with_slo) = (has("--spawn"), has("--check"), has("--slo"));
    let (mut clients, mut pipeline) = (100, 1); // the defaults
    if !checked {
        change(&mut arguments, "--clients", |value| {
            clients = parse_size(value).min(MAX_CLIENTS);
            clients.to_string()
        });
    }
    change(&mut arguments, "--pipeline", |value| {
        pipeline = parse_size(value);
        value.to_owned()
    });
    change(&mut arguments, "--rate", |_| "5000".to_owned());
    for flag in ["--json", "--html"] {
        change(&mut arguments, flag, |name| fixture.file(name));
    }
    drop_flag(&mut arguments, "--duration");
    let mut length = if command.output.is_empty() {
        // Two messages for each one in flight, however long that takes.
        let messages = (2 * clients * pipeline).to_string();
        ["--messages", &messages, "--warmup", "0s"].map(str::to_owned)
    } else {
        // The report needs a row for a whole second.
        ["--duration", "1200ms", "--warmup", "100ms"].map(str::to_owned)
    }
    .to_vec();
    if !spawned {
        length.extend(["--to".to_owned(), fixture.server.tcp_address().to_string()]);
    }
    arguments.splice(1..1, length);
    let ended = run(&arguments);
    let code = ended.code.unwrap();
    // The machine may be too small for --check or too slow for the SLO.
    let is_expected = code == 0 || with_slo && code == 3 || checked && code == 1;
    assert!(is_expected, "{}: {ended:#?}", command.typed);
    if !command.output.is_empty() {
        assert_same_rows(&command.output, &ended.stdout);
    }
}

fn report(mut arguments: Vec<String>, fixture: &Fixture) {
    let to = fixture.server.tcp_address().to_string();
    for argument in arguments.iter_mut().filter(|name| name.contains('.')) {
        *argument = fixture.file(argument);
        if argument.ends_with(".json") {
            let load = [
                "stress",
                "--to",
                &to,
                "--messages",
                "500",
                "--json",
                argument,
            ];
            assert_eq!(run_helloop(&load).code, Some(0));
        }
    }
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

fn parse_size(text: &str) -> u64 {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().unwrap() * 1_000,
        None => text.parse().unwrap(),
    }
}

fn compare(command: &Command, mut arguments: Vec<String>) {
    assert!(change(&mut arguments, "--duration", |_| "500ms".to_owned()));
    let brief = ["--clients", "200", "--rounds", "2", "--delay", "100ms"];
    arguments.extend(brief.map(str::to_owned));
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Remarks about a round differ between runs.
    let is_remark = |line: &&str| line.starts_with("reactor ") || line.starts_with("threads ");
    let rows: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| !is_remark(line))
        .collect();
    assert_same_rows(&command.output, &rows.join("\n"));
}

/// The words of a line, without what differs between runs: figures become 0, units and bars are
/// dropped.
fn shape(line: &str) -> Vec<String> {
    let is_figure = |word: &str| word.contains(|character: char| character.is_ascii_digit());
    let labels = ["p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99"];
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_end_matches([',', ';', ':']);
        match bare {
            _ if bare.chars().all(|character| character == '#') => {}
            // A spread, and the mark of ranges that overlap: rounds may agree.
            "~" => {}
            _ if bare.starts_with('±') && is_figure(bare) => {}
            "B" | "KiB" | "MiB" | "GiB" => {}
            "n/a" => words.push("0".to_owned()),
            _ if is_figure(bare) && !labels.contains(&bare) => words.push("0".to_owned()),
            _ => words.push(bare.to_owned()),
        }
        // The verdict differs between runs.
        if words == ["verdict"] {
            break;
        }
    }
    words
}

/// Asserts that both texts have the same rows, apart from figures.
#[track_caller]
fn assert_same_rows(shown: &str, printed: &str) {
    let rows = |text: &str| {
        let mut rows: Vec<_> = text.lines().map(shape).collect();
        // The number of seconds and of bars differs between runs.
        rows.dedup();
        rows
    };
    assert_eq!(
        rows(shown),
        rows(printed),
        "shown:\n{shown}\nprinted:\n{printed}"
    );
}

/// Checks all commands that `is_wanted` selects, in order.
fn check_all(is_wanted: impl Fn(&str) -> bool) {
    let fixture = Fixture::new();
    let mut ran = 0;
    for command in readme::commands() {
        let elsewhere = CHECKED_ELSEWHERE
            .iter()
            .any(|(typed, _)| *typed == command.typed);
        let first = arguments_of(&command.typed).and_then(|words| words.first().cloned());
        if !elsewhere && is_wanted(first.as_deref().unwrap_or("serve")) {
            println!("README line {}: {}", command.line, command.typed);
            check(&command, &fixture);
            ran += 1;
        }
    }
    assert!(ran > 0);
}

#[test]
fn every_command_prints_what_the_readme_shows() {
    check_all(|command| !["stress", "compare"].contains(&command));
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures are Linux-only"
)]
fn every_load_reports_the_rows_that_the_readme_shows() {
    check_all(|command| command == "stress");
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "process figures are Linux-only"
)]
fn the_comparison_has_the_rows_that_the_readme_shows() {
    check_all(|command| command == "compare");
}

#[test]
fn commands_checked_elsewhere_are_in_the_readme() {
    let typed: Vec<_> = readme::commands()
        .into_iter()
        .map(|command| command.typed)
        .collect();
    for (command, _) in CHECKED_ELSEWHERE {
        assert!(typed.iter().any(|typed| typed == command), "{command}");
    }
    // Each of these languages has a test.
    let languages: BTreeSet<_> = readme::blocks()
        .into_iter()
        .map(|block| block.language)
        .collect();
    let known = ["console", "haproxy", "python", "text"];
    assert_eq!(languages, known.map(str::to_owned).into());
}
