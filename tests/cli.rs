//! What a person meets at the command line of `serve`: its words when it cannot do as asked,
//! its environment variables, its log, and what happens to ports.

#[macro_use]
mod util;

use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use util::{
    Ended, HELLOOP, Model, Process, Server, Setup, ask, ask_udp, connect, expect, expect_last,
    helloop, run, run_helloop,
};

both_models! {
    a_tcp_port_in_use_is_named,
    a_udp_port_in_use_is_named,
    a_restart_binds_at_once,
    the_story_of_each_connection,
    quiet_is_quiet,
}

/// One line of `error: ...` on standard error, nothing on standard output, and exit code 1.
#[track_caller]
fn assert_refused(ended: &Ended, words: &[&str]) {
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(1), ""),
        "{ended:?}"
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
}

/// Exit code 2, and words on standard error alone.
#[track_caller]
fn assert_misused(ended: &Ended, words: &[&str]) {
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{ended:?}"
    );
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {ended:?}");
    }
}

fn serve_at(address: &str, flags: &[&str]) -> Ended {
    run(Setup::new(flags).listen(&[address]).command())
}

fn a_tcp_port_in_use_is_named(model: Model) {
    let first = model.start(&["--no-udp"]);
    let address = first.tcp_address().to_string();
    let ended = serve_at(&address, &["--model", model.name()]);
    assert_refused(&ended, &[&address, "tcp", "the port is in use", "--listen"]);
    first.assert_serves();
}

/// A socket that would share its port does not make the server share it: one of the two would
/// hear nothing.
fn a_udp_port_in_use_is_named(model: Model) {
    // Somebody else may have the number for TCP by chance, but not time and again.
    let refused = (0..5).any(|_| {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr().unwrap().to_string();
        let ended = serve_at(&address, &["--model", model.name()]);
        assert_refused(&ended, &[&address, "the port is in use", "--listen"]);
        ended.stderr.contains("(udp)")
    });
    assert!(refused);
}

/// Port 0 finds a number that is free for both, however often the first is not.
#[test]
fn port_0_is_one_number_for_both() {
    for _ in 0..10 {
        let server = Server::start(&[]);
        assert!(server.addresses(1)[0].1);
        server.assert_serves();
        ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    }
}

#[test]
fn a_low_port_without_the_right() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim() == "0") {
        eprintln!("skipped: everybody may bind every port here");
        return;
    }
    let mut serve = Setup::new(&[]).listen(&["127.0.0.1:1"]).command();
    let own = TcpListener::bind("127.0.0.1:1").map_err(|error| error.kind());
    if own.err() != Some(io::ErrorKind::PermissionDenied) {
        // We have the right, so the server is started without it.
        let arguments: Vec<_> = serve.get_args().map(ToOwned::to_owned).collect();
        serve = Command::new("setpriv");
        serve.args(["--bounding-set", "-net_bind_service", HELLOOP]);
        serve.args(arguments);
        let probe = Command::new("setpriv")
            .args(["--bounding-set", "-net_bind_service", "true"])
            .stderr(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("skipped: nobody can be without the right here");
            return;
        }
    }
    assert_refused(
        &run(serve),
        &["127.0.0.1:1", "ports below 1024 need the right", "--listen"],
    );
}

/// 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
#[test]
fn an_address_of_another_machine() {
    assert_refused(
        &serve_at("192.0.2.1:0", &[]),
        &["192.0.2.1:0", "not an address of this machine", "--listen"],
    );
}

#[test]
fn a_bad_name() {
    // None of these reaches a name server.
    for name in [
        "no..such..host:9999",
        "localhost",
        "127.0.0.1:port",
        "127.0.0.1:65536",
        ":1:2",
    ] {
        assert_refused(&serve_at(name, &[]), &[name, "ADDRESS:PORT"]);
    }
    // What is shown on a terminal cannot command it.
    let ended = serve_at("\u{1b}[31m", &[]);
    assert_refused(&ended, &["\\u{1b}"]);
    assert!(!ended.stderr.contains('\u{1b}'));
}

/// All addresses or none.
#[test]
fn one_bad_address_of_several() {
    let listen = ["127.0.0.1:0", "192.0.2.1:0"];
    let ended = run(Setup::new(&[]).listen(&listen).command());
    assert_refused(&ended, &["192.0.2.1:0"]);
}

#[test]
fn wrong_usage() {
    for (flags, words) in [
        (["--framing", "words"], ["--framing", "chunk"]),
        (["--delay", "1"], ["--delay", "250ms"]),
        (["--delay=-1s", "-v"], ["--delay", "250ms"]),
        (["--max-datagram", "0"], ["--max-datagram", "at least 1"]),
        (
            ["--max-datagram", "65500"],
            ["--max-datagram", "at most 65499"],
        ),
        (["--max-datagram", "1kilo"], ["--max-datagram", "64KiB"]),
        (["--backlog", "0"], ["--backlog", "at least 1"]),
        (["--max-clients", "0"], ["--max-clients", "at least 1"]),
        (
            ["--write-timeout", "0s"],
            ["--write-timeout", "more than 0s"],
        ),
        (["--max-buffered", "1k"], ["--max-buffered", "at least"]),
        (["--model", "fibers"], ["--model", "reactor"]),
        (["--no-such", "flag"], ["--no-such", "usage"]),
        (["-v", "-q"], ["--verbose", "--quiet"]),
    ] {
        let ended = serve_at("127.0.0.1:0", &flags);
        let lower = Ended {
            stderr: ended.stderr.to_lowercase() + &ended.stderr,
            ..ended
        };
        assert_misused(&lower, &words);
    }
    assert_misused(&run_helloop(&["no-such-command"]), &["no-such-command"]);
}

const FLAGS_OF_THE_REACTOR: [(&str, &str); 6] = [
    ("--reuse-port", ""),
    ("--max-clients", "5"),
    ("--max-buffered", "1MiB"),
    ("--idle-timeout", "1s"),
    ("--write-timeout", "1s"),
    ("--keepalive", "1s"),
];

/// A limit that is asked for and not kept would be worse than none.
#[test]
fn the_thread_model_refuses_what_it_does_not_have() {
    for (flag, value) in FLAGS_OF_THE_REACTOR {
        let mut flags = vec!["--model", "threads", flag];
        if !value.is_empty() {
            flags.push(value);
        }
        assert_misused(
            &serve_at("127.0.0.1:0", &flags),
            &["--model threads does not have", flag],
        );
        // Without the command's name too.
        flags.extend(["--listen", "127.0.0.1:0"]);
        assert_misused(&run_helloop(&flags), &[flag]);
        // By its variable, and with the model by its own.
        let value = if value.is_empty() { "1" } else { value };
        let variable = variable_of(flag);
        let by_variable = Setup::new(&[])
            .environment("HELLOOP_MODEL", "threads")
            .environment(&variable, value);
        assert_misused(&run(by_variable.command()), &[flag]);
    }
}

#[test]
fn the_thread_model_has_the_rest() {
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
fn each_flag_has_its_variable() {
    let help = run_helloop(&["serve", "--help"]);
    assert_eq!(help.code, Some(0));
    let names = help.stdout.split_whitespace().filter_map(|word| {
        let name = word.strip_prefix("--")?;
        let end = name.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
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
fn variables_are_heard() {
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
fn a_bad_variable_is_wrong_usage() {
    for (variable, value) in [("HELLOOP_FRAMING", "words"), ("HELLOOP_DELAY", "soon")] {
        let setup = Setup::new(&[]).environment(variable, value);
        assert_misused(&run(setup.command()), &[value]);
    }
}

#[test]
fn a_flag_wins_over_its_variable() {
    // An address that nobody has, so that a variable that won would be seen.
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

#[test]
fn without_a_command_it_serves() {
    let mut process = Process::start(helloop(&["--listen", "127.0.0.1:0", "--framing", "line"]));
    let line = process.stdout.wait_for("listening on ");
    let address = line.split(' ').nth(2).unwrap().parse().unwrap();
    let mut stream = connect(address);
    expect(&mut stream, b"Welcome!\n");
    ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
    process.signal(Signal::SIGINT);
    process.stdin = None;
    assert_eq!(process.wait().code, Some(0));
}

/// `helloop ... | head`: a reader that has left is not an error, and not a panic.
#[test]
fn a_closed_standard_output_ends_quietly() {
    let server = Server::start(&["--framing", "line"]);
    let to = server.tcp_address().to_string();
    for arguments in [
        ["tcp", "--framing", "line", "--to", &to, "Michael"].as_slice(),
        &["udp", "--to", &to, "Michael"],
        &["serve", "--listen", "127.0.0.1:0", "-q"],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "-q",
            "--model",
            "threads",
        ],
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let child = helloop(arguments)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*stderr),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    server.assert_serves();
}

/// At -v: who came, by address and token; who went and why, by token; each datagram's source.
fn the_story_of_each_connection(model: Model) {
    let server = model.start(&["-v"]);
    for cause in ["exit", "end of input", "reset"] {
        let stream = server.connect();
        let accepted = format!("accepted {} as #", stream.local_addr().unwrap());
        let line = server.stderr().wait_for(&accepted);
        let token = line.rsplit(' ').next().unwrap();
        let before = server.stderr().len();
        leave(stream, cause);
        let closed = server
            .stderr()
            .wait_after(before, &format!("closed {token}: "));
        assert!(
            closed.ends_with(&format!("closed {token}: {cause}")),
            "{closed}"
        );
        assert!(closed.contains(" DEBUG "), "{closed}");
    }
    let socket = server.udp();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
    let source = format!("datagram of 3 bytes from {}", socket.local_addr().unwrap());
    server.stderr().wait_for(&source);
    // Names are strangers' words, and not in the log.
    let ended = server.stop();
    assert!(!ended.stderr.contains("Ada"), "{ended:?}");
}

fn leave(mut stream: TcpStream, cause: &str) {
    match cause {
        "exit" => stream.write_all(b"exit").unwrap(),
        "end of input" => stream.shutdown(Shutdown::Write).unwrap(),
        _ => {
            let socket = SockRef::from(&stream);
            return socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    expect_last(&mut stream, b"");
}

/// Without flags: the start, the stop, and trouble. No connection's story.
#[test]
fn the_log_is_short_by_default() {
    let server = Server::start(&[]);
    server.assert_serves();
    let ended = server.stop();
    assert!(
        ended.stderr.contains("one thread serves up to "),
        "{ended:?}"
    );
    assert!(ended.stderr.contains("stopping"), "{ended:?}");
    assert!(!ended.stderr.contains("accepted 127"), "{ended:?}");
    assert!(!ended.stderr.contains("closed #"), "{ended:?}");
}

#[test]
fn at_vv_each_event_is_told() {
    let server = Server::start(&["-vv"]);
    server.assert_serves();
    server.stderr().wait_for("event for #");
    server.stderr().wait_for("closed #");
}

fn quiet_is_quiet(model: Model) {
    let setup = model.setup(&["-q"]).environment("RUST_LOG", "trace");
    let server = setup.start();
    server.assert_serves();
    assert_unanswered_greeting(&server);
    let ended = server.stop();
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("served 1 clients"), "{ended:?}");
}

fn assert_unanswered_greeting(server: &Server) {
    let socket = server.udp();
    socket.send(b"Hello, Ada!").unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

/// RUST_LOG counts where no flag is given, in both its forms.
#[test]
fn rust_log_counts_where_no_flag_is_given() {
    let log = |value: &str, flags: &[&str]| {
        let server = Setup::new(flags).environment("RUST_LOG", value).start();
        server.assert_serves();
        server.stop().stderr
    };
    for value in ["debug", "helloop=debug", "helloop::server=debug"] {
        let stderr = log(value, &[]);
        assert!(stderr.contains("accepted 127"), "{value}: {stderr}");
    }
    for value in ["off", "helloop=off", "error", "warn"] {
        assert_eq!(log(value, &[]), "", "{value}");
    }
    assert!(log("", &[]).contains("stopping"));
    let stderr = log("off", &["-v"]);
    assert!(stderr.contains("accepted 127"), "{stderr}");
}

/// The server has closed these connections itself, so the system remembers its end of them.
fn a_restart_binds_at_once(model: Model) {
    // Somebody may take the port in between by chance, but not time and again.
    let restarted = (0..3).any(|_| {
        let first = model.start(&[]);
        for _ in 0..3 {
            let mut stream = first.connect();
            stream.write_all(b"exit").unwrap();
            expect_last(&mut stream, b"");
        }
        let address = first.tcp_address();
        assert_eq!(first.stop().code, Some(0));
        #[cfg(target_os = "linux")]
        if !waits_in_time_wait(address) {
            eprintln!("no connection waits: this restart shows nothing");
        }
        let again = model.setup(&[]).listen(&[&address.to_string()]);
        let process = Process::start(again.command());
        if !process.stdout.comes("listening on ") {
            return false;
        }
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
        true
    });
    assert!(restarted);
}

/// Whether this end of a connection is in TIME_WAIT (state 06).
#[cfg(target_os = "linux")]
fn waits_in_time_wait(address: SocketAddr) -> bool {
    let local = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "06"
    })
}

#[test]
fn reuse_port_lets_two_share() {
    let first = Server::start(&["--reuse-port"]);
    let address = first.tcp_address();
    let shared = Setup::new(&["--reuse-port"]).listen(&[&address.to_string()]);
    let second = shared.start();
    // The system chooses who gets a client; with the first gone there is one to choose.
    for _ in 0..10 {
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
    }
    assert_eq!(first.stop().code, Some(0));
    second.assert_serves();
    ask_udp(&second.udp(), b"Ada", b"Hello, Ada!");
    // One who does not share is refused.
    let ended = serve_at(&address.to_string(), &[]);
    assert_refused(&ended, &["the port is in use"]);
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[test]
fn a_backlog_that_the_system_cuts_is_warned_of() {
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let limit: u32 = limit.trim().parse().unwrap();
    let over = (limit + 1).to_string();
    let server = Server::start(&["--backlog", &over]);
    server.assert_serves();
    let warning = server.stderr().wait_for("--backlog");
    assert!(
        warning.contains(&format!("{over} is cut to {limit}")),
        "{warning}"
    );
    assert!(warning.contains("net.core.somaxconn"), "{warning}");
    let within = Server::start(&["--backlog", &limit.to_string()]).stop();
    assert!(!within.stderr.contains("--backlog"), "{within:?}");
}

/// A port of the test's own, to be sure that it is the server that is refused.
#[test]
fn a_listener_of_somebody_else_is_not_taken_over() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap().to_string();
    assert_refused(&serve_at(&address, &["--reuse-port"]), &[&address]);
}
