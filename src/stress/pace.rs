//! The schedule of an open loop: which message is due when, at a steady rate.
//!
//! **Owns** the arithmetic. **Must never touch** a clock: times are parameters. **Invariant**:
//! there is no drift. Each due time is computed from the start of the schedule, not from the one
//! before: a late wakeup finds more messages due, and the average rate is exact. (Wakeups are
//! late because `epoll_wait` waits whole milliseconds, rounded up.)

use crate::reactor::Time;
use std::num::NonZeroU64;
use std::time::Duration;

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// Events 0, 1, 2, ... at a steady rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    start: Time,
    per_second: NonZeroU64,
}

impl Pace {
    /// Event 0 is due at `start`.
    #[must_use]
    pub(crate) fn new(start: Time, per_second: NonZeroU64) -> Self {
        Self { start, per_second }
    }

    /// When event `number` is due, rounded up to the next nanosecond.
    #[must_use]
    pub(crate) fn due_time(&self, number: u64) -> Time {
        let nanoseconds =
            (u128::from(number) * NANOSECONDS_PER_SECOND).div_ceil(self.per_second.get().into());
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        self.start.after(Duration::from_nanos(nanoseconds))
    }

    /// The number of events due up to and including `now`.
    #[must_use]
    pub(crate) fn due_count(&self, now: Time) -> u64 {
        if now < self.start {
            return 0;
        }
        let elapsed = now.since(self.start).as_nanos();
        let number = elapsed * u128::from(self.per_second.get()) / NANOSECONDS_PER_SECOND;
        u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The number of events due before `end`.
    #[must_use]
    pub(crate) fn count_before(&self, end: Time) -> u64 {
        let due = self.due_count(end);
        due - u64::from(due > 0 && self.due_time(due - 1) == end)
    }
}

/// The messages of an open loop, dealt to the active clients in turn.
///
/// The number of a message gives its due time, so no client keeps a queue. Latency counts from
/// the due time, sent or not: a server that stalls cannot hide the stall by delaying the messages
/// that would have measured it (coordinated omission).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// When each message of all clients together is due.
    pub pace: Pace,
    /// The number of active clients, at least one. Message `n` belongs to the active client with
    /// index `n % clients`.
    pub clients: u32,
    /// The number of messages; later ones are not sent.
    pub end: u64,
}

impl Schedule {
    /// The number of messages of the active client `index` that are due up to and including `now`.
    #[must_use]
    pub(crate) fn due_count(&self, index: u32, now: Time) -> u64 {
        self.share_of(index, self.pace.due_count(now))
    }

    /// The number of messages of the active client `index` that are due before `end`.
    #[must_use]
    pub(crate) fn count_before(&self, index: u32, end: Time) -> u64 {
        self.share_of(index, self.pace.count_before(end))
    }

    /// How many of the first `due` messages are those of the active client `index`.
    fn share_of(&self, index: u32, due: u64) -> u64 {
        let due = due.min(self.end);
        due.saturating_sub(index.into())
            .div_ceil(self.clients.into())
    }

    /// When the active client `index` is due to send its message `number`.
    #[must_use]
    pub(crate) fn due_time(&self, index: u32, number: u64) -> Time {
        let number = number.saturating_mul(self.clients.into());
        self.pace.due_time(number.saturating_add(index.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(per_second: u64) -> Pace {
        let start = Time::ZERO.after(Duration::from_secs(3));
        Pace::new(start, NonZeroU64::new(per_second).expect("not zero"))
    }

    #[test]
    fn wakeups_of_whole_milliseconds_keep_the_rate() {
        let pace = pace(123_457);
        let mut sent = 0;
        for millisecond in 0..60_000 {
            let now = pace.start.after(Duration::from_millis(millisecond));
            let due = pace.due_count(now);
            assert!(due - sent <= 124, "at most the messages of one millisecond");
            sent = due;
        }
        assert!(sent.abs_diff(60 * 123_457) <= 124, "{sent}");
    }

    #[test]
    fn the_first_event_is_due_at_the_start() {
        let pace = pace(10);
        assert_eq!(pace.due_count(Time::ZERO), 0);
        assert_eq!(pace.count_before(Time::ZERO), 0);
        assert_eq!(
            (pace.due_count(pace.start), pace.count_before(pace.start)),
            (1, 0)
        );
        let second = pace.start.after(Duration::from_secs(1));
        assert_eq!(
            (pace.due_count(second), pace.count_before(second)),
            (11, 10)
        );
    }

    #[test]
    fn a_schedule_deals_messages_to_clients_in_turn() {
        let schedule = Schedule {
            pace: pace(10),
            clients: 3,
            end: 8,
        };
        let at = |tenths: u64| {
            schedule
                .pace
                .start
                .after(Duration::from_millis(100 * tenths))
        };
        let due = |now| [0, 1, 2].map(|index| schedule.due_count(index, now));
        assert_eq!(due(Time::ZERO), [0, 0, 0]);
        assert_eq!(due(at(0)), [1, 0, 0]);
        assert_eq!(due(at(4)), [2, 2, 1]);
        assert_eq!(due(at(100)), [3, 3, 2]);
        assert_eq!(schedule.due_time(1, 2), at(7));
    }

    #[test]
    fn one_client_may_have_more_than_32_bits_of_messages() {
        let schedule = Schedule {
            pace: pace(10_000_000_000),
            clients: 2,
            end: u64::MAX,
        };
        let second = schedule.pace.start.after(Duration::from_secs(1));
        assert_eq!(schedule.due_count(0, second), 5_000_000_001);
        assert_eq!(schedule.due_time(0, 5_000_000_000), second);
        let never = Time::ZERO.after(Duration::MAX);
        assert_eq!(schedule.due_count(1, never), u64::MAX / 2);
        assert_eq!(schedule.due_time(1, u64::MAX).after(Duration::MAX), never);
    }

    proptest! {
        #[test]
        fn due_counts_and_due_times_agree(rate in 1u64..5_000_000, number in 0u64..1 << 40) {
            let pace = pace(rate);
            let due = pace.due_time(number);
            prop_assert!(pace.due_count(due) > number);
            prop_assert!(pace.count_before(due) <= number);
            let just_before = Time::ZERO.after(due.since(Time::ZERO) - Duration::from_nanos(1));
            prop_assert!(pace.due_count(just_before) <= number);
        }
    }
}
