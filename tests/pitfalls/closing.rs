//! What a drain must not lose: connections that are under way when a listener closes (pitfall 22),
//! and what had arrived at the signal (17).

use crate::harness::{Harness, line_settings};
use crate::overloaded;
use crate::script::ScriptedStream;
use helloop::reactor::Readiness;
use helloop::server::sources::peer::{HIGH_WATER_BYTES, LINGER};
use helloop::server::stats::CloseCause;
use helloop::server::{DRAIN_BYTES_PER_CLIENT, DrainLimit, Lifecycle, Outcome, Settings};
use std::time::Duration;

const HANDSHAKE: Duration = Duration::from_millis(100);

/// A handshake that was half done at the signal completes while the listener is about to close. No
/// event needs to report it.
#[test]
fn p22_a_handshake_under_way_at_the_signal_is_welcomed() {
    let mut harness = Harness::new(Settings::default());
    let (_, queue) = harness.listener();
    queue.borrow_mut().handshake = Some(HANDSHAKE);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step();
    harness.run_until_idle();
    assert_eq!(harness.outcome, None, "the listener closed at once");
    let (stream, newcomer) = ScriptedStream::unlimited();
    harness.add_remote(&newcomer);
    queue.borrow_mut().streams.push_back(stream);
    harness.advance(HANDSHAKE);
    harness.run_until_idle();
    assert_eq!(newcomer.borrow().written, b"Welcome!");
    newcomer.borrow_mut().arrive(b"", true);
    harness.run_until_idle();
    assert_eq!(harness.outcome, Some(Outcome::Drained));
}

/// An event during that time changes nothing about when the listener closes.
#[test]
fn p22_a_closing_listener_accepts_and_still_closes_in_time() {
    let mut harness = Harness::new(Settings::default());
    let (listener, queue) = harness.listener();
    queue.borrow_mut().handshake = Some(HANDSHAKE);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step();
    harness.run_until_idle();
    for _ in 0..10 {
        harness.advance(HANDSHAKE / 10);
        harness.step_with(&[(listener, Readiness::READABLE)]);
        harness.run_until_idle();
    }
    assert_eq!(harness.outcome, Some(Outcome::Drained));
}

/// The backlog of a server at `--max-clients` is refused in words, not by a reset.
#[test]
fn p22_the_backlog_of_a_full_server_is_refused_and_not_reset() {
    let (mut harness, remotes) = overloaded(200);
    harness.server.shared.lifecycle = Lifecycle::Stopping;
    harness.step();
    harness.run_until_idle();
    for remote in &remotes[1..] {
        let written = &remote.borrow().written;
        assert_eq!(written, b"Busy: 1 of 1 clients connected\n");
    }
    harness.advance(LINGER);
    harness.step();
    harness.run_until_idle();
    assert_eq!(harness.outcome, Some(Outcome::Drained));
}

/// Messages beyond the budget of one turn, and of a client that is owed more than the high-water
/// mark, which is not read until it reads.
#[test]
fn p17_a_drain_answers_all_that_had_arrived() {
    for room in [usize::MAX / 2, 1_000] {
        let mut harness = Harness::new(line_settings());
        let client = harness.client(ScriptedStream::with_room(room));
        harness.run_until_idle();
        let lines = DRAIN_BYTES_PER_CLIENT / 2 / 8;
        client
            .borrow_mut()
            .arrive(&b"Michael\n".repeat(lines), false);
        if room == 1_000 {
            harness.run_until_idle();
            let (_, peer) = harness.peers().next().unwrap();
            assert!(
                peer.owed(&harness.server.shared.pending) > HIGH_WATER_BYTES
                    && !client.borrow().arrived.is_empty()
            );
        }
        harness.server.shared.lifecycle = Lifecycle::Stopping;
        harness.step();
        while !client.borrow().shut {
            client.borrow_mut().make_room(10_000);
            harness.step();
        }
        let expected = [&b"Welcome!\n"[..], &b"Hello, Michael!\n".repeat(lines)].concat();
        assert!(client.borrow().written == expected, "with room for {room}");
        client.borrow_mut().arrive(b"", true);
        harness.run_until_idle();
        assert_eq!(harness.outcome, Some(Outcome::Drained));
    }
}

/// A client that always has more to read delays no drain, and what is not answered is reported.
#[test]
fn p17_a_drain_reads_a_bounded_amount_of_each_client() {
    for settings in [Settings::default(), line_settings()] {
        let mut harness = Harness::new(settings);
        let client = harness.client(ScriptedStream::unlimited());
        harness.run_until_idle();
        let input = b"Michael\n".repeat(DRAIN_BYTES_PER_CLIENT / 8 + 8_000);
        client.borrow_mut().arrive(&input, false);
        harness.server.shared.lifecycle = Lifecycle::Stopping;
        harness.step();
        harness.run_until_idle();
        let read: usize = client.borrow().reads.iter().map(Vec::len).sum();
        assert_eq!(read, DRAIN_BYTES_PER_CLIENT);
        assert!(client.borrow().shut, "not ended");
        client.borrow_mut().arrive(b"", true);
        harness.run_until_idle();
        assert_eq!(harness.outcome, Some(Outcome::CutOff(1)));
        assert_eq!(limits(&harness), [DrainLimit::ClientBytes]);
    }
}

/// The limits that have cut clients off.
fn limits(harness: &Harness) -> Vec<DrainLimit> {
    let cut_off = harness.server.summary().cut_off.into_iter();
    let cut_off = cut_off.filter(|(_, clients)| *clients > 0);
    cut_off.map(|(limit, _)| limit).collect()
}

/// A drain is complete only if no limit ended a client that was owed replies. A client that has
/// reset its connection wants none.
#[test]
fn p17_a_write_timeout_during_a_drain_is_reported() {
    for (is_reset, outcome) in [(false, Outcome::CutOff(1)), (true, Outcome::Drained)] {
        let mut harness = Harness::new(Settings {
            write_timeout: Duration::from_secs(1),
            ..Settings::default()
        });
        let client = harness.client(ScriptedStream::with_room(8));
        harness.run_until_idle();
        client.borrow_mut().arrive(b"Michael", false);
        harness.server.shared.lifecycle = Lifecycle::Stopping;
        harness.step();
        harness.run_until_idle();
        assert_eq!(harness.outcome, None);
        if is_reset {
            client.borrow_mut().reset_by_client();
        } else {
            harness.advance(Duration::from_secs(1));
        }
        harness.step();
        harness.run_until_idle();
        assert_eq!(harness.outcome, Some(outcome));
        let limit = (!is_reset).then_some(DrainLimit::WriteTimeout);
        assert_eq!(limits(&harness), Vec::from_iter(limit));
    }
}

/// Out of time before a client was read: what it had sent is not answered, and that is reported.
#[test]
fn p17_a_drain_without_time_reports_those_that_it_has_not_read() {
    for (input, outcome) in [(&b"Ada"[..], Outcome::CutOff(1)), (b"", Outcome::Drained)] {
        let mut harness = Harness::new(Settings::default());
        let client = harness.client(ScriptedStream::unlimited());
        harness.run_until_idle();
        client.borrow_mut().arrive(input, false);
        harness.server.shared.lifecycle = Lifecycle::OutOfTime;
        harness.step_with_only(&[]);
        assert_eq!(harness.outcome, Some(outcome));
        let limit = (!input.is_empty()).then_some(DrainLimit::DrainTimeout);
        assert_eq!(limits(&harness), Vec::from_iter(limit));
    }
}

/// Replies are held, so the client is neither read nor written: only its socket's error shows that
/// it is gone, and its place must not be held too.
#[test]
fn p09_a_reset_during_a_delay_frees_the_slot_at_once() {
    let settings = Settings {
        delay: Duration::from_secs(3_600),
        ..line_settings()
    };
    for (fin_at_first, fin_later) in [(false, false), (false, true), (true, false)] {
        let mut harness = Harness::new(settings.clone());
        let client = harness.client(ScriptedStream::unlimited());
        harness.run_until_idle();
        client.borrow_mut().arrive(b"Ada\n", fin_at_first);
        harness.run_until_idle();
        if fin_later {
            client.borrow_mut().arrive(b"", true);
            harness.run_until_idle();
        }
        assert_eq!(harness.stats().clients(), 1, "still owed a reply");
        client.borrow_mut().reset_by_client();
        harness.run_until_idle();
        assert_eq!(harness.closed(CloseCause::Reset), 1);
        assert!(client.borrow().closed);
    }
}

/// A client that has sent FIN still gets its delayed reply, whether the FIN came with the message
/// or later.
#[test]
fn p08_a_client_that_half_closes_during_a_delay_gets_its_reply() {
    let delay = Duration::from_secs(1);
    let settings = Settings {
        delay,
        ..line_settings()
    };
    for fin_at_first in [false, true] {
        let mut harness = Harness::new(settings.clone());
        let client = harness.client(ScriptedStream::unlimited());
        harness.run_until_idle();
        client.borrow_mut().arrive(b"Ada\n", fin_at_first);
        harness.run_until_idle();
        if !fin_at_first {
            client.borrow_mut().arrive(b"", true);
            harness.run_until_idle();
        }
        harness.advance(delay);
        harness.run_until_idle();
        assert_eq!(client.borrow().written, b"Welcome!\nHello, Ada!\n");
        assert_eq!(harness.closed(CloseCause::Eof), 1);
    }
}
