//! The contract between the loop and its sources.
//!
//! **Owns** its vocabulary: [`Source`], [`Verdict`], [`Context`], [`Births`]. **Must never touch**
//! the poll's events.
//! **Invariant**: a source changes nothing but itself, what all sources share, its own deadline,
//! and its births. It may wake another source, but never reaches into one.

use super::ready::{Readiness, Ready};
use super::slots::{Generations, Token};
use super::timers::{Time, Timers};
use mio::{Interest, Registry};
use std::io;
use std::time::{Duration, Instant};
use std::vec;

/// The interest of a source that reads and writes: both directions, edge-triggered, registered
/// once. No message costs a system call to change it.
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// A deadline always lies in the future: a source that asked for "now" would be called again and
/// again within one turn.
const SHORTEST_DEADLINE: Duration = Duration::from_nanos(1);

/// What the loop drives. A program has one plain `enum` of its sources, which implements this.
pub trait Source: Sized {
    /// What all sources of the program share: settings, statistics, scratch memory.
    type Shared;

    /// Registers the source with the poll under `token`, once, when it is born.
    ///
    /// # Errors
    ///
    /// The poll refused it, for example out of memory. The source is then dropped.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Does a bounded amount of the work that `cx.readiness` allows, and never blocks.
    ///
    /// A source clears a readiness bit when an operation proves that it would block, and keeps it
    /// otherwise. It may be called spuriously: it then finds that an operation would block.
    fn drive(&mut self, cx: &mut Context<'_, Self::Shared>, births: &mut Births<Self>) -> Verdict;

    /// The source's deadline has passed, and is cleared. The source may set another.
    fn expire(&mut self, cx: &mut Context<'_, Self::Shared>) -> Verdict;

    /// The source could not be registered and is about to be dropped.
    fn unregistered(&mut self, error: &io::Error, turn_start: Time, shared: &mut Self::Shared);
}

/// What happens to a source after a call.
///
/// The loop ignores an event that sets only bits that are set already: the source knows them. A
/// source that rests with a bit set is therefore *not* woken by further events of that kind. The
/// two resting verdicts say whether that is intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drained: nothing to read until the next event, which wakes the source, as its deadline
    /// does. Parking with [`Readiness::READABLE`] set is a bug, because the source would be deaf
    /// to later input; debug builds assert that it does not happen.
    Park,
    /// Resting by choice, perhaps with input left: the source is called again at its deadline,
    /// after a [wake](Context::wake), or after an event that sets *another* bit (room to write, for
    /// example).
    Hold,
    /// The budget is spent: drive the source again as soon as the share of its queue allows, without
    /// a blocking wait in between.
    Again,
    /// Done: drop the source at the end of the turn.
    Close,
}

/// What a source can see and do while it is called. `T` is what all sources share.
#[derive(Debug)]
pub struct Context<'a, T> {
    /// When this turn began. The same for every source of the turn.
    pub turn_start: Time,
    /// The source's own token.
    pub token: Token,
    /// What the source may try. The source clears a bit when the operation would block.
    pub readiness: &'a mut Readiness,
    /// What all sources share.
    pub shared: &'a mut T,
    pub(super) epoch: Option<Instant>,
    pub(super) generations: &'a Generations,
    pub(super) ready: &'a mut Ready,
    pub(super) timers: &'a mut Timers,
    /// The cost of this call in bytes.
    pub(super) cost: &'a mut usize,
}

impl<T> Context<'_, T> {
    /// The current time, for a source that measures: with one time per turn, everything within a
    /// turn would look simultaneous. Virtual in a simulated loop.
    #[must_use]
    pub fn clock_now(&self) -> Time {
        clock(self.epoch, self.turn_start)
    }

    /// Counts bytes that the source moved or produced, in both directions, against the budgets of
    /// the turn. A source whose calls are bounded otherwise need not count.
    pub fn charge(&mut self, bytes: usize) {
        *self.cost += bytes;
    }

    /// Sets or moves the source's one deadline.
    pub fn set_deadline(&mut self, from_turn_start: Duration) {
        let deadline = self
            .turn_start
            .after(from_turn_start.max(SHORTEST_DEADLINE));
        self.timers.set(self.token.key, deadline);
    }

    /// Cancels the source's deadline.
    pub fn clear_deadline(&mut self) {
        self.timers.cancel(self.token.key);
    }

    /// Puts another source into the ready list: it is driven whatever its readiness, in the next
    /// turn, or in this one if it is in the list already. A stale token wakes nothing.
    pub fn wake(&mut self, token: Token) {
        if self.generations.is_current(token) {
            self.ready.mark(token.key, Readiness::empty());
        }
    }

    /// The same context for a source that needs only a part of what is shared.
    pub fn part<U>(&mut self, of: impl FnOnce(&mut T) -> &mut U) -> Context<'_, U> {
        Context {
            turn_start: self.turn_start,
            token: self.token,
            readiness: self.readiness,
            shared: of(self.shared),
            epoch: self.epoch,
            generations: self.generations,
            ready: self.ready,
            timers: self.timers,
            cost: self.cost,
        }
    }
}

/// The sources that a call gives to the loop. They are born when the turn ends: registered,
/// given a token, and put into the ready list.
#[derive(Debug)]
pub struct Births<S>(Vec<(S, Readiness)>);

impl<S> Default for Births<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S> Births<S> {
    /// Adds a source with its initial readiness, which may be a guess.
    pub fn push(&mut self, source: S, readiness: Readiness) {
        self.0.push((source, readiness));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn drain(&mut self) -> vec::Drain<'_, (S, Readiness)> {
        self.0.drain(..)
    }
}

/// The time now, if time began at `epoch`; `now` in virtual time.
pub(super) fn clock(epoch: Option<Instant>, now: Time) -> Time {
    epoch.map_or(now, |epoch| Time::ZERO.after(epoch.elapsed()))
}
