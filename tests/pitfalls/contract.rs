//! What mio promises, and what it does not: pitfall 25.
//!
//! The scripted sockets behave as on mio's back end on poll(2): an event is reported once, and again
//! only after a call that returned `WouldBlock`. Code that relies on more misses what arrives later.

use crate::counter;
use crate::harness::{Harness, line_settings};
use crate::script::{BackEnd, Errno, Remote, ScriptedStream};
use crate::util::{Server, TIMEOUT, ask, ask_udp, run_helloop};
use helloop::reactor::{Readiness, Token};
use helloop::server::sources::listener::ACCEPTS_PER_TURN;
use helloop::server::{Lifecycle, Outcome, Settings};
use std::net::SocketAddr;

/// A stream whose events are reported only after a call has returned `WouldBlock`.
fn stream_with_room(room: usize) -> (ScriptedStream, Remote) {
    let (stream, remote) = ScriptedStream::with_room(room);
    remote.borrow_mut().back_end = BackEnd::AfterWouldBlock;
    (stream, remote)
}

/// A client of line framing after its welcome.
fn client(room: usize) -> (Harness, Remote) {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(stream_with_room(room));
    harness.run_until_idle();
    (harness, client)
}

/// Steps with the events of an unconnected socket until there are none, and the loop is idle.
fn run_with(harness: &mut Harness, token: Token, mut take_event: impl FnMut() -> Readiness) {
    loop {
        harness.run_until_idle();
        match take_event() {
            event if event.is_empty() => return,
            event => harness.step_with(&[(token, event)]),
        }
    }
}

#[test]
fn p25_a_short_read_is_no_proof_where_only_would_block_rearms() {
    for is_wrong in [false, true] {
        let (mut harness, client) = client(1_000);
        client.borrow_mut().overestimates_short_reads = is_wrong;
        for message in [&b"Michael\n"[..], b"Tracy\n"] {
            client.borrow_mut().arrive(message, false);
            harness.run_until_idle();
        }
        let written = client.borrow().written.escape_ascii().to_string();
        let first = r"Welcome!\nHello, Michael!\n";
        if is_wrong {
            // The mistake: the second message arrives, and no event ever reports it.
            assert_eq!(written, first);
        } else {
            assert_eq!(written, format!(r"{first}Hello, Tracy!\n"));
            // A blocked read re-arms both directions, which costs one spurious event.
            assert!(harness.server.reactor.stats().turns <= 8);
        }
    }
}

/// A drain reads what has arrived, and a client that answers each reply at once always sends more.
#[test]
fn p25_a_drain_does_not_wait_for_would_block() {
    let (mut harness, client) = client(100_000);
    client.borrow_mut().answer = Some(b"Tracy\n");
    client.borrow_mut().arrive(b"Michael\n", false);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step();
    harness.run_until_idle();
    client.borrow_mut().arrive(b"", true);
    harness.run_until_idle();
    assert_eq!(harness.outcome, Some(Outcome::Drained));
    assert!(
        client
            .borrow()
            .written
            .starts_with(b"Welcome!\nHello, Michael!\n")
    );
}

#[test]
fn p25_a_short_write_is_no_proof_that_the_send_buffer_is_full() {
    let (mut harness, client) = client(12);
    client.borrow_mut().arrive(b"Michael\nTracy\n", false);
    let expected = b"Welcome!\nHello, Michael!\nHello, Tracy!\n";
    for _ in 0..expected.len() {
        harness.run_until_idle();
        client.borrow_mut().make_room(1);
    }
    harness.run_until_idle();
    assert_eq!(client.borrow().written, expected);
    // A blocked write re-arms both directions too: each byte of room costs at most two turns.
    let turns = harness.server.reactor.stats().turns;
    assert!(turns <= 2 * expected.len() as u64, "{turns} turns");
}

/// One at a time, and as many as a turn accepts, also after one that failed or after EMFILE.
#[test]
fn p25_a_listener_accepts_until_would_block_or_remembers() {
    for is_observers in [false, true] {
        let mut harness = Harness::new(Settings::default());
        let (token, queue) = if is_observers {
            harness.observer_listener()
        } else {
            harness.listener()
        };
        for count in [1, 1, ACCEPTS_PER_TURN - 1, ACCEPTS_PER_TURN, 1] {
            for error in [None, Some(Errno::ECONNABORTED), Some(Errno::EMFILE)] {
                queue.borrow_mut().errors.extend(error.map(Into::into));
                let streams: Vec<_> = (0..count).map(|_| stream_with_room(100).0).collect();
                queue.borrow_mut().streams.extend(streams);
                run_with(&mut harness, token, || queue.borrow_mut().take_event());
                // A client that is gone, and the deadline of a retry.
                harness.advance(TIMEOUT);
                run_with(&mut harness, token, || queue.borrow_mut().take_event());
                let left = queue.borrow().streams.len();
                assert_eq!(left, 0, "{count} {error:?}, observers: {is_observers}");
            }
        }
    }
}

#[test]
fn p25_datagrams_are_received_until_would_block_and_replies_wait_for_room() {
    let mut harness = Harness::new(Settings::default());
    let (token, script) = harness.datagrams();
    let from = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let mut total = 0;
    for count in [1, 1, 63, 64, 65, 1_000, 1] {
        for is_full in [false, true] {
            script.borrow_mut().is_full = is_full;
            // The second half arrives while the replies to the first wait for room.
            for half in [count / 2, count - count / 2] {
                let arrived = (0..half).map(|_| Ok((b"Ada".to_vec(), from)));
                script.borrow_mut().arrived.extend(arrived);
                run_with(&mut harness, token, || script.borrow_mut().take_event());
            }
            script.borrow_mut().is_full = false;
            run_with(&mut harness, token, || script.borrow_mut().take_event());
            total += count;
            assert_eq!(script.borrow().sent.len(), total, "{count} {is_full}");
        }
    }
    // 64 datagrams per turn, two halves of seven bursts, twice; and the spurious events of blocked calls.
    let turns = harness.server.reactor.stats().turns;
    assert!(turns <= 150, "{turns} turns");
}

#[test]
fn p25_an_observer_is_read_and_written_until_would_block() {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut harness = Harness::new(Settings::default());
    let (token, queue) = harness.observer_listener();
    let (stream, observer) = stream_with_room(0);
    harness.add_remote(&observer);
    queue.borrow_mut().streams.push_back(stream);
    run_with(&mut harness, token, || queue.borrow_mut().take_event());
    for request in 1..=3 {
        for piece in REQUEST.chunks(10) {
            observer.borrow_mut().arrive(piece, false);
            harness.run_until_idle();
        }
        for _ in 0..50 {
            observer.borrow_mut().make_room(10);
            harness.run_until_idle();
        }
        let written = observer.borrow().written.escape_ascii().to_string();
        let answers = written.matches("HTTP/1.1 200 OK").count();
        assert_eq!(answers, request, "{written}");
    }
}

/// On the back end of this build, whichever it is: the server over TCP and UDP, its signals, its
/// observers, and the load generator. More than one message each, since the first event always comes.
#[test]
fn p25_every_kind_of_socket_is_read_until_its_next_event_is_certain() {
    const MESSAGES: u64 = 50;
    let server = Server::start(&["--framing", "line"]);
    let mut client = server.connect();
    let udp = server.udp();
    for _ in 0..MESSAGES {
        ask(&mut client, b"Michael\n", b"Hello, Michael!\n");
        ask_udp(&udp, b"Tracy", b"Hello, Tracy!");
    }
    #[cfg(unix)]
    for _ in 0..2 {
        server.counters();
    }
    let counters = server.stop().stderr;
    assert_eq!(counter(&counters, "; messages "), MESSAGES, "{counters}");
    // Per round two messages, and on epoll an event when a datagram has left the send buffer. Where a
    // blocked read causes a spurious event, four turns.
    let per_round = if cfg!(any(mio_unsupported_force_poll_poll, windows)) {
        4
    } else {
        3
    };
    let turns = counter(&counters, "; turns ");
    assert!(turns <= per_round * MESSAGES + 30, "{counters}");
    let server = Server::start(&["--framing", "line"]);
    let to = server.tcp_address().to_string();
    for kind in [&["--framing", "line"][..], &["--udp"]] {
        let load = ["stress", "--to", &to, "--clients", "5", "--messages", "500"];
        let ended = run_helloop(&[&load, kind, &["--warmup", "0s"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:#?}");
    }
}
