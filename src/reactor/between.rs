//! What a program's own loop may do with the reactor between turns, and nowhere else.
//!
//! **Owns** nothing of its own. **Must never touch** the poll's events, nor wait.
//! **Invariant**: when a function returns, the loop is again as between two turns.

use super::record::{Recorder, TurnPhase};
use super::source::{Context, Source, Verdict};
use super::{LoopStats, Reactor, Readiness, Time, Token};
use std::io;

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// Gives the loop a source before its first turn.
    ///
    /// # Errors
    ///
    /// The source's registration's.
    pub fn add(&mut self, mut source: S, readiness: Readiness) -> io::Result<Token> {
        let token = self.slots.reserve();
        if let Err(error) = source.register(self.poll.registry(), token) {
            self.slots.retire(token.key);
            self.slots.free(token.key);
            return Err(error);
        }
        if self.record.is_on() {
            self.record.born(token, &source);
        }
        self.slots.put(token.key, source);
        self.ready.mark(token.key, readiness);
        Ok(token)
    }

    /// Marks a source as an event would: for wake-ups that no poll knows of.
    pub fn wake(&mut self, token: Token, readiness: Readiness) {
        if self.slots.is_current(token) {
            self.ready.mark(token.key, readiness);
        }
    }

    /// Does not let the next wait block: the program's own loop has more to do between turns.
    pub fn skip_next_wait(&mut self) {
        self.hurried = true;
    }

    /// Marks all sources.
    pub fn wake_all(&mut self, readiness: Readiness) {
        for (token, _) in self.slots.iter() {
            self.ready.mark(token.key, readiness);
        }
    }

    /// Calls `work` for one source, as if it was driven; for none if it is gone.
    pub fn with_source(
        &mut self,
        token: Token,
        shared: &mut S::Shared,
        work: impl FnOnce(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        if self.slots.is_current(token) {
            self.call(token.key, shared, work);
            self.settle(shared);
            self.begin(TurnPhase::Between);
        }
    }

    /// Calls `work` for every source, as if each was driven.
    pub fn for_each(
        &mut self,
        shared: &mut S::Shared,
        mut work: impl FnMut(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        for key in 0..self.slots.end() {
            self.call(key, shared, &mut work);
        }
        self.settle(shared);
        self.begin(TurnPhase::Between);
    }

    /// All sources with their names.
    pub fn sources(&self) -> impl Iterator<Item = (Token, &S)> {
        self.slots.iter()
    }

    /// All slots, those included that are free at present.
    pub fn slots(&self) -> impl Iterator<Item = (Token, Option<&S>)> {
        self.slots.all()
    }

    /// How many sources there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no source at all: then a turn would wait for ever.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// When the last turn began.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the loop has counted of itself.
    #[must_use]
    pub fn turns(&self) -> LoopStats {
        self.turns
    }

    /// Who is told what the loop does.
    #[must_use]
    pub fn record(&self) -> &R {
        &self.record
    }

    /// Who is told what the loop does, to ask it or to tell it more.
    pub fn record_mut(&mut self) -> &mut R {
        &mut self.record
    }
}
