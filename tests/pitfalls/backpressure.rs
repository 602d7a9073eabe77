//! What a socket does not take, and a client that takes nothing: pitfalls 6 and 7.

use crate::lines;
use crate::rig::Rig;
use crate::script::{Fault, Scripted};
use helloop::server::Settings;
use helloop::server::sources::peer::MAX_PEER_BYTES;
use helloop::server::stats::CloseCause;
use std::time::Duration;

/// A socket takes a part, or nothing: the rest is sent when there is room, once and in order.
#[test]
fn p06_short_writes_and_would_block_on_write() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(0));
    wire.borrow_mut().arrive(b"Michael\nTracy\n", false);
    rig.settle();
    let wanted = b"Welcome!\nHello, Michael!\nHello, Tracy!\n";
    for count in 0..wanted.len() {
        assert_eq!(wire.borrow().written, wanted[..count]);
        wire.borrow_mut().make_room(1);
        rig.settle();
    }
    assert_eq!(wire.borrow().written, wanted);
    assert_eq!(rig.stats().buffered, 0);
    wire.borrow_mut().make_room(1_000);
    wire.borrow_mut()
        .faults
        .extend([None, Some(Fault::Short), Some(Fault::Blocked)]);
    wire.borrow_mut().arrive(b"Sarah\n", false);
    rig.settle();
    assert!(wire.borrow().written.ends_with(b"Hello, Sarah!\n"));
}

/// A client that never reads costs bounded memory, stalls only itself, and is given up.
#[test]
fn p07_a_reader_that_never_reads_costs_bounded_memory() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(0));
    let polite = rig.client(Scripted::roomy());
    for _ in 0..100 {
        wire.borrow_mut().arrive(&b"\n".repeat(20_000), false);
        rig.settle();
        assert!(rig.stats().buffered <= MAX_PEER_BYTES);
    }
    assert!(wire.borrow().arrived.len() > 1_900_000, "no more is read");
    polite.borrow_mut().arrive(b"Ada\n", false);
    rig.settle();
    assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
    // Some progress is enough to stay; none is not.
    rig.pass(Duration::from_secs(29));
    wire.borrow_mut().make_room(1);
    rig.settle();
    rig.pass(Duration::from_secs(29));
    rig.settle();
    assert_eq!(rig.closed(CloseCause::WriteTimeout), 0);
    rig.pass(Duration::from_secs(2));
    rig.settle();
    assert_eq!(rig.closed(CloseCause::WriteTimeout), 1);
    assert_eq!(rig.stats().buffered, 0);
}

/// A thousand of them: all together stay within `--max-buffered`, and the others are served.
#[test]
fn p07_a_thousand_readers_that_never_read_stay_within_the_cap() {
    const CAP: usize = 4 << 20;
    let mut rig = Rig::new(Settings {
        max_buffered: CAP,
        ..lines()
    });
    let polite = rig.client(Scripted::roomy());
    let silent: Vec<_> = (0..1_000)
        .map(|_| rig.client(Scripted::with_room(0)))
        .collect();
    for (index, wire) in silent.iter().enumerate() {
        wire.borrow_mut().arrive(&b"\n".repeat(10_000), false);
        rig.settle();
        assert!(
            rig.stats().buffered <= CAP,
            "{} bytes kept",
            rig.stats().buffered
        );
        if index % 100 == 0 {
            polite.borrow_mut().arrive(b"Ada\n", false);
            rig.settle();
            assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
            polite.borrow_mut().written.clear();
        }
    }
    assert!(rig.closed(CloseCause::BufferedTooMuch) > 800);
    // All at once: one is closed a turn, the largest, until the rest fits.
    let mut rig = Rig::new(Settings {
        max_buffered: CAP,
        ..lines()
    });
    let silent: Vec<_> = (0..1_000)
        .map(|_| rig.client(Scripted::with_room(0)))
        .collect();
    for (index, wire) in silent.iter().enumerate() {
        wire.borrow_mut()
            .arrive(&b"\n".repeat(1_000 + index), false);
    }
    rig.step();
    while rig.server.reactor.poll_timeout(rig.now) == Some(Duration::ZERO) {
        let before = rig.closed(CloseCause::BufferedTooMuch);
        let largest = rig.peers().map(|(_, peer)| peer.buffered()).max();
        rig.step();
        assert!(
            rig.closed(CloseCause::BufferedTooMuch) <= before + 1,
            "one a turn"
        );
        if rig.closed(CloseCause::BufferedTooMuch) > before.max(1) {
            let left = rig.peers().map(|(_, peer)| peer.buffered()).max();
            assert!(left <= largest, "the largest first");
        }
    }
    assert!(rig.stats().buffered <= CAP);
    assert!(
        rig.closed(CloseCause::BufferedTooMuch) < 1_000,
        "and nobody without need"
    );
}

/// Memory that is only kept to be used again counts, and is given back before anybody is closed
/// for it.
#[test]
fn p07_nobody_is_closed_for_memory_that_is_not_used() {
    const CLIENTS: usize = 40;
    let mut rig = Rig::new(Settings {
        max_buffered: 16 * 1_024,
        ..lines()
    });
    let wires: Vec<_> = (0..CLIENTS)
        .map(|_| rig.client(Scripted::roomy()))
        .collect();
    rig.settle();
    for wire in &wires {
        // A line of a thousand bytes in two pieces, and the beginning of another.
        for piece in [&[b'x'; 1_000][..], b"\nx"] {
            wire.borrow_mut().arrive(piece, false);
            rig.settle();
        }
    }
    assert_eq!(rig.stats().open(), CLIENTS as u64);
    assert!(rig.stats().buffered <= 16 * 1_024);
    for wire in &wires {
        wire.borrow_mut().arrive(b"\n", false);
    }
    rig.settle();
    assert!(
        wires
            .iter()
            .all(|wire| wire.borrow().written.ends_with(b"Hello, x!\n"))
    );
    assert_eq!(rig.stats().buffered, 0);
}
