//! Datagrams in batches: those that have come, and the replies that are to go.
//!
//! **Owns** the memory of both, taken with the first datagram and kept: a batch allocates
//! nothing. **Must never touch** a socket, nor what the bytes mean. **Invariant**: replies leave
//! in the order in which they were written, and each is there until it is taken off.

use std::net::SocketAddr;

/// Datagrams of one batch: enough that a call's cost is small beside theirs, few enough that a
/// batch is no more than a turn's worth of work (pitfall 5).
pub const BATCH: usize = 64;

/// Datagrams received.
#[derive(Debug, Default)]
pub struct RecvBatch {
    /// One room beside the other.
    space: Vec<u8>,
    /// Bytes of a room.
    room_bytes: usize,
    /// By room: the length, and where the datagram came from.
    arrived: Vec<(usize, SocketAddr)>,
}

impl RecvBatch {
    /// Forgets all datagrams, and makes rooms of so many bytes.
    pub fn clear(&mut self, room_bytes: usize) {
        // Zeroed memory of this size comes from the system untouched: only what datagrams fill
        // becomes resident.
        if self.room_bytes != room_bytes {
            self.space = vec![0; room_bytes * BATCH];
            self.room_bytes = room_bytes;
        }
        self.arrived.clear();
    }

    /// The rooms, to receive into, and the list in which the arrivals are to be noted in the
    /// order of their rooms.
    pub fn rooms(
        &mut self,
    ) -> (
        impl Iterator<Item = &mut [u8]>,
        &mut Vec<(usize, SocketAddr)>,
    ) {
        let rooms = self.space.chunks_exact_mut(self.room_bytes);
        (rooms, &mut self.arrived)
    }

    /// How many datagrams have arrived.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrived.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// The datagrams, and where they came from.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let rooms = self.space.chunks_exact(self.room_bytes);
        let arrived = self.arrived.iter().zip(rooms);
        arrived.map(|((length, from), room)| (&room[..*length], *from))
    }
}

/// Replies to be sent.
#[derive(Debug, Default)]
pub struct SendBatch {
    /// One reply behind the other.
    bytes: Vec<u8>,
    /// Where each ends, and where it goes.
    replies: Vec<(usize, SocketAddr)>,
    /// Replies at the front that are gone.
    taken: usize,
}

impl SendBatch {
    /// Where the next reply is written to. It counts once it is [`posted`](Self::post).
    pub fn draft(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was written since the last reply is one, to this address.
    pub fn post(&mut self, to: SocketAddr) {
        self.replies.push((self.bytes.len(), to));
    }

    /// Takes off the first `count` replies: they are sent, or given up.
    pub fn take(&mut self, count: usize) {
        self.taken += count;
        if self.is_empty() {
            self.bytes.clear();
            self.replies.clear();
            self.taken = 0;
        }
    }

    /// Whether every reply is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken >= self.replies.len()
    }

    /// The reply that has waited longest, and where it goes.
    #[must_use]
    pub fn first(&self) -> Option<(&[u8], SocketAddr)> {
        (!self.is_empty()).then(|| self.reply(self.taken))
    }

    /// The replies that are still to go, the oldest first, and where they go.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        (self.taken..self.replies.len()).map(|at| self.reply(at))
    }

    fn reply(&self, at: usize) -> (&[u8], SocketAddr) {
        let start = match at {
            0 => 0,
            _ => self.replies[at - 1].0,
        };
        let (end, to) = self.replies[at];
        (&self.bytes[start..end], to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn datagrams_are_read_where_they_were_received() {
        let mut incoming = RecvBatch::default();
        for round in [b'a', b'b'] {
            incoming.clear(4);
            let (rooms, arrived) = incoming.rooms();
            for (port, room) in (0..).zip(rooms.take(3)) {
                room[0] = round;
                arrived.push((usize::from(port % 2), address(port)));
            }
            let found: Vec<_> = incoming.iter().collect();
            let expected = [
                (&b""[..], address(0)),
                (&[round][..], address(1)),
                (&b""[..], address(2)),
            ];
            assert_eq!((found.as_slice(), incoming.len()), (&expected[..], 3));
        }
    }

    #[test]
    fn replies_stay_until_they_are_taken() {
        let mut outgoing = SendBatch::default();
        for (port, reply) in [(1, "one"), (2, ""), (3, "three")] {
            outgoing.draft().extend_from_slice(reply.as_bytes());
            outgoing.post(address(port));
        }
        outgoing.take(1);
        let left: Vec<_> = outgoing.iter().collect();
        assert_eq!(left, [(&b""[..], address(2)), (&b"three"[..], address(3))]);
        outgoing.take(2);
        assert!(outgoing.is_empty() && outgoing.draft().is_empty());
    }
}
