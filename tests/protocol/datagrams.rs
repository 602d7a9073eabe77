//! Datagrams: which are answered, and which are dropped.

use crate::util::{Model, Server, TIMEOUT, ask_udp, receive_udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

both_models! {
    each_datagram_is_answered_to_its_source,
    a_long_datagram_is_dropped_and_never_truncated,
    the_longest_possible_datagram_is_answered,
    a_greeting_is_not_answered,
    a_datagram_from_a_low_port_is_not_answered,
    two_servers_do_not_answer_each_other,
    a_forged_source_address_starts_no_reply_loop,
}

fn each_datagram_is_answered_to_its_source(model: Model) {
    let server = model.start(&["--delay", "1h"]);
    let sockets: Vec<_> = (0..10).map(|_| server.udp()).collect();
    for (number, socket) in sockets.iter().enumerate() {
        socket.send(format!("{number}").as_bytes()).unwrap();
    }
    for (number, socket) in sockets.iter().enumerate() {
        assert_eq!(receive_udp(socket), format!("Hello, {number}!").as_bytes());
    }
    let socket = &sockets[0];
    ask_udp(socket, b"", b"Hello, !");
    ask_udp(socket, b"Michael\n", b"Hello, Michael!\n");
    ask_udp(socket, b"Michael\r\n", b"Hello, Michael!\r\n");
    ask_udp(socket, b"exit", b"Hello, exit!");
    ask_udp(socket, b"exit\n", b"Hello, exit!\n");
}

/// Sends a datagram that must not be answered, then another: the first reply is to the latter.
#[track_caller]
fn assert_unanswered(server: &Server, datagram: &[u8]) {
    let socket = server.udp();
    socket.send(datagram).unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

fn a_long_datagram_is_dropped_and_never_truncated(model: Model) {
    let server = model.start(&["-v"]);
    let name = [b'x'; 1_024];
    let reply = [b"Hello, ".as_slice(), &name, b"!"].concat();
    ask_udp(&server.udp(), &name, &reply);
    assert_unanswered(&server, &[b'x'; 1_025]);
    assert_unanswered(&server, &[b'x'; 60_000]);
    server.stderr().wait_for("longer than --max-datagram");
    if model == Model::Reactor {
        let counters = server.stop().stderr;
        assert!(
            counters.contains("datagrams 5 answered 3 errors 0"),
            "{counters}"
        );
        assert!(counters.contains("dropped, longer than --max-datagram: 2"));
    }
    let server = model.start(&["--max-datagram", "4"]);
    ask_udp(&server.udp(), b"Mike", b"Hello, Mike!");
    assert_unanswered(&server, b"Sarah");
    if model == Model::Reactor {
        let last = server.stop();
        assert!(
            last.stderr
                .contains("dropped, longer than --max-datagram: 1")
        );
        assert!(last.stdout.contains(" 2 datagrams in "), "{}", last.stdout);
    }
}

/// A datagram over IPv4 holds at most 65,507 bytes, and the reply is eight bytes longer than the
/// name.
fn the_longest_possible_datagram_is_answered(model: Model) {
    let server = model.start(&["--max-datagram", "65499"]);
    let name = vec![b'x'; 65_499];
    let reply = [b"Hello, ".as_slice(), &name, b"!"].concat();
    ask_udp(&server.udp(), &name, &reply);
    assert_unanswered(&server, &[b'x'; 65_500]);
}

fn a_greeting_is_not_answered(model: Model) {
    let server = model.start(&["-v"]);
    assert_unanswered(&server, b"Hello, Michael!");
    assert_unanswered(&server, b"Hello, Michael!\n");
    assert_unanswered(&server, b"Hello, Michael!\r\n");
    assert_unanswered(&server, b"Hello, !");
    assert_unanswered(&server, b"Hello, Hello, Michael!!");
    server
        .stderr()
        .wait_for("dropped a 15-byte datagram from 127.0.0.1:");
    // What only resembles a greeting is a name.
    let socket = server.udp();
    ask_udp(&socket, b"Hello, Michael", b"Hello, Hello, Michael!");
    ask_udp(&socket, b"Michael!", b"Hello, Michael!!");
    ask_udp(&socket, b"hello, Michael!", b"Hello, hello, Michael!!");
    if model == Model::Reactor {
        let counters = server.stop().stderr;
        assert!(
            counters.contains("dropped, itself a greeting: 5"),
            "{counters}"
        );
    }
}

/// Services on ports below 1024 may answer anything.
fn a_datagram_from_a_low_port_is_not_answered(model: Model) {
    let server = model.start(&["-v"]);
    let bound = (900..1_024)
        .rev()
        .map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))
        .find(|bound| {
            let error = bound.as_ref().err();
            error.is_none_or(|error| error.kind() != io::ErrorKind::AddrInUse)
        });
    let socket = match bound {
        Some(Ok(socket)) => socket,
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!("skipped: this process may not bind ports below 1024");
            return;
        }
        other => panic!("{other:?}"),
    };
    socket.send_to(b"Ada", server.tcp_address()).unwrap();
    ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    socket.set_nonblocking(true).unwrap();
    let received = socket.recv_from(&mut [0; 64]).unwrap_err();
    assert_eq!(received.kind(), io::ErrorKind::WouldBlock);
    server.stderr().wait_for(": from a port below 1024");
    if model == Model::Reactor {
        let counters = server.stop().stderr;
        assert!(
            counters.contains("dropped, from a port below 1024: 1"),
            "{counters}"
        );
    }
}

/// Forwards the replies of one server to the other, and back.
fn two_servers_do_not_answer_each_other(model: Model) {
    let (first, second) = (model.start(&[]), model.start(&[]));
    for name in ["Ada", "", "Ada\n", "Ada\r\n", "Hello, Ada", "!", "\n"] {
        let socket = first.udp();
        socket.send(name.as_bytes()).unwrap();
        let greeting = receive_udp(&socket);
        assert!(greeting.starts_with(b"Hello, "), "{name:?}");
        assert_unanswered(&second, &greeting);
        assert_unanswered(&first, &greeting);
    }
}

/// A packet with the other server's source address. Skipped if this process may not open raw
/// sockets.
fn a_forged_source_address_starts_no_reply_loop(model: Model) {
    let (first, second) = (model.start(&["-v"]), model.start(&["-v"]));
    let sent = send_forged(b"Ada", first.tcp_address(), second.tcp_address());
    if let Err(error) = sent {
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        eprintln!("skipped: this process may not open raw sockets");
        return;
    }
    // The second server answers the first, which does not answer.
    second.stderr().wait_for(&format!(
        "received a 3-byte datagram from {}",
        first.tcp_address()
    ));
    first.stderr().wait_for(&format!(
        "received a 11-byte datagram from {}",
        second.tcp_address()
    ));
    for server in [&first, &second, &first, &second] {
        ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    }
    let count_received = |server: &Server, from: &Server| {
        let from = format!("datagram from {}", from.tcp_address());
        let lines = server.stderr().all();
        let received = |line: &&String| line.contains("received a ") && line.ends_with(&from);
        lines.iter().filter(received).count()
    };
    assert_eq!(
        (
            count_received(&first, &second),
            count_received(&second, &first)
        ),
        (1, 1)
    );
}

/// Sends a datagram with a forged source address.
fn send_forged(payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (from, to) else {
        panic!("IPv4 only");
    };
    let udp_length = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = Vec::new();
    // Version and header length, service, total length (set by the kernel), id, fragment.
    packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0]);
    // Time to live, protocol, checksum (set by the kernel).
    packet.extend([64, 17, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    packet.extend(source.port().to_be_bytes());
    packet.extend(destination.port().to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    // No checksum: optional for UDP over IPv4.
    packet.extend([0, 0]);
    packet.extend(payload);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.set_header_included_v4(true)?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    let sent = socket.send_to(&packet, &SockAddr::from(destination))?;
    assert_eq!(sent, packet.len());
    Ok(())
}
