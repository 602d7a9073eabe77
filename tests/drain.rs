//! How the server stops (pitfall 17): it takes nobody new, but everybody who came before; reads
//! each client once more, sends what it owes, says what it did, and ends; or is ended.

#[path = "util/rig.rs"]
mod rig;
#[path = "util/script.rs"]
mod script;
#[macro_use]
mod util;

use helloop::reactor::Readiness;
use helloop::server::sources::listener::{ACCEPTS_PER_DRAIN, ACCEPTS_PER_TURN};
use helloop::server::{Lifecycle, Outcome, Settings};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rig::Rig;
use socket2::SockRef;
use std::io::{self, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use util::{LIMIT, Model, Server, ask, ask_udp, connect, expect, expect_last, figure, receive_udp};

both_models! {
    either_signal_ends_it_with_a_summary,
    a_signal_right_after_the_first_line_drains,
    a_client_that_is_owed_nothing_ends_at_once,
    delayed_replies_are_sent_before_the_end,
    what_was_not_read_yet_is_read_once_more,
    what_stands_behind_an_urgent_mark_is_read_too,
    clients_in_the_backlog_are_accepted_first,
    new_connections_are_refused,
    time_runs_out_with_replies_owed,
    time_does_not_run_out_over_those_who_are_owed_nothing,
    a_second_signal_ends_at_once,
    counters_on_sigusr1,
}

fn either_signal_ends_it_with_a_summary(model: Model) {
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
fn a_signal_right_after_the_first_line_drains(model: Model) {
    for _ in 0..20 {
        let ended = model.start(&[]).stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("served 0 clients"), "{ended:?}");
    }
}

fn a_client_that_is_owed_nothing_ends_at_once(model: Model) {
    // Neither the delay nor the time limit, which are beyond the test's own, is waited for.
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

/// A message and the signal can come together, and the message counts.
fn what_was_not_read_yet_is_read_once_more(model: Model) {
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

/// No event would tell the reactor of what stands behind an urgent mark, so it looks.
fn what_stands_behind_an_urgent_mark_is_read_too(model: Model) {
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

/// For a client whose `connect` has succeeded there is no difference between the backlog and
/// the server.
fn clients_in_the_backlog_are_accepted_first(model: Model) {
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
    // The listener closes behind that line, although clients never stop coming.
    let address = server.tcp_address();
    let storm = || {
        let deadline = Instant::now() + LIMIT;
        loop {
            match TcpStream::connect_timeout(&address, LIMIT) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                // Gone without a trace, or the machine would soon be out of ports.
                Ok(stream) => SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
            assert!(Instant::now() < deadline, "still accepted");
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(storm);
        }
    });
    // The drain goes on meanwhile.
    stream.set_nonblocking(true).unwrap();
    let silence = stream.peek(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
}

fn time_runs_out_with_replies_owed(model: Model) {
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
        last.starts_with("error: 3 clients cut off with replies owed"),
        "{last}"
    );
    assert!(ended.stdout.contains("served 4 clients, 3 messages"));
}

/// One that said `exit` and does not close its end is owed nothing any more.
fn time_does_not_run_out_over_those_who_are_owed_nothing(model: Model) {
    let server = model.start(&["--drain-timeout", "50ms"]);
    let mut stream = server.connect();
    stream.write_all(b"exit").unwrap();
    expect_last(&mut stream, b"");
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

fn a_second_signal_ends_at_once(model: Model) {
    let codes = [
        (Signal::SIGINT, Signal::SIGINT, 130),
        (Signal::SIGTERM, Signal::SIGTERM, 143),
        (Signal::SIGTERM, Signal::SIGINT, 130),
    ];
    for (first, second, code) in codes {
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

fn counters_on_sigusr1(model: Model) {
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
        assert_eq!(figure(&counters, name), count, "{name} in {counters}");
    }
    // Not a request to stop.
    server.assert_serves();
    ask(&mut stream, b"Tracy", b"Hello, Tracy!");
    // Nor during a drain.
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

/// What has not become a message by then will not be one.
#[test]
fn a_line_begun_is_no_message() {
    let server = Server::start(&["--framing", "line"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\nTra", b"Hello, Michael!\n");
    server.signal(Signal::SIGTERM);
    expect_last(&mut stream, b"");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn waiting_datagrams_are_answered() {
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

/// A client that talks without end is read once more, and then never again.
#[test]
fn a_talker_does_not_hold_up_the_end() {
    let server = Server::start(&["--framing", "line", "--drain-timeout", "2h"]);
    let mut stream = server.connect();
    ask(&mut stream, b"Michael\n", b"Hello, Michael!\n");
    let mut reader = stream.try_clone().unwrap();
    reader.set_read_timeout(Some(LIMIT)).unwrap();
    let talker = thread::spawn(move || {
        // Until the connection's end, whatever form that takes.
        while stream.write_all(b"Tracy\n").is_ok() {}
    });
    expect(&mut reader, b"Hello, Tracy!\n");
    server.signal(Signal::SIGTERM);
    let mut replies = Vec::new();
    let _ = io::Read::read_to_end(&mut reader, &mut replies);
    assert_eq!(server.wait().code, Some(0));
    talker.join().unwrap();
}

/// Clients may come as fast as they are accepted, but not for ever.
#[test]
fn a_storm_of_connects_does_not_hold_up_the_end() {
    let mut rig = Rig::new(Settings::default());
    let (token, waiting) = rig.listener();
    // The cheapest of clients: each is gone before it is accepted.
    let storm = 2 * ACCEPTS_PER_DRAIN as usize;
    let gone = || io::Error::from(Errno::ECONNABORTED);
    waiting.borrow_mut().errors = (0..storm).map(|_| gone()).collect();
    rig.server.shared.lifecycle = Lifecycle::Stopping;
    rig.step_with(&[(token, Readiness::READABLE)]);
    rig.settle();
    assert_eq!(rig.outcome, Some(Outcome::Drained));
    let least = u64::from(ACCEPTS_PER_DRAIN);
    let calls = waiting.borrow().calls;
    assert!(
        (least..=least + ACCEPTS_PER_TURN as u64).contains(&calls),
        "{calls}"
    );
}
