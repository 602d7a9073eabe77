//! Readiness, remembered: the bits of each slot, and the list of the slots to drive.
//!
//! **Owns** what the poll has said of each slot and has not been used up yet. **Must never
//! touch** a source: it knows slot keys only.
//! **Invariant**: a slot is in the list at most once, so that a source is driven at most once a
//! turn however often it was marked.
//!
//! The poll is edge-triggered: it says once that a socket became readable. Whoever stops before
//! the socket is drained must remember that there is more (pitfall 1), and a source that stops
//! because its budget is spent needs a place in a list of our own, for the poll will not name it
//! again (pitfall 2). Both are here: the bits stay set until the *source* clears them, and the
//! list is first in, first out, so that nobody is passed over.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a source may try, as far as is known. Never a promise: an operation may still block.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing known.
    pub const NONE: Self = Self(0);
    /// A read, or an accept, may return something.
    pub const READABLE: Self = Self(1);
    /// A write may take something.
    pub const WRITABLE: Self = Self(1 << 1);
    /// The other side has closed its half, or the socket has failed: a read short of its buffer
    /// does not mean that the socket is drained, the end is still to be read. Stays set.
    pub const CLOSED: Self = Self(1 << 2);

    /// In the list. Kept beside the others because it is one bit a slot; no source sees it.
    const QUEUED: Self = Self(1 << 7);

    /// Whether all of `other`'s bits are set here.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no bit is set.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Clears `other`'s bits: the operation said that it would block.
    pub fn clear(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READABLE, "readable"),
            (Self::WRITABLE, "writable"),
            (Self::CLOSED, "closed"),
        ];
        let mut list = formatter.debug_set();
        for (bit, name) in names {
            if self.contains(bit) {
                list.entry(&format_args!("{name}"));
            }
        }
        list.finish()
    }
}

/// The readiness of every slot, and the marked ones in order. Each operation is O(1), amortised.
#[derive(Debug, Default)]
pub struct Ready {
    /// By slot key: one byte each.
    bits: Vec<Readiness>,
    /// Four bytes an entry: a key alone. A slot that changed hands since is told apart by its
    /// bits, which [`Ready::reset`] has cleared.
    list: VecDeque<u32>,
}

impl Ready {
    /// Adds `readiness` to what is known of slot `key`, and puts the slot into the list.
    #[inline]
    pub fn mark(&mut self, key: u32, readiness: Readiness) {
        let index = key as usize;
        if index >= self.bits.len() {
            self.bits.resize(index + 1, Readiness::NONE);
        }
        let bits = &mut self.bits[index];
        if !bits.contains(Readiness::QUEUED) {
            self.list.push_back(key);
        }
        *bits |= readiness | Readiness::QUEUED;
    }

    /// How many slots are in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the list is empty: then, and only then, may the loop wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the slot that has waited longest out of the list.
    pub fn pop(&mut self) -> Option<u32> {
        let key = self.list.pop_front()?;
        self.bits[key as usize].clear(Readiness::QUEUED);
        Some(key)
    }

    /// What is known of slot `key`.
    #[must_use]
    pub fn get(&self, key: u32) -> Readiness {
        let mut readiness = self.bits.get(key as usize).copied().unwrap_or_default();
        readiness.clear(Readiness::QUEUED);
        readiness
    }

    /// Writes back what a source left of its readiness.
    pub fn set(&mut self, key: u32, readiness: Readiness) {
        if let Some(bits) = self.bits.get_mut(key as usize) {
            let queued = bits.0 & Readiness::QUEUED.0;
            *bits = Readiness(readiness.0 | queued);
        }
    }

    /// Forgets slot `key`, for it changes hands. An entry that it still has in the list stays
    /// there and resolves to nothing: the next owner has no bit set, or is in the list with it.
    pub fn reset(&mut self, key: u32) {
        self.set(key, Readiness::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marking_adds_bits_and_queues_once() {
        let mut ready = Ready::default();
        ready.mark(3, Readiness::READABLE);
        ready.mark(1, Readiness::WRITABLE);
        ready.mark(3, Readiness::CLOSED);
        assert_eq!(ready.len(), 2);
        assert_eq!(ready.pop(), Some(3));
        assert_eq!(ready.get(3), Readiness::READABLE | Readiness::CLOSED);
        assert_eq!(ready.pop(), Some(1));
        assert_eq!(ready.pop(), None);
        assert!(ready.is_empty());
    }

    #[test]
    fn bits_outlive_the_list_until_they_are_cleared() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE | Readiness::WRITABLE);
        ready.pop();
        ready.set(0, Readiness::WRITABLE);
        ready.mark(0, Readiness::NONE);
        assert_eq!(ready.pop(), Some(0));
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn a_slot_that_changes_hands_is_queued_once_and_without_bits() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE);
        ready.reset(0);
        assert_eq!(ready.get(0), Readiness::NONE);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!((ready.len(), ready.pop(), ready.pop()), (1, Some(0), None));
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn the_list_bit_is_not_readiness() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::NONE);
        assert!(ready.get(0).is_none());
        ready.set(0, Readiness::READABLE);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!(
            ready.len(),
            1,
            "writing back does not lose the place in the list"
        );
        assert_eq!(format!("{:?}", ready.get(0)), "{readable, writable}");
    }

    #[test]
    fn readiness_adds_up_and_what_is_known_twice_is_known() {
        let both = Readiness::READABLE | Readiness::WRITABLE;
        assert_eq!(both | Readiness::READABLE, both);
        assert!(both.contains(Readiness::READABLE) && both.contains(both));
        assert!(!both.contains(Readiness::CLOSED | Readiness::READABLE));
    }
}
