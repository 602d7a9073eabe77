//! Two minutes of all kinds of load at once, with 2,000 clients: connect storms, resets, floods,
//! clients that never read, clients that send byte by byte, and a thousand polite ones whose replies
//! are checked.
//!
//! Ignored in a plain `cargo test` because of its duration. HELLOOP_SOAK sets the length of each of
//! the two rounds, in seconds.

#![cfg(target_os = "linux")]

mod util;

use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use util::{Server, Setup, TIMEOUT, clients_within_descriptor_limit, connect, expect, reset};

/// How much the resident memory may grow from the end of the first round to that of the second.
const MAX_GROWTH_BYTES: u64 = 2 << 20;

#[test]
#[ignore = "takes two minutes"]
fn two_minutes_of_every_load_leave_no_memory_and_no_descriptors_behind() {
    assert_eq!(
        clients_within_descriptor_limit(2_200),
        2_200,
        "the soak needs 2,400 descriptors"
    );
    let seconds = std::env::var("HELLOOP_SOAK").map_or(60, |text| text.parse().unwrap());
    let server = Setup::new(&[
        "--framing",
        "line",
        "--max-buffered",
        "4MiB",
        "--write-timeout",
        "5s",
    ])
    // By default glibc keeps some freed memory, depending on the highest peak (measured: up to 5 MiB
    // more after the second round, or none). With this setting it returns each buffer, so that only
    // the server's own memory is compared.
    .environment("MALLOC_MMAP_THRESHOLD_", "4096")
    .start();
    server.connect();
    let descriptors = wait_until_idle(&server);
    let mut resident = Vec::new();
    for round in 1..=2 {
        let answered = soak(server.tcp_address(), Duration::from_secs(seconds));
        assert_eq!(wait_until_idle(&server), descriptors, "open descriptors");
        resident.push(server.resident_bytes());
        println!("round {round}: {answered} polite messages answered; RSS {resident:?} bytes");
        assert!(answered >= 2_000, "the polite clients are starved");
    }
    assert!(
        resident[1] <= resident[0] + MAX_GROWTH_BYTES,
        "RSS went from {} to {} bytes",
        resident[0],
        resident[1]
    );
    let counters = server.counters();
    println!("{counters}");
    assert!(
        counters.contains("closed, buffered too much"),
        "--max-buffered was not reached"
    );
    assert_eq!(server.stop().code, Some(0));
}

/// Waits until all clients are gone and no memory is kept for them, and returns the number of open
/// descriptors.
fn wait_until_idle(server: &Server) -> usize {
    let started = Instant::now();
    loop {
        let counters = server.counters();
        if counters.contains(" clients 0 accepted") && counters.contains(" buffered 0;") {
            return server.open_descriptors();
        }
        assert!(started.elapsed() < TIMEOUT, "never idle: {counters}");
        thread::yield_now();
    }
}

/// Runs all kinds of clients at once, and returns the number of polite messages answered.
fn soak(address: SocketAddr, time: Duration) -> u64 {
    let is_over = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    thread::scope(|scope| {
        for group in 0..4 {
            let (is_over, answered) = (&is_over, &answered);
            scope.spawn(move || polite(address, group, is_over, answered));
        }
        scope.spawn(|| slow_senders(address, &is_over));
        scope.spawn(|| never_readers(address, &is_over));
        scope.spawn(|| floods(address, &is_over));
        scope.spawn(|| storms(address, &is_over));
        // The duration of the round.
        thread::sleep(time);
        is_over.store(true, Relaxed);
    });
    answered.into_inner()
}

/// 250 clients that all send at once, then read their replies and check them.
fn polite(address: SocketAddr, group: usize, is_over: &AtomicBool, answered: &AtomicU64) {
    let mut clients: Vec<TcpStream> = welcomed(address, 250);
    for round in 0.. {
        let name = |index| format!("polite-{group}-{index}-{round}");
        for (index, stream) in clients.iter_mut().enumerate() {
            stream
                .write_all(format!("{}\n", name(index)).as_bytes())
                .unwrap();
        }
        for (index, stream) in clients.iter_mut().enumerate() {
            expect(stream, format!("Hello, {}!\n", name(index)).as_bytes());
            answered.fetch_add(1, Relaxed);
        }
        if is_over.load(Relaxed) {
            return;
        }
    }
}

/// Connects `count` clients, then reads all welcomes.
fn welcomed(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> = (0..count).map(|_| connect(address)).collect();
    for stream in &mut clients {
        expect(stream, b"Welcome!\n");
    }
    clients
}

/// 300 clients that send one byte at a time.
fn slow_senders(address: SocketAddr, is_over: &AtomicBool) {
    let mut clients: Vec<TcpStream> = welcomed(address, 300);
    while !is_over.load(Relaxed) {
        for byte in *b"drip\n" {
            for stream in &mut clients {
                stream.write_all(&[byte]).unwrap();
            }
        }
        for stream in &mut clients {
            expect(stream, b"Hello, drip!\n");
        }
    }
}

/// 300 clients that send much and read nothing: each is closed in time, and connects again.
fn never_readers(address: SocketAddr, is_over: &AtomicBool) {
    let messages = b"\n".repeat(8_192);
    let mut clients: Vec<Option<TcpStream>> = (0..300).map(|_| None).collect();
    while !is_over.load(Relaxed) {
        for client in &mut clients {
            let stream = client.get_or_insert_with(|| {
                let stream = connect(address);
                SockRef::from(&stream).set_recv_buffer_size(4_096).unwrap();
                stream.set_nonblocking(true).unwrap();
                stream
            });
            if let Err(error) = stream.write(&messages)
                && error.kind() != ErrorKind::WouldBlock
            {
                *client = None;
            }
        }
        thread::sleep(Duration::from_millis(5)); // slower than a flood
    }
}

/// 200 clients that send as fast as they can, and read what arrives. One that is closed, which may
/// have the largest buffer when the cap is exceeded, connects again.
fn floods(address: SocketAddr, is_over: &AtomicBool) {
    let messages = b"a flood of names\n".repeat(200);
    let mut input = vec![0; 64 * 1_024];
    let mut clients: Vec<Option<TcpStream>> = (0..200).map(|_| None).collect();
    while !is_over.load(Relaxed) {
        for client in &mut clients {
            let stream = client.get_or_insert_with(|| {
                let stream = connect(address);
                stream.set_nonblocking(true).unwrap();
                stream
            });
            let is_open = [stream.write(&messages), stream.read(&mut input)]
                .into_iter()
                .all(|result| match result {
                    Ok(count) => count > 0,
                    Err(error) => error.kind() == ErrorKind::WouldBlock,
                });
            if !is_open {
                *client = None;
            }
        }
    }
}

/// 200 clients at a time connect, send, and disconnect.
fn storms(address: SocketAddr, is_over: &AtomicBool) {
    while !is_over.load(Relaxed) {
        let clients: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
        for (index, mut stream) in clients.into_iter().enumerate() {
            // Some messages are truncated, and some connections are reset with messages unread.
            let _ = stream.write(b"storm\nstor");
            if index % 2 == 0 {
                reset(stream);
            }
        }
    }
}
