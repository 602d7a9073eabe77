//! A flooding client, fifty polite ones, a storm of connects and a flood of datagrams share the
//! loop fairly: measured by the work of each turn, not by a clock.

#[path = "util/harness.rs"]
mod harness;
#[path = "util/script.rs"]
mod script;

use harness::Harness;
use helloop::protocol::greeting::Framing;
use helloop::reactor::Readiness;
use helloop::server::Settings;
use script::ScriptedStream;

/// The most that one source may do in one turn. Written down here instead of taken from the code,
/// so that a larger budget fails the test.
const MAX_CALLS_PER_TURN: u64 = 12;
// Twice the budget: an over-long line is read, and the rest is discarded.
const MAX_BYTES_PER_TURN: usize = 8_192;
const MAX_ACCEPTS_PER_TURN: u64 = 100;
const MAX_DATAGRAMS_PER_TURN: u64 = 100;

#[test]
fn a_polite_message_is_answered_in_the_turn_that_marks_it() {
    for framing in [Framing::Chunk, Framing::Line] {
        for flood_of in [&b"\n"[..], b"a name\n", &[b'x'; 1_024], &[b'x'; 60_000]] {
            flood_and_polite(framing, flood_of);
        }
    }
}

fn flood_and_polite(framing: Framing, flood_of: &[u8]) {
    let mut harness = Harness::new(Settings {
        framing,
        ..Settings::default()
    });
    let (listener, queue) = harness.listener();
    let (datagrams, udp) = harness.datagrams();
    let flood = harness.client(ScriptedStream::unlimited());
    let polite: Vec<_> = (0..50)
        .map(|_| harness.client(ScriptedStream::unlimited()))
        .collect();
    harness.run_until_idle();
    let input = flood_of.repeat(200_000 / flood_of.len() + 1);
    let from = "127.0.0.1:5000".parse().unwrap();
    for turn in 0..50 {
        // All three floods continue in every turn.
        flood.borrow_mut().arrive(&input, false);
        let storm = (0..1_000).map(|_| ScriptedStream::unlimited().0);
        queue.borrow_mut().streams.extend(storm);
        let flood_datagrams = (0..1_000).map(|_| Ok((b"Eve".to_vec(), from)));
        udp.borrow_mut().arrived.extend(flood_datagrams);
        let one = &polite[turn % polite.len()];
        one.borrow_mut().written.clear();
        one.borrow_mut().arrive(b"Ada\n", false);

        let calls = flood.borrow().calls;
        let left = flood.borrow().arrived.len();
        let (accepts, receives) = (queue.borrow().calls, udp.borrow().receives);
        let both = Readiness::READABLE | Readiness::WRITABLE;
        harness.step_with(&[(listener, both), (datagrams, both)]);

        assert_eq!(
            one.borrow().written,
            b"Hello, Ada!\n",
            "not answered in its turn"
        );
        let calls = flood.borrow().calls - calls;
        let bytes = left - flood.borrow().arrived.len();
        assert!(
            calls <= MAX_CALLS_PER_TURN,
            "{calls} calls for one client in one turn"
        );
        assert!(
            bytes <= MAX_BYTES_PER_TURN,
            "{bytes} bytes of one client in one turn"
        );
        assert!(bytes > 0, "the flood is not read");
        let accepts = queue.borrow().calls - accepts;
        assert!(
            (1..=MAX_ACCEPTS_PER_TURN).contains(&accepts),
            "{accepts} accepts"
        );
        let receives = udp.borrow().receives - receives;
        assert!(
            (1..=MAX_DATAGRAMS_PER_TURN).contains(&receives),
            "{receives} datagrams"
        );
    }
}
