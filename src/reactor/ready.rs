//! Readiness, remembered: the readiness bits of each slot, and the two queues of slots to drive.
//!
//! **Owns** what the poll has reported for each slot and the source has not used up. **Must never
//! touch** a source: it knows slot keys only.
//! **Invariant**: a slot that waits to be driven has an entry in a queue, however often it was
//! marked, and it has at most one in each.
//!
//! The poll is edge-triggered: it reports once that a socket became readable. A source that stops
//! before the socket is drained must remember that there is more (pitfall 1), and a source that
//! stops because its budget is spent needs a place in a list of our own, because the poll will not
//! report it again (pitfall 2). This module holds both: the bits stay set until the *source* clears
//! them, and each queue is first in, first out, so that no source is passed over.
//!
//! There are two queues, as in fq_codel (RFC 8290): a source that used more than its quantum when
//! it was last driven waits in the *bulk* queue, also when an event marks it; all others wait in
//! the *sparse* queue. Each has its own share of a turn, so that a client that speaks now and then
//! does not wait for every flooding connection (pitfall 23).

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

/// Flags stored beside the readiness bits, one bit per slot each; sources do not see them.
const IN_SPARSE: Readiness = Readiness::from_bits_retain(1 << 7);
const IN_BULK: Readiness = Readiness::from_bits_retain(1 << 6);
/// The owner of the slot waits to be driven. An entry without it was made for an earlier owner.
const WAITS: Readiness = Readiness::from_bits_retain(1 << 5);
/// Used more than its quantum when it was last driven.
const BULK: Readiness = Readiness::from_bits_retain(1 << 4);
/// Its deadline passed while it waited.
const POSTPONED: Readiness = Readiness::from_bits_retain(1 << 3);

/// What this module keeps per slot: the bits, and a place in a queue.
pub(super) const BYTES_PER_SLOT: usize = size_of::<Readiness>() + size_of::<u32>();

/// Where a slot waits to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Sources that stayed within their quantum.
    Sparse = 0,
    /// Sources that used more.
    Bulk = 1,
}

/// By queue: the flag of a slot that has an entry in it.
const IN: [Readiness; 2] = [IN_SPARSE, IN_BULK];

/// The readiness of every slot, and the slots to drive, in order. Each operation is O(1),
/// amortised.
#[derive(Debug, Default)]
pub struct Ready {
    /// By slot key.
    bits: Vec<Readiness>,
    /// Slot keys without a generation. An entry of a slot that has changed hands since drives the
    /// new owner if that waits too, and otherwise no one.
    queues: [VecDeque<u32>; 2],
    /// Slots taken off a queue whose deadline had passed while they waited.
    overdue: Vec<u32>,
}

impl Ready {
    /// Adds `readiness`, which may be empty, to what is known of slot `key`, and queues the slot.
    #[inline(always)]
    pub fn mark(&mut self, key: u32, readiness: Readiness) {
        let index = key as usize;
        if index >= self.bits.len() {
            self.bits.resize(index + 1, Readiness::empty());
        }
        let bits = &mut self.bits[index];
        *bits |= readiness;
        if bits.contains(WAITS) {
            return;
        }
        let queue = usize::from(bits.contains(BULK));
        let is_new = !bits.contains(IN[queue]);
        *bits |= WAITS | IN[queue];
        if is_new {
            self.queues[queue].push_back(key);
        }
    }

    /// The number of entries in a queue.
    #[must_use]
    pub fn len(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len()
    }

    /// Whether both queues are empty: only then may the loop block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(VecDeque::is_empty)
    }

    /// Whether slot `key` waits to be driven.
    #[must_use]
    pub fn is_queued(&self, key: u32) -> bool {
        let bits = self.bits.get(key as usize).copied().unwrap_or_default();
        bits.contains(WAITS)
    }

    /// Takes the oldest entry off a queue: the slot to drive, or `None` if the entry was made for
    /// an earlier owner of its slot.
    #[inline]
    pub fn pop(&mut self, queue: Queue) -> Option<u32> {
        let key = self.queues[queue as usize].pop_front()?;
        let bits = &mut self.bits[key as usize];
        let before = *bits;
        bits.remove(IN[queue as usize] | WAITS | POSTPONED);
        if before.contains(POSTPONED) {
            self.overdue.push(key);
        }
        before.contains(WAITS).then_some(key)
    }

    /// The deadline of slot `key` has passed, but the slot waits to be driven.
    pub fn postpone(&mut self, key: u32) {
        self.bits[key as usize] |= POSTPONED;
    }

    /// Takes one slot that was [postponed](Self::postpone) and has been taken off its queue since.
    pub fn pop_overdue(&mut self) -> Option<u32> {
        self.overdue.pop()
    }

    /// What is known of slot `key`.
    #[must_use]
    pub fn get(&self, key: u32) -> Readiness {
        let bits = self.bits.get(key as usize).copied().unwrap_or_default();
        bits & Readiness::all()
    }

    /// Writes back what a call left of the readiness, and whether the source used more than its
    /// quantum: it decides in which queue the source waits from now on.
    #[inline]
    pub fn set(&mut self, key: u32, readiness: Readiness, is_bulk: bool) {
        if let Some(bits) = self.bits.get_mut(key as usize) {
            let bulk = if is_bulk { BULK } else { Readiness::empty() };
            *bits = readiness | bulk | (*bits & (IN_SPARSE | IN_BULK | WAITS | POSTPONED));
        }
    }

    /// Forgets slot `key`, which changes hands. Its entries stay in the queues, and drive the next
    /// owner only if that waits.
    pub fn reset(&mut self, key: u32) {
        if let Some(bits) = self.bits.get_mut(key as usize) {
            *bits &= IN_SPARSE | IN_BULK;
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
        assert_eq!(ready.len(Queue::Sparse), 2);
        assert_eq!(ready.pop(Queue::Sparse), Some(3));
        assert_eq!(ready.get(3), Readiness::READABLE | Readiness::CLOSED);
        assert_eq!(ready.pop(Queue::Sparse), Some(1));
        assert_eq!(ready.pop(Queue::Sparse), None);
        assert!(ready.is_empty());
    }

    #[test]
    fn bits_outlive_the_list_until_they_are_cleared() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE | Readiness::WRITABLE);
        ready.pop(Queue::Sparse);
        ready.set(0, Readiness::WRITABLE, false);
        ready.mark(0, Readiness::empty());
        assert_eq!(ready.pop(Queue::Sparse), Some(0));
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn a_slot_is_queued_without_readiness_too() {
        let mut ready = Ready::default();
        ready.mark(2, Readiness::empty());
        ready.mark(2, Readiness::empty());
        assert_eq!(ready.get(2), Readiness::empty());
        assert_eq!(ready.pop(Queue::Sparse), Some(2));
        assert_eq!((ready.pop(Queue::Sparse), ready.is_empty()), (None, true));
    }

    #[test]
    fn a_slot_that_changes_hands_is_queued_once_and_without_bits() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE);
        ready.mark(0, Readiness::empty());
        ready.reset(0);
        assert_eq!(ready.get(0), Readiness::empty());
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!(
            (
                ready.len(Queue::Sparse),
                ready.pop(Queue::Sparse),
                ready.pop(Queue::Sparse)
            ),
            (1, Some(0), None)
        );
        assert_eq!(ready.get(0), Readiness::WRITABLE);
    }

    #[test]
    fn an_entry_of_an_earlier_owner_drives_no_source() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::empty());
        ready.reset(0);
        assert_eq!(
            (ready.len(Queue::Sparse), ready.pop(Queue::Sparse)),
            (1, None)
        );
    }

    #[test]
    fn a_slot_that_was_postponed_is_overdue_once_it_is_off_its_queue() {
        let mut ready = Ready::default();
        for key in 0..2 {
            ready.mark(key, Readiness::READABLE);
            ready.postpone(key);
        }
        assert_eq!(ready.pop_overdue(), None);
        assert_eq!(ready.pop(Queue::Sparse), Some(0));
        assert_eq!((ready.pop_overdue(), ready.pop_overdue()), (Some(0), None));
        ready.reset(1);
        assert_eq!(
            (ready.pop(Queue::Sparse), ready.pop_overdue()),
            (None, None)
        );
    }

    #[test]
    fn the_bits_of_the_list_are_not_readiness() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::empty());
        assert!(ready.get(0).is_empty());
        ready.set(0, Readiness::READABLE, false);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!(
            ready.len(Queue::Sparse),
            1,
            "writing back keeps the place in the list"
        );
        assert_eq!(ready.get(0), Readiness::READABLE | Readiness::WRITABLE);
    }

    #[test]
    fn a_source_waits_in_the_queue_of_its_last_call() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::READABLE);
        ready.set(0, ready.get(0), true);
        ready.mark(1, Readiness::READABLE);
        assert_eq!(
            ready.pop(Queue::Sparse),
            Some(0),
            "queued before it was bulk"
        );
        ready.mark(0, Readiness::READABLE);
        assert_eq!((ready.len(Queue::Sparse), ready.len(Queue::Bulk)), (1, 1));
        assert!(ready.is_queued(0) && ready.is_queued(1) && !ready.is_queued(2));
        assert_eq!(ready.pop(Queue::Bulk), Some(0));
        ready.set(0, ready.get(0), false);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!((ready.len(Queue::Sparse), ready.len(Queue::Bulk)), (2, 0));
    }

    #[test]
    fn a_new_owner_does_not_wait_in_the_queue_of_the_last_one() {
        let mut ready = Ready::default();
        ready.mark(0, Readiness::empty());
        ready.pop(Queue::Sparse);
        ready.set(0, ready.get(0), true);
        ready.mark(0, Readiness::READABLE);
        ready.reset(0);
        ready.mark(0, Readiness::WRITABLE);
        assert_eq!(ready.pop(Queue::Sparse), Some(0));
        ready.set(0, Readiness::empty(), false);
        assert_eq!((ready.len(Queue::Bulk), ready.pop(Queue::Bulk)), (1, None));
    }
}
