//! Addresses and ports: what cannot be bound and the error for it, what can be shared, and what can
//! be bound again.

use crate::util::{
    HELLOOP, Model, Process, Server, Setup, ask, ask_udp, connect, expect_last, run,
};
use crate::{assert_failed, serve_at};
use socket2::{Domain, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};

both_models! {
    a_tcp_port_in_use_is_an_error,
    a_udp_port_in_use_is_an_error,
    a_restarted_server_binds_at_once,
}

fn a_tcp_port_in_use_is_an_error(model: Model) {
    let first = model.start(&["--no-udp"]);
    let address = first.tcp_address().to_string();
    let ended = serve_at(&address, &["--model", model.name()]);
    assert_failed(
        &ended,
        &[&address, "(tcp): the port is in use: ", "--listen"],
    );
    assert!(!ended.stderr.contains("already"), "said twice: {ended:?}");
    first.assert_serves();
}

/// The server does not share a port with a socket that has SO_REUSEADDR: one of the two would
/// receive nothing.
fn a_udp_port_in_use_is_an_error(model: Model) {
    // Another program may take the TCP port in between by chance, but not five times.
    let failed = (0..5).any(|_| {
        // Free for TCP: the listener is dropped at once.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|tcp| tcp.local_addr());
        let free = free.unwrap();
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        if socket.bind(&free.into()).is_err() {
            return false;
        }
        let socket = UdpSocket::from(socket);
        let address = socket.local_addr().unwrap().to_string();
        let ended = serve_at(&address, &["--model", model.name()]);
        assert_failed(&ended, &[&address, "the port is in use", "--listen"]);
        ended.stderr.contains("(udp)")
    });
    assert!(failed);
}

/// The server retries until a port is free for both protocols.
#[test]
fn port_0_chooses_one_number_for_tcp_and_udp() {
    for _ in 0..10 {
        let server = Server::start(&[]);
        assert!(server.addresses(1)[0].1);
        server.assert_serves();
        ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    }
}

#[test]
fn a_privileged_port_without_the_privilege_is_an_error() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_free.is_ok_and(|port| port.trim() == "0") {
        eprintln!("skipped: any user may bind any port here");
        return;
    }
    let mut serve = Setup::new(&[]).listen(&["127.0.0.1:1"]).command();
    let ours = TcpListener::bind("127.0.0.1:1").map_err(|error| error.kind());
    if ours.err() != Some(io::ErrorKind::PermissionDenied) {
        // This process has the privilege, so the server is started without it.
        let arguments: Vec<_> = serve.get_args().map(ToOwned::to_owned).collect();
        serve = Command::new("setpriv");
        serve.args(["--bounding-set", "-net_bind_service", HELLOOP]);
        serve.args(arguments);
        let probe = Command::new("setpriv")
            .args(["--bounding-set", "-net_bind_service", "true"])
            .stderr(Stdio::null())
            .status();
        if !probe.is_ok_and(|status| status.success()) {
            eprintln!("skipped: the privilege cannot be dropped here");
            return;
        }
    }
    assert_failed(
        &run(serve),
        &[
            "127.0.0.1:1",
            "ports below 1024 need a privilege",
            "--listen",
        ],
    );
}

/// 192.0.2.0/24 is reserved for documentation (RFC 5737), so no machine has it.
#[test]
fn an_address_of_another_machine_is_an_error() {
    assert_failed(
        &serve_at("192.0.2.1:0", &[]),
        &["192.0.2.1:0", "not an address of this machine", "--listen"],
    );
}

/// A name of more than 255 bytes needs no name server to fail.
#[test]
fn an_unresolvable_address_is_an_error() {
    let name = format!("{}:9999", "x".repeat(300));
    assert_failed(&serve_at(&name, &[]), &[&name, "ADDRESS:PORT"]);
}

/// The page is blamed for its port, and not the server, which listens there first.
#[test]
fn a_page_at_the_port_of_another_program_is_an_error() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap().to_string();
    let ended = serve_at("127.0.0.1:0", &["--observe", &address]);
    assert_failed(&ended, &["cannot serve the page at", &address, "--observe"]);
    // The same port by another name: only the system knows that it is one.
    let port = address.rsplit(':').next().unwrap();
    drop(other);
    let names = [format!("127.0.0.1:{port}"), format!("127.1:{port}")];
    let ended = serve_at(&names[0], &["--observe", &names[1]]);
    assert_failed(
        &ended,
        &["cannot serve the page at", &names[1], "--observe"],
    );
}

/// The server binds all addresses or none.
#[test]
fn one_invalid_address_of_several_is_an_error() {
    let listen = ["127.0.0.1:0", "192.0.2.1:0"];
    let ended = run(Setup::new(&[]).listen(&listen).command());
    assert_failed(&ended, &["192.0.2.1:0"]);
}

/// The server closes these connections first, so its ends are in TIME_WAIT.
fn a_restarted_server_binds_at_once(model: Model) {
    // Another program may take the port in between by chance, but not three times.
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
        if !is_in_time_wait(address) {
            eprintln!("no connection is in TIME_WAIT: this restart proves nothing");
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

/// Whether a connection from this local address is in TIME_WAIT (state 06).
#[cfg(target_os = "linux")]
fn is_in_time_wait(address: std::net::SocketAddr) -> bool {
    let local = format!(":{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&local) && fields[3] == "06"
    })
}

#[cfg(unix)] // --reuse-port is refused elsewhere
#[test]
fn reuse_port_lets_two_servers_share_a_port() {
    let first = Server::start(&["--reuse-port"]);
    let address = first.tcp_address();
    let shared = Setup::new(&["--reuse-port"]).listen(&[&address.to_string()]);
    let second = shared.start();
    // The kernel chooses the server of each client; once the first has stopped there is only one.
    for _ in 0..10 {
        ask(&mut connect(address), b"Ada", b"Welcome!Hello, Ada!");
    }
    assert_eq!(first.stop().code, Some(0));
    second.assert_serves();
    ask_udp(&second.udp(), b"Ada", b"Hello, Ada!");
    // A server without --reuse-port cannot bind.
    let ended = serve_at(&address.to_string(), &[]);
    assert_failed(&ended, &["the port is in use"]);
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
#[test]
fn a_backlog_above_the_limit_of_the_system_is_a_warning() {
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

/// The listener belongs to the test, and does not share its port.
#[cfg(unix)] // --reuse-port is refused elsewhere
#[test]
fn reuse_port_does_not_take_over_the_port_of_another_program() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = other.local_addr().unwrap().to_string();
    assert_failed(
        &serve_at(&address, &["--reuse-port"]),
        &[&address, "not shared", "--reuse-port"],
    );
}
