//! Waits and deadlines: pitfalls 11 and 12.

use crate::rig::Rig;
use crate::script::{Fault, Scripted};
use crate::util::{LIMIT, Server};
use helloop::server::Settings;
use helloop::server::stats::CloseCause;
use nix::sys::signal::Signal;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

/// Signals cut every wait short: the deadline stays where it was, and nobody is answered early.
#[test]
fn p11_eintr_is_retried_to_the_deadline() {
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
    // A signal every 20 ms: each interrupts the wait for the delay.
    while let Err(error) = stream.read_exact(&mut reply) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        server.signal(Signal::SIGUSR1);
        signals += 1;
        assert!(sent.elapsed() < LIMIT, "signals put the deadline off");
    }
    assert!(sent.elapsed() >= delay, "answered early");
    assert!(signals > 5);
    assert_eq!(&reply, b"Hello, Michael!");

    // And within reads and writes.
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    wire.borrow_mut()
        .faults
        .extend([Some(Fault::Interrupted), None, Some(Fault::Interrupted)]);
    wire.borrow_mut().arrive(b"Ada", false);
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!Hello, Ada!");
}

/// A deadline costs no call, moves as often as it likes, and never fires once it is taken back.
#[test]
fn p12_timers_without_system_calls_and_a_cancelled_one_never_fires() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    for _ in 0..10 {
        rig.pass(Duration::from_secs(4));
        wire.borrow_mut().arrive(b"Ada", false);
        rig.settle();
    }
    assert_eq!(rig.stats().open(), 1, "each message puts it off");
    rig.pass(Duration::from_secs(5));
    rig.settle();
    assert!(wire.borrow().shut, "its time is over");
    wire.borrow_mut().arrive(b"", true);
    rig.settle();
    assert_eq!(rig.closed(CloseCause::IdleTimeout), 1);

    // The write timeout is taken back when all is sent: it must not end an idle client later.
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::with_room(0));
    rig.settle();
    wire.borrow_mut().make_room(100);
    rig.settle();
    rig.pass(Duration::from_secs(3_600));
    let before = rig.calls();
    rig.settle();
    assert_eq!(rig.calls(), before, "nobody is called");
    assert_eq!(rig.stats().open(), 1);
}
