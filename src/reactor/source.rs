//! What the loop and its sources say to each other.
//!
//! **Owns** the words: [`Source`], [`Verdict`], [`Context`]. **Must never touch** the poll's
//! events. **Invariant**: a source can change nothing but itself, its own deadline, and what is
//! to be born; it never reaches another source.

use super::ready::Readiness;
use super::slots::{Slots, Token};
use super::timers::{Time, Timers};
use mio::{Interest, Registry};
use std::io;
use std::time::{Duration, Instant};

/// What sources that read and write are registered for: both directions, edge-triggered, once and
/// for good, so that no message costs a call to change it.
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A deadline lies after the present, or a source that asked for "now" would be called for
/// ever within one turn.
const SHORTEST_DEADLINE: Duration = Duration::from_nanos(1);

/// What the loop drives. A program has one plain `enum` of its sources, which implements this.
pub trait Source: Sized {
    /// What all sources of the program share: settings, statistics, scratch memory.
    type Shared;

    /// Registers the source with the poll, once and for good, under `token`.
    ///
    /// # Errors
    ///
    /// What the poll answers, out of memory say. The source is then dropped.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Works on what `cx.readiness` allows, a bounded amount, and never blocks. May be called
    /// for nothing: then it finds that an operation would block, and parks.
    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict;

    /// Is told that its deadline has passed.
    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict;

    /// Is told that it could not be registered, right before it is dropped.
    fn unregistered(&mut self, error: &io::Error, now: Time, shared: &mut Self::Shared);
}

/// What a source says when it was driven or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do until an event or the deadline.
    Park,
    /// The budget is spent, and there may be more to do: the next wait does not block. Only where a
    /// bit of readiness is left; without one there is nothing to try, and this is as good as `Park`.
    Again,
    /// Done for good: drop me at the end of the turn.
    Close,
}

/// What a source may ask of the loop while it is driven.
#[derive(Debug)]
pub struct Context<'a, S: Source> {
    /// The time at which this turn began.
    pub turn_start: Time,
    /// The source's own name.
    pub token: Token,
    /// What the source may try; it clears what turned out to block.
    pub readiness: Readiness,
    /// What all sources share.
    pub shared: &'a mut S::Shared,
    pub(super) epoch: Option<Instant>,
    pub(super) slots: &'a mut Slots<S>,
    pub(super) timers: &'a mut Timers,
    pub(super) births: &'a mut Vec<Birth<S>>,
}

impl<S: Source> Context<'_, S> {
    /// The time at this very moment, for a source that measures: one `now` a turn would make
    /// everything within the turn look simultaneous. Virtual in a simulated loop.
    #[must_use]
    pub fn clock_now(&self) -> Time {
        self.epoch.map_or(self.turn_start, since)
    }

    /// Sets the source's one deadline, or moves it.
    pub fn set_deadline(&mut self, from_now: Duration) {
        let deadline = self.turn_start.after(from_now.max(SHORTEST_DEADLINE));
        self.timers.set(self.token.key, deadline);
    }

    /// Takes the source's deadline back.
    pub fn clear_deadline(&mut self) {
        self.timers.cancel(self.token.key);
    }

    /// Gives the loop a further source, which is born at the turn's end: registered, and marked
    /// with `readiness`, which may be hopeful.
    pub fn spawn(&mut self, readiness: Readiness, source: impl FnOnce(Token) -> S) {
        let token = self.slots.reserve();
        let source = source(token);
        self.births.push((token, readiness, source));
    }
}

/// A source to be born: its name, what it may try at once, and itself.
pub(super) type Birth<S> = (Token, Readiness, S);

/// The time now, where time began at `epoch`.
pub(super) fn since(epoch: Instant) -> Time {
    Time::ZERO.after(epoch.elapsed())
}
