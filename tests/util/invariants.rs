//! What holds for the server on scripted sockets, whatever its clients do and whichever calls fail.
//!
//! **Owns** the comparison with the reference model. **Must never touch** the server: it looks.
//! **Invariant**: what does not hold fails the test.

#![allow(dead_code, unreachable_pub)] // each test crate uses only a part

use crate::harness::Harness;
use crate::model;
use crate::script::Connection;
use helloop::protocol::greeting::Framing;
use helloop::server::Settings;
use helloop::server::sources::peer::MAX_PEER_BYTES;

/// What a client has been sent, compared with the reference model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All that it was owed, or all until its connection broke.
    All,
    /// A prefix.
    Part,
    /// A prefix of the refusal.
    PartOfRefusal,
}

/// After every step: the counters are right, and the memory for each client is within its limit.
pub fn check(harness: &Harness) {
    let stats = harness.stats();
    let (mut peers, mut buffered) = (0, 0);
    for (_, peer) in harness.peers() {
        let bytes = peer.buffered(&harness.server.shared.pending);
        assert!(bytes <= MAX_PEER_BYTES);
        buffered += bytes;
        peers += 1;
    }
    assert_eq!((stats.buffered, stats.open()), (buffered, peers));
    assert!(stats.clients() <= harness.server.shared.settings.max_clients);
}

/// Compares what a closed client was sent with the reference model. Anything but a prefix fails
/// the test.
pub fn compare_sent(connection: &Connection, settings: &Settings) -> Sent {
    let unread = connection.arrived.len();
    assert!(connection.closed, "a client is left, {unread} bytes unread");
    let written = &connection.written;
    let was_refused = written.starts_with(b"B");
    let owed = match settings.framing {
        _ if was_refused => refusal(connection, settings),
        Framing::Chunk => model::chunks(&connection.reads),
        Framing::Line => model::lines(&connection.reads.concat(), connection.eof_read),
    };
    assert!(
        owed.starts_with(written),
        "{} bytes owed, {} sent\nowed ...{}\nsent ...{}",
        owed.len(),
        written.len(),
        tail(&owed),
        tail(written)
    );
    let is_all = written.len() == owed.len();
    assert!(is_all || !connection.shut, "FIN before {}", tail(&owed));
    if is_all || connection.reset || connection.fails_to_register {
        Sent::All
    } else if was_refused || written.is_empty() {
        Sent::PartOfRefusal
    } else {
        Sent::Part
    }
}

/// What a client is sent beyond one of the limits: the one that its refusal so far names.
fn refusal(connection: &Connection, settings: &Settings) -> Vec<u8> {
    let max = settings.max_clients;
    let mut refusal = format!("Busy: {max} of {max} clients connected\n");
    if let (Some(max), Some(address)) = (settings.max_clients_per_address, connection.address) {
        let is_network = address.is_ipv6() && address.ip().to_canonical().is_ipv6();
        let whose = if is_network { "/64 network" } else { "address" };
        let by_address = format!("Busy: {max} of {max} clients of this {whose} connected\n");
        if by_address.as_bytes().starts_with(&connection.written) {
            refusal = by_address;
        }
    }
    refusal.into_bytes()
}

/// The last bytes, for a message.
fn tail(bytes: &[u8]) -> String {
    bytes[bytes.len().saturating_sub(200)..]
        .escape_ascii()
        .to_string()
}
