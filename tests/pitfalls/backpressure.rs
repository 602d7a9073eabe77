//! Short writes, and clients that do not read: pitfalls 6 and 7.

use crate::harness::{Harness, line_settings};
use crate::script::{Fault, ScriptedStream};
use helloop::server::Settings;
use helloop::server::sources::peer::MAX_PEER_BYTES;
use helloop::server::stats::CloseCause;
use std::time::Duration;

/// The send buffer takes a part of a reply, or nothing: the rest is sent when there is room, once
/// and in order.
#[test]
fn p06_a_short_or_blocked_write_is_continued_in_order() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::with_room(0));
    client.borrow_mut().arrive(b"Michael\nTracy\n", false);
    harness.run_until_idle();
    let expected = b"Welcome!\nHello, Michael!\nHello, Tracy!\n";
    for count in 0..expected.len() {
        assert_eq!(client.borrow().written, expected[..count]);
        client.borrow_mut().make_room(1);
        harness.run_until_idle();
    }
    assert_eq!(client.borrow().written, expected);
    assert_eq!(harness.stats().buffered, 0);
    client.borrow_mut().make_room(1_000);
    client
        .borrow_mut()
        .faults
        .extend([None, Some(Fault::Short), Some(Fault::Blocked)]);
    client.borrow_mut().arrive(b"Sarah\n", false);
    harness.run_until_idle();
    assert!(client.borrow().written.ends_with(b"Hello, Sarah!\n"));
}

/// A client that never reads costs bounded memory, stalls only itself, and is closed after the
/// write timeout.
#[test]
fn p07_a_client_that_never_reads_costs_bounded_memory() {
    let mut harness = Harness::new(line_settings());
    let client = harness.client(ScriptedStream::with_room(0));
    let polite = harness.client(ScriptedStream::unlimited());
    for _ in 0..100 {
        client.borrow_mut().arrive(&b"\n".repeat(20_000), false);
        harness.run_until_idle();
        assert!(harness.stats().buffered <= MAX_PEER_BYTES);
    }
    assert!(client.borrow().arrived.len() > 1_900_000, "still read");
    polite.borrow_mut().arrive(b"Ada\n", false);
    harness.run_until_idle();
    assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
    // Each byte that the client reads restarts the write timeout.
    harness.advance(Duration::from_secs(29));
    client.borrow_mut().make_room(1);
    harness.run_until_idle();
    harness.advance(Duration::from_secs(29));
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::WriteTimeout), 0);
    harness.advance(Duration::from_secs(2));
    harness.run_until_idle();
    assert_eq!(harness.closed(CloseCause::WriteTimeout), 1);
    assert_eq!(harness.stats().buffered, 0);
}

/// A thousand such clients together stay within `--max-buffered`, and other clients are served.
#[test]
fn p07_a_thousand_clients_that_never_read_stay_within_the_cap() {
    const CAP_BYTES: usize = 4 << 20;
    let mut harness = Harness::new(Settings {
        max_buffered: CAP_BYTES,
        ..line_settings()
    });
    let polite = harness.client(ScriptedStream::unlimited());
    let stalled: Vec<_> = (0..1_000)
        .map(|_| harness.client(ScriptedStream::with_room(0)))
        .collect();
    for (index, client) in stalled.iter().enumerate() {
        client.borrow_mut().arrive(&b"\n".repeat(10_000), false);
        harness.run_until_idle();
        let buffered = harness.stats().buffered;
        assert!(buffered <= CAP_BYTES, "{buffered} bytes buffered");
        if index % 100 == 0 {
            polite.borrow_mut().arrive(b"Ada\n", false);
            harness.run_until_idle();
            assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
            polite.borrow_mut().written.clear();
        }
    }
    assert!(harness.closed(CloseCause::BufferedTooMuch) > 800);
}

/// Memory that a client has used before does not count against the cap: it is given back at once.
#[test]
fn p07_unused_memory_closes_no_client() {
    const CLIENTS: usize = 40;
    let mut harness = Harness::new(Settings {
        max_buffered: 16 * 1_024,
        ..line_settings()
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| harness.client(ScriptedStream::unlimited()))
        .collect();
    harness.run_until_idle();
    for client in &clients {
        // A line of a thousand bytes in two pieces, and the start of another.
        for piece in [&[b'x'; 1_000][..], b"\nx"] {
            client.borrow_mut().arrive(piece, false);
            harness.run_until_idle();
        }
    }
    assert_eq!(harness.stats().open(), CLIENTS as u64);
    assert!(harness.stats().buffered <= 16 * 1_024);
    for client in &clients {
        client.borrow_mut().arrive(b"\n", false);
    }
    harness.run_until_idle();
    assert!(
        clients
            .iter()
            .all(|client| client.borrow().written.ends_with(b"Hello, x!\n"))
    );
    assert_eq!(harness.stats().buffered, 0);
}
