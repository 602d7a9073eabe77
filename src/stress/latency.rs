//! Latencies, and what may be said of so many of them.
//!
//! **Owns** the histogram and its limits. **Must never touch** a clock. **Invariant**: recording
//! allocates nothing, so that the millionth message costs what the first did; and a percentile
//! is told only where enough samples lie beyond it.

use hdrhistogram::{Counter, Histogram};
use std::time::Duration;

/// Digits of a latency that are kept: one in a thousand.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The longest latency that is told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Latencies in nanoseconds, in fixed memory.
#[derive(Debug)]
pub struct Latencies<C: Counter> {
    histogram: Histogram<C>,
    /// The ends, exact: a server that holds replies for a second must not be seen to be faster
    /// by a digit.
    min: Duration,
    max: Duration,
}

impl<C: Counter> Default for Latencies<C> {
    fn default() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let histogram = Histogram::new_with_bounds(1, longest, SIGNIFICANT_DIGITS);
        // Bounds and digits are constants, and hdrhistogram takes 0 to 5 digits.
        let histogram = histogram.expect("constant bounds");
        Self {
            histogram,
            min: Duration::MAX,
            max: Duration::ZERO,
        }
    }
}

impl<C: Counter> Latencies<C> {
    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.histogram.saturating_record(nanoseconds);
        self.min = self.min.min(latency);
        self.max = self.max.max(latency);
    }

    /// How many were counted.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The shortest; `None` if there is none.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The mean.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// The latency that `quantile` (0.99, say) of all do not exceed; `None` where too few
    /// samples were taken to say so: ten must lie beyond it, or chance decides.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let enough = self.len() >= samples_needed(quantile);
        let value = || Duration::from_nanos(self.histogram.value_at_quantile(quantile));
        // A value stands for all that share its digits, and may lie beyond the ends.
        enough.then(|| value().clamp(self.min, self.max))
    }

    /// How many latencies lie in `low..high`.
    #[must_use]
    pub fn count_between(&self, low: Duration, high: Duration) -> u64 {
        let [low, high] =
            [low, high].map(|edge| u64::try_from(edge.as_nanos()).unwrap_or(u64::MAX));
        self.histogram
            .iter_recorded()
            .filter(|step| (low..high).contains(&step.value_iterated_to()))
            .map(|step| step.count_at_value().as_u64())
            .sum()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.histogram.reset();
        self.min = Duration::MAX;
        self.max = Duration::ZERO;
    }
}

/// The samples that a quantile needs: 10 / (1 - quantile).
#[must_use]
pub fn samples_needed(quantile: f64) -> u64 {
    // 1 - 0.9 is a little less than a tenth in binary: rounded, and not up.
    (10.0 / (1.0 - quantile)).round() as u64
}

/// How late something was, over and over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    count: u64,
    sum: Duration,
    /// The worst.
    pub max: Duration,
}

impl Lateness {
    /// Counts `count` events, evenly spaced, that all came now: the first by `oldest` too late,
    /// the last by `newest`. A stall is then as heavy as it is long, although it ends only once.
    pub fn note(&mut self, oldest: Duration, newest: Duration, count: u32) {
        self.count += u64::from(count);
        self.sum += (oldest + newest) * count / 2;
        self.max = self.max.max(oldest);
    }

    /// The mean; zero if there is none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match self.count {
            0 => Duration::ZERO,
            count => Duration::from_nanos((self.sum.as_nanos() / u128::from(count)) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_samples_beyond_it() {
        let needed = [0.5, 0.9, 0.99, 0.999].map(samples_needed);
        assert_eq!(needed, [20, 100, 1_000, 10_000]);
        let mut latencies = Latencies::<u64>::default();
        assert_eq!((latencies.min(), latencies.quantile(0.5)), (None, None));
        for milliseconds in 1..=99 {
            latencies.record(Duration::from_millis(milliseconds));
        }
        assert_eq!(latencies.quantile(0.9), None);
        latencies.record(Duration::from_millis(100));
        let p90 = latencies.quantile(0.9).expect("100 samples");
        assert!(p90.abs_diff(Duration::from_millis(90)) < Duration::from_micros(100));
        assert_eq!(latencies.quantile(0.99), None);
    }

    #[test]
    fn lateness_has_a_mean_and_a_worst() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.mean(), Duration::ZERO);
        let milliseconds = Duration::from_millis;
        lateness.note(milliseconds(1), milliseconds(1), 1);
        lateness.note(milliseconds(3), milliseconds(1), 3);
        assert_eq!(
            (lateness.mean(), lateness.max),
            (Duration::from_micros(1_750), milliseconds(3))
        );
    }
}
