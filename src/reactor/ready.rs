//! Remembered readiness: the readiness bits of each slot, and the list of slots to drive.
//!
//! **Owns** what the poll has reported for each slot and the source has not used up. **Must never
//! touch** a source: it knows slot keys only.
//! **Invariant**: a slot is in the list at most once, so a source is driven at most once per turn
//! however often it was marked.
//!
//! The poll is edge-triggered: it reports once that a socket became readable. A source that stops
//! before the socket is drained must remember that there is more (pitfall 1), and a source that
//! stops because its budget is spent needs a place in the loop's own list, because the poll will
//! not report it again (pitfall 2). This module holds both: the bits stay set until the *source*
//! clears them, and the list is first in, first out, so that no source is starved.

use std::collections::VecDeque;

bitflags::bitflags! {
    /// What a source may try. It is a hint, not a promise: the operation may still block.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Readiness: u8 {
        /// A read, or an accept, may return something.
        const READABLE = 1;
        /// A write may take something.
        const WRITABLE = 1 << 1;
        /// The peer has closed its half, or the socket has failed: a short read does not mean that
        /// the socket is drained, because EOF is still to be read. Stays set.
        const CLOSED = 1 << 2;
    }
}

/// In the list. Stored with the readiness bits because it is one bit per slot; sources do not see
/// it.
const QUEUED: Readiness = Readiness::from_bits_retain(1 << 7);

/// To be driven even if no readiness bit is set.
const WOKEN: Readiness = Readiness::from_bits_retain(1 << 6);

/// What this module keeps per slot: the bits, and a place in the list.
pub(super) const BYTES_PER_SLOT: usize = size_of::<Readiness>() + size_of::<u32>();

/// The readiness of every slot, and the slots to drive, in order. Each operation is O(1),
/// amortised.
#[derive(Debug, Default)]
pub struct Ready {
    /// By slot key.
    bits: Vec<Readiness>,
    /// Slot keys without a generation. An entry of a slot that has changed hands since is
    /// recognised by its bits, which [`Ready::reset`] has cleared.
    list: VecDeque<u32>,
}

impl Ready {
    /// Adds `readiness` to what is known of slot `key`, and puts the slot into the list.
    #[inline]
    pub fn mark(&mut self, key: u32, readiness: Readiness) {
        let index = key as usize;
        if index >= self.bits.len() {
            self.bits.resize(index + 1, Readiness::empty());
        }
        let bits = &mut self.bits[index];
        if !bits.contains(QUEUED) {
            self.list.push_back(key);
        }
        *bits |= readiness | QUEUED;
    }

    /// Puts slot `key` into the list, to be driven whatever its readiness.
    pub fn wake(&mut self, key: u32) {
        self.mark(key, WOKEN);
    }

    /// The number of entries in the list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether the list is empty: only then may the loop block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the oldest entry off the list: the slot to drive, or `None` if the entry was made for
    /// an earlier owner of its slot.
    pub fn pop(&mut self) -> Option<u32> {
        let key = self.list.pop_front()?;
        let bits = &mut self.bits[key as usize];
        let is_due = *bits != QUEUED;
        bits.remove(QUEUED | WOKEN);
        is_due.then_some(key)
    }

    /// What is known of slot `key`.
    #[must_use]
    pub fn get(&self, key: u32) -> Readiness {
        let bits = self.bits.get(key as usize).copied().unwrap_or_default();
        bits & Readiness::all()
    }

    /// Writes back what a source left of its readiness.
    pub fn set(&mut self, key: u32, readiness: Readiness) {
        if let Some(bits) = self.bits.get_mut(key as usize) {
            *bits = readiness | (*bits & (QUEUED | WOKEN));
        }
    }

    /// Forgets slot `key`, which changes hands. An entry that it still has in the list resolves to
    /// nothing: the next owner has no bit set, or is in the list with that entry.
    pub fn reset(&mut self, key: u32) {
        if let Some(bits) = self.bits.get_mut(key as usize) {
            *bits &= QUEUED;
        }
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
        ready.mark(0, Readiness::empty());
        assert_eq!(ready.pop(), Some(0));
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn a_woken_slot_is_due_without_readiness_once() {
        let mut ready = Ready::default();
        ready.wake(2);
        ready.wake(2);
        assert_eq!((ready.len(), ready.get(2)), (1, Readiness::empty()));
        assert_eq!(ready.pop(), Some(2));
        ready.mark(2, Readiness::empty());
        assert_eq!((ready.pop(), ready.is_empty()), (None, true));
    }

    #[test]
    fn a_slot_that_changes_hands_is_queued_once_and_without_bits() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE);
        ready.wake(0);
        ready.reset(0);
        assert_eq!(ready.get(0), Readiness::empty());
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!((ready.len(), ready.pop(), ready.pop()), (1, Some(0), None));
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn an_entry_of_an_earlier_owner_drives_no_source() {
        let mut ready = Ready::default();
        ready.wake(0);
        ready.reset(0);
        assert_eq!((ready.len(), ready.pop()), (1, None));
    }

    #[test]
    fn the_bits_of_the_list_are_not_readiness() {
        let mut ready = Ready::default();
        ready.wake(0);
        assert!(ready.get(0).is_empty());
        ready.set(0, Readiness::READABLE);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!(ready.len(), 1, "writing back keeps the place in the list");
        assert_eq!(ready.get(0), Readiness::READABLE | Readiness::WRITABLE);
    }
}
