//! Batches of datagrams: those received, and those to be sent.
//!
//! **Owns** the memory of both, allocated with the first datagram and kept: a batch allocates
//! nothing. **Must never touch** a socket, nor what the bytes mean. **Invariant**: datagrams are
//! sent in the order in which they were written, and each stays until it is removed.

use std::net::SocketAddr;

/// Datagrams per batch: enough that the system call is cheap compared with handling them, few
/// enough that a batch is one turn's worth of work (pitfall 5).
pub const BATCH_DATAGRAMS: usize = 64;

/// Datagrams received.
#[derive(Debug, Default)]
pub struct RecvBatch {
    /// The buffers, one after the other.
    memory: Vec<u8>,
    /// Bytes per buffer.
    buffer_bytes: usize,
    /// By buffer: the length of the datagram, and its sender.
    received: Vec<(usize, SocketAddr)>,
}

impl RecvBatch {
    /// Removes all datagrams, and provides buffers of this size.
    pub fn clear(&mut self, buffer_bytes: usize) {
        // The system provides zeroed memory of this size untouched: it becomes resident only
        // where datagrams fill it.
        if self.buffer_bytes != buffer_bytes {
            self.memory = vec![0; buffer_bytes * BATCH_DATAGRAMS];
            self.buffer_bytes = buffer_bytes;
        }
        self.received.clear();
    }

    /// The buffers to receive into, and the list to which each received datagram is appended, in
    /// the order of the buffers.
    pub fn buffers(
        &mut self,
    ) -> (
        impl Iterator<Item = &mut [u8]>,
        &mut Vec<(usize, SocketAddr)>,
    ) {
        let buffers = self.memory.chunks_exact_mut(self.buffer_bytes);
        (buffers, &mut self.received)
    }

    /// The number of datagrams received.
    #[must_use]
    pub fn len(&self) -> usize {
        self.received.len()
    }

    /// Whether none was received.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    /// The datagrams and their senders.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let buffers = self.memory.chunks_exact(self.buffer_bytes);
        let received = self.received.iter().zip(buffers);
        received.map(|((length, from), buffer)| (&buffer[..*length], *from))
    }
}

/// Datagrams to be sent.
#[derive(Debug, Default)]
pub struct SendBatch {
    /// The datagrams, one after the other.
    bytes: Vec<u8>,
    /// Where each ends, and its destination.
    datagrams: Vec<(usize, SocketAddr)>,
    /// Datagrams at the front that are removed already.
    removed: usize,
}

impl SendBatch {
    /// Where the next datagram is written. It becomes part of the batch by
    /// [`commit`](Self::commit).
    pub fn begin(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes what was written since the last commit a datagram, with this destination.
    pub fn commit(&mut self, to: SocketAddr) {
        self.datagrams.push((self.bytes.len(), to));
    }

    /// Removes the first `count` datagrams: they are sent, or given up.
    pub fn remove(&mut self, count: usize) {
        self.removed += count;
        if self.is_empty() {
            self.bytes.clear();
            self.datagrams.clear();
            self.removed = 0;
        }
    }

    /// Whether no datagram is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed >= self.datagrams.len()
    }

    /// The oldest datagram, and its destination.
    #[must_use]
    pub fn first(&self) -> Option<(&[u8], SocketAddr)> {
        self.iter().next()
    }

    /// The datagrams, the oldest first, and their destinations.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        (self.removed..self.datagrams.len()).map(|index| {
            let start = index
                .checked_sub(1)
                .map_or(0, |last| self.datagrams[last].0);
            let (end, to) = self.datagrams[index];
            (&self.bytes[start..end], to)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn datagrams_are_read_from_the_buffers_they_were_received_into() {
        let mut batch = RecvBatch::default();
        for round in [b'a', b'b'] {
            batch.clear(4);
            let (buffers, received) = batch.buffers();
            for (port, buffer) in (0..).zip(buffers.take(3)) {
                buffer[0] = round;
                received.push((usize::from(port % 2), address(port)));
            }
            let found: Vec<_> = batch.iter().collect();
            let expected = [
                (&b""[..], address(0)),
                (&[round][..], address(1)),
                (&b""[..], address(2)),
            ];
            assert_eq!((found.as_slice(), batch.len()), (&expected[..], 3));
        }
    }

    #[test]
    fn datagrams_stay_until_they_are_removed() {
        let mut batch = SendBatch::default();
        for (port, datagram) in [(1, "one"), (2, ""), (3, "three")] {
            batch.begin().extend_from_slice(datagram.as_bytes());
            batch.commit(address(port));
        }
        batch.remove(1);
        let left: Vec<_> = batch.iter().collect();
        assert_eq!(left, [(&b""[..], address(2)), (&b"three"[..], address(3))]);
        batch.remove(2);
        assert!(batch.is_empty() && batch.begin().is_empty());
    }
}
