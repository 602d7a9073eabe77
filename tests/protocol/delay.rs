//! The tutorial's pause: held by the loop or slept by a thread.

use crate::util::{Model, ask_udp, expect, expect_last};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

both_models! {
    two_hundred_clients_wait_together,
    exit_is_held_too,
    each_message_is_held_by_its_own_delay,
}

/// One after the other they would take 200 s. The bound is that of the promise, so a machine
/// that is too busy for it is given two more tries.
fn two_hundred_clients_wait_together(model: Model) {
    const DELAY: Duration = Duration::from_secs(1);
    let server = model.start(&["--delay", "1s"]);
    let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
    #[cfg(target_os = "linux")]
    match model {
        Model::Reactor => assert_eq!(server.threads(), 1),
        Model::Threads => assert!(server.threads() > 200, "{}", server.threads()),
    }
    let mut tries = (0..3).map(|_| {
        let begun = Instant::now();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("{number}").as_bytes()).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            expect(stream, format!("Hello, {number}!").as_bytes());
        }
        begun.elapsed()
    });
    let took = tries.find(|took| *took < 2 * DELAY);
    assert!(took.is_some_and(|took| took > DELAY / 2), "{took:?}");
}

fn exit_is_held_too(model: Model) {
    let server = model.start(&["--delay", "400ms"]);
    let mut stream = server.connect();
    let begun = Instant::now();
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    assert!(begun.elapsed() > Duration::from_millis(200));
}

fn each_message_is_held_by_its_own_delay(model: Model) {
    const DELAY: Duration = Duration::from_millis(800);
    let server = model.start(&["--delay", "800ms"]);
    let (mut stream, mut other) = (server.connect(), server.connect());
    let begun = Instant::now();
    // Two messages, since a read ends at 1,024 bytes; the second is not read before the first
    // is answered.
    let name = "x".repeat(1_024);
    stream.write_all(format!("{name}Tracy").as_bytes()).unwrap();
    other.write_all(b"Sarah").unwrap();
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    assert_silent_until(&stream, begun + DELAY / 2);
    expect(&mut stream, format!("Hello, {name}!").as_bytes());
    assert!(begun.elapsed() > DELAY / 2);
    // Nobody waits for somebody else's second message.
    expect(&mut other, b"Hello, Sarah!");
    assert_silent_until(&stream, begun + DELAY * 3 / 2);
    expect(&mut stream, b"Hello, Tracy!");
    assert!(begun.elapsed() > DELAY * 3 / 2);
}

/// Nothing has come yet, unless so much time has passed that it may.
#[track_caller]
fn assert_silent_until(stream: &TcpStream, time: Instant) {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    let in_time = Instant::now() < time;
    stream.set_nonblocking(false).unwrap();
    if in_time {
        assert_eq!(peeked.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
