//! Reports of what the loop does.
//!
//! **Owns** the trait that a recorder implements, and the vocabulary of its reports. **Must never
//! touch** the loop: a recorder receives reports and cannot change anything.
//! **Invariant**: a recorder that is off costs one branch per report. Every report, and every
//! clock read for one, is behind [`Recorder::is_on`]; for `()` it is constantly `false`.
//!
//! Reports are made of what the loop knows anyway: a verdict, the readiness before and after,
//! births and deaths. The sources contain no code for it.

use super::{Readiness, Source, Time, Token, Verdict};
use std::time::Duration;

/// The phases of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnPhase {
    /// Waiting for events, at most this long; `None`: no timeout.
    Wait(Option<Duration>),
    /// Events set readiness bits.
    Mark,
    /// Marked sources work.
    Drive,
    /// Sources whose deadline has passed are called.
    Expire,
    /// Deaths, then births.
    Settle,
    /// The turn is over; the program does its own work before the next.
    Between,
}

/// One call of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// Which source.
    pub token: Token,
    /// Its readiness before the call.
    pub before: Readiness,
    /// What the call left of it.
    pub after: Readiness,
    /// What the call returned.
    pub verdict: Verdict,
}

/// Receives reports of what the loop does.
pub trait Recorder<S: Source> {
    /// Whether it wants reports at the moment. Checked before each report.
    fn is_on(&self) -> bool;

    /// Whether each call gets its own time: one clock read per call instead of six per turn.
    /// Otherwise it is only known in which phase it was.
    fn is_timing_calls(&self) -> bool;

    /// Phase `phase` of turn number `turn` begins at `at`, and the one before it ends. A wait
    /// belongs to the turn that follows it; after EINTR it is reported again.
    fn phase(&mut self, turn: u64, phase: TurnPhase, at: Time);

    /// An event arrived for `token`. If the token is stale, the event does nothing.
    fn marked(&mut self, token: Token, readiness: Readiness, is_current: bool);

    /// A deadline has passed, and the call of its source follows.
    fn expired(&mut self, deadline: Time);

    /// A source has worked, until `at` if calls are timed. The phase says why it was called.
    fn called(&mut self, call: CallReport, at: Option<Time>, source: &S, shared: &S::Shared);

    /// A source was born.
    fn born(&mut self, token: Token, source: &S);

    /// A source is gone, and its slot is free.
    fn died(&mut self, token: Token);
}

/// The no-op recorder.
impl<S: Source> Recorder<S> for () {
    fn is_on(&self) -> bool {
        false
    }

    fn is_timing_calls(&self) -> bool {
        false
    }

    fn phase(&mut self, _: u64, _: TurnPhase, _: Time) {}

    fn marked(&mut self, _: Token, _: Readiness, _: bool) {}

    fn expired(&mut self, _: Time) {}

    fn called(&mut self, _: CallReport, _: Option<Time>, _: &S, _: &S::Shared) {}

    fn born(&mut self, _: Token, _: &S) {}

    fn died(&mut self, _: Token) {}
}
