//! `--delay`: replies are held by the loop, or a thread sleeps.

use crate::util::{Model, ask_udp, expect, expect_last};
use std::io::{self, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

both_models! {
    two_hundred_delays_run_at_the_same_time,
    exit_is_delayed_too,
    each_message_has_its_own_delay,
}

/// In sequence the delays would take 200 s. The limit is tight, so a busy machine gets three tries.
fn two_hundred_delays_run_at_the_same_time(model: Model) {
    const DELAY: Duration = Duration::from_secs(1);
    let server = model.start(&["--delay", "1s"]);
    let mut streams: Vec<_> = (0..200).map(|_| server.connect()).collect();
    #[cfg(target_os = "linux")]
    match model {
        Model::Reactor => assert_eq!(server.threads(), 1),
        Model::Threads => assert!(server.threads() > 200, "{}", server.threads()),
    }
    let mut tries = (0..3).map(|_| {
        let started = Instant::now();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(format!("{number}").as_bytes()).unwrap();
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            expect(stream, format!("Hello, {number}!").as_bytes());
        }
        started.elapsed()
    });
    let took = tries.find(|took| *took < 2 * DELAY);
    assert!(took.is_some_and(|took| took > DELAY / 2), "{took:?}");
}

fn exit_is_delayed_too(model: Model) {
    let server = model.start(&["--delay", "400ms"]);
    let mut stream = server.connect();
    let started = Instant::now();
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    assert!(started.elapsed() > Duration::from_millis(200));
}

fn each_message_has_its_own_delay(model: Model) {
    const DELAY: Duration = Duration::from_millis(800);
    let server = model.start(&["--delay", "800ms"]);
    let (mut stream, mut other) = (server.connect(), server.connect());
    let started = Instant::now();
    // Two messages, because a read takes at most 1,024 bytes; the second is not read before the
    // first is answered.
    let name = "x".repeat(1_024);
    stream.write_all(format!("{name}Tracy").as_bytes()).unwrap();
    other.write_all(b"Sarah").unwrap();
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    assert_silent_until(&stream, started + DELAY / 2);
    expect(&mut stream, format!("Hello, {name}!").as_bytes());
    assert!(started.elapsed() > DELAY / 2);
    // The other client does not wait for this one's second message.
    expect(&mut other, b"Hello, Sarah!");
    assert_silent_until(&stream, started + DELAY * 3 / 2);
    expect(&mut stream, b"Hello, Tracy!");
    assert!(started.elapsed() > DELAY * 3 / 2);
}

/// Asserts that nothing has arrived, unless `time` has passed already.
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
