//! Deadlines, at most one per slot.
//!
//! **Owns** when each slot wants to be called. **Must never touch** a clock or the poll: `now` is a
//! parameter, and [`Timers::nearest`] becomes the timeout of the next poll, so that a deadline
//! costs no system call (pitfall 12). Its resolution is the poll's: epoll waits in whole
//! milliseconds, rounded up, so there a deadline fires up to 1 ms late, and never early.
//! **Invariant**: a slot has at most one *live* entry in the heap (the one whose time is the slot's
//! `entry`), and it is never later than the deadline wanted.
//!
//! The invariant is what makes deadlines cheap. A deadline that moves later, as an idle timeout
//! does with every message, only stores the new time; the old entry is re-armed when it comes up. A
//! deadline that moves earlier pushes a second entry and leaves the first dead. Dead entries are
//! dropped when they come up, or all together once they are the majority. When a slot changes
//! hands, [`Timers::cancel`] is enough: at worst the new owner inherits an entry that resolves to
//! nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::time::Duration;

/// A point in time: nanoseconds since the reactor was created. 64 bits last 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// When the reactor was created.
    pub const ZERO: Self = Self(0);

    const NEVER: Self = Self(u64::MAX);

    /// This time plus `duration`, saturating at a time that never comes.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }

    /// The time passed since `earlier`; zero if that is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Dead entries tolerated before the heap is swept: with fewer, a sweep is not worth its walk.
const SWEEP_SLACK_ENTRIES: usize = 64;

/// The deadline of one slot. Kept for all slots up to the highest that has had one.
#[derive(Clone, Copy, Debug)]
struct Alarm {
    /// When the slot wants to be called.
    wanted: Time,
    /// The time of the slot's live entry in the heap.
    entry: Time,
}

impl Alarm {
    const NONE: Self = Self {
        wanted: Time::NEVER,
        entry: Time::NEVER,
    };
}

/// When an entry of the heap comes up, and for which slot.
type Entry = Reverse<(Time, u32)>;

/// What this module keeps per slot: its alarm, and a live entry.
pub(super) const BYTES_PER_SLOT: usize = size_of::<Alarm>() + size_of::<Entry>();

/// The deadlines of all slots. Each operation is O(log n) at most, amortised.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Entry>,
    /// By slot key.
    alarms: Vec<Alarm>,
    /// The number of slots that have a deadline.
    pub(super) count: usize,
}

impl Timers {
    /// Sets or moves the deadline of slot `key`.
    pub fn set(&mut self, key: u32, deadline: Time) {
        let index = key as usize;
        if index >= self.alarms.len() {
            self.alarms.resize(index + 1, Alarm::NONE);
        }
        let alarm = &mut self.alarms[index];
        self.count += usize::from(deadline != Time::NEVER);
        self.count -= usize::from(alarm.wanted != Time::NEVER);
        alarm.wanted = deadline;
        if deadline < alarm.entry {
            alarm.entry = deadline;
            self.heap.push(Reverse((deadline, key)));
            self.sweep();
        }
    }

    /// Cancels the deadline of slot `key`: it does not fire. Returns it, or a time that never comes.
    pub fn cancel(&mut self, key: u32) -> Time {
        let Some(alarm) = self.alarms.get_mut(key as usize) else {
            return Time::NEVER;
        };
        self.count -= usize::from(alarm.wanted != Time::NEVER);
        mem::replace(&mut alarm.wanted, Time::NEVER)
    }

    /// Whether the deadline of slot `key` is at or before `now`.
    #[must_use]
    pub fn is_due(&self, key: u32, now: Time) -> bool {
        let alarm = self.alarms.get(key as usize);
        alarm.is_some_and(|alarm| alarm.wanted <= now)
    }

    /// The nearest deadline. Entries of deadlines that were cancelled or moved are dropped or
    /// re-armed on the way, so that the loop never wakes up for one.
    pub fn nearest(&mut self) -> Option<Time> {
        loop {
            let Reverse((time, key)) = *self.heap.peek()?;
            let alarm = &mut self.alarms[key as usize];
            if alarm.entry == time && alarm.wanted == time {
                return Some(time);
            }
            self.heap.pop();
            if alarm.entry != time {
                continue; // dead: an earlier deadline took its place
            }
            alarm.entry = alarm.wanted;
            if alarm.wanted != Time::NEVER {
                self.heap.push(Reverse((alarm.wanted, key)));
            }
        }
    }

    /// Takes one slot whose deadline is at or before `now`, the earliest first. It stays
    /// [due](Self::is_due) until it is cancelled or moved, and is not taken again.
    pub fn expired(&mut self, now: Time) -> Option<u32> {
        if self.nearest()? > now {
            return None;
        }
        let Reverse((_, key)) = self.heap.pop()?;
        self.alarms[key as usize].entry = Time::NEVER;
        Some(key)
    }

    /// Drops the dead entries and those of cancelled deadlines once they are the majority, so that
    /// a slot whose deadline keeps jumping (a short delay, a long idle timeout, a short delay, ...)
    /// cannot grow the heap.
    fn sweep(&mut self) {
        if self.heap.len() > 2 * self.count + SWEEP_SLACK_ENTRIES {
            self.heap.retain(|Reverse((time, key))| {
                let alarm = &mut self.alarms[*key as usize];
                if alarm.wanted == Time::NEVER {
                    alarm.entry = Time::NEVER;
                }
                alarm.entry == *time
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(nanoseconds: u64) -> Time {
        Time(nanoseconds)
    }

    #[test]
    fn time_saturates_at_both_ends() {
        assert_eq!(Time::ZERO.after(Duration::MAX), Time::NEVER);
        assert_eq!(at(5).after(Duration::from_nanos(7)), at(12));
        assert_eq!(at(5).since(at(3)), Duration::from_nanos(2));
        assert_eq!(at(3).since(at(5)), Duration::ZERO);
    }

    #[test]
    fn deadlines_fire_once_and_in_order() {
        let mut timers = Timers::default();
        timers.set(1, at(30));
        timers.set(0, at(10));
        timers.set(2, at(20));
        assert_eq!(timers.nearest(), Some(at(10)));
        assert_eq!(timers.expired(at(9)), None);
        assert_eq!(timers.expired(at(25)), Some(0));
        assert_eq!(timers.expired(at(25)), Some(2));
        assert_eq!(timers.expired(at(25)), None);
        assert_eq!(timers.nearest(), Some(at(30)));
    }

    #[test]
    fn a_cancelled_or_moved_deadline_does_not_fire() {
        let mut timers = Timers::default();
        timers.set(0, at(10));
        timers.cancel(0);
        assert_eq!(timers.nearest(), None);
        timers.set(0, at(10));
        timers.set(0, at(50));
        assert_eq!(timers.nearest(), Some(at(50)));
        timers.set(0, at(20));
        assert_eq!(timers.nearest(), Some(at(20)));
        assert_eq!(timers.expired(at(60)), Some(0));
        assert_eq!(timers.expired(at(60)), None);
    }

    #[test]
    fn a_deadline_that_keeps_jumping_does_not_grow_the_heap() {
        let mut timers = Timers::default();
        for round in 0..100_000 {
            timers.set(0, at(round + 1));
            assert_eq!(timers.expired(at(round + 1)), Some(0));
            timers.set(0, at(1_000_000_000 + round));
        }
        assert!(timers.heap.len() <= 2 + SWEEP_SLACK_ENTRIES);
        // Earlier each time: every one leaves a dead entry behind.
        let mut timers = Timers::default();
        for round in 0..1_000 {
            timers.set(0, at(1_000_000 - round));
            assert!(timers.heap.len() <= 2 + SWEEP_SLACK_ENTRIES);
        }
        assert_eq!(timers.nearest(), Some(at(1_000_000 - 999)));
    }

    proptest! {
        /// Against a map from slot to deadline, which is what the module claims to be.
        #[test]
        fn behaves_like_a_map_of_deadlines(
            calls in prop::collection::vec((0u8..4, 0u32..6, 0u64..50), 1..300),
        ) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            let mut now = 0;
            for (call, key, ahead) in calls {
                match call {
                    0 | 1 => {
                        timers.set(key, at(now + 1 + ahead));
                        model.insert(key, now + 1 + ahead);
                    }
                    2 => {
                        timers.cancel(key);
                        model.remove(&key);
                    }
                    _ => {
                        now += ahead;
                        let mut fired = Vec::new();
                        while let Some(key) = timers.expired(at(now)) {
                            timers.cancel(key);
                            fired.push((model.remove(&key), key));
                        }
                        prop_assert!(fired.is_sorted());
                        prop_assert!(fired.iter().all(|(due, _)| due.is_some_and(|due| due <= now)));
                        prop_assert!(model.values().all(|due| *due > now));
                    }
                }
                prop_assert_eq!(timers.count, model.len());
                prop_assert_eq!(timers.nearest(), model.values().min().map(|due| at(*due)));
                prop_assert!(timers.heap.len() <= 2 * 6 + SWEEP_SLACK_ENTRIES + 1);
            }
        }
    }
}
