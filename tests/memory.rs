//! `--max-buffered` as resident memory, at full size on real sockets: pitfall 21. The same in
//! virtual time is in `tests/pitfalls/memory.rs`.

// Needs /proc for resident memory.
#![cfg(unix)]

mod util;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use util::{Server, Setup, TIMEOUT, ask, clients_within_descriptor_limit, counter, read_exactly};

const MIB_BYTES: u64 = 1_024 * 1_024;

/// The default of `--max-buffered`.
const CAP_BYTES: u64 = 64 * MIB_BYTES;

/// What an idle client may cost.
const IDLE_CLIENT_BYTES: u64 = 64;

/// What may stay when all clients have gone: the tables that have grown.
const MAX_KEPT_BYTES: u64 = 4 * MIB_BYTES;

const POLITE_CLIENTS: usize = 50;
const ATTACK_LENGTH: Duration = Duration::from_secs(3);

/// One at a time: each takes all descriptors of the process, and its CPUs.
static ALONE: Mutex<()> = Mutex::new(());

fn server(flags: &[&str]) -> Server {
    Setup::new(&["--framing", "line"]).flags(flags).start()
}

fn connect_all(server: &Server, count: usize) -> Vec<TcpStream> {
    let count = clients_within_descriptor_limit(count);
    (0..count).map(|_| server.connect()).collect()
}

/// The most resident memory that the process has ever had.
fn most_resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    1_024 * kibibytes.parse::<u64>().unwrap()
}

/// Waits until no client is connected.
fn wait_until_empty(server: &Server) {
    let deadline = Instant::now() + TIMEOUT;
    while !server.counters().contains("clients 0 ") {
        assert!(Instant::now() < deadline, "{}", server.counters());
    }
}

/// The latencies of clients that ask one after the other, as long as `attack` runs. Each request is
/// answered.
fn polite_beside(server: &Server, attack: impl FnOnce()) -> Vec<Duration> {
    let mut clients: Vec<_> = (0..POLITE_CLIENTS).map(|_| server.connect()).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut latencies = Vec::new();
            while !is_over.load(Relaxed) {
                for client in &mut clients {
                    let asked = Instant::now();
                    ask(client, b"Ada\n", b"Hello, Ada!\n");
                    latencies.push(asked.elapsed());
                }
            }
            latencies.sort_unstable();
            latencies
        });
        attack();
        is_over.store(true, Relaxed);
        asking.join().unwrap()
    })
}

/// Each client sends as much of `bytes`, again and again, as the server takes, and reads nothing.
fn send_and_never_read(clients: &mut [TcpStream], bytes: &[u8], limit: usize) {
    let mut sent = vec![0; clients.len()];
    for client in &*clients {
        client.set_nonblocking(true).unwrap();
    }
    let started = Instant::now();
    while started.elapsed() < ATTACK_LENGTH {
        for (client, sent) in clients.iter_mut().zip(&mut sent) {
            let count = bytes.len().min(limit - *sent);
            if count > 0 {
                // The server may have closed the connection.
                *sent += client.write(&bytes[..count]).unwrap_or(0);
            }
        }
    }
}

fn assert_bounded(server: &Server, start: u64, cap: u64, clients: usize) {
    let most = most_resident_bytes(server);
    let bound = start + cap * 5 / 4 + IDLE_CLIENT_BYTES * clients as u64;
    println!(
        "{} MiB resident at most; bound {}",
        most / MIB_BYTES,
        bound / MIB_BYTES
    );
    let capped = counter(&server.counters(), "buffered too much: ");
    assert!(capped > 0, "the cap was not reached");
    assert!(most <= bound, "{most} bytes");
}

fn assert_given_back(server: &Server, start: u64) {
    wait_until_empty(server);
    let kept = server.resident_bytes().saturating_sub(start);
    println!("{} KiB kept when all have gone", kept / 1_024);
    assert!(kept <= MAX_KEPT_BYTES, "{kept} bytes");
}

/// Three times over, since an allocator may give back what it took only the first time.
#[test]
#[ignore = "15,000 clients for ten seconds"]
fn fifteen_thousand_incomplete_lines_stay_within_the_cap_and_other_clients_are_served() {
    let _alone = ALONE.lock();
    let server = server(&[]);
    let start = server.resident_bytes();
    for _ in 0..3 {
        let mut count = 0;
        let latencies = polite_beside(&server, || {
            let mut flood = connect_all(&server, 15_000);
            send_and_never_read(&mut flood, &[b'x'; 60_000], 60_000);
            count = flood.len();
        });
        let last = latencies.len() - 1;
        println!(
            "polite: {} answered, p50 {:?}, p99.9 {:?}, longest {:?}",
            latencies.len(),
            latencies[last / 2],
            latencies[last * 999 / 1_000],
            latencies[last]
        );
        assert!(latencies[last * 999 / 1_000] < Duration::from_millis(200));
        assert_bounded(&server, start, CAP_BYTES, count);
        assert_given_back(&server, start);
    }
}

#[test]
#[ignore = "17,000 clients"]
fn long_lines_are_answered_while_seventeen_thousand_hold_the_memory() {
    const HELD_BYTES: usize = 3_945;
    let _alone = ALONE.lock();
    let server = server(&[]);
    let start = server.resident_bytes();
    let mut holders = connect_all(&server, 17_000);
    for holder in &mut holders {
        let _ = holder.write_all(&[b'x'; HELD_BYTES]);
    }
    let mut answered = 0;
    let mut polite: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for piece in [b'y'; 60_000].chunks(3_000) {
        for client in &mut polite {
            client.write_all(piece).unwrap();
        }
    }
    for client in &mut polite {
        client.write_all(b"\n").unwrap();
        let reply = read_exactly(client, b"Hello, !\n".len() + 60_000);
        answered += usize::from(reply.ends_with(b"y!\n"));
    }
    println!("{answered} of {} answered", polite.len());
    assert_eq!(answered, polite.len());
    assert_bounded(&server, start, CAP_BYTES, holders.len());
    drop((holders, polite));
    assert_given_back(&server, start);
}

/// Replies as well: small segments, and receive buffers as small as the kernel allows, so that
/// little of what is owed fits into the sockets.
#[test]
#[ignore = "1,000 clients for three seconds"]
fn replies_that_are_never_read_stay_within_the_cap() {
    let _alone = ALONE.lock();
    let server = server(&["--max-buffered", "4MiB"]);
    let start = server.resident_bytes();
    let address = server.tcp_address();
    let mut count = 0;
    polite_beside(&server, || {
        let connect = |_| connect_with_small_buffer(address);
        let mut flood: Vec<_> = (0..clients_within_descriptor_limit(1_000))
            .map(connect)
            .collect();
        send_and_never_read(&mut flood, &[b'\n'; 4_096], usize::MAX);
        count = flood.len();
    });
    assert_bounded(&server, start, 4 * MIB_BYTES, count);
    assert_given_back(&server, start);
}

fn connect_with_small_buffer(address: SocketAddr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream = TcpStream::from(socket);
    assert_eq!(read_exactly(&mut stream, 9), b"Welcome!\n");
    stream
}

#[test]
#[ignore = "15,000 clients"]
fn a_short_line_begun_costs_at_most_128_bytes() {
    let _alone = ALONE.lock();
    let server = server(&[]);
    let start = server.resident_bytes();
    let mut clients = connect_all(&server, 15_000);
    let idle = server.resident_bytes();
    let count = clients.len() as u64;
    for client in &mut clients {
        client.write_all(&[b'x'; 20]).unwrap();
    }
    let deadline = Instant::now() + TIMEOUT;
    while counter(&server.counters(), "bytes in ") < 20 * count {
        assert!(Instant::now() < deadline, "{}", server.counters());
    }
    let each = (server.resident_bytes() - idle) / count;
    println!("{each} bytes for 20 bytes of a line");
    assert!(each <= 128, "{each} bytes each");
    for client in &mut clients {
        client.write_all(b"\n").unwrap();
        let mut reply = [0; 29];
        client.read_exact(&mut reply).unwrap();
    }
    drop(clients);
    assert_given_back(&server, start);
}
