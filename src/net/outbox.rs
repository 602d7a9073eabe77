//! The outbound queue of one connection: bytes that its socket has not taken yet.
//!
//! **Owns** those bytes, in order. **Must never touch** what they mean. **Invariant**: a byte is
//! written once, after every byte that was queued before it (pitfall 6).
//!
//! Backpressure takes one line in a source: while [`Outbox::len`] is over the source's high-water
//! mark it does not read, and returns [`Verdict::Hold`](crate::reactor::Verdict::Hold); the event
//! that reports room to write then drives it (pitfall 7).

use super::stream::{self, Stream, Traffic};
use crate::protocol::buffer::Buffer;
use crate::reactor::Readiness;
use std::io;

/// The queued bytes of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Buffer,
}

impl From<Buffer> for Outbox {
    /// Queues what is in `queue`.
    fn from(queue: Buffer) -> Self {
        Self { queue }
    }
}

impl From<Outbox> for Buffer {
    /// What is queued.
    fn from(outbox: Outbox) -> Self {
        outbox.queue
    }
}

impl Outbox {
    /// The number of queued bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no byte is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The resident memory of the queue in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.queue.memory()
    }

    /// Queues bytes without trying to send them.
    pub fn push(&mut self, bytes: &[u8]) {
        self.queue.push(bytes);
    }

    /// Writes the queued bytes as far as the socket takes them, and returns how many it took.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn flush<T: Stream>(
        &mut self,
        stream: &mut T,
        readiness: &mut Readiness,
        traffic: &mut Traffic,
    ) -> io::Result<usize> {
        if self.is_empty() {
            return Ok(0);
        }
        let sent = stream::send(stream, readiness, self.queue.as_slice(), traffic)?;
        self.queue.consume(sent);
        Ok(sent)
    }

    /// Sends `bytes` after those queued, queues what the socket does not take, and returns how
    /// many bytes it took.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn send<T: Stream>(
        &mut self,
        bytes: &[u8],
        stream: &mut T,
        readiness: &mut Readiness,
        traffic: &mut Traffic,
    ) -> io::Result<usize> {
        if !self.is_empty() {
            self.push(bytes);
            return self.flush(stream, readiness, traffic);
        }
        let sent = stream::send(stream, readiness, bytes, traffic)?;
        self.push(&bytes[sent..]);
        Ok(sent)
    }
}
