//! A rate limit for log messages that clients can cause.
//!
//! **Owns** when the next message may be logged, and the number suppressed. **Must never touch**
//! the log. **Invariant**: at most one message per period is logged, and each reports how many were
//! suppressed before it.

use crate::reactor::Time;
use std::time::Duration;

/// One message of each kind per second: enough to notice a problem, too few to fill a disk.
const PERIOD: Duration = Duration::from_secs(1);

/// Admits one message per second.
#[derive(Debug, Default)]
pub struct Limiter {
    due: Time,
    suppressed: u64,
}

impl Limiter {
    /// Whether a message may be logged at `now`; if so, how many were suppressed since the last.
    pub fn admit(&mut self, now: Time) -> Option<u64> {
        if now < self.due {
            self.suppressed += 1;
            return None;
        }
        self.due = now.after(PERIOD);
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Logs a warning if its limiter admits it, with the number of suppressed ones.
#[macro_export]
#[doc(hidden)]
macro_rules! warn_limited {
    ($limiter:expr, $now:expr, $($message:tt)+) => {
        match $limiter.admit($now) {
            Some(0) => log::warn!($($message)+),
            Some(count) => log::warn!("{} ({count} similar suppressed)", format_args!($($message)+)),
            None => {}
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_message_per_period_and_counts_the_others() {
        let mut limiter = Limiter::default();
        let at = |milliseconds| Time::ZERO.after(Duration::from_millis(milliseconds));
        let admitted = [0, 1, 999, 1_000, 1_001, 5_000].map(|time| limiter.admit(at(time)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
