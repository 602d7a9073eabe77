//! Pitfalls of replying: lost bytes, unbounded memory, endless exchanges.
//!
//! **Owns** the runs of sections 6 to 10 and 14. **Must never touch** a real socket, except in
//! section 10. **Invariant**: the naive and the real server get the same input at the same time.

use crate::harness::Harness;
use crate::naive;
use crate::script::ScriptedStream;
use crate::script::ScriptedUdpSocket;
use crate::text::Text;
use crate::util::{Server, TIMEOUT};
use crate::{is_open, send, send_and_finish, sent_to};
use helloop::reactor::Readiness;
use helloop::server::sources::datagrams::Datagrams;
use helloop::server::sources::peer::HIGH_WATER_BYTES;
use helloop::server::stats::DropReason;
use helloop::server::{ServerSource, Settings};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

#[test]
fn p06_a_short_write_loses_the_rest() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let client = naive.client(naive::write_once, ScriptedStream::with_room(18));
    naive.run_until(10);
    send(&client, b"Michael");
    naive.run_until(20);
    client.borrow_mut().make_room(100);
    naive.run_until(30);
    send(&client, b"Tracy");
    naive.run_until(40);
    let got = sent_to(&client);
    assert_eq!(got, "Welcome!Hello, MicHello, Tracy!");
    text.naive(&naive, &format!("The client has read: {got}"));

    let mut real = Harness::real(Settings::default());
    let client = real.client(ScriptedStream::with_room(18));
    real.run_until(10);
    send(&client, b"Michael");
    real.run_until(20);
    client.borrow_mut().make_room(100);
    real.run_until(30);
    send(&client, b"Tracy");
    real.run_until(40);
    let got = sent_to(&client);
    assert_eq!(got, "Welcome!Hello, Michael!Hello, Tracy!");
    text.real(&real, &format!("The client has read: {got}"));
    text.assert_shown_as("p06");
}

#[test]
fn p07_no_high_water_mark() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let to_naive = naive.client(naive::read_all, ScriptedStream::with_room(8));
    let mut real = Harness::real(Settings::default());
    let to_real = real.client(ScriptedStream::with_room(8));
    naive.run_until(10);
    real.run_until(10);
    text.line("The client has sent   the naive code keeps   the code here keeps");
    let mut sent = 0;
    for kibibytes in [16, 64, 256, 1_024, 4_096] {
        let more = vec![b'x'; kibibytes * 1_024 - sent];
        sent += more.len();
        send(&to_naive, &more);
        send(&to_real, &more);
        naive.settle();
        real.settle();
        let without = naive.program.owed();
        let peers = real.program.reactor.sources();
        let with: usize = peers
            .map(|(_, source)| match source {
                ServerSource::Peer(peer) => peer.owed(&real.program.shared.pending),
                _ => 0,
            })
            .sum();
        assert!(without > sent, "it keeps everything");
        assert!(with <= HIGH_WATER_BYTES + 4 * 1_032);
        text.line(format_args!("{sent:>17} B {without:>20} B {with:>19} B"));
    }
    text.assert_shown_as("p07");
}

#[test]
fn p08_eof_treated_as_gone() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let client = naive.client(naive::read_all, ScriptedStream::with_room(8));
    naive.run_until(10);
    send_and_finish(&client, b"Michael");
    naive.run_until(20);
    client.borrow_mut().make_room(100);
    naive.run_until(30);
    let got = sent_to(&client);
    assert_eq!(got, "Welcome!");
    text.naive(
        &naive,
        &format!("The client, which still reads, has read: {got}"),
    );

    let mut real = Harness::real(Settings::default());
    let client = real.client(ScriptedStream::with_room(8));
    real.run_until(10);
    send_and_finish(&client, b"Michael");
    real.run_until(20);
    client.borrow_mut().make_room(100);
    real.run_until(30);
    let got = sent_to(&client);
    assert_eq!(got, "Welcome!Hello, Michael!");
    assert!(!is_open(&client));
    text.real(
        &real,
        &format!("The client, which still reads, has read: {got}"),
    );
    text.assert_shown_as("p08");
}

#[test]
fn p09_a_hangup_treated_as_gone() {
    let mut text = Text::default();
    let mut naive = Harness::naive();
    let client = naive.client(naive::closed_means_gone, ScriptedStream::unlimited());
    naive.run_until(10);
    send_and_finish(&client, b"Michael");
    naive.run_until(20);
    let unread = client.borrow().arrived.len();
    assert_eq!((unread, sent_to(&client).as_str()), (7, "Welcome!"));
    text.naive(&naive, &format!("{unread} bytes are thrown away unread."));

    let mut real = Harness::real(Settings::default());
    let client = real.client(ScriptedStream::unlimited());
    real.run_until(10);
    send_and_finish(&client, b"Michael");
    real.run_until(20);
    assert_eq!(sent_to(&client), "Welcome!Hello, Michael!");
    assert!(!is_open(&client));
    text.real(&real, "What was sent before the end is read and answered.");
    text.assert_shown_as("p09");
}

/// A client with a small receive buffer: most replies wait in the server's send buffer.
fn slow_reader(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Reads to the end, and returns the number of bytes and how they ended.
fn read_to_end(stream: &mut TcpStream) -> (usize, String) {
    let mut bytes = Vec::new();
    let end = match stream.read_to_end(&mut bytes) {
        Ok(_) => "the end of input".to_owned(),
        Err(error) => error.kind().to_string(),
    };
    (bytes.len(), end)
}

/// On real sockets, because it is the kernel's reset that discards what was sent.
#[test]
#[cfg_attr(windows, ignore = "under Wine the peer reads EOF before the reset")]
fn p10_closing_with_unread_input_resets() {
    let mut text = Text::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = slow_reader(listener.local_addr().unwrap());
    client.write_all(b"exit\nand something more\n").unwrap();
    let (accepted, _) = listener.accept().unwrap();
    // Large enough for all replies, so that only the close can lose them.
    let buffer = SockRef::from(&accepted);
    buffer.set_send_buffer_size(200_000).unwrap();
    accepted.set_write_timeout(Some(TIMEOUT)).unwrap();
    let replies = vec![b'x'; 100_000];
    naive::answer_and_drop(accepted, &replies).unwrap();
    let (count, end) = read_to_end(&mut client);
    assert!(count < replies.len(), "{count} bytes arrived");
    assert_eq!(end, "connection reset");
    text.line(format_args!(
        "The naive code: it wrote {} bytes, the client read some, then \"{end}\".",
        replies.len()
    ));

    let server = Server::start(&["--framing", "line"]);
    let mut client = slow_reader(server.tcp_address());
    let names = [&[b'x'; 991][..], b"\n"].concat().repeat(100);
    client.write_all(&names).unwrap();
    client.write_all(b"exit\n").unwrap();
    // More than the read that returns the exit also returns.
    client
        .write_all(&b"and something more\n".repeat(1_000))
        .unwrap();
    #[cfg(unix)]
    server.wait_for_messages(101);
    let (count, end) = read_to_end(&mut client);
    let wanted = "Welcome!\n".len() + 100 * 1_000;
    assert_eq!((count, end.as_str()), (wanted, "the end of input"));
    text.line(format_args!(
        "The code here: it wrote {wanted} bytes, the client read {count}, then \"{end}\"."
    ));
    text.assert_shown_as("p10");
}

/// One forged datagram makes two servers answer each other.
#[test]
fn p14_two_servers_greet_each_other_forever() {
    const ROUNDS: usize = 1_000;
    let mut text = Text::default();
    let (one, other) = (address(9_999), address(9_998));
    let mut forged = (b"Ada".to_vec(), other);
    let mut last = 0;
    for round in 0..ROUNDS {
        let socket = ScriptedUdpSocket::default();
        let script = socket.0.clone();
        script.borrow_mut().arrived.push_back(Ok(forged.clone()));
        let ended = naive::answer_every_datagram(&socket).unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::WouldBlock);
        let (reply, to) = script
            .borrow_mut()
            .sent
            .pop()
            .expect("it answers every datagram");
        if round < 3 {
            text.line(format_args!(
                "The naive code, datagram {:>4}: {}",
                round + 1,
                String::from_utf8_lossy(&reply)
            ));
        }
        last = reply.len();
        forged = (reply, if to == other { one } else { other });
    }
    assert_eq!(last, 3 + ROUNDS * 8);
    text.line(format_args!(
        "The naive code, datagram {ROUNDS:>4}: {last} bytes, and it goes on"
    ));
    text.line("");

    let first = real_answers(b"Ada", other);
    assert_eq!(first, (vec![b"Hello, Ada!".to_vec()], 0));
    let second = real_answers(&first.0[0], one);
    assert_eq!(second, (Vec::new(), 1));
    text.line("The code here,  datagram    1: Hello, Ada!");
    text.line("The code here,  no second one: what is a greeting is counted, and not greeted");
    text.assert_shown_as("p14");
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// What the real server sends back, and how many datagrams it drops as greetings.
fn real_answers(datagram: &[u8], from: SocketAddr) -> (Vec<Vec<u8>>, u64) {
    let mut real = Harness::real(Settings::default());
    let socket = ScriptedUdpSocket::default();
    let script = socket.0.clone();
    let source = ServerSource::Datagrams(Box::new(Datagrams::new(socket)));
    let token = real.program.add(source).unwrap();
    script
        .borrow_mut()
        .arrived
        .push_back(Ok((datagram.to_vec(), from)));
    real.turn(&[(token, Readiness::READABLE | Readiness::WRITABLE)]);
    real.settle();
    let dropped = real.program.shared.stats.dropped[DropReason::Greeting];
    let sent = &script.borrow().sent;
    let sent = sent.iter().map(|(reply, _)| reply.clone()).collect();
    (sent, dropped)
}
