//! What is kept for clients that cannot be served at once, in the order of their progress.
//!
//! **Owns** the memory of unsent replies and of incomplete lines, and which client has made no
//! progress for longest. **Must never touch** a socket, nor what the bytes mean.
//! **Invariant**: a client that is owed nothing and has sent no part of a line has no entry here;
//! the list leads from the entry without progress for longest to the newest.
//!
//! When all clients together have too much buffered, some must go, and it must not be those who
//! only happen to be slow, or large: an attacker chooses its size (pitfall 21). So an entry
//! moves to the end of the list once everything that was pending at its last move is done: the line
//! that had begun has ended, and the replies that were owed have been sent. Reading one byte of its
//! replies now and then, or sending one byte of a line, does not move a client, so it drifts to the
//! front.

use crate::net::outbox::Outbox;
use crate::protocol::buffer::{Buffer, SMALL_BYTES};
use crate::reactor::Token;
use slab::Slab;
use std::num::NonZeroU32;

/// Small buffers kept for reuse, so that lines in pieces and replies that a delay holds back
/// allocate nothing. More are in use only if many clients are slow or their replies are held, and
/// the cost of an allocation does not matter then.
pub(super) const MAX_POOLED_BUFFERS: usize = 64;

/// A table for more entries than this is freed when the last one goes.
const MAX_KEPT_ENTRIES: usize = 1_024;

/// Names an entry of a [`PendingTable`]: its slab key plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingKey(NonZeroU32);

impl PendingKey {
    fn of(key: usize) -> Option<Self> {
        u32::try_from(key + 1)
            .ok()
            .and_then(NonZeroU32::new)
            .map(Self)
    }

    #[inline]
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What a peer has only while it has unsent replies or an incomplete line.
#[derive(Debug)]
pub struct Pending {
    /// Replies that the socket has not taken, or that `--delay` holds.
    pub outbox: Outbox,
    /// An incomplete line.
    pub partial: Buffer,
    token: Token,
    /// Whether it is in the list. Replies that `--delay` holds are not: the client cannot take them.
    is_linked: bool,
    /// The neighbours in the order of progress.
    older: Option<PendingKey>,
    newer: Option<PendingKey>,
    /// Bytes owed at the last move to the end of the list, and unsent since.
    old_owed: u32,
    /// Whether the line that had begun at the last move has not ended since.
    has_old_line: bool,
}

impl Pending {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.partial.is_empty()
    }

    /// The memory taken, in bytes, this entry included.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.outbox.memory() + self.partial.memory()
    }
}

/// The entries of all clients that have one, linked in the order of their progress. Each operation
/// is O(1), amortised over the growth of the slab.
#[derive(Debug)]
pub struct PendingTable {
    slab: Slab<Pending>,
    oldest: Option<PendingKey>,
    newest: Option<PendingKey>,
    pool: Vec<Buffer>,
}

impl Default for PendingTable {
    /// The pool is allocated first: what is kept longest lies below what comes and goes.
    fn default() -> Self {
        Self {
            slab: Slab::new(),
            oldest: None,
            newest: None,
            pool: (0..MAX_POOLED_BUFFERS).map(|_| Buffer::small()).collect(),
        }
    }
}

impl PendingTable {
    /// The entry of a client, if it has one.
    #[must_use]
    #[inline]
    pub fn get(&self, key: Option<PendingKey>) -> Option<&Pending> {
        self.slab.get(key?.index())
    }

    /// The entry of a client, if it has one.
    #[inline]
    pub fn get_mut(&mut self, key: Option<PendingKey>) -> Option<&mut Pending> {
        self.slab.get_mut(key?.index())
    }

    /// The client that has made no progress for longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Token> {
        self.get(self.oldest).map(|pending| pending.token)
    }

    /// The client's entry; if `key` is `None` a new one, which `key` then names. It is in the list
    /// once it is [settled](Self::settle).
    pub fn entry(&mut self, key: &mut Option<PendingKey>, token: Token) -> &mut Pending {
        let index = match *key {
            Some(key) => key.index(),
            None => {
                let index = self.slab.insert(Pending {
                    outbox: Outbox::from(self.pool.pop().unwrap_or_default()),
                    partial: self.pool.pop().unwrap_or_default(),
                    token,
                    is_linked: false,
                    older: None,
                    newer: None,
                    old_owed: 0,
                    has_old_line: false,
                });
                *key = PendingKey::of(index);
                index
            }
        };
        &mut self.slab[index]
    }

    /// Notes that bytes were sent to the client and how many of its messages were completed, and
    /// removes its entry if nothing is left in it. While its replies are held it is not in the list.
    #[inline]
    pub fn settle(
        &mut self,
        key: &mut Option<PendingKey>,
        sent: usize,
        messages: u64,
        is_held: bool,
    ) {
        if key.is_some() {
            self.settle_entry(key, sent, messages, is_held);
        }
    }

    fn settle_entry(
        &mut self,
        key: &mut Option<PendingKey>,
        sent: usize,
        messages: u64,
        is_held: bool,
    ) {
        let Some(pending) = self.get_mut(*key) else {
            return;
        };
        if pending.is_empty() {
            return self.remove(key);
        }
        if is_held {
            return self.unlink(*key);
        }
        let sent = u32::try_from(sent).unwrap_or(u32::MAX);
        pending.old_owed = pending.old_owed.saturating_sub(sent);
        pending.has_old_line &= messages == 0;
        let is_settled = pending.old_owed == 0 && !pending.has_old_line;
        if is_settled || !pending.is_linked {
            pending.old_owed = u32::try_from(pending.outbox.len()).unwrap_or(u32::MAX);
            pending.has_old_line = !pending.partial.is_empty();
            self.unlink(*key);
            self.link(*key);
        }
    }

    /// Removes a client's entry, and with it what is kept.
    pub fn remove(&mut self, key: &mut Option<PendingKey>) {
        self.unlink(*key);
        let Some(key) = key.take() else { return };
        let pending = self.slab.remove(key.index());
        for mut buffer in [pending.partial, pending.outbox.into()] {
            buffer.clear();
            if self.pool.len() < MAX_POOLED_BUFFERS {
                let is_small = buffer.memory() == SMALL_BYTES;
                self.pool
                    .push(if is_small { buffer } else { Buffer::small() });
            }
        }
        if self.slab.is_empty() && self.slab.capacity() > MAX_KEPT_ENTRIES {
            self.slab = Slab::new();
        }
    }

    /// Puts an entry at the end of the list.
    fn link(&mut self, key: Option<PendingKey>) {
        let older = self.newest;
        if let Some(pending) = self.get_mut(key) {
            (pending.older, pending.newer) = (older, None);
            pending.is_linked = true;
        }
        match self.get_mut(older) {
            Some(older) => older.newer = key,
            None => self.oldest = key,
        }
        self.newest = key;
    }

    /// Takes an entry out of the list, if it is there.
    fn unlink(&mut self, key: Option<PendingKey>) {
        let Some(pending) = self.get_mut(key).filter(|pending| pending.is_linked) else {
            return;
        };
        pending.is_linked = false;
        let (older, newer) = (pending.older, pending.newer);
        match self.get_mut(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.get_mut(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(key: u32) -> Token {
        Token { key, generation: 0 }
    }

    /// The tokens in the order of the list, walked both ways.
    fn order(table: &PendingTable) -> Vec<u32> {
        let walk = |first, next: fn(&Pending) -> Option<PendingKey>| {
            let mut at = first;
            std::iter::from_fn(move || {
                let pending = table.get(at)?;
                at = next(pending);
                Some(pending.token.key)
            })
        };
        let mut backwards: Vec<_> = walk(table.newest, |pending| pending.older).collect();
        backwards.reverse();
        let forwards: Vec<_> = walk(table.oldest, |pending| pending.newer).collect();
        assert_eq!(forwards, backwards);
        assert_eq!(forwards.len(), table.slab.len());
        forwards
    }

    #[test]
    fn only_a_client_that_settles_all_it_was_owed_moves_to_the_end() {
        let (mut table, mut keys) = (PendingTable::default(), [None; 4]);
        for (index, key) in (0..).zip(&mut keys) {
            let pending = table.entry(key, token(index));
            pending.outbox.push(&[b'x'; 10]);
            pending.partial.push(b"begun");
            table.settle(key, 0, 0, false);
        }
        assert_eq!(order(&table), [0, 1, 2, 3]);
        // Replies alone, or a line alone, do not settle both.
        table.settle(&mut keys[0], 10, 0, false);
        table.settle(&mut keys[1], 9, 1, false);
        assert_eq!(order(&table), [0, 1, 2, 3]);
        table.settle(&mut keys[0], 0, 1, false);
        assert_eq!(order(&table), [1, 2, 3, 0]);
        // What came since the last move counts from this one.
        table.entry(&mut keys[2], token(2)).outbox.push(&[b'x'; 10]);
        table.settle(&mut keys[2], 10, 1, false);
        assert_eq!(order(&table), [1, 3, 0, 2]);
        table.settle(&mut keys[2], 19, 1, false);
        assert_eq!(order(&table), [1, 3, 0, 2], "20 bytes were owed");
        table.settle(&mut keys[1], 1, 0, false);
        assert_eq!(order(&table), [3, 0, 2, 1]);
        assert_eq!(table.oldest(), Some(token(3)));
        // Held replies do not count; once they are released they count from then.
        table.settle(&mut keys[3], 0, 0, true);
        assert_eq!(table.oldest(), Some(token(0)));
        table.settle(&mut keys[3], 0, 0, false);
        let newest = table.get(table.newest).unwrap();
        assert_eq!(newest.token, token(3));
    }

    #[test]
    fn an_entry_goes_when_it_is_empty_or_removed() {
        let (mut table, mut keys) = (PendingTable::default(), [None; 3]);
        for (index, key) in (0..).zip(&mut keys) {
            table.entry(key, token(index)).partial.push(b"begun");
            table.settle(key, 0, 0, false);
        }
        table.entry(&mut keys[1], token(1)).partial.clear();
        table.settle(&mut keys[1], 0, 1, false);
        assert_eq!((keys[1], order(&table)), (None, vec![0, 2]));
        table.settle(&mut keys[1], 0, 1, false);
        table.remove(&mut keys[2]);
        assert_eq!(order(&table), [0]);
        table.remove(&mut keys[0]);
        assert_eq!((table.oldest(), order(&table)), (None, vec![]));
    }

    #[test]
    fn small_buffers_are_reused_and_large_ones_are_not_kept() {
        let (mut table, mut keys) = (PendingTable::default(), vec![None; 2 * MAX_KEPT_ENTRIES]);
        for (index, key) in (0..).zip(&mut keys) {
            let pending = table.entry(key, token(index));
            pending.partial.push(&[b'x'; 3 * SMALL_BYTES]);
        }
        assert!(table.pool.is_empty());
        keys.iter_mut().for_each(|key| table.remove(key));
        assert_eq!(table.slab.capacity(), 0);
        assert_eq!(table.pool.len(), MAX_POOLED_BUFFERS);
        let memory = table.pool.iter().map(Buffer::memory);
        assert_eq!(memory.sum::<usize>(), MAX_POOLED_BUFFERS * SMALL_BYTES);
        let pending = table.entry(&mut keys[0], token(0));
        pending.partial.push(b"begun");
        assert_eq!(pending.memory(), size_of::<Pending>() + 2 * SMALL_BYTES);
    }
}
