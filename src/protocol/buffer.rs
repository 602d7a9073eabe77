//! A byte queue that holds little memory while it is empty.
//!
//! **Owns** bytes between their producer and their consumer. **Must never touch** a socket.
//! **Invariant**: an empty buffer keeps at most [`KEPT_BYTES`] of memory, so that it can be reused
//! without an allocation and a burst leaves nothing behind; `len` is what was pushed and not
//! consumed.

/// Memory that an empty buffer may keep, in bytes: enough for names, so that a steady load
/// allocates nothing, and so little that 19,000 clients stay far below the default cap.
pub const KEPT_BYTES: usize = 1_024;

/// Empties `bytes`, keeping at most [`KEPT_BYTES`] of its memory.
pub fn clear_and_shrink(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(KEPT_BYTES);
}

/// A first-in, first-out queue of bytes.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Bytes at the front that are consumed already.
    consumed: usize,
}

impl Buffer {
    /// The number of bytes queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Whether none is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory allocated, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The queued bytes, the oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Appends `bytes`. Consumed bytes make room first, and no more memory is allocated than the
    /// bytes need: the limits on a client count bytes, and memory must follow them.
    pub fn push(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.consumed > 0 {
            self.bytes.drain(..self.consumed);
            self.consumed = 0;
        }
        self.bytes.reserve_exact(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Frees the memory that no byte needs.
    pub fn trim(&mut self) {
        self.bytes.drain(..self.consumed);
        self.consumed = 0;
        self.bytes.shrink_to_fit();
    }

    /// Removes the first `count` bytes, at most [`len`](Self::len) of them.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "consumed more than there is");
        self.consumed += count;
        if self.consumed >= self.bytes.len() {
            clear_and_shrink(&mut self.bytes);
            self.consumed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_holds_little_memory() {
        let mut buffer = Buffer::default();
        buffer.push(b"");
        assert_eq!(buffer.bytes.capacity(), 0);
        buffer.push(b"hello");
        buffer.consume(2);
        assert_eq!((buffer.as_slice(), buffer.len()), (&b"llo"[..], 3));
        buffer.consume(3);
        assert!(buffer.is_empty());
        assert_eq!(buffer.memory(), 5);
        buffer.push(&[0; 2 * KEPT_BYTES]);
        assert_eq!(buffer.memory(), 2 * KEPT_BYTES);
        buffer.consume(2 * KEPT_BYTES);
        assert_eq!(buffer.memory(), KEPT_BYTES);
        buffer.push(b"hello");
        buffer.consume(2);
        buffer.trim();
        assert_eq!((buffer.as_slice(), buffer.memory()), (&b"llo"[..], 3));
    }

    proptest! {
        /// What goes in comes out, once and in order; memory is the most that waited at once, and
        /// little when nothing does.
        #[test]
        fn is_a_queue(
            calls in prop::collection::vec((any::<u8>(), 0usize..4_000, 0usize..6_000), 0..40),
        ) {
            let (mut buffer, mut model) = (Buffer::default(), Vec::new());
            let mut most = 0;
            for (first, length, consumed) in calls {
                let pushed: Vec<u8> = (0..length).map(|n| first.wrapping_add(n as u8)).collect();
                buffer.push(&pushed);
                model.extend_from_slice(&pushed);
                most = most.max(model.len());
                prop_assert!(buffer.memory() <= 8.max(most));
                let consumed = consumed.min(model.len());
                buffer.consume(consumed);
                model.drain(..consumed);
                prop_assert_eq!(buffer.as_slice(), model.as_slice());
                if buffer.is_empty() {
                    prop_assert!(buffer.memory() <= KEPT_BYTES);
                    most = most.min(KEPT_BYTES);
                }
            }
        }
    }
}
