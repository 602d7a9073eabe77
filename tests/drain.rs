//! Graceful drain (pitfall 17): the server accepts connections already queued and no later ones,
//! reads each client once more, sends what it owes, reports what it did, and exits.
#![cfg(unix)] // signals request a drain; on Windows a parent does, in `tests/windows.rs`

#[path = "util/harness.rs"]
mod harness;
#[path = "util/script.rs"]
mod script;
#[macro_use]
mod util;

use harness::Harness;
use helloop::reactor::Readiness;
use helloop::server::sources::datagrams::{DATAGRAMS_PER_DRAIN, DATAGRAMS_PER_TURN};
use helloop::server::sources::listener::{ACCEPTS_PER_DRAIN, ACCEPTS_PER_TURN};
use helloop::server::{DRAIN_BYTES_PER_CLIENT, Lifecycle, Outcome, Settings};
use nix::sys::signal::Signal;
use script::Errno;
use socket2::SockRef;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;
use util::{
    Model, Server, TIMEOUT, ask, ask_udp, connect, counter, expect, expect_last, handles_hangup,
    receive_udp, reset,
};

both_models! {
    sigint_and_sigterm_end_the_server_with_a_summary,
    a_signal_right_after_the_listening_line_drains,
    a_client_that_is_owed_nothing_is_closed_at_once,
    delayed_replies_are_sent_before_the_end,
    unread_messages_are_read_once_more,
    all_lines_that_had_arrived_are_answered,
    more_than_a_drain_reads_of_one_client_is_an_error,
    sighup_drains_unless_it_is_ignored,
    input_after_an_urgent_mark_is_read_too,
    clients_in_the_backlog_are_accepted,
    new_connections_are_refused,
    clients_still_owed_replies_after_the_timeout_are_an_error,
    a_lingering_client_after_the_timeout_is_no_error,
    a_second_signal_exits_at_once,
    the_longest_drain_timeout_overflows_no_clock,
    sigusr1_logs_the_counters,
}

fn sigint_and_sigterm_end_the_server_with_a_summary(model: Model) {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let server = model.start(&[]);
        let mut stream = server.connect();
        ask(&mut stream, b"Michael", b"Hello, Michael!");
        stream.write_all(b"exit").unwrap();
        expect_last(&mut stream, b"");
        drop(stream);
        server.assert_serves();
        ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
        server.signal(signal);
        let ended = server.wait();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let summary = ended.stdout.lines().last().unwrap();
        assert!(
            summary.starts_with("served 2 clients, 3 messages, 1 datagram in "),
            "{summary}"
        );
        assert_eq!(ended.stdout.lines().count(), 2, "{ended:?}");
    }
}

/// A script may stop the server as soon as it has read the address.
fn a_signal_right_after_the_listening_line_drains(model: Model) {
    for _ in 0..20 {
        let ended = model.start(&[]).stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("served 0 clients"), "{ended:?}");
    }
}

fn a_client_that_is_owed_nothing_is_closed_at_once(model: Model) {
    // The delay and the drain timeout are longer than the test's.
    let server = model.start(&["--delay", "1h", "--drain-timeout", "2h"]);
    let mut streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
    server.signal(Signal::SIGTERM);
    for stream in &mut streams {
        expect_last(stream, b"");
    }
    assert_eq!(server.wait().code, Some(0));
}

fn delayed_replies_are_sent_before_the_end(model: Model) {
    let server = model.start(&["--delay", "500ms"]);
    let (mut stream, mut leaving) = (server.connect(), server.connect());
    stream.write_all(b"Michael").unwrap();
    leaving.write_all(b"Tracy").unwrap();
    leaving.shutdown(Shutdown::Write).unwrap();
    server.wait_for_messages(2);
    server.signal(Signal::SIGTERM);
    expect_last(&mut stream, b"Hello, Michael!");
    expect_last(&mut leaving, b"Hello, Tracy!");
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("served 2 clients, 2 messages"));
}

/// A message that arrives together with the signal is answered.
fn unread_messages_are_read_once_more(model: Model) {
    for flags in [[].as_slice(), &["--delay", "100ms"]] {
        let server = model.setup(&["--framing", "line"]).flags(flags).start();
        let mut stream = server.connect();
        ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
        server.pause();
        stream.write_all(b"Michael\nTracy\n").unwrap();
        server.signal(Signal::SIGTERM);
        server.resume();
        expect_last(&mut stream, b"Hello, Michael!\nHello, Tracy!\n");
        assert_eq!(server.wait().code, Some(0));
    }
}

/// More than one turn of the loop reads.
fn all_lines_that_had_arrived_are_answered(model: Model) {
    const LINES: usize = 5_000;
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    server.pause();
    stream.write_all(&b"Michael\n".repeat(LINES)).unwrap();
    server.signal(Signal::SIGTERM);
    server.resume();
    expect_last(&mut stream, &b"Hello, Michael!\n".repeat(LINES));
    drop(stream);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains(" 5000 messages"), "{ended:?}");
}

/// The bound is for a client that sends faster than it is read.
fn more_than_a_drain_reads_of_one_client_is_an_error(model: Model) {
    // The delay makes the server read more slowly than the client sends.
    let flags = [
        "--framing",
        "line",
        "--delay",
        "20ms",
        "--drain-timeout",
        "2h",
    ];
    let server = model.start(&flags);
    let stream = server.connect();
    server.pause();
    let input = [b'x'; 999].iter().chain(b"\n").copied().collect::<Vec<_>>();
    let mut writer = stream.try_clone().unwrap();
    // Several times the bound, and more than the socket buffers hold: written while it is read.
    let (begun, has_begun) = mpsc::channel();
    let writer = thread::spawn(move || {
        for line in 0..32 * DRAIN_BYTES_PER_CLIENT / 1_000 {
            if writer.write_all(&input).is_err() {
                return;
            }
            if line == 16 {
                begun.send(()).unwrap();
            }
        }
    });
    has_begun.recv().unwrap();
    server.signal(Signal::SIGTERM);
    server.resume();
    let mut replies = Vec::new();
    let _ = io::Read::read_to_end(&mut &stream, &mut replies);
    drop(stream);
    writer.join().unwrap();
    let ended = server.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.ends_with(
            "1 client cut off with replies outstanding, by limit: 128 KiB read of one client (1)"
        ),
        "{last}"
    );
}

/// nohup(1) starts a program with SIGHUP ignored, and that must stay so.
fn sighup_drains_unless_it_is_ignored(model: Model) {
    if !handles_hangup() {
        return; // it is left alone
    }
    let server = model.start(&["--delay", "500ms"]);
    let mut stream = server.connect();
    stream.write_all(b"Michael").unwrap();
    server.wait_for_messages(1);
    server.signal(Signal::SIGHUP);
    expect_last(&mut stream, b"Hello, Michael!");
    assert_eq!(server.wait().code, Some(0));

    let server = model.setup(&[]).ignoring_hangup().start();
    server.signal(Signal::SIGHUP);
    server.assert_serves();
    assert_eq!(server.stop().code, Some(0));
}

/// No event reports what follows an urgent mark, so a drain reads every client.
fn input_after_an_urgent_mark_is_read_too(model: Model) {
    let server = model.start(&["--framing", "line"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
    server.pause();
    stream.write_all(b"Michael\n").unwrap();
    SockRef::from(&stream).send_out_of_band(b"!").unwrap();
    stream.write_all(b"Tracy\n").unwrap();
    server.resume();
    expect(&mut stream, b"Hello, Michael!\n");
    server.signal(Signal::SIGTERM);
    expect_last(&mut stream, b"Hello, Tracy!\n");
    assert_eq!(server.wait().code, Some(0));
}

/// A client whose `connect` has succeeded cannot tell whether it has been accepted.
fn clients_in_the_backlog_are_accepted(model: Model) {
    let server = model.start(&[]);
    server.assert_serves();
    server.pause();
    let mut streams: Vec<_> = (0..100).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut streams {
        stream.write_all(b"Michael").unwrap();
    }
    let mut silent: Vec<_> = (0..10).map(|_| connect(server.tcp_address())).collect();
    server.signal(Signal::SIGTERM);
    server.resume();
    for stream in &mut streams {
        expect_last(stream, b"Welcome!Hello, Michael!");
    }
    for stream in &mut silent {
        expect_last(stream, b"Welcome!");
    }
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("served 111 clients, 101 messages"));
}

fn new_connections_are_refused(model: Model) {
    let server = model.start(&["--delay", "1h", "--drain-timeout", "2h"]);
    let mut stream = server.connect();
    stream.write_all(b"Michael").unwrap();
    server.wait_for_messages(1);
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("stopping");
    // The listener closes after that line, although clients keep connecting.
    let address = server.tcp_address();
    let storm = || {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                // A reset leaves no TIME_WAIT, which would use up the ports.
                Ok(stream) => reset(stream),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            assert!(Instant::now() < deadline, "still accepting");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(storm);
        }
    });
    // The drain continues meanwhile.
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]).unwrap_err();
    assert_eq!(peeked.kind(), ErrorKind::WouldBlock);
}

fn clients_still_owed_replies_after_the_timeout_are_an_error(model: Model) {
    let server = model.start(&["--delay", "1h", "--drain-timeout", "200ms"]);
    let mut streams: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let _owed_nothing = server.connect();
    for stream in &mut streams {
        stream.write_all(b"Michael").unwrap();
    }
    server.wait_for_messages(3);
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(
        last.ends_with(
            "3 clients cut off with replies outstanding, by limit: --drain-timeout 200ms (3)"
        ),
        "{last}"
    );
    assert!(ended.stdout.contains("served 4 clients, 3 messages"));
}

/// A client that sent `exit` and does not close is owed nothing.
fn a_lingering_client_after_the_timeout_is_no_error(model: Model) {
    let server = model.start(&["--drain-timeout", "50ms"]);
    let mut stream = server.connect();
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The longest drain that can be asked for is no end of the clock.
fn the_longest_drain_timeout_overflows_no_clock(model: Model) {
    let server = model.start(&["--drain-timeout", "18446744073709551615s"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael", b"Hello, Michael!");
    server.signal(Signal::SIGTERM);
    expect_last(&mut stream, b"");
    drop(stream);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn a_second_signal_exits_at_once(model: Model) {
    let codes = [
        (Signal::SIGINT, Signal::SIGINT, 130),
        (Signal::SIGTERM, Signal::SIGTERM, 143),
        (Signal::SIGTERM, Signal::SIGINT, 130),
        (Signal::SIGHUP, Signal::SIGHUP, 129),
    ];
    let codes = &codes[..if handles_hangup() { 4 } else { 3 }];
    for &(first, second, code) in codes {
        let server = model.start(&["--delay", "1h", "--drain-timeout", "2h"]);
        let mut stream = server.connect();
        stream.write_all(b"Michael").unwrap();
        server.wait_for_messages(1);
        server.signal(first);
        server.stderr().wait_for("a second signal ends at once");
        server.signal(second);
        let ended = server.wait();
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

fn sigusr1_logs_the_counters(model: Model) {
    let server = model.start(&[]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael", b"Hello, Michael!");
    ask_udp(&server.udp(), b"Ada", b"Hello, Ada!");
    let counters = server.counters();
    for (name, count) in [
        ("clients ", 1),
        ("accepted ", 1),
        ("messages ", 1),
        (" answered ", 1),
    ] {
        assert_eq!(counter(&counters, name), count, "{name} in {counters}");
    }
    // The server keeps serving.
    server.assert_serves();
    ask(&mut stream, b"Tracy", b"Hello, Tracy!");
    // The signal is handled during a drain as well.
    let server = model.start(&["--delay", "500ms"]);
    let mut stream = server.connect();
    stream.write_all(b"Michael").unwrap();
    server.wait_for_messages(1);
    server.signal(Signal::SIGTERM);
    server.stderr().wait_for("stopping");
    server.signal(Signal::SIGUSR1);
    expect_last(&mut stream, b"Hello, Michael!");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn an_incomplete_line_is_no_message() {
    let server = Server::start(&["--framing", "line"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\nTra", b"Hello, Michael!\n");
    server.signal(Signal::SIGTERM);
    expect_last(&mut stream, b"");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn queued_datagrams_are_answered() {
    let server = Server::start(&[]);
    server.assert_serves();
    let socket = server.udp();
    server.pause();
    for _ in 0..100 {
        socket.send(b"Ada").unwrap();
    }
    server.signal(Signal::SIGTERM);
    server.resume();
    for _ in 0..100 {
        assert_eq!(receive_udp(&socket), b"Hello, Ada!");
    }
    let ended = server.wait();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stdout.contains(" 100 datagrams "), "{ended:?}");
}

/// All that are queued, even if their event is handled after the signal's; a flood is cut off.
#[test]
fn a_drain_answers_a_bounded_number_of_datagrams() {
    for count in [3 * DATAGRAMS_PER_TURN, 2 * DATAGRAMS_PER_DRAIN] {
        let mut harness = Harness::new(Settings::default());
        let (token, script) = harness.datagrams();
        let datagram = || Ok((b"Ada".to_vec(), ([127, 0, 0, 1], 40_000).into()));
        script.borrow_mut().arrived = (0..count).map(|_| datagram()).collect();
        harness.server.shared.lifecycle = Lifecycle::Stopping;
        harness.step_with(&[(token, Readiness::READABLE)]);
        harness.run_until_idle();
        assert_eq!(harness.outcome, Some(Outcome::Drained));
        assert_eq!(script.borrow().sent.len(), count.min(DATAGRAMS_PER_DRAIN));
    }
}

/// A client that never stops sending is read until its socket is empty, or the bound is reached.
#[test]
fn a_client_that_keeps_sending_does_not_delay_the_exit() {
    let server = Server::start(&["--framing", "line", "--drain-timeout", "2h"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    let mut reader = stream.try_clone().unwrap();
    reader.set_read_timeout(Some(TIMEOUT)).unwrap();
    let writer = thread::spawn(move || {
        // Until EOF or a reset.
        while stream.write_all(b"Tracy\n").is_ok() {}
    });
    expect(&mut reader, b"Hello, Tracy!\n");
    server.signal(Signal::SIGTERM);
    let mut replies = Vec::new();
    let _ = io::Read::read_to_end(&mut reader, &mut replies);
    assert!(matches!(server.wait().code, Some(0 | 1)));
    writer.join().unwrap();
}

/// The number of accepts during a drain is limited.
#[test]
fn a_storm_of_connects_does_not_delay_the_exit() {
    let mut harness = Harness::new(Settings::default());
    let (token, queue) = harness.listener();
    // Each of these clients is gone before it is accepted.
    let storm = 2 * ACCEPTS_PER_DRAIN as usize;
    let gone = || io::Error::from(Errno::ECONNABORTED);
    queue.borrow_mut().errors = (0..storm).map(|_| gone()).collect();
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step_with(&[(token, Readiness::READABLE)]);
    harness.run_until_idle();
    assert_eq!(harness.outcome, Some(Outcome::Drained));
    let least = u64::from(ACCEPTS_PER_DRAIN);
    let calls = queue.borrow().calls;
    assert!(
        (least..=least + ACCEPTS_PER_TURN as u64).contains(&calls),
        "{calls}"
    );
}
