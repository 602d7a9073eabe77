//! Errors of connect and of UDP: pitfalls 13 and 14.

use crate::harness::Harness;
use crate::script::Errno;
use crate::util::TIMEOUT;
use helloop::reactor::{INTEREST, Readiness};
use helloop::server::Settings;
use helloop::server::stats::DropReason;
use helloop::testing::stress::{Connecting, start_tcp};
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A connect that is pending, and then refused. The event proves neither success nor failure: the
/// socket's error does.
#[test]
fn p13_so_error_decides_a_connect_not_the_event() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    // A backlog of one that is never accepted from: later connects stay pending.
    listener.listen(0).unwrap();
    let to = listener.local_addr().unwrap().as_socket().unwrap();
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(16);
    let mut streams: Vec<_> = (0..4).map(|_| start_tcp(to, None).unwrap()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let registry = poll.registry();
        registry
            .register(stream, mio::Token(number), INTEREST)
            .unwrap();
    }
    let mut pending = streams.pop().unwrap();
    assert!(streams[0].is_connected().unwrap());
    assert!(!pending.is_connected().unwrap());
    drop(listener);
    let deadline = Instant::now() + TIMEOUT;
    let error = loop {
        poll.poll(&mut events, Some(Duration::from_millis(100)))
            .unwrap();
        match pending.is_connected() {
            Ok(connected) => assert!(!connected && Instant::now() < deadline),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    // mio's back end on poll(2) has removed a socket that failed.
    let _ = poll.registry().deregister(&mut pending);
}

/// No datagram and no error ends the loop, and a full send buffer loses no reply.
#[test]
fn p14_no_datagram_and_no_udp_error_ends_the_loop() {
    let mut harness = Harness::new(Settings::default());
    let (token, udp) = harness.datagrams();
    let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let name = |text: &str, port| Ok((text.as_bytes().to_vec(), from(port)));
    let ready = [(token, Readiness::READABLE | Readiness::WRITABLE)];
    udp.borrow_mut().arrived.extend([
        Err(Errno::ECONNREFUSED.into()),
        name("Michael", 5_000),
        Err(Errno::EHOSTUNREACH.into()),
        Err(Errno::EINTR.into()),
        Err(Errno::ENOMEM.into()),
        name("", 5_001),
        name("Hello, Michael!", 5_002),
        name("Tracy", 53),
        name("Tracy", 0),
        Ok((vec![b'x'; 2_000], from(5_003))),
        name("exit", 5_004),
    ]);
    harness.step_with(&ready);
    harness.run_until_idle();
    let sent = std::mem::take(&mut udp.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, Michael!".to_vec(), from(5_000)),
            (b"Hello, !".to_vec(), from(5_001)),
            (b"Hello, exit!".to_vec(), from(5_004)),
        ]
    );
    let dropped = |harness: &Harness, reason: DropReason| harness.stats().dropped[reason];
    assert_eq!(dropped(&harness, DropReason::Greeting), 1);
    assert_eq!(dropped(&harness, DropReason::LowPort), 2);
    assert_eq!(dropped(&harness, DropReason::TooLong), 1);
    assert_eq!(harness.stats().datagram_errors, 3);

    // A hard error when sending loses that one reply; a full send buffer loses none.
    udp.borrow_mut()
        .arrived
        .extend([name("a", 5_000), name("b", 5_000), name("c", 5_000)]);
    udp.borrow_mut().send_errors.extend([
        Errno::EMSGSIZE.into(),
        Errno::EINTR.into(),
        Errno::EAGAIN.into(),
    ]);
    harness.step_with(&ready);
    harness.run_until_idle();
    assert!(udp.borrow().sent.is_empty(), "the send buffer is full");
    harness.step_with(&[(token, Readiness::WRITABLE)]);
    harness.run_until_idle();
    let sent = std::mem::take(&mut udp.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, b!".to_vec(), from(5_000)),
            (b"Hello, c!".to_vec(), from(5_000))
        ]
    );
    assert_eq!(dropped(&harness, DropReason::Unsent), 1);

    // Errors count as work: a turn handles a bounded number of them.
    let errors = (0..1_000).map(|_| Err(Errno::ECONNREFUSED.into()));
    udp.borrow_mut().arrived.extend(errors);
    let before = udp.borrow().receives;
    harness.step_with(&ready);
    assert!(udp.borrow().receives - before <= 64);
}
