//! Accepting, and refusing: pitfalls 4, 5 and 19.

use crate::counter;
use crate::harness::Harness;
use crate::overloaded;
use crate::script::{Errno, ScriptedStream};
use crate::util::{
    Server, Setup, TIMEOUT, clients_within_descriptor_limit, connect, expect, read_to_end,
};
use helloop::reactor::Readiness;
use helloop::server::sources::listener::ACCEPTS_PER_TURN;
use helloop::server::sources::peer::READS_PER_TURN;
use helloop::server::{REFUSALS_AT_ONCE, Settings};
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Out of descriptors, the server keeps running without spinning, and accepts as soon as a client
/// leaves.
#[cfg(unix)] // a shell limits the descriptors
#[test]
fn p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup() {
    let server = Setup::new(&["--max-clients", "1000"])
        .descriptors(64)
        .start();
    let address = server.tcp_address();
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    // The server welcomes as many as it has descriptors for, in the order of their connects.
    let fits = welcomed(&mut clients);
    assert!(
        (30..64).contains(&fits),
        "{fits} welcomed with 64 descriptors"
    );

    // It retries after a deadline, and does not spin.
    let turns = |server: &Server| counter(&server.counters(), "; turns ");
    let (before, started) = (turns(&server), Instant::now());
    std::thread::sleep(Duration::from_secs(2)); // measures a rate
    let rate = (turns(&server) - before) as f64 / started.elapsed().as_secs_f64();
    assert!(rate <= 40.0, "{rate} turns per second");

    // Ten clients leave, and ten from the backlog are welcomed, without another connect.
    for stream in clients.drain(..10) {
        drop(stream);
    }
    for stream in &mut clients[fits - 10..fits] {
        expect(stream, b"Welcome!");
    }
    assert!(
        server
            .stderr()
            .wait_for("cannot accept")
            .contains("ulimit -n")
    );
    drop(clients);
    server.assert_serves();
    assert_eq!(server.stop().code, Some(0));
}

/// Counts the clients, from the first, that are welcomed; stops at one that is not welcomed for a
/// while.
#[cfg(unix)] // used by one test
fn welcomed(clients: &mut [TcpStream]) -> usize {
    for (index, stream) in clients.iter_mut().enumerate() {
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut welcome = [0; 8];
        if stream.read_exact(&mut welcome).is_err() {
            for stream in clients.iter() {
                stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            }
            return index;
        }
    }
    panic!("all were welcomed despite the descriptor limit");
}

/// Errors for lack of resources, and errors of one queued connection.
#[test]
fn p04_the_listener_survives_every_accept_error() {
    let mut harness = Harness::new(Settings::default());
    let (listener, queue) = harness.listener();
    // The next accept fails, and a connection is queued.
    let queue_after_error = |errno: Errno| {
        let (stream, remote) = ScriptedStream::unlimited();
        let mut queue = queue.borrow_mut();
        queue.streams.push_back(stream);
        queue.errors.push_back(io::Error::from(errno));
        remote
    };
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS] {
        let remote = queue_after_error(errno);
        let calls = queue.borrow().calls;
        harness.step_with(&[(listener, Readiness::READABLE)]);
        harness.run_until_idle();
        assert_eq!(
            queue.borrow().calls,
            calls + 1,
            "{errno:?}: accept called other than once"
        );
        assert_eq!(
            harness.server.shared.waiting_listeners.pop(),
            Some(listener),
            "{errno:?}: not to be woken when a client leaves"
        );
        harness.advance(Duration::from_secs(1));
        harness.run_until_idle();
        assert_eq!(
            remote.borrow().written,
            b"Welcome!",
            "{errno:?}: not retried after the deadline"
        );
    }
    for errno in [Errno::ECONNABORTED, Errno::EINTR, Errno::EPROTO] {
        let remote = queue_after_error(errno);
        harness.step_with(&[(listener, Readiness::READABLE)]);
        harness.run_until_idle();
        assert_eq!(
            remote.borrow().written,
            b"Welcome!",
            "{errno:?}: the next connection is not accepted"
        );
    }
    assert_eq!((harness.stats().starved, harness.stats().aborted), (4, 2));
}

/// A storm of connects, a flooding client and a polite one are served in the same turns.
#[test]
fn p05_accepts_and_clients_do_not_starve_each_other() {
    let mut harness = Harness::new(Settings::default());
    let (listener, queue) = harness.listener();
    let polite = harness.client(ScriptedStream::unlimited());
    let flood = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    flood.borrow_mut().arrive(&[b'x'; 1_024 * 1_000], false);
    queue
        .borrow_mut()
        .streams
        .extend((0..10 * ACCEPTS_PER_TURN).map(|_| ScriptedStream::unlimited().0));
    polite.borrow_mut().arrive(b"Ada", false);
    harness.step_with(&[(listener, Readiness::READABLE)]);
    assert_eq!(
        polite.borrow().written,
        b"Welcome!Hello, Ada!",
        "not answered in that turn"
    );
    assert_eq!(
        queue.borrow().calls,
        ACCEPTS_PER_TURN as u64,
        "accepts are not bounded"
    );
    assert!(
        flood.borrow().reads.len() <= READS_PER_TURN,
        "reads are not bounded"
    );
    harness.step();
    assert_eq!(
        queue.borrow().calls,
        2 * ACCEPTS_PER_TURN as u64,
        "accepts stop during the flood"
    );
}

/// The backlog holds a burst of connects while the server is suspended.
#[cfg(unix)] // suspends the server
#[test]
fn p19_a_burst_of_connects_fits_into_the_backlog() {
    let server = Server::start(&[]);
    let address = server.tcp_address();
    server.pause();
    // With std's backlog of 128 the later connects would stay pending.
    let mut clients: Vec<TcpStream> = (0..clients_within_descriptor_limit(1_500))
        .map(|_| connect(address))
        .collect();
    server.resume();
    for stream in &mut clients {
        expect(stream, b"Welcome!");
    }
}

/// At most sixteen refused clients linger at once; the listener stops accepting until one is gone.
#[test]
fn lingering_refusals_are_bounded() {
    let (mut harness, mut remotes) = overloaded(101);
    assert_eq!(
        (harness.stats().clients(), harness.stats().refusing()),
        (1, REFUSALS_AT_ONCE)
    );
    // As soon as one leaves, the next is refused.
    for client in remotes.drain(1..) {
        harness.add_remote(&client);
        client.borrow_mut().arrive(b"", true);
        harness.run_until_idle();
        assert_eq!(client.borrow().written, b"Busy: 1 of 1 clients connected\n");
        assert!(harness.stats().refusing() <= REFUSALS_AT_ONCE);
    }
    assert_eq!(
        (harness.stats().refused, harness.stats().clients()),
        (100, 1)
    );
}

/// Two hundred connections of one address, of which ten may be clients. None that is refused hangs
/// up, and no time passes: the next client in the backlog is served nevertheless.
#[test]
fn a_host_beyond_its_limit_delays_no_other() {
    let mut harness = Harness::new(Settings {
        max_clients_per_address: Some(10),
        ..Settings::default()
    });
    let (listener, queue) = harness.listener();
    let flood: Vec<_> = (0..200).map(|_| ScriptedStream::unlimited()).collect();
    let (flood, remotes): (Vec<_>, Vec<_>) = flood.into_iter().unzip();
    let (other, other_remote) = ScriptedStream::unlimited();
    other_remote.borrow_mut().address = Some("[::1]:40000".parse().unwrap());
    queue.borrow_mut().streams.extend(flood);
    queue.borrow_mut().streams.push_back(other);
    harness.step_with(&[(listener, Readiness::READABLE)]);
    harness.run_until_idle();
    assert_eq!(other_remote.borrow().written, b"Welcome!");
    let refusal = b"Busy: 10 of 10 clients of this address connected\n";
    for remote in &remotes[10..] {
        assert_eq!(remote.borrow().written, refusal);
    }
    let closed = remotes
        .iter()
        .filter(|remote| remote.borrow().closed)
        .count() as u64;
    assert_eq!(closed, 190 - REFUSALS_AT_ONCE);
    let stats = harness.stats();
    assert_eq!((stats.clients(), stats.refusing()), (11, REFUSALS_AT_ONCE));
    assert_eq!((stats.refused, stats.refused_per_address), (190, 190));
}

/// Many refusals at once, on real sockets.
#[test]
fn every_refused_client_reads_the_refusal() {
    let server = Server::start(&["--max-clients", "10"]);
    let _clients: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    let mut refused: Vec<TcpStream> = (0..100).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut refused {
        let refusal = read_to_end(stream);
        assert_eq!(refusal, b"Busy: 10 of 10 clients connected\n");
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let log = server.stop().stderr;
    let mut lines = log.lines();
    let first = lines.find(|line| line.contains("refused"));
    assert!(first.unwrap().contains("--max-clients"), "{log}");
    assert_eq!(counter(lines.last().unwrap(), " refused "), 100, "{log}");
}
