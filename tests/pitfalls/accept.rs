//! Accepting, and refusing: pitfalls 4, 5 and 19.

use crate::rig::Rig;
use crate::script::Scripted;
use crate::util::{LIMIT, Server, Setup, clients_at_most, connect, expect, read_to_end};
use crate::{crowd, figure};
use helloop::reactor::Readiness;
use helloop::server::Settings;
use helloop::server::sources::listener::{ACCEPTS_PER_TURN, REFUSALS_AT_ONCE};
use helloop::server::sources::peer::READS_PER_TURN;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// Without a descriptor to accept with: no spin, no exit, and no lost wake-up.
#[test]
fn p04_emfile_on_accept_does_not_spin_nor_exit_nor_lose_the_wake_up() {
    let server = Setup::new(&["--max-clients", "1000"])
        .descriptors(64)
        .start();
    let address = server.tcp_address();
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    // The server greets as many as it has descriptors for, in the order of their coming.
    let fits = greeted(&mut clients);
    assert!(
        (30..64).contains(&fits),
        "{fits} greeted with 64 descriptors"
    );

    // Starved: it tries again by a deadline, and does not spin.
    let turns = |server: &Server| figure(&server.counters(), "; turns ");
    let (before, started) = (turns(&server), Instant::now());
    std::thread::sleep(Duration::from_secs(2)); // a rate is measured, not an event awaited
    let rate = (turns(&server) - before) as f64 / started.elapsed().as_secs_f64();
    assert!(rate <= 40.0, "{rate} turns a second");

    // Ten leave, ten who wait are greeted, though nobody new comes.
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

/// How many of the clients, from the first on, have been greeted, as soon as the next has not
/// been for a while.
fn greeted(clients: &mut [TcpStream]) -> usize {
    for (index, stream) in clients.iter_mut().enumerate() {
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut welcome = [0; 8];
        if stream.read_exact(&mut welcome).is_err() {
            for stream in clients.iter() {
                stream.set_read_timeout(Some(LIMIT)).unwrap();
            }
            return index;
        }
    }
    panic!("all were greeted: the limit did not hold");
}

/// The same with every error that accept has for it, and those that concern one connection only.
#[test]
fn p04_every_failure_of_accept_is_survived() {
    let mut rig = Rig::new(Settings::default());
    let (listener, waiting) = rig.listener();
    // One waits, and the next accept fails.
    let behind = |errno: Errno| {
        let (stream, far_end) = Scripted::roomy();
        let mut waiting = waiting.borrow_mut();
        waiting.streams.push_back(stream);
        waiting.errors.push_back(io::Error::from(errno));
        far_end
    };
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS] {
        let far_end = behind(errno);
        let calls = waiting.borrow().calls;
        rig.step_with(&[(listener, Readiness::READABLE)]);
        rig.settle();
        assert_eq!(
            waiting.borrow().calls,
            calls + 1,
            "{errno}: tried once, no spin"
        );
        assert_eq!(
            rig.server.shared.starved.pop(),
            Some(listener),
            "{errno}: noted for when one leaves"
        );
        rig.pass(Duration::from_secs(1));
        rig.settle();
        assert_eq!(
            far_end.borrow().written,
            b"Welcome!",
            "{errno}: tried again by deadline"
        );
    }
    for errno in [Errno::ECONNABORTED, Errno::EINTR, Errno::EPROTO] {
        let far_end = behind(errno);
        rig.step_with(&[(listener, Readiness::READABLE)]);
        rig.settle();
        assert_eq!(
            far_end.borrow().written,
            b"Welcome!",
            "{errno}: on to the next"
        );
    }
    assert_eq!((rig.stats().starved, rig.stats().aborted), (4, 2));
}

/// A storm of connects and those who are connected are served side by side.
#[test]
fn p05_accept_must_not_starve_clients_nor_they_it() {
    let mut rig = Rig::new(Settings::default());
    let (listener, waiting) = rig.listener();
    let polite = rig.client(Scripted::roomy());
    let flood = rig.client(Scripted::roomy());
    rig.settle();
    flood.borrow_mut().arrive(&[b'x'; 1_024 * 1_000], false);
    waiting
        .borrow_mut()
        .streams
        .extend((0..10 * ACCEPTS_PER_TURN).map(|_| Scripted::roomy().0));
    polite.borrow_mut().arrive(b"Ada", false);
    rig.step_with(&[(listener, Readiness::READABLE)]);
    assert_eq!(
        polite.borrow().written,
        b"Welcome!Hello, Ada!",
        "answered in that turn"
    );
    assert_eq!(
        waiting.borrow().calls,
        ACCEPTS_PER_TURN as u64,
        "accepts are bounded"
    );
    assert!(
        flood.borrow().reads.len() <= READS_PER_TURN,
        "reads are bounded"
    );
    rig.step();
    assert_eq!(
        waiting.borrow().calls,
        2 * ACCEPTS_PER_TURN as u64,
        "and go on, flood or not"
    );
}

/// A burst of connects fits into the backlog while the server is busy elsewhere.
#[test]
fn p19_a_listen_backlog_that_bursts_fit_into() {
    let server = Server::start(&[]);
    let address = server.tcp_address();
    server.signal(Signal::SIGSTOP);
    // With std's 128 the later ones would wait for as long as the server is stopped.
    let mut clients: Vec<TcpStream> = (0..clients_at_most(1_500))
        .map(|_| connect(address))
        .collect();
    server.signal(Signal::SIGCONT);
    for stream in &mut clients {
        expect(stream, b"Welcome!");
    }
}

/// At most sixteen refused clients linger at once; the listener waits, and then goes on.
#[test]
fn refusals_that_linger_do_not_eat_up_the_descriptors() {
    let (mut rig, mut far_ends) = crowd(101);
    assert_eq!(
        (rig.stats().clients(), rig.stats().refusing()),
        (1, REFUSALS_AT_ONCE)
    );
    // One leaves, the next is told.
    for left in far_ends.drain(1..) {
        rig.watch(&left);
        left.borrow_mut().arrive(b"", true);
        rig.settle();
        assert_eq!(left.borrow().written, b"Busy: 1 of 1 clients connected\n");
        assert!(rig.stats().refusing() <= REFUSALS_AT_ONCE);
    }
    assert_eq!((rig.stats().refused, rig.stats().clients()), (100, 1));
}

/// The same on real sockets, many at once.
#[test]
fn refusals_at_once_are_bounded_and_all_are_told() {
    let server = Server::start(&["--max-clients", "10"]);
    let _clients: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    let mut refused: Vec<TcpStream> = (0..100).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut refused {
        let words = read_to_end(stream);
        assert_eq!(words, b"Busy: 10 of 10 clients connected\n");
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let counters = server.counters();
    assert_eq!(figure(&counters, " refused "), 100, "{counters}");
    assert!(
        server
            .stderr()
            .wait_for("refused")
            .contains("--max-clients")
    );
}
