//! A limit on log lines that a client can cause.
//!
//! **Owns** when the next line is due and how many were swallowed. **Must never touch** the log.
//! **Invariant**: at most one line a period is let through, and each tells of those before it.

use crate::reactor::Time;
use std::time::Duration;

/// One line a second of each kind: enough to see what goes on, too few to fill a disk.
const PERIOD: Duration = Duration::from_secs(1);

/// Lets one line a second through.
#[derive(Debug, Default)]
pub struct Limiter {
    due: Time,
    swallowed: u64,
}

impl Limiter {
    /// Whether a line may be written at `now`; if so, how many were swallowed since the last.
    pub fn admit(&mut self, now: Time) -> Option<u64> {
        if now < self.due {
            self.swallowed += 1;
            return None;
        }
        self.due = now.after(PERIOD);
        Some(std::mem::take(&mut self.swallowed))
    }
}

/// Logs a warning if its limiter admits it, with the number of those it did not.
#[macro_export]
#[doc(hidden)]
macro_rules! warn_limited {
    ($limiter:expr, $now:expr, $($message:tt)+) => {
        if let Some(swallowed) = $limiter.admit($now) {
            match swallowed {
                0 => log::warn!($($message)+),
                _ => log::warn!("{} ({swallowed} more like this since the last)", format_args!($($message)+)),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_tells_of_the_others() {
        let mut limiter = Limiter::default();
        let at = |milliseconds| Time::ZERO.after(Duration::from_millis(milliseconds));
        let admitted = [0, 1, 999, 1_000, 1_001, 5_000].map(|time| limiter.admit(at(time)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
