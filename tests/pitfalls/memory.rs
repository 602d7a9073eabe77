//! Memory for all clients together: pitfall 21. The same at full size is in `tests/memory.rs`.

use crate::harness::{Harness, line_settings};
use crate::script::{Remote, ScriptedStream};
use helloop::server::stats::CloseCause;
use helloop::server::{Server, Settings};
use std::time::Duration;

const CAP_BYTES: usize = 4 << 20;

/// What one turn may add before `--max-buffered` is enforced: the eighth for clients that have
/// nothing buffered, and what the last read produces.
const MOST_BYTES: usize = CAP_BYTES + CAP_BYTES / 8 + 64 * 1_024;

/// Turns until all clients have had their share of the sparse queue.
const MOST_TURNS: usize = 64;

/// Clients closed per turn.
const CAPPED_CLIENTS_PER_TURN: u64 = 256;

fn harness() -> Harness {
    Harness::new(Settings {
        max_buffered: CAP_BYTES,
        ..line_settings()
    })
}

fn clients(harness: &mut Harness, count: usize, room: usize) -> Vec<Remote> {
    (0..count)
        .map(|_| harness.client(ScriptedStream::with_room(room)))
        .collect()
}

fn closed(harness: &Harness) -> u64 {
    harness.closed(CloseCause::BufferedTooMuch)
}

/// Two thousand clients send 60,000 bytes of a line each, all at once: memory never exceeds the
/// cap by more than an eighth, no turn closes more than its share, and the polite are served.
#[test]
fn p21_the_cap_holds_when_all_exceed_it_at_once() {
    let mut harness = harness();
    let polite = clients(&mut harness, 50, usize::MAX / 2);
    let flood = clients(&mut harness, 2_000, usize::MAX / 2);
    harness.run_until_idle();
    for client in &flood {
        client.borrow_mut().arrive(&[b'x'; 60_000], false);
    }
    let (mut waited, mut is_over) = (0, false);
    while !is_over {
        let before = closed(&harness);
        if waited == 0 {
            for client in &polite {
                client.borrow_mut().written.clear();
                client.borrow_mut().arrive(b"Ada\n", false);
            }
        }
        harness.step();
        assert!(harness.stats().buffered <= MOST_BYTES);
        assert!(closed(&harness) <= before + CAPPED_CLIENTS_PER_TURN);
        let is_answered = |client: &Remote| client.borrow().written == b"Hello, Ada!\n";
        waited = if polite.iter().all(is_answered) {
            0
        } else {
            waited + 1
        };
        assert!(waited <= MOST_TURNS, "the polite wait");
        is_over =
            waited == 0 && harness.server.reactor.poll_timeout(harness.now) != Some(Duration::ZERO);
    }
    assert!(harness.stats().buffered <= CAP_BYTES);
    let left = flood.len() as u64 - closed(&harness);
    assert!(left >= (CAP_BYTES / 2 / 65_536) as u64, "{left} left");
}

/// Clients hold nearly all of the memory with lines that they never complete. Others send legal
/// lines of 60,000 bytes, in pieces: they are answered, and those without progress make room.
#[test]
fn p21_clients_without_progress_make_room_for_those_with_progress() {
    let mut harness = harness();
    let holders = clients(&mut harness, 1_050, usize::MAX / 2);
    for client in &holders {
        client.borrow_mut().arrive(&[b'x'; 3_945], false);
        harness.run_until_idle();
        harness.advance(Duration::from_millis(1));
    }
    let before = closed(&harness);
    let polite = clients(&mut harness, 20, usize::MAX / 2);
    let line = [b'y'; 60_000];
    for piece in line.chunks(4_000) {
        for client in &polite {
            client.borrow_mut().arrive(piece, false);
        }
        // A byte now and then is no progress.
        for client in &holders {
            client.borrow_mut().arrive(b"x", false);
        }
        harness.run_until_idle();
    }
    for client in &polite {
        client.borrow_mut().arrive(b"\n", false);
    }
    harness.run_until_idle();
    assert!(closed(&harness) > before);
    for client in &polite {
        let written = client.borrow().written.len();
        assert_eq!(written, b"Welcome!\nHello, !\n".len() + line.len());
    }
    assert!(closed(&harness) < 600, "no more than needed");
}

/// The same with replies: those are closed that have not taken theirs for longest, though they take
/// a byte now and then, and not those that read what they are sent.
#[test]
fn p21_clients_that_read_no_replies_make_room_for_those_that_do() {
    let mut harness = harness();
    let holders = clients(&mut harness, 95, 9);
    for client in &holders {
        client.borrow_mut().arrive(&b"\n".repeat(4_000), false);
        harness.run_until_idle();
    }
    let polite = clients(&mut harness, 40, 9);
    for _ in 0..20 {
        for client in &holders {
            client.borrow_mut().make_room(1);
        }
        for client in &polite {
            client.borrow_mut().arrive(&b"\n".repeat(4_000), false);
        }
        harness.run_until_idle();
        // They take all, in pieces, so that there is always something left for a while.
        for _ in 0..3 {
            for client in &polite {
                client.borrow_mut().make_room(12_000);
            }
            harness.run_until_idle();
        }
    }
    assert!(closed(&harness) > 0);
    for client in &polite {
        client.borrow_mut().make_room(usize::MAX / 2);
    }
    harness.run_until_idle();
    for client in &polite {
        let expected = 9 + 20 * 4_000 * 9;
        assert_eq!(client.borrow().written.len(), expected);
    }
}

/// A line that is begun has a deadline of its own, which no byte of it restarts.
#[test]
fn p21_a_line_must_end_in_time() {
    let mut harness = Harness::new(Settings {
        idle_timeout: Some(Duration::from_secs(20)),
        line_timeout: Some(Duration::from_secs(30)),
        ..line_settings()
    });
    let slow = harness.client(ScriptedStream::unlimited());
    let polite = harness.client(ScriptedStream::unlimited());
    for second in 0..31 {
        slow.borrow_mut().arrive(b"x", false);
        let end: &[u8] = if second % 10 == 9 { b"\nx" } else { b"x" };
        polite.borrow_mut().arrive(end, false);
        harness.run_until_idle();
        assert_eq!(harness.closed(CloseCause::LineTimeout), 0);
        assert!(!slow.borrow().shut, "{second} s");
        harness.advance(Duration::from_secs(1));
    }
    harness.run_until_idle();
    assert!(slow.borrow().shut);
    assert!(!polite.borrow().shut);
    assert_eq!(harness.stats().messages, 3);
    // Between lines the idle timeout holds.
    polite.borrow_mut().arrive(b"\n", false);
    harness.run_until_idle();
    harness.advance(Duration::from_secs(20));
    harness.run_until_idle();
    assert!(polite.borrow().shut);
}

/// While clients without anything buffered are served on, memory stays bounded: also by those who
/// begin a line and never had one.
#[test]
fn p21_new_lines_cannot_outrun_the_cap() {
    let mut harness = harness();
    for _ in 0..20 {
        let flood = clients(&mut harness, 500, 0);
        for client in &flood {
            client.borrow_mut().arrive(&b"\n".repeat(4_096), false);
        }
        // The turn itself, before the server makes room.
        let marks = harness.take_marks();
        let Server {
            reactor, shared, ..
        } = &mut harness.server;
        reactor.step(harness.now, marks, shared);
        assert!(shared.stats.buffered <= MOST_BYTES);
        harness.outcome = harness.server.between_turns();
    }
    harness.run_until_idle();
    assert!(harness.stats().buffered <= CAP_BYTES);
}

/// What a delay holds is not the client's fault: over the cap no client is closed for it. Those for
/// whom there is no room wait, unread, longer than the idle timeout, and all are answered.
#[test]
fn p21_replies_that_a_delay_holds_close_no_client() {
    let delay = Duration::from_secs(1);
    let mut harness = Harness::new(Settings {
        max_buffered: CAP_BYTES,
        delay,
        idle_timeout: Some(Duration::from_millis(500)),
        ..line_settings()
    });
    let polite = clients(&mut harness, 3_000, usize::MAX / 2);
    harness.run_until_idle();
    let line = [&[b'x'; 1_000][..], b"\n"].concat();
    for client in &polite {
        client.borrow_mut().arrive(&line, false);
    }
    for _ in 0..4 {
        let calls = harness.calls();
        harness.run_until_idle();
        assert!(harness.stats().buffered <= MOST_BYTES);
        assert!(harness.calls() - calls <= 4 * polite.len() as u64, "a spin");
        harness.advance(delay);
    }
    harness.run_until_idle();
    assert_eq!(closed(&harness), 0);
    for client in &polite {
        let expected = b"Welcome!\nHello, !\n".len() + 1_000;
        assert_eq!(client.borrow().written.len(), expected);
    }
}
