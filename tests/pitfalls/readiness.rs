//! What an event means and what it does not: pitfalls 1, 2, 3, 9, 15 and 16.

use crate::counter;
use crate::harness::{Harness, line_settings};
use crate::script::ScriptedStream;
use crate::util::{Server, clients_within_descriptor_limit, expect};
use helloop::reactor::{Readiness, Token};
use helloop::server::Settings;
use helloop::server::sources::peer::READS_PER_TURN;
use helloop::server::stats::CloseCause;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// Data and FIN can share one edge, and no second one follows: a short read must not end the work,
/// and a deferred read must be remembered.
#[test]
fn p01_one_edge_is_enough_to_read_everything() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    client.borrow_mut().arrive(b"Michael\nTracy", true);
    harness.run_until_idle();
    assert_eq!(
        client.borrow().written,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\n"
    );
    assert_eq!(harness.closed(CloseCause::Eof), 1);

    // Above the high-water mark the client is not read. Once its replies are sent it is read
    // again, although no further edge reports its input.
    let client = harness.client(ScriptedStream::with_room(0));
    client.borrow_mut().arrive(&b"\n".repeat(40_000), false);
    harness.run_until_idle();
    let unread = client.borrow().arrived.len();
    assert!(unread > 0, "read beyond the high-water mark");
    client.borrow_mut().make_room(usize::MAX / 2);
    harness.run_until_idle();
    assert_eq!(client.borrow().written.len(), 9 + 40_000 * 9);
}

/// A source that stops because its budget is spent gets no second edge: the loop's own list must
/// remember it.
#[test]
fn p02_input_beyond_the_budget_is_read_in_later_turns() {
    let mut harness = Harness::new(Settings::default());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    client.borrow_mut().arrive(&[b'x'; 1_024 * 50], false);
    harness.step();
    assert_eq!(client.borrow().reads.len(), READS_PER_TURN, "one turn");
    harness.run_until_idle();
    assert_eq!(client.borrow().reads.len(), 50, "all turns");
}

/// The poll still reports events of a client that is gone, while another owns its slot.
#[test]
fn p03_a_stale_event_never_reaches_the_slots_new_owner() {
    let mut harness = Harness::new(Settings::default());
    let first = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    let stale = first.borrow().token.unwrap();
    first.borrow_mut().reset_by_client();
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::Reset), 1);
    let second = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    let current = second.borrow().token.unwrap();
    assert_eq!(current.key, stale.key, "the slot is reused");
    assert_ne!(current, stale);
    let before = harness.calls();
    harness.step_with(&[(stale, Readiness::all())]);
    assert_eq!(harness.calls(), before, "a stale event drives no source");

    // The slot of a client that is closed in a turn is not reused within that turn.
    let (listener, queue) = harness.listener();
    let (stream, newcomer) = ScriptedStream::unlimited();
    queue.borrow_mut().streams.push_back(stream);
    second.borrow_mut().reset_by_client();
    harness.step_with(&[(listener, Readiness::READABLE), (current, Readiness::all())]);
    harness.run_until_idle();
    let newcomer = newcomer.borrow();
    assert_ne!(newcomer.token.unwrap(), current);
    assert_eq!(newcomer.written, b"Welcome!");
    assert!(!newcomer.closed);
}

/// HUP and ERR can be reported together with input and with room to write: a server that closes on
/// sight loses input and replies.
#[test]
fn p09_hup_and_err_alone_close_no_client() {
    let mut harness = Harness::new(Settings::default());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    client.borrow_mut().arrive(b"Michael", false);
    let token = client.borrow().token.unwrap();
    harness.step_with(&[(token, Readiness::all())]);
    assert_eq!(client.borrow().written, b"Welcome!Hello, Michael!");
    assert_eq!(harness.stats().open(), 1, "no call has failed yet");
    client.borrow_mut().reset_by_client();
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::Reset), 1, "the read has failed");
}

/// Events after which every call would still block.
#[test]
fn p15_spurious_wakeups_do_no_harm() {
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (listener, _queue) = harness.listener();
    let (datagrams, _udp) = harness.datagrams();
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    let token = client.borrow().token.unwrap();
    let never_used = Token {
        key: 99,
        generation: 0,
    };
    for _ in 0..4 {
        harness.advance(Duration::from_secs(1));
        let tokens = [token, listener, datagrams, never_used];
        harness.step_with(&tokens.map(|token| (token, Readiness::all())));
        harness.run_until_idle();
    }
    assert_eq!(client.borrow().written, b"Welcome!");
    assert_eq!(
        (harness.stats().open(), harness.server.reactor.len()),
        (1, 3)
    );
    harness.advance(Duration::from_secs(1));
    harness.run_until_idle();
    assert!(client.borrow().shut, "events postponed the idle timeout");
}

/// More sockets become ready at once than one wait returns.
#[cfg(unix)] // suspends the server
#[test]
fn p16_more_events_than_one_batch_holds_are_all_served() {
    let clients = clients_within_descriptor_limit(2_500);
    let server = Server::start(&[]);
    let mut clients: Vec<TcpStream> = (0..clients).map(|_| server.connect()).collect();
    server.pause();
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.resume();
    for stream in &mut clients {
        expect(stream, b"Hello, Ada!");
    }
    let counters = server.counters();
    let most = counter(&counters, " most-events ");
    // A batch of mio's back end on poll(2) grows with the events.
    let is_split = most < clients.len() as u64 || cfg!(mio_unsupported_force_poll_poll);
    assert!(is_split && most > 500, "{counters}");
}
