//! Latencies and their percentiles.
//!
//! **Owns** the histogram and its precision. **Must never touch** a clock. **Invariant**:
//! recording does not allocate, so that every message costs the same; a percentile is reported
//! only if at least 10 samples exceed it.

pub(crate) mod encoding;

use hdrhistogram::{Counter, Histogram};
use std::time::Duration;

/// The precision of a latency: an error of at most 0.1%.
pub(crate) const SIGNIFICANT_DIGITS: u8 = 3;

/// The largest value of the histogram; a longer latency counts as this one.
pub(crate) const MAX_LATENCY: Duration = Duration::from_secs(3_600);

/// A histogram of latencies in nanoseconds, in fixed memory.
#[derive(Debug)]
pub struct Latencies<C: Counter> {
    histogram: Histogram<C>,
    /// Minimum and maximum are exact: a server that delays replies by 1 s must not appear faster
    /// by a rounding error.
    min: Duration,
    max: Duration,
}

impl<C: Counter> Default for Latencies<C> {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, nanoseconds(MAX_LATENCY), SIGNIFICANT_DIGITS);
        // The arguments are constants, and valid: 1 <= low, 2 * low <= high, 0 to 5 digits.
        let histogram = histogram.expect("constant bounds");
        Self {
            histogram,
            min: Duration::MAX,
            max: Duration::ZERO,
        }
    }
}

impl<C: Counter> Latencies<C> {
    /// Records one latency.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, C::one());
    }

    /// Records the same latency `count` times.
    pub fn record_many(&mut self, latency: Duration, count: C) {
        self.histogram
            .saturating_record_n(nanoseconds(latency), count);
        self.min = self.min.min(latency);
        self.max = self.max.max(latency);
    }

    /// The number of samples.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether there are no samples.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The minimum; `None` without samples.
    #[must_use]
    pub fn min(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.min)
    }

    /// The maximum; `None` without samples.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (!self.is_empty()).then_some(self.max)
    }

    /// The mean; `None` without samples.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (!self.is_empty()).then(|| Duration::from_nanos(self.histogram.mean() as u64))
    }

    /// The latency at `quantile` (0.99 is p99); `None` unless at least 10 samples exceed it: with
    /// fewer, the value is noise.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let enough = self.len() >= samples_needed(quantile);
        let value = || Duration::from_nanos(self.histogram.value_at_quantile(quantile));
        // A histogram value stands for a range, and may lie outside the exact bounds.
        enough.then(|| value().clamp(self.min, self.max))
    }

    /// The number of latencies in `low..high`.
    #[must_use]
    pub fn count_between(&self, low: Duration, high: Duration) -> u64 {
        let range = nanoseconds(low)..nanoseconds(high);
        self.histogram
            .iter_recorded()
            .filter(|step| range.contains(&step.value_iterated_to()))
            .map(|step| step.count_at_value().as_u64())
            .sum()
    }

    /// The histogram in HdrHistogram's own format; `None` without samples.
    #[must_use]
    pub(crate) fn encoded(&self) -> Option<String> {
        (!self.is_empty())
            .then(|| encoding::encode(&self.histogram))
            .flatten()
    }

    /// Removes all samples; keeps the memory.
    pub fn clear(&mut self) {
        self.histogram.reset();
        self.min = Duration::MAX;
        self.max = Duration::ZERO;
    }
}

/// The number of samples of which 10 exceed `quantile`: 10 / (1 - quantile).
#[must_use]
pub(crate) fn samples_needed(quantile: f64) -> u64 {
    // Rounded, not rounded up: in binary, 1 - 0.9 is a little less than 0.1.
    (10.0 / (1.0 - quantile)).round() as u64
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A duration in microseconds, the unit of reports.
#[must_use]
pub(crate) fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

/// How late recurring events were: the mean and the maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    count: u64,
    sum_nanoseconds: u128,
    /// The maximum.
    pub max: Duration,
}

impl Lateness {
    /// Records `count` evenly spaced events that were all handled now, the first `oldest` too
    /// late, the last `newest`. So a stall weighs as much as the events that it delayed, although
    /// it is seen only once.
    pub fn note(&mut self, oldest: Duration, newest: Duration, count: u64) {
        self.count = self.count.saturating_add(count);
        let twice_the_mean = oldest.as_nanos() + newest.as_nanos();
        let sum = twice_the_mean.saturating_mul(count.into()) / 2;
        self.sum_nanoseconds = self.sum_nanoseconds.saturating_add(sum);
        self.max = self.max.max(oldest);
    }

    /// The mean; zero without events.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let count = u128::from(self.count.max(1));
        Duration::from_nanos((self.sum_nanoseconds / count) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_needs_ten_samples_that_exceed_it() {
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
    fn lateness_has_a_mean_and_a_maximum() {
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

    #[test]
    fn lateness_of_any_number_of_events_has_a_mean() {
        let mut lateness = Lateness::default();
        let hour = Duration::from_secs(3_600);
        for _ in 0..3 {
            lateness.note(hour, hour, u64::MAX / 3);
        }
        assert_eq!(lateness.mean(), hour);
        lateness.note(Duration::MAX, Duration::MAX, u64::MAX);
        assert_eq!(lateness.max, Duration::MAX);
    }
}
