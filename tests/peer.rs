//! One client on a scripted stream in virtual time: deadlines, counters, and calls that must not be
//! made.

#[path = "util/harness.rs"]
mod harness;
#[path = "util/script.rs"]
mod script;

use harness::{Harness, line_settings};
use helloop::reactor::Readiness;
use helloop::server::Settings;
use helloop::server::stats::CloseCause;
use script::ScriptedStream;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(5);

fn settings_with_idle_timeout() -> Settings {
    Settings {
        idle_timeout: Some(IDLE),
        ..line_settings()
    }
}

#[test]
fn each_byte_restarts_the_idle_timeout_and_its_cause_is_counted() {
    let mut harness = Harness::new(settings_with_idle_timeout());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    // An incomplete line: nothing is sent to this client.
    for _ in 0..5 {
        harness.advance(Duration::from_secs(4));
        client.borrow_mut().arrive(b"x", false);
        harness.run_until_idle();
    }
    assert!(!client.borrow().shut);
    harness.advance(IDLE);
    harness.run_until_idle();
    assert!(client.borrow().shut, "the idle timeout has passed");
    client.borrow_mut().arrive(b"", true);
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::IdleTimeout), 1);
    assert_eq!(harness.stats().buffered, 0);
}

#[test]
fn a_spurious_event_restarts_no_timeout() {
    let mut harness = Harness::new(settings_with_idle_timeout());
    let idle = harness.client(ScriptedStream::unlimited());
    let full = harness.client(ScriptedStream::with_room(0));
    harness.run_until_idle();
    full.borrow_mut().arrive(b"Ada\n", false);
    harness.run_until_idle();
    let advance_with_spurious_events = |harness: &mut Harness, seconds| {
        harness.advance(Duration::from_secs(seconds));
        for client in [&idle, &full] {
            let token = client.borrow().token.unwrap();
            harness.step_with(&[(token, Readiness::READABLE | Readiness::WRITABLE)]);
            harness.run_until_idle();
        }
    };
    advance_with_spurious_events(&mut harness, 3);
    advance_with_spurious_events(&mut harness, 2);
    assert!(idle.borrow().shut, "silent for five seconds");
    advance_with_spurious_events(&mut harness, 20);
    assert!(!full.borrow().closed);
    advance_with_spurious_events(&mut harness, 5);
    assert!(full.borrow().closed, "read nothing for thirty seconds");
    assert_eq!(harness.closed(CloseCause::WriteTimeout), 1);
}

#[test]
fn each_byte_sent_restarts_the_write_timeout_until_all_is_sent() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::with_room(0));
    client.borrow_mut().arrive(b"Ada\n", false);
    harness.run_until_idle();
    for _ in 0..5 {
        harness.advance(Duration::from_secs(29));
        client.borrow_mut().make_room(1);
        harness.run_until_idle();
    }
    assert!(!client.borrow().closed);
    client.borrow_mut().make_room(1_000);
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Welcome!\nHello, Ada!\n");
    harness.advance(Duration::from_secs(1_000));
    harness.run_until_idle();
    assert!(!client.borrow().shut, "nothing is owed");
    assert_eq!(harness.stats().open(), 1);
}

#[test]
fn a_held_client_is_not_read_and_each_read_has_its_own_delay() {
    let mut harness = Harness::new(Settings {
        delay: Duration::from_secs(1),
        ..Settings::default()
    });
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    // More than one chunk: two reads in one turn, if there were no delay.
    client.borrow_mut().arrive(&[b'x'; 1_100], false);
    harness.run_until_idle();
    assert_eq!(client.borrow().reads.len(), 1);
    assert_eq!(client.borrow().written, b"Welcome!");
    harness.advance(Duration::from_secs(1));
    harness.run_until_idle();
    assert_eq!(client.borrow().reads.len(), 2);
    assert_eq!(client.borrow().written.len(), 8 + 1_024 + 8);
    harness.advance(Duration::from_secs(1));
    harness.run_until_idle();
    assert_eq!(client.borrow().written.len(), 8 + 1_024 + 8 + 76 + 8);
    assert_eq!(harness.stats().messages, 2);
}

#[test]
fn an_incomplete_line_starts_no_delay() {
    let mut harness = Harness::new(Settings {
        delay: Duration::from_secs(1),
        ..line_settings()
    });
    let client = harness.client(ScriptedStream::unlimited());
    client.borrow_mut().arrive(b"A", false);
    harness.run_until_idle();
    // The delay counts from the read that completed the line, not from the one before.
    harness.advance(Duration::from_millis(900));
    client.borrow_mut().arrive(b"da\n", false);
    harness.run_until_idle();
    harness.advance(Duration::from_millis(900));
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Welcome!\n");
    harness.advance(Duration::from_millis(100));
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Welcome!\nHello, Ada!\n");
}

#[test]
fn buffered_bytes_are_counted_and_none_are_left_after_the_reply() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::unlimited());
    harness.run_until_idle();
    assert_eq!(harness.stats().buffered, 0);
    client.borrow_mut().arrive(b"Grace", false);
    harness.run_until_idle();
    let buffered = harness.stats().buffered;
    assert!((5..1_024).contains(&buffered), "{buffered}");
    let table = &harness.server.shared.pending;
    let by_peer = harness.peers().map(|(_, peer)| peer.buffered(table));
    assert_eq!(by_peer.collect::<Vec<_>>(), [buffered]);
    client.borrow_mut().arrive(b" Hopper\n", false);
    harness.run_until_idle();
    assert_eq!(client.borrow().written, b"Welcome!\nHello, Grace Hopper!\n");
    assert_eq!(harness.stats().buffered, 0);
    assert_eq!(harness.stats().messages, 1);
}

#[test]
fn a_full_send_buffer_is_not_written_to() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::with_room(9));
    client.borrow_mut().arrive(b"Ada\n", false);
    harness.run_until_idle();
    let writes = harness.stats().traffic.writes;
    assert_eq!(client.borrow().written, b"Welcome!\n");
    for _ in 0..5 {
        client.borrow_mut().arrive(b"Tracy\n", false);
        harness.run_until_idle();
    }
    assert_eq!(harness.stats().traffic.writes, writes);
    client.borrow_mut().make_room(1_000);
    harness.run_until_idle();
    assert_eq!(
        harness.stats().traffic.writes,
        writes + 1,
        "one write for all replies"
    );
    assert_eq!(harness.stats().messages, 6);
}

#[test]
fn an_unregistered_client_is_counted_as_failed_and_a_refused_one_as_busy() {
    let mut harness = Harness::new(Settings {
        max_clients: 1,
        ..Settings::default()
    });
    let (listener, queue) = harness.listener();
    for _ in 0..3 {
        let (stream, client) = ScriptedStream::unlimited();
        client.borrow_mut().fails_to_register = true;
        queue.borrow_mut().streams.push_back(stream);
    }
    harness.step_with(&[(listener, Readiness::READABLE)]);
    harness.run_until_idle();
    let causes = [CloseCause::Failed, CloseCause::Busy].map(|cause| harness.closed(cause));
    assert_eq!((causes, harness.stats().open()), ([1, 2], 0));
    assert_eq!(harness.server.reactor.len(), 1, "only the listener is left");
}
