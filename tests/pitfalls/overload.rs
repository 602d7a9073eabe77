//! A loop that is late, and turns that are bounded: pitfalls 20 and 23.

use crate::harness::{Harness, line_settings};
use crate::script::{Remote, ScriptedStream};
use helloop::reactor::Readiness;
use helloop::server::stats::CloseCause;
use helloop::server::{Lifecycle, Outcome, Settings};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// As many events as one wait takes from the poll.
const BATCH_EVENTS: usize = 1_024;

/// More calls than the budgets of one turn allow, all phases together: 384 for the sparse queue,
/// 384 for deadlines, and far fewer for the bulk queue.
const MAX_CALLS_PER_TURN: u64 = 900;

fn clients(harness: &mut Harness, count: usize) -> Vec<Remote> {
    let clients = (0..count).map(|_| harness.client(ScriptedStream::unlimited()));
    let clients = clients.collect();
    harness.run_until_idle();
    clients
}

/// Everything that arrived during a pause is reported in batches after it, in an order of its own.
fn resume_after(harness: &mut Harness, pause: Duration) {
    harness.advance(pause);
    for batch in harness.take_marks().rchunks(BATCH_EVENTS) {
        harness.step_with_only(batch);
    }
    harness.run_until_idle();
}

/// The machine pauses for longer than the idle timeout while all clients send: only the client
/// that was silent is closed. Sources that wait in the bulk queue are no exception.
#[test]
fn p20_a_pause_is_not_taken_for_silence() {
    for first_message in [&b"Ada\n"[..], &b"\n".repeat(5_000)] {
        let mut harness = Harness::new(Settings {
            idle_timeout: Some(2 * SECOND),
            ..line_settings()
        });
        let clients = clients(&mut harness, 5_000);
        for client in &clients {
            client.borrow_mut().arrive(first_message, false);
        }
        harness.run_until_idle();
        for client in &clients[1..] {
            client.borrow_mut().arrive(b"Tracy\n", false);
        }
        resume_after(&mut harness, 3 * SECOND);
        let answered = clients.iter().filter(|client| {
            let client = client.borrow();
            client.written.ends_with(b"Hello, Tracy!\n")
        });
        assert_eq!(answered.count(), clients.len() - 1);
        assert_eq!(harness.closed(CloseCause::IdleTimeout), 0);
        harness.advance(Duration::from_nanos(1));
        harness.run_until_idle();
        assert!(clients[0].borrow().shut, "the silent client is ended");
    }
}

/// The same for the write timeout: clients that made room for their replies during the pause are
/// not closed.
#[test]
fn p20_a_pause_is_not_taken_for_a_client_that_does_not_read() {
    let mut harness = Harness::new(Settings {
        write_timeout: 2 * SECOND,
        ..Settings::default()
    });
    let clients: Vec<_> = (0..5_000)
        .map(|_| harness.client(ScriptedStream::with_room(0)))
        .collect();
    harness.run_until_idle();
    for client in &clients[1..] {
        client.borrow_mut().make_room(100);
    }
    resume_after(&mut harness, 3 * SECOND);
    harness.advance(Duration::from_nanos(1));
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::WriteTimeout), 1);
    let welcomed = clients.iter().filter(|client| {
        let client = client.borrow();
        client.written == b"Welcome!"
    });
    assert_eq!(welcomed.count(), clients.len() - 1);
}

/// Deadlines wait for the rest of the events, but not forever: not even if every batch is full.
#[test]
fn p20_full_batches_do_not_postpone_deadlines_forever() {
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(2 * SECOND),
        ..Settings::default()
    });
    let clients = clients(&mut harness, 2 * BATCH_EVENTS);
    let (token, _) = harness.peers().next().unwrap();
    let full_batch = [(token, Readiness::WRITABLE); BATCH_EVENTS];
    harness.advance(2 * SECOND);
    for _ in 0..4 {
        harness.step_with_only(&full_batch);
    }
    assert!(clients.iter().any(|client| client.borrow().shut));
}

/// How many batches the events of all clients fill does not change while the loop takes them: most
/// clients reset during the pause, and the last batch holds those that sent.
#[test]
fn p20_clients_that_close_meanwhile_do_not_hurry_the_deadlines_of_the_rest() {
    const SENDING_CLIENTS: usize = 2_000;
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(2 * SECOND),
        ..line_settings()
    });
    let clients = clients(&mut harness, 8_000);
    for client in &clients[..SENDING_CLIENTS] {
        client.borrow_mut().arrive(b"Tracy\n", false);
    }
    for client in &clients[SENDING_CLIENTS..] {
        client.borrow_mut().reset_by_client();
    }
    resume_after(&mut harness, 3 * SECOND);
    assert_eq!(harness.closed(CloseCause::IdleTimeout), 0);
    let written = |client: &Remote| client.borrow().written.ends_with(b"Hello, Tracy!\n");
    assert!(clients[..SENDING_CLIENTS].iter().all(written));
}

/// Batch after batch is full, and a client that sends just before its deadline is reported after
/// it. The batches until then hold what had happened by the first one, and no more.
#[test]
fn p20_a_client_is_not_late_because_its_event_is_in_a_later_batch() {
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(2 * SECOND),
        ..line_settings()
    });
    let clients = clients(&mut harness, 2 * BATCH_EVENTS);
    let send = |clients: &[Remote]| {
        for client in clients {
            client.borrow_mut().arrive(b"Ada\n", false);
        }
    };
    let others = &clients[1..];
    send(others);
    let mut marks = harness.take_marks();
    harness.advance(19 * SECOND / 10);
    harness.step_with_only(&marks.split_off(BATCH_EVENTS - 1));
    // These send again, and only then, still in time, does the first client send.
    send(others);
    let again = harness.take_marks();
    send(&clients[..1]);
    let last = harness.take_marks();
    harness.advance(SECOND / 5);
    marks.extend(again);
    marks.extend(last);
    for batch in marks.chunks(BATCH_EVENTS) {
        harness.step_with_only(batch);
        harness.advance(SECOND / 10);
    }
    harness.run_until_idle();
    assert_eq!(clients[0].borrow().written, b"Welcome!\nHello, Ada!\n");
    assert_eq!(harness.closed(CloseCause::IdleTimeout), 0);
    assert!(others.iter().all(|client| !client.borrow().shut));
}

/// A client that said `exit` and never stops sending is always queued. Its time to linger ends all
/// the same.
#[test]
fn p20_a_source_that_is_always_queued_expires_too() {
    let mut harness = Harness::new(line_settings());
    let client = clients(&mut harness, 1).remove(0);
    client.borrow_mut().arrive(b"exit\n", false);
    harness.run_until_idle();
    for _ in 0..40 {
        client.borrow_mut().arrive(&b"x".repeat(10_000), false);
        harness.advance(SECOND / 10);
        harness.step();
    }
    assert!(
        client.borrow().closed,
        "four seconds, of which it may linger two"
    );
}

/// A client that sends one line beside any number of connections that flood is answered within two
/// turns, and each turn serves only a few of the floods.
#[test]
fn p23_a_polite_client_does_not_wait_for_every_flood() {
    for floods in [1, 200, 1_000] {
        let mut harness = Harness::new(line_settings());
        let polite = clients(&mut harness, 1).remove(0);
        let flooding = clients(&mut harness, floods);
        let flood = b"\n".repeat(40 * 4_096);
        for client in &flooding {
            client.borrow_mut().arrive(&flood, false);
        }
        // Until all of them are known to use more than their share.
        for _ in 0..floods {
            harness.step();
        }
        polite.borrow_mut().written.clear();
        polite.borrow_mut().arrive(b"Ada\n", false);
        let before = harness.calls();
        harness.step();
        harness.step();
        assert_eq!(polite.borrow().written, b"Hello, Ada!\n", "{floods} floods");
        let calls = harness.calls() - before;
        assert!(calls <= 6, "{calls} calls in two turns, {floods} floods");
    }
}

/// The same beside connections that send 4,095 empty lines, wait for the replies, and send again:
/// an event marks each of them anew, and still they wait in the bulk queue.
#[test]
fn p23_a_polite_client_does_not_wait_for_every_burst() {
    for connections in [1, 200, 1_000] {
        let mut harness = Harness::new(line_settings());
        let polite = clients(&mut harness, 1).remove(0);
        let bursting = clients(&mut harness, connections);
        let burst = b"\n".repeat(4_095);
        let send_if_answered = |client: &Remote| {
            let mut client = client.borrow_mut();
            if client.arrived.is_empty() {
                client.written.clear();
                client.arrive(&burst, false);
            }
        };
        for _ in 0..2 * connections {
            bursting.iter().for_each(send_if_answered);
            harness.step();
        }
        for _ in 0..10 {
            bursting.iter().for_each(send_if_answered);
            polite.borrow_mut().written.clear();
            polite.borrow_mut().arrive(b"Ada\n", false);
            let before = harness.calls();
            harness.step();
            assert_eq!(polite.borrow().written, b"Hello, Ada!\n");
            let calls = harness.calls() - before;
            assert!(
                calls <= 3,
                "{calls} calls in one turn, {connections} bursts"
            );
        }
    }
}

/// No flood starves: every source in the bulk queue is driven within as many turns as there are
/// sources before it.
#[test]
fn p23_every_flood_is_served_in_turn() {
    let mut harness = Harness::new(line_settings());
    let flooding = clients(&mut harness, 100);
    let flood = b"\n".repeat(40 * 4_096);
    for client in &flooding {
        client.borrow_mut().arrive(&flood, false);
    }
    harness.step();
    for _ in 0..3 {
        let left = |client: &Remote| client.borrow().arrived.len();
        let before: Vec<_> = flooding.iter().map(left).collect();
        for _ in 0..flooding.len() {
            harness.step();
        }
        for (client, before) in flooding.iter().zip(before) {
            assert!(left(client) < before, "a flood was not read");
        }
    }
}

/// Fifteen thousand delays that end together, and as many idle timeouts and resets: each turn does
/// a bounded part of it, and nothing is lost.
#[test]
fn p23_what_falls_due_together_is_done_in_bounded_turns() {
    const CLIENTS: usize = 15_000;
    let mut harness = Harness::new(Settings {
        delay: SECOND,
        idle_timeout: Some(10 * SECOND),
        ..Settings::default()
    });
    let clients = clients(&mut harness, CLIENTS);
    let bounded_until_idle = |harness: &mut Harness| {
        for _ in 0..1_000 {
            let before = harness.calls();
            harness.step();
            let calls = harness.calls() - before;
            assert!(calls <= MAX_CALLS_PER_TURN, "{calls} calls in one turn");
            if harness.server.reactor.poll_timeout(harness.now) != Some(Duration::ZERO) {
                return;
            }
        }
        panic!("the loop is never idle");
    };
    for client in &clients {
        client.borrow_mut().arrive(b"Ada", false);
    }
    bounded_until_idle(&mut harness);
    harness.advance(SECOND);
    bounded_until_idle(&mut harness);
    let is_answered = |client: &Remote| client.borrow().written == b"Welcome!Hello, Ada!";
    assert!(clients.iter().all(is_answered));
    for client in &clients[CLIENTS / 2..] {
        client.borrow_mut().reset_by_client();
    }
    bounded_until_idle(&mut harness);
    assert_eq!(harness.closed(CloseCause::Reset), (CLIENTS / 2) as u64);
    harness.advance(10 * SECOND);
    bounded_until_idle(&mut harness);
    harness.advance(3 * SECOND);
    bounded_until_idle(&mut harness);
    assert_eq!(
        harness.closed(CloseCause::IdleTimeout),
        (CLIENTS / 2) as u64
    );
}

/// A drain that runs out of time while 15,000 clients are owed replies: each turn closes a few of
/// them, and all are counted.
#[test]
fn p23_a_drain_out_of_time_closes_a_bounded_number_of_clients_per_turn() {
    const MANY_CLIENTS: usize = 15_000;
    let mut harness = Harness::new(Settings {
        delay: 60 * SECOND,
        ..Settings::default()
    });
    let clients = clients(&mut harness, MANY_CLIENTS);
    for client in &clients[1..] {
        client.borrow_mut().arrive(b"Ada", false);
    }
    harness.run_until_idle();
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.run_until_idle();
    harness.server.shared.lifecycle = Lifecycle::OutOfTime;
    while harness.outcome.is_none() {
        let before = harness.server.reactor.len();
        harness.step();
        let closed = before - harness.server.reactor.len();
        assert!((1..=512).contains(&closed), "{closed} in one turn");
        let timeout = harness.server.reactor.poll_timeout(harness.now);
        assert!(harness.outcome.is_some() || timeout == Some(Duration::ZERO));
    }
    assert!(clients.iter().all(|client| client.borrow().closed));
    let owed = MANY_CLIENTS as u64 - 1;
    assert_eq!(harness.outcome, Some(Outcome::CutOff(owed)));
}
