//! What is kept for a client that cannot be served at once.
//!
//! **Owns** the memory of unsent replies and of incomplete lines, in use and pooled. **Must never
//! touch** a socket, nor what the bytes mean.
//! **Invariant**: a client that is owed nothing and has sent no part of a line keeps no memory
//! here; what it used is pooled, within bounds, for the next client that needs some.
//!
//! Memory is reused rather than freed, so that a steady load allocates nothing: neither for lines
//! that arrive in pieces, nor for replies that a delay or a full socket holds back.

use crate::net::outbox::Outbox;
use crate::protocol::buffer::KEPT_BYTES;

/// Empty entries kept for reuse. More are in use at once only if many clients are slow, and the
/// cost of an allocation does not matter then.
pub(super) const MAX_POOLED_BUFFERS: usize = 64;

// The whole pool stays small.
const _: () = assert!(MAX_POOLED_BUFFERS * 2 * KEPT_BYTES <= 128 * 1_024);

/// What a peer holds only while it has unsent replies or an incomplete line.
#[derive(Debug, Default)]
pub struct Pending {
    /// Replies that the socket has not taken, or that `--delay` holds.
    pub outbox: Outbox,
    /// An incomplete line.
    pub partial: Vec<u8>,
}

impl Pending {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.partial.is_empty()
    }

    /// Frees the memory that no byte needs.
    pub fn trim(&mut self) {
        self.outbox.trim();
        self.partial.shrink_to_fit();
    }

    /// The memory allocated, in bytes, used or not: limits must hold for memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.outbox.memory() + self.partial.capacity()
    }
}

/// A pool of reusable client buffers.
#[derive(Debug, Default)]
pub struct PendingPool {
    #[expect(clippy::vec_box, reason = "the box itself is reused")]
    list: Vec<Box<Pending>>,
}

impl PendingPool {
    /// An empty entry, with the memory of an earlier client if there is one.
    pub fn take(&mut self) -> Box<Pending> {
        self.list.pop().unwrap_or_default()
    }

    /// Takes back an entry that has become empty.
    pub fn put(&mut self, pending: Box<Pending>) {
        debug_assert!(pending.is_empty(), "still in use");
        if self.list.len() < MAX_POOLED_BUFFERS {
            self.list.push(pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty entry that has held `bytes` bytes of replies.
    fn used(pool: &mut PendingPool, bytes: usize) -> Box<Pending> {
        let mut pending = pool.take();
        pending.partial.resize(bytes, 0);
        crate::protocol::buffer::clear_and_shrink(&mut pending.partial);
        pending
    }

    #[test]
    fn an_entry_is_reused_with_its_memory() {
        let mut pool = PendingPool::default();
        let pending = used(&mut pool, 100);
        pool.put(pending);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.memory(), 100);
        assert_eq!(pool.take().memory(), 0, "only one was pooled");
    }

    #[test]
    fn the_pool_is_bounded_in_number_and_in_memory() {
        let mut pool = PendingPool::default();
        let entries: Vec<_> = (0..=MAX_POOLED_BUFFERS)
            .map(|_| used(&mut pool, 3 * KEPT_BYTES))
            .collect();
        entries.into_iter().for_each(|pending| pool.put(pending));
        assert_eq!(pool.list.len(), MAX_POOLED_BUFFERS);
        assert!(pool.list.iter().all(|pooled| pooled.memory() <= KEPT_BYTES));
    }
}
