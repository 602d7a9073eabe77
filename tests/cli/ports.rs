//! Addresses and ports: what cannot be bound and how that is said, what can be shared, and what
//! is free again.

use crate::util::{
    HELLOOP, Model, Process, Server, Setup, ask, ask_udp, connect, expect_last, run,
};
use crate::{assert_refused, serve_at};
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

both_models! {
    a_tcp_port_in_use_is_named,
    a_udp_port_in_use_is_named,
    a_restart_binds_at_once,
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
        if !process.stdout.appears("listening on ") {
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
    assert_refused(
        &serve_at(&address, &["--reuse-port"]),
        &[&address, "all who listen there", "--reuse-port"],
    );
}
