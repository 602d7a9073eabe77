//! What a socket's own errors are about: pitfalls 13 and 14.

use crate::rig::Rig;
use crate::util::LIMIT;
use helloop::reactor::{INTEREST, Readiness};
use helloop::server::Settings;
use helloop::server::stats::DropReason;
use helloop::stress::connect::{Connecting, start_tcp};
use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A connect that hangs, and then is refused: an event alone says neither that it came about nor
/// why not. The socket is asked.
#[test]
fn p13_connect_writable_then_so_error() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    // Room for one, and nobody accepts: whoever comes later hangs.
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
    let mut hanging = streams.pop().unwrap();
    assert!(streams[0].is_connected().unwrap());
    assert!(
        !hanging.is_connected().unwrap(),
        "whatever an event may say"
    );
    drop(listener);
    let deadline = Instant::now() + LIMIT;
    let error = loop {
        poll.poll(&mut events, Some(Duration::from_millis(100)))
            .unwrap();
        match hanging.is_connected() {
            Ok(connected) => assert!(!connected && Instant::now() < deadline),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    poll.registry().deregister(&mut hanging).unwrap();
}

/// No datagram and no error ends the loop, and a full send buffer loses nothing.
#[test]
fn p14_udp_no_datagram_and_no_error_ends_the_loop() {
    let mut rig = Rig::new(Settings::default());
    let (token, post) = rig.datagrams();
    let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let name = |text: &str, port| Ok((text.as_bytes().to_vec(), from(port)));
    let ready = [(token, Readiness::READABLE | Readiness::WRITABLE)];
    post.borrow_mut().arrived.extend([
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
    rig.step_with(&ready);
    rig.settle();
    let sent = std::mem::take(&mut post.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, Michael!".to_vec(), from(5_000)),
            (b"Hello, !".to_vec(), from(5_001)),
            (b"Hello, exit!".to_vec(), from(5_004)),
        ]
    );
    let dropped = |rig: &Rig, drop: DropReason| rig.stats().dropped[drop];
    assert_eq!(dropped(&rig, DropReason::Greeting), 1);
    assert_eq!(dropped(&rig, DropReason::LowPort), 2);
    assert_eq!(dropped(&rig, DropReason::TooLong), 1);
    assert_eq!(rig.stats().datagram_errors, 3);

    // A hard error of sending costs that one reply; a full buffer costs none.
    post.borrow_mut()
        .arrived
        .extend([name("a", 5_000), name("b", 5_000), name("c", 5_000)]);
    post.borrow_mut().send_errors.extend([
        Errno::EMSGSIZE.into(),
        Errno::EINTR.into(),
        Errno::EAGAIN.into(),
    ]);
    rig.step_with(&ready);
    rig.settle();
    assert!(post.borrow().sent.is_empty(), "the buffer is full");
    rig.step_with(&[(token, Readiness::WRITABLE)]);
    rig.settle();
    let sent = std::mem::take(&mut post.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, b!".to_vec(), from(5_000)),
            (b"Hello, c!".to_vec(), from(5_000))
        ]
    );
    assert_eq!(dropped(&rig, DropReason::Unsent), 1);

    // Errors without end are work like any other: bounded in a turn.
    let errors = (0..1_000).map(|_| Err(Errno::ECONNREFUSED.into()));
    post.borrow_mut().arrived.extend(errors);
    let before = post.borrow().receives;
    rig.step_with(&ready);
    assert!(post.borrow().receives - before <= 64);
}
