//! How long turns take, how long sources wait to be served, and how late deadlines are.
//!
//! **Owns** the histograms and sums of what the loop reports, and the longest of each in the recent
//! past. **Must never touch** the ring of turns, or a clock: reports carry their time.
//! **Invariant**: a report adds to counters and allocates nothing, apart from tables that grow to the
//! number of slots and to the calls of one turn, once.

use crate::reactor::{CallReport, Readiness, Time, Token, TurnPhase, Verdict};
use std::time::Duration;

/// The upper bounds of a histogram's buckets: from what a short turn takes to one second, in steps of
/// 2 to 2.5, so that a quantile is off by at most that factor. They are those of Prometheus's client
/// libraries, 100 times finer.
pub(crate) const BUCKETS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    500_000, 1_000_000,
];

/// How many durations were at most as long as each bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Durations by the first of [`BUCKETS_US`] that holds them; the last bucket has no bound.
    counts: [u64; BUCKETS_US.len() + 1],
    sum: Duration,
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        let is_below = |bound: &u64| Duration::from_micros(*bound) < duration;
        self.counts[BUCKETS_US.partition_point(is_below)] += 1;
        self.sum += duration;
    }

    /// How many durations were at most [`BUCKETS_US`] long each, and how many there were in all.
    pub fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// All durations together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// The window of the longest turn: the time between two snapshots.
pub(crate) const RECENT_WINDOW: Duration = Duration::from_millis(100);

/// A duration that is measured often: all of them, and the longest of this window and of the one
/// before, so that every snapshot finds it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measure {
    histogram: Histogram,
    this_window: Duration,
    last_window: Duration,
}

impl Measure {
    fn add(&mut self, duration: Duration) {
        self.histogram.add(duration);
        self.this_window = self.this_window.max(duration);
    }

    fn begin_window(&mut self) {
        self.last_window = std::mem::take(&mut self.this_window);
    }

    /// All of them.
    #[must_use]
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The longest of about the last [`RECENT_WINDOW`].
    #[must_use]
    pub fn recent(&self) -> Duration {
        self.this_window.max(self.last_window)
    }
}

/// What is known of the source in a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// Since when it has waited for its call, if it does.
    since: Option<Time>,
    /// The readiness that it knows of: an event that sets only such bits does not queue it.
    known: Readiness,
}

/// A call in the drive phase whose time is not known yet.
#[derive(Clone, Copy, Debug)]
struct Served {
    key: u32,
    /// Since when the source waited, if that is known.
    since: Option<Time>,
    /// Whether it waits again.
    is_again: bool,
}

/// What the loop's reports add up to while it is recorded, watched or measured.
#[derive(Debug, Default)]
pub struct LoopMeasures {
    /// Turns, without their wait.
    pub turn: Measure,
    /// From the event that queued a source, or from its verdict [`Again`](Verdict::Again), to its
    /// call in the drive phase. If calls are not timed, those of a phase count as equally long.
    pub queue_wait: Measure,
    /// From a deadline to the expire phase, or to the end of the call before it if calls are timed.
    pub lateness: Measure,
    /// The time in the poll.
    pub waited: Duration,
    /// The time between.
    pub busy: Duration,
    /// The part of `busy` that was spent on observers.
    pub observing: Duration,
    window_began: Time,
    /// The current phase, and when it began; `None` before the first.
    phase: Option<(TurnPhase, Time)>,
    turn_began: Option<Time>,
    /// By slot key.
    waiting: Vec<Waiting>,
    served: Vec<Served>,
}

impl LoopMeasures {
    /// A phase begins, and the one before it ends.
    pub(super) fn phase(&mut self, phase: TurnPhase, at: Time) {
        if let Some((last, began)) = self.phase.replace((phase, at)) {
            match last {
                TurnPhase::Wait(_) => self.waited += at.since(began),
                _ => self.busy += at.since(began),
            }
            if last == TurnPhase::Drive {
                self.end_drive(began, at);
            }
        }
        match phase {
            TurnPhase::Mark => self.turn_began = Some(at),
            TurnPhase::Wait(_) => {
                if at.since(self.window_began) > RECENT_WINDOW {
                    self.window_began = at;
                    self.turn.begin_window();
                    self.queue_wait.begin_window();
                    self.lateness.begin_window();
                }
                if let Some(began) = self.turn_began.take() {
                    self.turn.add(at.since(began));
                }
            }
            _ => {}
        }
    }

    /// The sources that were called in the drive phase have waited until their call: each phase is
    /// divided into as many equal parts as there were calls.
    fn end_drive(&mut self, began: Time, ended: Time) {
        let count = self.served.len() as u32;
        for (index, served) in (0..).zip(self.served.drain(..)) {
            let called = began.after(ended.since(began) * index / count);
            if let Some(since) = served.since {
                self.queue_wait.add(called.since(since));
            }
            if served.is_again {
                let returned = began.after(ended.since(began) * (index + 1) / count);
                self.waiting[served.key as usize].since = Some(returned);
            }
        }
    }

    fn waiting_mut(&mut self, key: u32) -> &mut Waiting {
        let index = key as usize;
        if index >= self.waiting.len() {
            self.waiting.resize(index + 1, Waiting::default());
        }
        &mut self.waiting[index]
    }

    /// An event has arrived for a source.
    pub(super) fn marked(&mut self, token: Token, readiness: Readiness, at: Time) {
        let waiting = self.waiting_mut(token.key);
        if !waiting.known.contains(readiness) {
            waiting.known |= readiness;
            waiting.since.get_or_insert(at);
        }
    }

    /// A source was called; `timed` says from when until when, if that is known.
    pub(super) fn called(&mut self, call: &CallReport, timed: Option<(Time, Time)>, last: Time) {
        let is_again = call.verdict == Verdict::Again;
        let is_driven = matches!(self.phase, Some((TurnPhase::Drive, _)));
        let key = call.token.key;
        let waiting = self.waiting_mut(key);
        waiting.known = call.after;
        let since = waiting.since.take_if(|_| is_driven);
        match timed {
            None if is_driven => {
                let served = Served {
                    key,
                    since,
                    is_again,
                };
                return self.served.push(served);
            }
            Some((began, _)) => {
                if let Some(since) = since {
                    self.queue_wait.add(began.since(since));
                }
            }
            None => {}
        }
        if is_again {
            let returned = timed.map_or(last, |(_, returned)| returned);
            self.waiting_mut(key).since.get_or_insert(returned);
        }
    }

    /// A deadline has passed, and its source is called at `at`.
    pub(super) fn expired(&mut self, deadline: Time, at: Time) {
        self.lateness.add(at.since(deadline));
    }

    /// A slot is free: what waited in it is gone.
    pub(super) fn died(&mut self, token: Token) {
        *self.waiting_mut(token.key) = Waiting::default();
    }

    /// Reports end: what happens until the next is unknown.
    pub(super) fn stop(&mut self) {
        (self.phase, self.turn_began) = (None, None);
        self.waiting.clear();
        self.served.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Readiness;

    const WAIT: TurnPhase = TurnPhase::Wait(None);

    fn us(microseconds: u64) -> Time {
        Time::ZERO.after(Duration::from_micros(microseconds))
    }

    fn token(key: u32) -> Token {
        Token { key, generation: 0 }
    }

    fn call(key: u32, verdict: Verdict) -> CallReport {
        CallReport {
            token: token(key),
            before: Readiness::READABLE,
            after: Readiness::empty(),
            verdict,
        }
    }

    /// The measured durations, as the histogram has them: by bound.
    fn buckets(measure: &Measure) -> Vec<(u64, u64)> {
        let mut before = 0;
        let bounds = BUCKETS_US.into_iter().chain([u64::MAX]);
        let cumulative = measure.histogram().cumulative().map(|count| {
            let new = count - before;
            before = count;
            new
        });
        bounds
            .zip(cumulative)
            .filter(|bucket| bucket.1 > 0)
            .collect()
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for microseconds in [0, 10, 11, 1_000_000, 1_000_001] {
            histogram.add(Duration::from_micros(microseconds));
        }
        let cumulative: Vec<u64> = histogram.cumulative().collect();
        assert_eq!(cumulative[..3], [2, 3, 3]);
        assert_eq!(cumulative[14..], [3, 4, 5]);
        assert_eq!(histogram.sum(), Duration::from_micros(2_000_022));
    }

    #[test]
    fn time_is_waited_or_busy_and_a_turn_does_not_include_its_wait() {
        let mut measures = LoopMeasures::default();
        for (phase, at) in [
            (WAIT, 0),
            (WAIT, 300), // after EINTR
            (TurnPhase::Mark, 1_000),
            (TurnPhase::Drive, 1_010),
            (TurnPhase::Expire, 1_020),
            (TurnPhase::Settle, 1_030),
            (TurnPhase::Between, 1_040),
            (WAIT, 1_060),
            (TurnPhase::Mark, 5_060),
        ] {
            measures.phase(phase, us(at));
        }
        let us = Duration::from_micros;
        assert_eq!((measures.waited, measures.busy), (us(5_000), us(60)));
        assert_eq!(measures.turn.recent(), us(60));
        assert_eq!(buckets(&measures.turn), [(100, 1)]);
    }

    #[test]
    fn calls_that_are_not_timed_count_as_equally_long() {
        let mut measures = LoopMeasures::default();
        measures.phase(TurnPhase::Mark, us(0));
        for key in 0..4 {
            measures.marked(token(key), Readiness::READABLE, us(0));
        }
        measures.phase(TurnPhase::Drive, us(100));
        measures.called(&call(0, Verdict::Park), None, us(100));
        measures.called(&call(1, Verdict::Again), None, us(100));
        measures.called(&call(2, Verdict::Park), None, us(100));
        // Not marked: it was woken.
        measures.called(&call(7, Verdict::Park), None, us(100));
        measures.phase(TurnPhase::Expire, us(900));
        // The calls began at 100, 300 and 500.
        assert_eq!(
            measures.queue_wait.histogram().sum(),
            Duration::from_micros(900)
        );
        assert_eq!(buckets(&measures.queue_wait), [(100, 1), (500, 2)]);
        // The second has waited again since 500, and the fourth was not reached.
        measures.phase(TurnPhase::Drive, us(1_000));
        measures.called(&call(3, Verdict::Park), None, us(1_000));
        measures.called(&call(1, Verdict::Park), None, us(1_000));
        measures.phase(TurnPhase::Expire, us(3_000));
        let sum = measures.queue_wait.histogram().sum();
        assert_eq!(sum, Duration::from_micros(900 + 1_000 + 1_500));
    }

    #[test]
    fn a_wait_ends_with_a_call_in_the_drive_phase_and_with_the_source() {
        let mut measures = LoopMeasures::default();
        let timed = |from, to| Some((us(from), us(to)));
        measures.phase(TurnPhase::Mark, us(0));
        measures.marked(token(0), Readiness::READABLE, us(0));
        measures.marked(token(1), Readiness::READABLE, us(0));
        // Marked again: it has waited since the first mark.
        measures.marked(token(0), Readiness::CLOSED, us(50));
        measures.phase(TurnPhase::Expire, us(60));
        measures.called(&call(0, Verdict::Park), timed(60, 70), us(70));
        measures.died(token(1));
        assert_eq!(measures.queue_wait.histogram().sum(), Duration::ZERO);
        measures.phase(TurnPhase::Drive, us(100));
        measures.called(&call(0, Verdict::Again), timed(110, 130), us(130));
        measures.called(&call(1, Verdict::Park), timed(130, 140), us(140));
        measures.called(&call(0, Verdict::Park), timed(140, 150), us(150));
        let sum = measures.queue_wait.histogram().sum();
        assert_eq!(sum, Duration::from_micros(110 + 10));
        assert_eq!(measures.queue_wait.recent(), Duration::from_micros(110));
    }

    /// A source that rests with a bit set is not queued by an event that sets it again.
    #[test]
    fn an_event_that_says_nothing_new_starts_no_wait() {
        let mut measures = LoopMeasures::default();
        measures.phase(TurnPhase::Drive, us(0));
        let mut held = call(0, Verdict::Hold);
        held.after = Readiness::READABLE;
        measures.called(&held, Some((us(0), us(10))), us(10));
        measures.marked(token(0), Readiness::READABLE, us(20));
        measures.called(&held, Some((us(100), us(110))), us(110));
        assert!(buckets(&measures.queue_wait).is_empty());
        measures.marked(token(0), Readiness::WRITABLE, us(120));
        measures.called(&held, Some((us(200), us(210))), us(210));
        assert_eq!(buckets(&measures.queue_wait), [(100, 1)]);
    }

    #[test]
    fn the_longest_of_a_window_is_forgotten_after_the_next() {
        let mut measures = LoopMeasures::default();
        measures.expired(us(0), us(700));
        measures.expired(us(0), us(200));
        let window = RECENT_WINDOW.as_micros() as u64;
        for (at, expected) in [(window + 1, 700), (2 * window + 3, 0)] {
            assert_eq!(measures.lateness.recent(), Duration::from_micros(700));
            measures.phase(WAIT, us(at));
            assert_eq!(measures.lateness.recent(), Duration::from_micros(expected));
        }
        assert_eq!(buckets(&measures.lateness), [(250, 1), (1_000, 1)]);
    }
}
