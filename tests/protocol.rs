//! The protocol on real sockets, from both servers: what is a message, what is its reply, what
//! ends a conversation, what one client's end means to the others, and what UDP leaves unsaid.
//!
//! Where a test needs to know that the server is done with something, it does not wait a
//! while: it sends a datagram behind it. Datagrams of one socket are served in order, are never
//! delayed, and are answered on the same loop.

#[macro_use]
mod util;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use util::{
    LIMIT, Model, Server, Setup, ask, ask_udp, connect, expect, expect_last, figure, read_to_end,
    receive_udp, udp,
};

both_models! {
    a_line_ending_stands_outside_the_name,
    a_name_in_single_bytes_is_one_line,
    a_line_may_be_65536_bytes_long,
    an_over_long_line_is_told_and_ends_without_a_reset,
    a_chunk_ends_at_1024_bytes,
    a_thousand_lines_in_one_segment,
    exit_has_no_reply_and_ends_without_a_reset,
    data_and_end_of_input_in_one_packet,
    data_and_end_of_input_before_the_accept,
    an_unterminated_last_line_is_a_message,
    half_close_is_not_gone,
    a_reset_ends_one_client_alone,
    names_are_opaque_bytes,
    urgent_data_holds_up_nobody_else,
    two_hundred_clients_wait_together,
    exit_is_held_too,
    each_message_is_held_by_its_own_delay,
    ipv6,
    ipv6_leaves_ipv4_alone,
    several_addresses,
    a_host_name_is_all_its_addresses,
    without_udp,
    datagrams_are_answered_to_where_they_came_from,
    a_long_datagram_is_dropped_and_never_cut,
    the_longest_datagram,
    a_greeting_is_not_answered,
    a_low_port_is_not_answered,
    two_servers_do_not_greet_each_other,
    two_servers_and_one_forged_packet,
}

fn a_line_ending_stands_outside_the_name(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    ask(&mut stream, b"Tracy\r\n", b"Hello, Tracy!\r\n");
    ask(&mut stream, b"\n", b"Hello, !\n");
    // One ending only, and a lone CR is none.
    ask(&mut stream, b"Sarah\n\n", b"Hello, Sarah\n!\n");
    ask(&mut stream, b"Sarah\r", b"Hello, Sarah\r!");
    // Only the whole message ends it.
    ask(&mut stream, b"exit ", b"Hello, exit !");
    stream.write_all(b"exit\r\n").unwrap();
    expect_last(&mut stream, b"");
}

fn a_name_in_single_bytes_is_one_line(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let fence = server.udp();
    let mut stream = server.connect();
    for name in ["Michael", "Tracy", "Sarah"] {
        for byte in format!("{name}\r\n").bytes() {
            stream.write_all(&[byte]).unwrap();
            ask_udp(&fence, b"", b"Hello, !");
        }
        expect(&mut stream, format!("Hello, {name}!\n").as_bytes());
    }
}

fn a_line_may_be_65536_bytes_long(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let name = vec![b'x'; 65_536];
    let reply = [b"Hello, ".as_slice(), &name, b"!\n"].concat();
    ask(&mut stream, &[&name, b"\n".as_slice()].concat(), &reply);
    ask(&mut stream, &[&name, b"\r\n".as_slice()].concat(), &reply);
}

/// With input unread a plain close would send a reset, and the error would be lost with it.
fn an_over_long_line_is_told_and_ends_without_a_reset(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let flood = vec![b'x'; 200_000];
    stream.write_all(b"Michael\n").unwrap();
    stream.write_all(&flood).unwrap();
    expect_last(
        &mut stream,
        b"Hello, Michael!\nError: line longer than 65536 bytes\n",
    );
    server.assert_serves();
}

fn a_chunk_ends_at_1024_bytes(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    let chunk = |length| [b"Hello, ".as_slice(), &vec![b'x'; length], b"!"].concat();
    ask(&mut stream, &[b'x'; 1_024], &chunk(1_024));
    // One segment on the loopback, and two reads.
    ask(
        &mut stream,
        &[b'x'; 1_500],
        &[chunk(1_024), chunk(476)].concat(),
    );
}

fn a_thousand_lines_in_one_segment(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    let lines: String = (0..1_000).map(|n| format!("name {n}\n")).collect();
    let replies: String = (0..1_000).map(|n| format!("Hello, name {n}!\n")).collect();
    ask(&mut stream, lines.as_bytes(), replies.as_bytes());
}

fn exit_has_no_reply_and_ends_without_a_reset(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    // What stands behind it is thrown away, and is not a reason to reset.
    let rest = "Tracy\n".repeat(10_000);
    stream
        .write_all(format!("Michael\nexit\n{rest}").as_bytes())
        .unwrap();
    expect_last(&mut stream, b"Hello, Michael!\n");
    // A name that only begins like it is a name.
    let mut stream = server.connect();
    ask(
        &mut stream,
        b"exits\n EXIT\n",
        b"Hello, exits!\nHello,  EXIT!\n",
    );
}

/// Sends this and the end of input, in one packet where the system lets us.
fn send_last(stream: &mut TcpStream, message: &[u8]) {
    #[cfg(target_os = "linux")]
    SockRef::from(&*stream).set_tcp_cork(true).unwrap();
    stream.write_all(message).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
}

fn data_and_end_of_input_in_one_packet(model: Model) {
    let server = model.start(&[]);
    for _ in 0..50 {
        let mut stream = server.connect();
        send_last(&mut stream, b"Michael");
        expect_last(&mut stream, b"Hello, Michael!");
    }
    // Twice the same, for a chunk that fills its buffer hides the end behind it.
    for length in [1_024, 2_048, 10_000] {
        let mut stream = server.connect();
        send_last(&mut stream, &vec![b'x'; length]);
        let replies = read_to_end(&mut stream);
        let names = replies.iter().filter(|byte| **byte == b'x').count();
        assert_eq!(names, length);
    }
    let mut stream = server.connect();
    send_last(&mut stream, b"exit");
    expect_last(&mut stream, b"");
    let mut stream = server.connect();
    send_last(&mut stream, b"");
    expect_last(&mut stream, b"");
}

/// The server may find both, and the connection, in one event.
fn data_and_end_of_input_before_the_accept(model: Model) {
    let server = model.start(&[]);
    server.assert_serves();
    server.pause();
    let mut streams: Vec<_> = (0..10).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut streams {
        send_last(stream, b"Michael");
    }
    server.resume();
    for stream in &mut streams {
        expect_last(stream, b"Welcome!Hello, Michael!");
    }
}

fn an_unterminated_last_line_is_a_message(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    send_last(&mut stream, b"Michael\nTracy\r\nSarah");
    expect_last(
        &mut stream,
        b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
    );
    // No LF followed this CR, so it is part of the name.
    let mut stream = server.connect();
    send_last(&mut stream, b"Sarah\r");
    expect_last(&mut stream, b"Hello, Sarah\r!\n");
    let mut stream = server.connect();
    send_last(&mut stream, b"Michael\nexit");
    expect_last(&mut stream, b"Hello, Michael!\n");
}

/// A client that has said all is still there to read its replies, delayed ones too.
fn half_close_is_not_gone(model: Model) {
    let server = model.start(&["--framing", "line", "--delay", "200ms"]);
    let mut stream = server.connect();
    stream.write_all(b"Michael\n").unwrap();
    ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    send_last(&mut stream, b"Tracy\nSarah");
    expect_last(
        &mut stream,
        b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
    );
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

fn a_reset_ends_one_client_alone(model: Model) {
    let server = model.start(&["--delay", "100ms", "-v"]);
    let mut other = server.connect();
    for round in 0..20 {
        // Before and after the accept, silent, with a message unread, and with a reply owed.
        let stream = connect(server.tcp_address());
        reset(stream);
        let stream = server.connect();
        reset(stream);
        let mut stream = server.connect();
        stream.write_all(b"Michael").unwrap();
        if round % 2 == 0 {
            ask_udp(&server.udp(), b"fence", b"Hello, fence!");
        }
        reset(stream);
    }
    server.stderr().wait_for(": reset");
    ask(&mut other, b"Tracy", b"Hello, Tracy!");
    server.assert_serves();
}

fn names_are_opaque_bytes(model: Model) {
    const NAME: &[u8] = b"\xff\xfe\x00\x1b[31m \xc3\x28 \xed\xa0\x80 Zo\xc3\xab";
    let reply = [b"Hello, ", NAME, b"!"].concat();
    let server = model.start(&["-v"]);
    ask(&mut server.connect(), NAME, &reply);
    ask_udp(&server.udp(), NAME, &reply);
    let server = model.start(&["--framing", "line", "-v"]);
    let line = [NAME, b"\n"].concat();
    ask(
        &mut server.connect(),
        &line,
        &[&reply, b"\n".as_slice()].concat(),
    );
    server.assert_serves();
}

/// A read stops short at TCP's urgent mark, and the urgent byte itself is no part of the
/// stream. The reactor takes a short read as proof that the socket is drained, so what stands
/// behind the mark is read with the client's own next segment: that client waits, by its own
/// doing, and nobody else. A thread just reads again.
fn urgent_data_holds_up_nobody_else(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut other = server.connect();
    let mut stream = server.connect();
    ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
    // All of it is there when the server reads.
    server.pause();
    stream.write_all(b"Michael\n").unwrap();
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.write_all(b"Tracy\n").unwrap();
    server.resume();
    expect(&mut stream, b"Hello, Michael!\n");
    ask(&mut other, b"Grace\n", b"Hello, Grace!\n");
    if model == Model::Reactor {
        let counters = server.counters();
        assert!(counters.contains("; messages 3 "), "{counters}");
    }
    stream.write_all(b"Sarah\n").unwrap();
    expect(&mut stream, b"Hello, Tracy!\nHello, Sarah!\n");
    // Again and again, alone and at the very end.
    for _ in 0..10 {
        SockRef::from(&stream).send_out_of_band(b"!").unwrap();
        ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    }
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"");
    server.assert_serves();
}

/// One after the other they would take 200 s. The bound is that of the promise, so a machine
/// that is too busy for it is given two more tries.
fn two_hundred_clients_wait_together(model: Model) {
    const DELAY: Duration = Duration::from_secs(1);
    let server = model.start(&["--delay", "1s"]);
    let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
    #[cfg(target_os = "linux")]
    match model {
        Model::Reactor => assert_eq!(server.threads(), 1),
        Model::Threads => assert!(server.threads() > 200, "{}", server.threads()),
    }
    let mut tries = (0..3).map(|_| {
        let begun = Instant::now();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("{number}").as_bytes()).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            expect(stream, format!("Hello, {number}!").as_bytes());
        }
        begun.elapsed()
    });
    let took = tries.find(|took| *took < 2 * DELAY);
    assert!(took.is_some_and(|took| took > DELAY / 2), "{took:?}");
}

fn exit_is_held_too(model: Model) {
    let server = model.start(&["--delay", "400ms"]);
    let mut stream = server.connect();
    let begun = Instant::now();
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    assert!(begun.elapsed() > Duration::from_millis(200));
}

fn each_message_is_held_by_its_own_delay(model: Model) {
    const DELAY: Duration = Duration::from_millis(800);
    let server = model.start(&["--delay", "800ms"]);
    let (mut stream, mut other) = (server.connect(), server.connect());
    let begun = Instant::now();
    // Two messages, since a read ends at 1,024 bytes; the second is not read before the first
    // is answered.
    let name = "x".repeat(1_024);
    stream.write_all(format!("{name}Tracy").as_bytes()).unwrap();
    other.write_all(b"Sarah").unwrap();
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    assert_silent_until(&stream, begun + DELAY / 2);
    expect(&mut stream, format!("Hello, {name}!").as_bytes());
    assert!(begun.elapsed() > DELAY / 2);
    // Nobody waits for somebody else's second message.
    expect(&mut other, b"Hello, Sarah!");
    assert_silent_until(&stream, begun + DELAY * 3 / 2);
    expect(&mut stream, b"Hello, Tracy!");
    assert!(begun.elapsed() > DELAY * 3 / 2);
}

/// Nothing has come yet, unless so much time has passed that it may.
#[track_caller]
fn assert_silent_until(stream: &TcpStream, time: Instant) {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    let in_time = Instant::now() < time;
    stream.set_nonblocking(false).unwrap();
    if in_time {
        assert_eq!(peeked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

/// Whether this machine has an IPv6 loopback.
fn has_ipv6() -> bool {
    let has = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        eprintln!("skipped: this machine has no ::1");
    }
    has
}

fn ipv6(model: Model) {
    if !has_ipv6() {
        return;
    }
    let server = model.setup(&[]).listen(&["[::1]:0"]).start();
    assert!(server.tcp_address().is_ipv6());
    server.assert_serves();
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
}

/// `[::]` is IPv6 alone, so 0.0.0.0 can be listened on beside it.
fn ipv6_leaves_ipv4_alone(model: Model) {
    if !has_ipv6() {
        return;
    }
    let ipv4 = model.setup(&[]).listen(&["0.0.0.0:0"]).start();
    let port = ipv4.tcp_address().port();
    let listen = format!("[::]:{port}");
    let ipv6 = model.setup(&[]).listen(&[&listen]).start();
    assert!(ipv6.tcp_address().is_ipv6());
    // Each hears its own alone.
    for (here, server) in [
        (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), &ipv4),
        (SocketAddr::from((Ipv6Addr::LOCALHOST, port)), &ipv6),
    ] {
        ask(&mut connect(here), b"Ada", b"Welcome!Hello, Ada!");
        ask_udp(&udp(here), b"Ada", b"Hello, Ada!");
        assert_eq!(figure(&server.counters(), "accepted "), 1);
    }
}

/// Shows that every address is served, over TCP and UDP.
fn assert_serves_all(addresses: &[(SocketAddr, bool)]) {
    for (address, has_udp) in addresses {
        let mut stream = connect(*address);
        expect(&mut stream, b"Welcome!");
        ask(&mut stream, b"Ada", b"Hello, Ada!");
        assert!(has_udp);
        ask_udp(&udp(*address), b"Ada", b"Hello, Ada!");
    }
}

fn several_addresses(model: Model) {
    let listen = ["127.0.0.1:0", "0.0.0.0:0", "127.0.0.1:0"];
    let server = model.setup(&[]).listen(&listen).start();
    let mut addresses = server.addresses(3);
    assert_eq!(addresses.len(), 3);
    assert_ne!(addresses[0], addresses[2]);
    assert_eq!(addresses[1].0.ip(), Ipv4Addr::UNSPECIFIED);
    addresses[1].0.set_ip(Ipv4Addr::LOCALHOST.into());
    assert_serves_all(&addresses);
}

fn a_host_name_is_all_its_addresses(model: Model) {
    let server = model.setup(&[]).listen(&["localhost:0"]).start();
    server.assert_serves();
    // All lines come before the first client is served.
    let addresses = server.addresses(1);
    assert!(
        addresses
            .iter()
            .all(|(address, _)| address.ip().is_loopback())
    );
    assert_serves_all(&addresses);
}

fn without_udp(model: Model) {
    let server = model.start(&["--no-udp"]);
    let (address, has_udp) = server.addresses(1)[0];
    assert!(!has_udp);
    server.assert_serves();
    let socket = udp(address);
    socket.send(b"Ada").unwrap();
    let refused = socket.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

fn datagrams_are_answered_to_where_they_came_from(model: Model) {
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

/// Sends what must not be answered, and something behind it: the first reply is to that.
#[track_caller]
fn assert_unanswered(server: &Server, datagram: &[u8]) {
    let socket = server.udp();
    socket.send(datagram).unwrap();
    ask_udp(&socket, b"Ada", b"Hello, Ada!");
}

fn a_long_datagram_is_dropped_and_never_cut(model: Model) {
    let server = model.start(&["-v"]);
    let name = [b'x'; 1_024];
    let reply = [b"Hello, ".as_slice(), &name, b"!"].concat();
    ask_udp(&server.udp(), &name, &reply);
    assert_unanswered(&server, &[b'x'; 1_025]);
    assert_unanswered(&server, &[b'x'; 60_000]);
    server.stderr().wait_for("longer than --max-datagram");
    if model == Model::Reactor {
        let counters = server.counters();
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

/// 65,507 bytes is what a datagram over IPv4 has room for, and the reply is eight longer than
/// the name.
fn the_longest_datagram(model: Model) {
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
    server.stderr().wait_for("not answered: itself a greeting");
    // What only resembles one is a name.
    let socket = server.udp();
    ask_udp(&socket, b"Hello, Michael", b"Hello, Hello, Michael!");
    ask_udp(&socket, b"Michael!", b"Hello, Michael!!");
    ask_udp(&socket, b"hello, Michael!", b"Hello, hello, Michael!!");
    if model == Model::Reactor {
        let counters = server.counters();
        assert!(
            counters.contains("dropped, itself a greeting: 5"),
            "{counters}"
        );
    }
}

/// Below 1024 live services that answer whatever comes.
fn a_low_port_is_not_answered(model: Model) {
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
            eprintln!("skipped: ports below 1024 need a right that is missing here");
            return;
        }
        other => panic!("{other:?}"),
    };
    socket.send_to(b"Ada", server.tcp_address()).unwrap();
    ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    socket.set_nonblocking(true).unwrap();
    let silence = socket.recv_from(&mut [0; 64]).unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
    server
        .stderr()
        .wait_for("not answered: from a port below 1024");
    if model == Model::Reactor {
        let counters = server.counters();
        assert!(
            counters.contains("dropped, from a port below 1024: 1"),
            "{counters}"
        );
    }
}

/// What one says is carried to the other, and back if there is anything to carry back.
fn two_servers_do_not_greet_each_other(model: Model) {
    let (one, other) = (model.start(&[]), model.start(&[]));
    for name in ["Ada", "", "Ada\n", "Ada\r\n", "Hello, Ada", "!", "\n"] {
        let socket = one.udp();
        socket.send(name.as_bytes()).unwrap();
        let greeting = receive_udp(&socket);
        assert!(greeting.starts_with(b"Hello, "), "{name:?}");
        assert_unanswered(&other, &greeting);
        assert_unanswered(&one, &greeting);
    }
}

/// The real thing: a packet that says it comes from the other server. Needs the right to make
/// one.
fn two_servers_and_one_forged_packet(model: Model) {
    let (one, other) = (model.start(&["-v"]), model.start(&["-v"]));
    let forged = forge(b"Ada", one.tcp_address(), other.tcp_address());
    if let Err(error) = forged {
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        eprintln!("skipped: raw sockets need a right that is missing here");
        return;
    }
    // The other answers to the one, and there it ends.
    other
        .stderr()
        .wait_for(&format!("of 3 bytes from {}", one.tcp_address()));
    one.stderr()
        .wait_for(&format!("of 11 bytes from {}", other.tcp_address()));
    for server in [&one, &other, &one, &other] {
        ask_udp(&server.udp(), b"fence", b"Hello, fence!");
    }
    let between = |server: &Server, from: &Server| {
        let from = format!("bytes from {}", from.tcp_address());
        let lines = server.stderr().all();
        let received = |line: &&String| line.contains("datagram of ") && line.ends_with(&from);
        lines.iter().filter(received).count()
    };
    assert_eq!((between(&one, &other), between(&other, &one)), (1, 1));
}

/// Sends a datagram with a source address of our choice.
fn forge(payload: &[u8], from: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (from, to) else {
        panic!("IPv4 only");
    };
    let udp_length = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = Vec::new();
    // Version and header length, service, total length (the kernel's), id, fragment.
    packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0]);
    // Time to live, protocol, checksum (the kernel's).
    packet.extend([64, 17, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(destination.ip().octets());
    packet.extend(source.port().to_be_bytes());
    packet.extend(destination.port().to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    // No checksum: IPv4 lets UDP do without.
    packet.extend([0, 0]);
    packet.extend(payload);
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP))?;
    socket.set_header_included_v4(true)?;
    socket.set_write_timeout(Some(LIMIT))?;
    let sent = socket.send_to(&packet, &SockAddr::from(destination))?;
    assert_eq!(sent, packet.len());
    Ok(())
}

/// `helloop` alone is `helloop serve`, and both speak as the tutorial does by default.
#[test]
fn the_defaults_are_the_tutorials() {
    let server = Setup::new(&[]).start();
    #[cfg(target_os = "linux")]
    assert_eq!(server.threads(), 1);
    server.assert_serves();
}
