//! What the server logs at each level.

use crate::util::{Model, Server, Setup, ask_udp, connect, counter, expect_last};
use socket2::SockRef;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

both_models! {
    debug_logs_each_connection_and_datagram,
    quiet_logs_nothing_but_errors,
    a_refused_client_is_logged_once_it_is_accepted,
}

/// With -v: the address and token of each accepted client, the token and cause of each closed one,
/// and the source of each datagram.
fn debug_logs_each_connection_and_datagram(model: Model) {
    let server = model.start(&["-v"]);
    // Under Wine the peer reads EOF before a reset.
    let causes = ["exit", "EOF", "reset"];
    for cause in &causes[..if cfg!(windows) { 2 } else { 3 }] {
        let stream = server.connect();
        let accepted = format!("accepted {} as #", stream.local_addr().unwrap());
        let line = server.stderr().wait_for(&accepted);
        let token = line.rsplit(' ').next().unwrap();
        let before = server.stderr().len();
        close(stream, cause);
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
    let source = format!(
        "received a 3-byte datagram from {}",
        socket.local_addr().unwrap()
    );
    server.stderr().wait_for(&source);
    // Names are untrusted input and are not logged.
    let ended = server.stop();
    assert!(!ended.stderr.contains("Ada"), "{ended:?}");
}

fn close(mut stream: TcpStream, cause: &str) {
    match cause {
        "exit" => stream.write_all(b"exit").unwrap(),
        "EOF" => stream.shutdown(Shutdown::Write).unwrap(),
        _ => {
            let socket = SockRef::from(&stream);
            return socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    expect_last(&mut stream, b"");
}

/// The order of the lines is that of the events, in both models.
fn a_refused_client_is_logged_once_it_is_accepted(model: Model) {
    let server = model.start(&["-v", "--max-clients-per-address", "1"]);
    let stays = server.connect();
    let refused = connect(server.tcp_address());
    let from = refused.local_addr().unwrap();
    let accepted = server.stderr().wait_for(&format!("accepted {from} as #"));
    let refusal = server.stderr().wait_for(&format!("refused {from}: "));
    if model == Model::Threads {
        let lines = server.stderr().all();
        let at = |line: &String| lines.iter().position(|other| other == line);
        assert!(at(&accepted) < at(&refusal), "{lines:#?}");
    } else {
        // The reactor decides first, and accepts the client to send it the refusal.
        assert!(accepted.ends_with(" to refuse it"), "{accepted}");
    }
    drop(stays);
}

/// Without flags: start, stop and warnings, but no connections.
#[test]
fn the_default_log_is_short() {
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
fn trace_logs_each_event() {
    let server = Server::start(&["-vv"]);
    server.assert_serves();
    server.stderr().wait_for("event for #");
    server.stderr().wait_for("closed #");
}

fn quiet_logs_nothing_but_errors(model: Model) {
    let setup = model.setup(&["-q"]).environment("RUST_LOG", "trace");
    let server = setup.start();
    server.assert_serves();
    assert_greeting_unanswered(&server);
    let ended = server.stop();
    assert_eq!(ended.stderr, "");
    assert!(ended.stdout.contains("served 1 client,"), "{ended:?}");
}

fn assert_greeting_unanswered(server: &Server) {
    let socket = server.udp();
    socket.send(b"Hello, Ada!").unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

/// With or without module names.
#[test]
fn rust_log_applies_if_no_flag_is_given() {
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

/// With --max-clients above the descriptors no client reads Busy, and the log says how many are
/// served.
#[cfg(unix)] // a shell limits the descriptors
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "needs Linux")]
fn the_log_states_how_many_clients_the_descriptors_allow() {
    let setup = Setup::new(&["--no-udp", "--max-clients", "1000"]).descriptors(64);
    let server = setup.start();
    let line = server.stderr().wait_for("one thread serves up to ");
    let most: usize = line.split(' ').rev().nth(1).unwrap().parse().unwrap();
    let warning = server.stderr().wait_for("--max-clients 1000");
    assert!(
        warning.contains(&format!("allow {most} clients")),
        "{warning}"
    );
    let clients = (0..most + 9).map(|_| connect(server.tcp_address()));
    let clients: Vec<_> = clients.collect();
    server.stderr().wait_for("cannot accept");
    let counters = server.counters();
    assert_eq!(counter(&counters, "refused "), 0);
    // The server may have inherited some descriptors from this process.
    let accepted = usize::try_from(counter(&counters, "accepted ")).unwrap();
    assert!(
        (most - 8..=most).contains(&accepted),
        "{accepted} of {most}"
    );
    drop(clients);
}

/// The limit of file descriptors bounds `--max-clients`.
#[test]
fn the_log_states_no_more_clients_than_descriptors_allow() {
    let server = Server::start(&["--max-clients", "1000000000000000"]);
    let line = server.stderr().wait_for("one thread serves up to ");
    assert!(!line.contains("1000000000000000"), "{line}");
}
