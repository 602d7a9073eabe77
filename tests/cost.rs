//! What a message and an idle client cost: allocations, system calls, wake-ups, memory. Counted,
//! not timed; what is timed is in the benches.

mod util;

use allocation_counter::{AllocationInfo, measure};
use helloop::net::udp::Datagram;
use helloop::observe::recorder::{RecorderMode, TurnRecorder};
use helloop::protocol::greeting::Framing;
use helloop::reactor::{Reactor, Readiness};
use helloop::server::sources::datagrams::Datagrams;
use helloop::server::sources::listener::Listener;
use helloop::server::stats::Stats;
use helloop::server::{Server, ServerSource, Settings};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const CLIENTS: usize = 20;
const ROUNDS: u64 = 50;

/// The real server on the test's own thread, turn by turn, so that its allocations can be told
/// from everybody else's.
struct Bench {
    server: Server,
    tcp: SocketAddr,
    udp: SocketAddr,
}

impl Bench {
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
        let datagrams = ServerSource::Datagrams(Box::new(Datagrams::new(Datagram::from_std(udp))));
        for member in [listener, datagrams] {
            server.reactor.add(member, Readiness::empty()).unwrap();
        }
        Self {
            server,
            tcp: addresses.0,
            udp: addresses.1,
        }
    }

    /// Turns until `done`, each of which waits for an event.
    fn turn_until(&mut self, done: impl Fn(&Stats) -> bool) {
        while !done(&self.server.shared.stats) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.server.reactor.turn(&mut self.server.shared).unwrap();
        assert_eq!(self.server.between_turns(), None);
    }

    fn stats(&self) -> Stats {
        self.server.shared.stats
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
        // One edge of the listener, and those that say that the new ones can be written to.
        while self.server.reactor.stats().events < 1 + CLIENTS as u64 {
            self.turn();
        }
        clients
    }

    /// Each client sends `message` and reads `reply`.
    fn round(&mut self, clients: &mut [TcpStream], message: &[u8], reply: &[u8], messages: u64) {
        let wanted = self.stats().messages + messages * clients.len() as u64;
        for client in &mut *clients {
            client.write_all(message).unwrap();
        }
        self.turn_until(|stats| stats.messages == wanted);
        let mut buffer = [0; 1_024];
        for client in clients {
            let buffer = &mut buffer[..reply.len()];
            client.read_exact(buffer).unwrap();
            assert_eq!(buffer, reply);
        }
    }
}

/// The steady state: what was taken once, for the first messages, is used again.
fn steady(mut work: impl FnMut()) -> AllocationInfo {
    (0..3).for_each(|_| work());
    measure(|| (0..ROUNDS).for_each(|_| work()))
}

fn a_message_costs_two_calls_and_no_memory(framing: Framing, message: &[u8], reply: &[u8]) {
    let messages = match framing {
        Framing::Chunk => 1,
        Framing::Line => message.iter().filter(|byte| **byte == b'\n').count() as u64,
    };
    let mut bench = Bench::new(framing);
    let mut clients = bench.clients(framing);
    let (stats, turns) = (bench.stats(), bench.server.reactor.stats());
    let info = steady(|| bench.round(&mut clients, message, reply, messages));
    assert_eq!((info.count_total, info.count_current), (0, 0), "{info:?}");

    let reads = (ROUNDS + 3) * CLIENTS as u64;
    let (traffic, before) = (bench.stats().traffic, stats.traffic);
    assert_eq!(traffic.reads - before.reads, reads);
    assert_eq!(traffic.writes - before.writes, reads);
    // Each wait brought something, and nothing was brought twice.
    let after = bench.server.reactor.stats();
    assert_eq!(after.events - turns.events, reads);
    assert!(after.turns - turns.turns <= reads);
    assert_eq!(after.calls - turns.calls, reads);
}

#[test]
fn a_chunk_costs_one_read_one_write_and_no_allocation() {
    a_message_costs_two_calls_and_no_memory(Framing::Chunk, b"Michael", b"Hello, Michael!");
}

#[test]
fn the_lines_of_a_read_cost_one_read_one_write_and_no_allocation() {
    let (lines, replies) = (
        b"Michael\nTracy\r\n\n".repeat(10),
        b"Hello, Michael!\nHello, Tracy!\nHello, !\n".repeat(10),
    );
    a_message_costs_two_calls_and_no_memory(Framing::Line, &lines, &replies);
}

#[test]
fn a_datagram_costs_no_allocation() {
    let mut bench = Bench::new(Framing::Chunk);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let info = steady(|| {
        let wanted = bench.stats().datagrams_answered + CLIENTS as u64;
        for client in &clients {
            client.send_to(b"Sarah", bench.udp).unwrap();
        }
        bench.turn_until(|stats| stats.datagrams_answered == wanted);
        for client in &clients {
            let mut reply = [0; 64];
            let length = client.recv(&mut reply).unwrap();
            assert_eq!(&reply[..length], b"Hello, Sarah!");
        }
    });
    assert_eq!((info.count_total, info.count_current), (0, 0), "{info:?}");
}

#[test]
fn a_line_in_pieces_costs_no_allocation_and_a_silent_client_holds_nothing() {
    let mut bench = Bench::new(Framing::Line);
    let mut clients = bench.clients(Framing::Line);
    let round = |bench: &mut Bench, clients: &mut [TcpStream]| {
        let bytes = bench.stats().traffic.bytes_in + 5 * CLIENTS as u64;
        for client in &mut *clients {
            client.write_all(b"begun").unwrap();
        }
        bench.turn_until(|stats| stats.traffic.bytes_in == bytes);
        assert!(bench.stats().buffered >= 5 * CLIENTS);
        bench.round(clients, b" and ended\n", b"Hello, begun and ended!\n", 1);
        assert_eq!(bench.stats().buffered, 0);
    };
    // A plateau: what a round needs is what the round before handed on, to the byte.
    let info = steady(|| round(&mut bench, &mut clients));
    assert_eq!((info.count_total, info.bytes_current), (0, 0), "{info:?}");
}

#[test]
fn an_idle_server_sleeps_until_something_happens() {
    let mut bench = Bench::new(Framing::Chunk);
    let mut clients = bench.clients(Framing::Chunk);
    let mut one = clients.swap_remove(0);
    let late = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        one.write_all(b"Michael").unwrap();
        one
    });
    // One turn, from which nothing woke the loop but the message.
    bench.turn();
    assert_eq!(bench.stats().messages, 1);
    late.join().unwrap();
}

/// Bytes of the process that are resident.
fn resident_bytes(process: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    1_024 * kilobytes.parse::<u64>().unwrap()
}

#[test]
#[cfg_attr(
    any(debug_assertions, not(target_os = "linux")),
    ignore = "sockets are larger in debug builds; needs /proc and 19,100 descriptors"
)]
fn an_idle_client_costs_at_most_64_bytes() {
    assert!(helloop::net::system::raise_descriptor_limit() > 19_100);
    let server = util::Server::start(&[]);
    let at_start = resident_bytes(server.id());
    let mut clients: Vec<_> = (0..1_000).map(|_| server.connect()).collect();
    let few = resident_bytes(server.id());
    clients.extend((1_000..19_000).map(|_| server.connect()));
    let many = resident_bytes(server.id());
    let slope = (many - few) / 18_000;
    assert!(slope <= 64, "{slope} bytes a client");
    assert!(at_start < 4 << 20, "{at_start} bytes at start");
}

/// What the counters say, said by the kernel.
#[test]
#[ignore = "needs strace, and the right to attach it"]
fn strace_sees_one_read_and_one_write_a_message() {
    let server = util::Server::start(&[]);
    let mut client = server.connect();
    let mut strace = Command::new("strace")
        .args(["-f", "-p", &server.id().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut calls = BufReader::new(strace.stderr.take().unwrap()).lines();
    assert!(calls.next().unwrap().unwrap().contains("attached"));
    for _ in 0..100 {
        util::ask(&mut client, b"Michael", b"Hello, Michael!");
    }
    util::ask(&mut client, b"last", b"Hello, last!");
    let seen: Vec<String> = calls
        .map(Result::unwrap)
        .take_while(|call| !call.contains("Hello, last!"))
        .collect();
    strace.kill().unwrap();
    strace.wait().unwrap();
    let count = |name: &str| seen.iter().filter(|call| call.contains(name)).count();
    assert_eq!((count("recvfrom("), count("sendto(")), (101, 100));
    // One client, one message in flight: a batch is one message. The first wait was resumed.
    assert!(count("epoll_wait") <= 103, "{seen:#?}");
    assert_eq!(count("epoll_ctl("), 0);
}
