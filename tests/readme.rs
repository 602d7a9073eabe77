//! The README says what is so: each of its commands is run, and what it shows is compared with
//! what is printed. Ports, times and figures may differ, words may not.
//!
//! A command is typed as it stands there, with three changes: addresses and files are the
//! test's own, a load is smaller and shorter, and `cargo run --release` is the program that was
//! just built. One that fits none of [`treat`]'s cases fails the test.

mod util;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;
use tempfile::TempDir;
use util::readme::{self, Command};
use util::{Ended, Process, Server, helloop, run_helloop};

/// What is run elsewhere, and where.
const ELSEWHERE: [(&str, &str); 3] = [
    ("cargo test", "runs this"),
    (
        "cargo doc --no-deps --open",
        "built by .ci/run, warnings are errors",
    ),
    (
        "nc 127.0.0.1 9999",
        "tests/tutorial.rs, nc_says_what_the_readme_shows",
    ),
];

/// Clients where the README has more: enough for a second source address.
const CLIENTS: u64 = 1_100;

/// What the README's commands are run with.
struct Scene {
    server: Server,
    /// Answers like `python3 -m http.server`.
    http: SocketAddr,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Self {
            server: Server::start(&[]),
            http: http_server(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A file of the README's, in a folder of the test's.
    fn file(&self, name: &str) -> String {
        let name = Path::new(name).file_name().unwrap();
        self.folder.path().join(name).display().to_string()
    }
}

/// A page of 187 bytes, as Python's own server answers it.
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

/// The arguments of `helloop`, if that is what is typed.
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

/// Gives the flag another value, where it is there.
fn change(arguments: &mut [String], flag: &str, value: impl FnOnce(&str) -> String) -> bool {
    let Some(place) = arguments.iter().position(|argument| argument == flag) else {
        return false;
    };
    arguments[place + 1] = value(&arguments[place + 1]);
    true
}

fn drop_flag(arguments: &mut Vec<String>, flag: &str) {
    if let Some(place) = arguments.iter().position(|argument| argument == flag) {
        arguments.drain(place..place + 2);
    }
}

fn run(arguments: &[String]) -> Ended {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run_helloop(&arguments)
}

/// Runs one command, and compares.
fn treat(command: &Command, scene: &Scene) {
    let Some(arguments) = arguments_of(&command.typed) else {
        panic!(
            "README line {}: who runs {:?}?",
            command.line, command.typed
        );
    };
    let first = arguments.first().map_or("serve", String::as_str);
    match first {
        "serve" => serve(command, arguments, scene),
        "tcp" | "udp" => greet(command, arguments, scene),
        "get" => get(command, arguments, scene),
        "show" => assert_eq!(run(&arguments).stdout, command.output),
        "stress" if !arguments.contains(&"-h".to_owned()) => stress(command, arguments, scene),
        "compare" => compare(command, arguments),
        "stress" | "man" | "completions" => {
            let ended = run(&arguments);
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
            assert!(ended.stdout.contains("helloop"), "{ended:?}");
            assert_eq!(command.output, "");
        }
        _ => panic!("README line {}: who runs {first:?}?", command.line),
    }
}

/// It listens, says so in the README's words, and stops well.
fn serve(command: &Command, mut arguments: Vec<String>, scene: &Scene) {
    if arguments.is_empty() {
        arguments.push("serve".to_owned());
    }
    let anywhere = |_: &str| "127.0.0.1:0".to_owned();
    if !change(&mut arguments, "--listen", anywhere) {
        arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    change(&mut arguments, "--observe", anywhere);
    let recorded = change(&mut arguments, "--record", |name| scene.file(name));
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
        let ended = run_helloop(&["show", &scene.file("loop.json")]);
        assert!(ended.stdout.contains("born    listener"), "{ended:?}");
    }
}

fn greet(command: &Command, mut arguments: Vec<String>, scene: &Scene) {
    arguments.extend(["--to".to_owned(), scene.server.tcp_address().to_string()]);
    let ended = run(&arguments);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), command.output.as_str())
    );
}

fn get(command: &Command, mut arguments: Vec<String>, scene: &Scene) {
    let mut shown_as = String::new();
    change(&mut arguments, "-o", |name| {
        shown_as = name.to_owned();
        scene.file(name)
    });
    for argument in &mut arguments {
        *argument = argument.replace("127.0.0.1:8080", &scene.http.to_string());
    }
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let printed = ended.stdout.replace(&scene.file(&shown_as), &shown_as);
    let printed = printed.replace('\r', "");
    // `...` stands for lines that another server may have otherwise.
    let (start, end) = command.output.split_once("...\n").unwrap();
    assert!(
        printed.starts_with(start) && printed.ends_with(end),
        "{printed}"
    );
}

fn stress(command: &Command, mut arguments: Vec<String>, scene: &Scene) {
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (spawned, checked, with_slo) = (has("--spawn"), has("--check"), has("--slo"));
    let (mut clients, mut pipeline) = (100, 1); // the defaults
    if !checked {
        change(&mut arguments, "--clients", |value| {
            clients = parse_size(value).min(CLIENTS);
            clients.to_string()
        });
    }
    change(&mut arguments, "--pipeline", |value| {
        pipeline = parse_size(value);
        value.to_owned()
    });
    change(&mut arguments, "--rate", |_| "5000".to_owned());
    for flag in ["--json", "--html"] {
        change(&mut arguments, flag, |name| scene.file(name));
    }
    drop_flag(&mut arguments, "--duration");
    let mut extent = if command.output.is_empty() {
        // Two for each client, however long that takes here.
        let messages = (2 * clients * pipeline).to_string();
        ["--messages", &messages, "--warmup", "0s"].map(str::to_owned)
    } else {
        // The report to compare has a row for each whole second.
        ["--duration", "1200ms", "--warmup", "100ms"].map(str::to_owned)
    }
    .to_vec();
    if !spawned {
        extent.extend(["--to".to_owned(), scene.server.tcp_address().to_string()]);
    }
    arguments.splice(1..1, extent);
    let ended = run(&arguments);
    let code = ended.code.unwrap();
    // This machine may not hold so many, nor be so fast.
    let fine = code == 0 || with_slo && code == 3 || checked && code == 1;
    assert!(fine, "{}: {ended:#?}", command.typed);
    if !command.output.is_empty() {
        assert_same_rows(&command.output, &ended.stdout);
    }
}

fn parse_size(text: &str) -> u64 {
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<u64>().unwrap() * 1_000,
        None => text.parse().unwrap(),
    }
}

fn compare(command: &Command, mut arguments: Vec<String>) {
    assert!(change(&mut arguments, "--duration", |_| "500ms".to_owned()));
    let brief = ["--clients", "200", "--rounds", "1", "--delay", "100ms"];
    arguments.extend(brief.map(str::to_owned));
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // What is remarked of a round is the run's.
    let remark = |line: &&str| {
        line.trim_start().starts_with("reactor: ") || line.trim_start().starts_with("threads: ")
    };
    let rows: Vec<&str> = ended.stdout.lines().filter(|line| !remark(line)).collect();
    assert_same_rows(&command.output, &rows.join("\n"));
}

/// A line without what differs from run to run: figures, their units, and bars.
fn shape(line: &str) -> Vec<String> {
    let figure = |word: &str| word.contains(|letter: char| letter.is_ascii_digit());
    let own = ["p50", "p90", "p99", "p99.9"]; // labels, though they have digits
    let mut words = Vec::new();
    for word in line.split_whitespace() {
        let bare = word.trim_end_matches([',', ';', ':']);
        match bare {
            _ if bare.chars().all(|letter| letter == '#') => {}
            "B" | "KiB" | "MiB" | "GiB" => {}
            "n/a" => words.push("0".to_owned()),
            _ if figure(bare) && !own.contains(&bare) => words.push("0".to_owned()),
            _ => words.push(bare.to_owned()),
        }
        // What the verdict says is the run's.
        if words == ["verdict"] {
            break;
        }
    }
    words
}

/// Both have the same rows, in the same words, whatever their figures.
#[track_caller]
fn assert_same_rows(shown: &str, printed: &str) {
    let rows = |text: &str| {
        let mut rows: Vec<_> = text.lines().map(shape).collect();
        // So many seconds, and so many bars, as the run has.
        rows.dedup();
        rows
    };
    assert_eq!(
        rows(shown),
        rows(printed),
        "shown:\n{shown}\nprinted:\n{printed}"
    );
}

/// The commands for which `wanted` holds, one after the other.
fn run_all(wanted: impl Fn(&str) -> bool) {
    let scene = Scene::new();
    let mut ran = 0;
    for command in readme::commands() {
        let elsewhere = ELSEWHERE.iter().any(|(typed, _)| *typed == command.typed);
        let first = arguments_of(&command.typed).and_then(|words| words.first().cloned());
        if !elsewhere && wanted(first.as_deref().unwrap_or("serve")) {
            println!("README line {}: {}", command.line, command.typed);
            treat(&command, &scene);
            ran += 1;
        }
    }
    assert!(ran > 0);
}

#[test]
fn each_command_does_and_prints_what_the_readme_shows() {
    run_all(|command| !["stress", "compare"].contains(&command));
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "Linux alone knows a process's figures"
)]
fn each_load_of_the_readme_runs_and_reports_in_its_rows() {
    run_all(|command| command == "stress");
}

#[test]
#[cfg_attr(
    any(not(target_os = "linux"), feature = "portable"),
    ignore = "Linux alone knows a process's figures"
)]
fn the_comparison_of_the_readme_has_its_rows() {
    run_all(|command| command == "compare");
}

#[test]
fn what_is_run_elsewhere_is_still_there() {
    let typed: Vec<_> = readme::commands()
        .into_iter()
        .map(|command| command.typed)
        .collect();
    for (command, _) in ELSEWHERE {
        assert!(typed.iter().any(|typed| typed == command), "{command}");
    }
    // Blocks in other languages have tests of their own.
    let languages: BTreeSet<_> = readme::blocks()
        .into_iter()
        .map(|block| block.language)
        .collect();
    let known = ["console", "haproxy", "python", "text"];
    assert_eq!(languages, known.map(str::to_owned).into());
}
