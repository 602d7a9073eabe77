//! What the loop tells of itself while it works.
//!
//! **Owns** the one trait that a recorder implements, and the words of the reports. **Must never
//! touch** the loop: a recorder is told, and has no say.
//! **Invariant**: a loop that nobody watches pays nothing. Every report, and the reading of the
//! clock for it, is behind [`Recorder::is_on`]; for `()` that is a constant `false`, and the
//! compiler takes all of it out.
//!
//! The reports are made of what the loop holds anyway: a verdict, the readiness before and
//! after, births and deaths. No source has a line of code for it.

use super::{Readiness, Source, Time, Token, Verdict};
use std::time::Duration;

/// Where in its turn the loop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnPhase {
    /// Waiting for events, at most so long; `None`: for ever.
    Wait(Option<Duration>),
    /// Events set readiness bits.
    Mark,
    /// Marked sources work.
    Drive,
    /// Sources whose deadline has passed are told.
    Expire,
    /// Deaths, then births.
    Settle,
    /// The turn is over, and the program does what is its own to do before the next.
    Between,
}

/// What came of letting one source work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallReport {
    /// Which source.
    pub token: Token,
    /// What it might try.
    pub before: Readiness,
    /// What is left of that.
    pub after: Readiness,
    /// What it said.
    pub verdict: Verdict,
}

/// Who is told what the loop does.
pub trait Recorder<S: Source> {
    /// Whether reports are wanted at present. Asked before each.
    fn is_on(&self) -> bool;

    /// Whether each call is to be timed: a reading of the clock a call, where else there are six
    /// a turn. Else a call's time is that of its turn.
    fn is_timing_calls(&self) -> bool;

    /// A phase of turn number `turn` begins at `at`, and the one before ends. A wait belongs to
    /// the turn that follows it; one that a signal cut short begins again.
    fn phase(&mut self, turn: u64, phase: TurnPhase, at: Time);

    /// An event came for `token`; if that is not current, it did nothing.
    fn marked(&mut self, token: Token, readiness: Readiness, is_current: bool);

    /// A source has worked, until `at` if calls are timed. The phase says why: driven, expired, or visited.
    fn called(&mut self, call: CallReport, at: Time, source: &S, shared: &S::Shared);

    /// A source was born.
    fn born(&mut self, token: Token, source: &S);

    /// A source is gone, and its slot is free.
    fn died(&mut self, token: Token);
}

/// Nobody watches.
impl<S: Source> Recorder<S> for () {
    fn is_on(&self) -> bool {
        false
    }

    fn is_timing_calls(&self) -> bool {
        false
    }

    fn phase(&mut self, _: u64, _: TurnPhase, _: Time) {}

    fn marked(&mut self, _: Token, _: Readiness, _: bool) {}

    fn called(&mut self, _: CallReport, _: Time, _: &S, _: &S::Shared) {}

    fn born(&mut self, _: Token, _: &S) {}

    fn died(&mut self, _: Token) {}
}
