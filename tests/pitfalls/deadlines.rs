//! Interrupted waits, and timers: pitfalls 11 and 12.

use crate::harness::Harness;
use crate::script::{Fault, ScriptedStream};
use crate::util::{Server, TIMEOUT};
use helloop::server::Settings;
use helloop::server::stats::CloseCause;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Signals interrupt every wait: the deadline does not move, and no reply is sent early.
#[cfg(unix)] // there is no EINTR elsewhere
#[test]
fn p11_eintr_is_retried_until_the_deadline() {
    let delay = Duration::from_millis(600);
    let server = Server::start(&["--delay", "600ms"]);
    let mut stream = server.connect();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let sent = Instant::now();
    stream.write_all(b"Michael").unwrap();
    let mut reply = [0; 15];
    let mut signals = 0;
    // A signal every 20 ms interrupts the wait for the delay.
    while let Err(error) = stream.read_exact(&mut reply) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        server.signal(nix::sys::signal::Signal::SIGUSR1);
        signals += 1;
        assert!(sent.elapsed() < TIMEOUT, "signals postpone the reply");
    }
    assert!(sent.elapsed() >= delay, "the reply is early");
    assert!(signals > 5);
    assert_eq!(&reply, b"Hello, Michael!");

    // Reads and writes are retried as well.
    let mut harness = Harness::new(Settings::default());
    let client = harness.client(ScriptedStream::unlimited());
    client
        .borrow_mut()
        .faults
        .extend([Some(Fault::Interrupted), None, Some(Fault::Interrupted)]);
    client.borrow_mut().arrive(b"Ada", false);
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Welcome!Hello, Ada!");
}

/// A deadline may move any number of times, and does not fire after it is cancelled.
#[test]
fn p12_deadlines_move_and_a_cancelled_one_never_fires() {
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    for _ in 0..10 {
        harness.advance(Duration::from_secs(4));
        client.borrow_mut().arrive(b"Ada", false);
        harness.run_until_idle();
    }
    assert_eq!(
        harness.stats().open(),
        1,
        "each message restarts the idle timeout"
    );
    harness.advance(Duration::from_secs(5));
    harness.run_until_idle();
    assert!(client.borrow().shut, "the idle timeout has passed");
    client.borrow_mut().arrive(b"", true);
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::IdleTimeout), 1);

    // The write timeout is cancelled when all is sent: it must not close an idle client later.
    let mut harness = Harness::new(Settings::default());
    let client = harness.client(ScriptedStream::with_room(0));
    harness.run_until_idle();
    client.borrow_mut().make_room(100);
    harness.run_until_idle();
    harness.advance(Duration::from_secs(3_600));
    let before = harness.calls();
    harness.run_until_idle();
    assert_eq!(harness.calls(), before, "a deadline fired");
    assert_eq!(harness.stats().open(), 1);
}
