//! A byte queue that holds no memory while it is empty.
//!
//! **Owns** bytes between the one who produced them and a socket that does not take them yet.
//! **Must never touch** that socket. **Invariant**: an empty buffer has no memory, so that an
//! idle client costs none; `len` is what was pushed and not consumed.

/// Bytes in, bytes out, in order.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// How many bytes at the front have been consumed already.
    consumed: usize,
}

impl Buffer {
    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.consumed
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that they take, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes that wait, the oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Appends `bytes`. What was consumed makes room first, and no more memory is taken than
    /// the bytes need: the limits on a client count bytes, and memory must follow them.
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

    /// Takes the first `count` bytes off: the socket has them. At most [`len`](Self::len).
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "consumed more than there is");
        self.consumed += count;
        if self.consumed >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = Buffer::default();
        buffer.push(b"");
        assert_eq!(buffer.bytes.capacity(), 0);
        buffer.push(b"hello");
        buffer.consume(2);
        assert_eq!((buffer.as_slice(), buffer.len()), (&b"llo"[..], 3));
        buffer.consume(3);
        assert!(buffer.is_empty());
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    proptest! {
        /// What goes in comes out, once and in order; memory is the most that waited at once, and
        /// none when nothing does.
        #[test]
        fn is_a_queue(calls in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0usize..60), 0..60)) {
            let (mut buffer, mut model) = (Buffer::default(), Vec::new());
            let mut most_since_empty = 0;
            for (pushed, consumed) in calls {
                buffer.push(&pushed);
                model.extend_from_slice(&pushed);
                most_since_empty = most_since_empty.max(model.len());
                prop_assert!(buffer.bytes.capacity() <= 8.max(most_since_empty));
                let consumed = consumed.min(model.len());
                buffer.consume(consumed);
                model.drain(..consumed);
                prop_assert_eq!(buffer.as_slice(), model.as_slice());
                if buffer.is_empty() {
                    prop_assert_eq!(buffer.bytes.capacity(), 0);
                    most_since_empty = 0;
                }
            }
        }
    }
}
