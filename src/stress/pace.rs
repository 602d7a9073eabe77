//! A schedule: when each of a row of events is due, at so many a second.
//!
//! **Owns** the arithmetic. **Must never touch** a clock: times are parameters.
//! **Invariant**: exact for ever. Every due time is computed from the schedule's beginning, and
//! none from the one before: a wake-up that comes late, as each does since the poll rounds to
//! whole milliseconds, finds more events due, and the rate holds on average.

use crate::reactor::Time;
use std::num::NonZeroU64;
use std::time::Duration;

const NANOSECONDS_A_SECOND: u128 = 1_000_000_000;

/// Events number 0, 1, 2, ... at a steady rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    start: Time,
    per_second: NonZeroU64,
}

impl Pace {
    /// Event 0 is due at `start`.
    #[must_use]
    pub fn new(start: Time, per_second: NonZeroU64) -> Self {
        Self { start, per_second }
    }

    /// When event `number` is due, rounded up to a nanosecond.
    #[must_use]
    pub fn due_time(&self, number: u64) -> Time {
        let nanoseconds =
            (u128::from(number) * NANOSECONDS_A_SECOND).div_ceil(self.per_second.get().into());
        let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        self.start.after(Duration::from_nanos(nanoseconds))
    }

    /// How many events are due at `now`, since the beginning: none before it.
    #[must_use]
    pub fn due_count(&self, now: Time) -> u64 {
        if now < self.start {
            return 0;
        }
        let elapsed = now.since(self.start).as_nanos();
        let number = elapsed * u128::from(self.per_second.get()) / NANOSECONDS_A_SECOND;
        u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// How many events come before `end`: the number of the first that does not.
    #[must_use]
    pub fn count_before(&self, end: Time) -> u64 {
        let due = self.due_count(end);
        due - u64::from(due > 0 && self.due_time(due - 1) == end)
    }
}

/// The messages of an open loop: a pace, dealt to the clients in turn. Which message a client is
/// at says when it was due, so that no client keeps a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When message 0, 1, 2, ... of all clients together is due.
    pub pace: Pace,
    /// Clients that talk, at least one: message n is client `n % seats`'s.
    pub seats: u32,
    /// The first message that is not sent any more.
    pub end: u64,
}

impl Schedule {
    /// How many messages of the client at `seat` are due at `now`.
    #[must_use]
    pub fn due_count(&self, seat: u32, now: Time) -> u32 {
        let due = self.pace.due_count(now).min(self.end);
        let own = due.saturating_sub(seat.into()).div_ceil(self.seats.into());
        u32::try_from(own).unwrap_or(u32::MAX)
    }

    /// When message `number` of the client at `seat` is due.
    #[must_use]
    pub fn due_time(&self, seat: u32, number: u32) -> Time {
        let number = u64::from(number) * u64::from(self.seats) + u64::from(seat);
        self.pace.due_time(number)
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
    fn wake_ups_of_whole_milliseconds_keep_the_rate() {
        let pace = pace(123_457);
        let mut sent = 0;
        for millisecond in 0..60_000 {
            let now = pace.start.after(Duration::from_millis(millisecond));
            let due = pace.due_count(now);
            assert!(due - sent <= 124, "never more than the millisecond's share");
            sent = due;
        }
        assert!(sent.abs_diff(60 * 123_457) <= 124, "{sent}");
    }

    #[test]
    fn nothing_is_due_before_the_start_and_one_at_it() {
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
    fn a_schedule_deals_the_messages_in_turn() {
        let schedule = Schedule {
            pace: pace(10),
            seats: 3,
            end: 8,
        };
        let at = |tenths: u64| {
            schedule
                .pace
                .start
                .after(Duration::from_millis(100 * tenths))
        };
        let due = |now| [0, 1, 2].map(|seat| schedule.due_count(seat, now));
        assert_eq!(due(Time::ZERO), [0, 0, 0]);
        assert_eq!(due(at(0)), [1, 0, 0]);
        assert_eq!(due(at(4)), [2, 2, 1]);
        assert_eq!(due(at(100)), [3, 3, 2]);
        assert_eq!(schedule.due_time(1, 2), at(7));
    }

    proptest! {
        #[test]
        fn counting_and_dating_agree(rate in 1u64..5_000_000, number in 0u64..1 << 40) {
            let pace = pace(rate);
            let due = pace.due_time(number);
            prop_assert!(pace.due_count(due) > number);
            prop_assert!(pace.count_before(due) <= number);
            let moment_before = Time::ZERO.after(due.since(Time::ZERO) - Duration::from_nanos(1));
            prop_assert!(pace.due_count(moment_before) <= number);
        }
    }
}
