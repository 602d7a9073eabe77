//! One client that sends as fast as it can, fifty polite ones, and a storm of connects: who
//! waits for whom is told by counting the work of each turn, not by a clock.

#[path = "util/rig.rs"]
mod rig;
#[path = "util/script.rs"]
mod script;

use helloop::protocol::greeting::Framing;
use helloop::reactor::Readiness;
use helloop::server::Settings;
use rig::Rig;
use script::Scripted;

/// What one source may do in one turn, as a reader of the README may expect it: not the code's
/// constants, so that a constant that grew is noticed here.
const MOST_CALLS: u64 = 12;
const MOST_BYTES: usize = 8_192; // in the turn in which it breaks a rule, twice its share
const MOST_ACCEPTS: u64 = 100;
const MOST_DATAGRAMS: u64 = 100;

#[test]
fn a_polite_message_is_answered_in_the_turn_that_marks_it() {
    for framing in [Framing::Chunk, Framing::Line] {
        for flood_of in [&b"\n"[..], b"a name\n", &[b'x'; 1_024], &[b'x'; 60_000]] {
            flood_and_polite(framing, flood_of);
        }
    }
}

fn flood_and_polite(framing: Framing, flood_of: &[u8]) {
    let mut rig = Rig::new(Settings {
        framing,
        ..Settings::default()
    });
    let (listener, waiting) = rig.listener();
    let (datagrams, post) = rig.datagrams();
    let flood = rig.client(Scripted::roomy());
    let polite: Vec<_> = (0..50).map(|_| rig.client(Scripted::roomy())).collect();
    rig.settle();
    let input = flood_of.repeat(200_000 / flood_of.len() + 1);
    let from = "127.0.0.1:5000".parse().unwrap();
    for turn in 0..50 {
        // The flood never ebbs, on any of the three.
        flood.borrow_mut().arrive(&input, false);
        let storm = (0..1_000).map(|_| Scripted::roomy().0);
        waiting.borrow_mut().streams.extend(storm);
        let letters = (0..1_000).map(|_| Ok((b"Eve".to_vec(), from)));
        post.borrow_mut().arrived.extend(letters);
        let one = &polite[turn % polite.len()];
        one.borrow_mut().written.clear();
        one.borrow_mut().arrive(b"Ada\n", false);

        let calls = flood.borrow().calls;
        let left = flood.borrow().arrived.len();
        let (accepts, letters) = (waiting.borrow().calls, post.borrow().receives);
        let both = Readiness::READABLE | Readiness::WRITABLE;
        rig.step_with(&[(listener, both), (datagrams, both)]);

        assert_eq!(
            one.borrow().written,
            b"Hello, Ada!\n",
            "answered in its turn"
        );
        let calls = flood.borrow().calls - calls;
        let bytes = left - flood.borrow().arrived.len();
        assert!(
            calls <= MOST_CALLS,
            "{calls} calls for one client in a turn"
        );
        assert!(bytes <= MOST_BYTES, "{bytes} bytes of one client in a turn");
        assert!(bytes > 0, "the flood has its share as well");
        let accepts = waiting.borrow().calls - accepts;
        assert!((1..=MOST_ACCEPTS).contains(&accepts), "{accepts} accepts");
        let letters = post.borrow().receives - letters;
        assert!(
            (1..=MOST_DATAGRAMS).contains(&letters),
            "{letters} datagrams"
        );
    }
}
