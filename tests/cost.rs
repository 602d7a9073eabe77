//! What a message and an idle client cost: allocations, system calls, wakeups and memory. The
//! benches measure time.

// Needs /proc for memory, and strace to count calls.
#![cfg(unix)]

mod util;

use allocation_counter::{AllocationInfo, measure};
use helloop::net;
use helloop::protocol::greeting::Framing;
use helloop::reactor::{Reactor, Readiness, bytes_per_source};
use helloop::server::sources::MAX_IDLE_CLIENT_BYTES;
use helloop::server::sources::datagrams::Datagrams;
use helloop::server::sources::listener::Listener;
use helloop::server::stats::Stats;
use helloop::server::{Server, ServerSource, Settings};
use helloop::testing::observe::{RecorderMode, TurnRecorder};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 20;
const ROUNDS: u64 = 50;

/// Whether this is mio's back end on poll(2), which reports a socket again only after `WouldBlock`.
const IS_POLL: bool = cfg!(mio_unsupported_force_poll_poll);
const READS_PER_INPUT: u64 = if IS_POLL { 2 } else { 1 };
const EVENTS_PER_INPUT: u64 = READS_PER_INPUT;

/// A real server whose turns run on the test's thread, so that only its allocations are counted.
struct LocalServer {
    inner: Server,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl LocalServer {
    fn new(framing: Framing) -> Self {
        let tcp = mio::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let addresses = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let settings = Settings {
            framing,
            ..Settings::default()
        };
        let mut server = Server::on(
            Reactor::recorded(TurnRecorder::new(1, RecorderMode::Off)).unwrap(),
            settings,
        );
        let listener = ServerSource::Listener(Box::new(Listener::new(tcp)));
        let datagrams =
            ServerSource::Datagrams(Box::new(Datagrams::new(net::UdpSocket::from_std(udp))));
        for source in [listener, datagrams] {
            server.reactor.add(source, Readiness::empty()).unwrap();
        }
        Self {
            inner: server,
            tcp: addresses.0,
            udp: addresses.1,
        }
    }

    /// Runs turns until `done`. Each waits for an event.
    fn turn_until(&mut self, done: impl Fn(&Stats) -> bool) {
        while !done(&self.inner.shared.stats) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.inner.reactor.turn(&mut self.inner.shared).unwrap();
        assert_eq!(self.inner.between_turns(), None);
    }

    fn stats(&self) -> Stats {
        self.inner.shared.stats
    }

    /// Connected clients that have read their welcome.
    fn clients(&mut self, framing: Framing) -> Vec<TcpStream> {
        let welcome = framing.welcome().len();
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(self.tcp).unwrap())
            .collect();
        let bytes = (CLIENTS * welcome) as u64;
        self.turn_until(|stats| stats.traffic.bytes_out == bytes);
        for client in &mut clients {
            client.read_exact(&mut [0; 16][..welcome]).unwrap();
        }
        // One event of the listener, and one per client for room to write.
        self.turn_until_events(1 + CLIENTS as u64);
        clients
    }

    /// Each client sends `message` and reads `reply`.
    fn round(&mut self, clients: &mut [TcpStream], message: &[u8], reply: &[u8], messages: u64) {
        let expected = self.stats().messages + messages * clients.len() as u64;
        for client in &mut *clients {
            client.write_all(message).unwrap();
        }
        self.turn_until(|stats| stats.messages == expected);
        let mut buffer = [0; 1_024];
        for client in clients {
            let buffer = &mut buffer[..reply.len()];
            client.read_exact(buffer).unwrap();
            assert_eq!(buffer, reply);
        }
    }

    /// Runs turns until the poll has reported this many events.
    fn turn_until_events(&mut self, count: u64) {
        while self.inner.reactor.stats().events < count {
            self.turn();
        }
    }
}

/// Counts the allocations of `ROUNDS` rounds, after some that allocate what later ones reuse.
fn allocations_of(mut work: impl FnMut()) -> AllocationInfo {
    (0..3).for_each(|_| work());
    measure(|| (0..ROUNDS).for_each(|_| work()))
}

fn assert_two_calls_and_no_allocation_per_read(framing: Framing, message: &[u8], reply: &[u8]) {
    let messages = match framing {
        Framing::Chunk => 1,
        Framing::Line => message.iter().filter(|byte| **byte == b'\n').count() as u64,
    };
    let mut server = LocalServer::new(framing);
    let mut clients = server.clients(framing);
    let (stats, turns) = (server.stats(), server.inner.reactor.stats());
    let mut events = turns.events;
    let info = allocations_of(|| {
        server.round(&mut clients, message, reply, messages);
        events += EVENTS_PER_INPUT * CLIENTS as u64;
        server.turn_until_events(events);
    });
    assert_eq!((info.count_total, info.count_current), (0, 0), "{info:?}");

    // Each input takes one write, one call of a source, and one read, or two if the second must
    // prove that the socket is drained (pitfall 25). The second re-arms both directions, so a
    // writable event follows; it calls no source.
    let inputs = (ROUNDS + 3) * CLIENTS as u64;
    let (traffic, before) = (server.stats().traffic, stats.traffic);
    assert_eq!(traffic.reads - before.reads, READS_PER_INPUT * inputs);
    assert_eq!(traffic.writes - before.writes, inputs);
    let after = server.inner.reactor.stats();
    let events = EVENTS_PER_INPUT * inputs;
    assert_eq!(after.events - turns.events, events);
    assert!(after.turns - turns.turns <= events);
    assert_eq!(after.calls - turns.calls, inputs);
}

#[test]
fn a_chunk_costs_one_read_one_write_and_no_allocation() {
    assert_two_calls_and_no_allocation_per_read(Framing::Chunk, b"Michael", b"Hello, Michael!");
}

#[test]
fn the_lines_of_one_read_cost_one_read_one_write_and_no_allocation() {
    let (lines, replies) = (
        b"Michael\nTracy\r\n\n".repeat(10),
        b"Hello, Michael!\nHello, Tracy!\nHello, !\n".repeat(10),
    );
    assert_two_calls_and_no_allocation_per_read(Framing::Line, &lines, &replies);
}

#[test]
fn a_datagram_costs_no_allocation() {
    let mut server = LocalServer::new(Framing::Chunk);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let info = allocations_of(|| {
        let expected = server.stats().datagrams_answered + CLIENTS as u64;
        for client in &clients {
            client.send_to(b"Sarah", server.udp).unwrap();
        }
        server.turn_until(|stats| stats.datagrams_answered == expected);
        for client in &clients {
            let mut reply = [0; 64];
            let length = client.recv(&mut reply).unwrap();
            assert_eq!(&reply[..length], b"Hello, Sarah!");
        }
    });
    assert_eq!((info.count_total, info.count_current), (0, 0), "{info:?}");
}

#[test]
fn a_line_in_pieces_costs_no_allocation_and_an_idle_client_no_buffer() {
    let mut server = LocalServer::new(Framing::Line);
    let mut clients = server.clients(Framing::Line);
    let round = |server: &mut LocalServer, clients: &mut [TcpStream]| {
        let bytes = server.stats().traffic.bytes_in + 5 * CLIENTS as u64;
        for client in &mut *clients {
            client.write_all(b"begun").unwrap();
        }
        server.turn_until(|stats| stats.traffic.bytes_in == bytes);
        assert!(server.stats().buffered >= 5 * CLIENTS);
        server.round(clients, b" and ended\n", b"Hello, begun and ended!\n", 1);
        assert_eq!(server.stats().buffered, 0);
    };
    // Each round reuses the buffers that the one before released.
    let info = allocations_of(|| round(&mut server, &mut clients));
    assert_eq!((info.count_total, info.bytes_current), (0, 0), "{info:?}");
}

#[test]
fn an_idle_server_sleeps_until_an_event() {
    let mut server = LocalServer::new(Framing::Chunk);
    let mut clients = server.clients(Framing::Chunk);
    let events = server.inner.reactor.stats().events + EVENTS_PER_INPUT * CLIENTS as u64;
    server.round(&mut clients, b"Michael", b"Hello, Michael!", 1);
    server.turn_until_events(events);
    let mut client = clients.swap_remove(0);
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        client.write_all(b"Michael").unwrap();
        client
    });
    // One turn: nothing but the message woke the loop.
    server.turn();
    assert_eq!(server.stats().messages, 1 + CLIENTS as u64);
    sender.join().unwrap();
}

#[test]
#[cfg_attr(
    any(debug_assertions, not(target_os = "linux")),
    ignore = "sockets are larger in debug builds; needs /proc and 19,100 descriptors"
)]
fn an_idle_client_costs_at_most_64_bytes() {
    assert!(helloop::testing::raise_descriptor_limit() > 19_100);
    let server = util::Server::start(&[]);
    let at_start = server.resident_bytes();
    let mut clients: Vec<_> = (0..1_000).map(|_| server.connect()).collect();
    let with_1_000 = server.resident_bytes();
    clients.extend((1_000..19_000).map(|_| server.connect()));
    let with_19_000 = server.resident_bytes();
    let bytes_per_client = (with_19_000 - with_1_000) / 18_000;
    assert!(
        bytes_per_client <= 64,
        "{bytes_per_client} bytes per client"
    );
    // Nearly all of it is mapped code, 1.9 MiB of that the system's libraries. 4.5 MiB were measured.
    assert!(at_start < 19 << 18, "{at_start} bytes at start");
}

/// The part of it that the loop keeps.
#[test]
#[cfg_attr(debug_assertions, ignore = "sockets are larger in debug builds")]
fn the_loop_keeps_at_most_64_bytes_per_client() {
    let bytes = bytes_per_source::<ServerSource>();
    println!("{bytes} bytes per client");
    assert!(bytes <= MAX_IDLE_CLIENT_BYTES);
}

/// Counts the system calls from outside.
#[test]
#[ignore = "needs strace, and permission to attach it"]
fn strace_sees_one_read_and_one_write_per_message() {
    let server = util::Server::start(&[]);
    let mut client = server.connect();
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &server.id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("attached"));
    for _ in 0..100 {
        util::ask(&mut client, b"Michael", b"Hello, Michael!");
    }
    util::ask(&mut client, b"last", b"Hello, last!");
    let calls: Vec<String> = lines
        .map(Result::unwrap)
        .take_while(|call| !call.contains("Hello, last!"))
        .collect();
    strace.kill().unwrap();
    strace.wait().unwrap();
    let count = |name: &str| calls.iter().filter(|call| call.contains(name)).count();
    if IS_POLL {
        // The second read returns the next message or `WouldBlock`. In that case mio re-arms the
        // socket, for which it wakes its own poll (write, read and futex), and a writable event ends
        // the next wait.
        assert!((101..=202).contains(&count("recvfrom(")), "{calls:#?}");
        assert_eq!(count("sendto("), 100);
        assert!(
            count("poll(") <= 203 && count(" = ") <= 8 * 101,
            "{calls:#?}"
        );
        return;
    }
    assert_eq!((count("recvfrom("), count("sendto(")), (101, 100));
    // One client with one message in flight: one wait per message, and the one that was resumed.
    assert!(count("epoll_wait") <= 103, "{calls:#?}");
    assert_eq!(count("epoll_ctl("), 0);
}
