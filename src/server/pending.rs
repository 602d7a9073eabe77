//! What is kept for a client that cannot be served at once.
//!
//! **Owns** the memory of replies owed and of lines begun, in use and spare. **Must never touch**
//! a socket, nor what the bytes mean.
//! **Invariant**: a client that is owed nothing and has begun nothing has no backlog; what its
//! backlog was made of waits here, bounded, for the next client that needs one.
//!
//! Memory is handed on rather than freed, so that a steady load allocates nothing: not for
//! lines that come in pieces, nor for replies that a delay or a full socket holds back.

use crate::protocol::buffer::{Buffer, KEPT_BYTES};

/// Empty backlogs kept for the next client. More are in use at once only where many clients
/// are slow, and there an allocation is the least that a message costs.
pub const MAX_POOLED: usize = 64;

// All spare memory together: little, and none before anybody needed it.
const _: () = assert!(MAX_POOLED * 2 * KEPT_BYTES <= 128 * 1_024);

/// What a peer holds only while it must.
#[derive(Debug, Default)]
pub struct Pending {
    /// Replies that the socket has not taken, or that the delay holds.
    pub owed: Buffer,
    /// A line begun.
    pub partial: Vec<u8>,
}

impl Pending {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owed.is_empty() && self.partial.is_empty()
    }

    /// Gives back the memory that no byte needs.
    pub fn trim(&mut self) {
        self.owed.trim();
        self.partial.shrink_to_fit();
    }

    /// What it costs in bytes, used or not: the limits must hold for memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.owed.memory() + self.partial.capacity()
    }
}

/// Backlogs that nobody needs at present.
#[derive(Debug, Default)]
pub struct PendingPool {
    #[expect(clippy::vec_box, reason = "the box itself is what is handed on")]
    list: Vec<Box<Pending>>,
}

impl PendingPool {
    /// An empty backlog, a used one if there is any.
    pub fn take(&mut self) -> Box<Pending> {
        self.list.pop().unwrap_or_default()
    }

    /// Takes back a backlog that has become empty.
    pub fn put(&mut self, backlog: Box<Pending>) {
        debug_assert!(backlog.is_empty(), "somebody still needs it");
        if self.list.len() < MAX_POOLED {
            self.list.push(backlog);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_is_handed_on_with_its_memory() {
        let mut pool = PendingPool::default();
        let mut backlog = pool.take();
        backlog.owed.push(&[0; 100]);
        backlog.owed.consume(100);
        pool.put(backlog);
        let again = pool.take();
        assert!(again.is_empty());
        assert_eq!(again.memory(), 100);
        assert_eq!(pool.take().memory(), 0, "there was one");
    }

    #[test]
    fn spares_are_bounded_in_number_and_in_memory() {
        let mut pool = PendingPool::default();
        let backlogs: Vec<_> = (0..=MAX_POOLED)
            .map(|_| {
                let mut backlog = pool.take();
                backlog.owed.push(&[0; 3 * KEPT_BYTES]);
                backlog.owed.consume(3 * KEPT_BYTES);
                backlog
            })
            .collect();
        backlogs.into_iter().for_each(|backlog| pool.put(backlog));
        assert_eq!(pool.list.len(), MAX_POOLED);
        assert!(pool.list.iter().all(|spare| spare.memory() <= KEPT_BYTES));
    }
}
