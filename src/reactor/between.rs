//! What a program may do with the reactor between turns, and at no other time.
//!
//! **Owns** nothing of its own. **Must never touch** the poll's events, and never waits.
//! **Invariant**: when a function returns, the loop is again in the state between two turns.

use super::ready::Queue;
use super::record::{Recorder, TurnPhase};
use super::source::{Births, Context, Source, Verdict};
use super::{LoopStats, Reactor, Readiness, Time, Token};
use std::io;

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// Adds a source with its initial readiness, which may be a guess.
    ///
    /// # Errors
    ///
    /// The source could not be registered with the poll.
    pub fn add(&mut self, source: S, readiness: Readiness) -> io::Result<Token> {
        self.admit(source, readiness).map_err(|(_, error)| error)
    }

    /// Puts a source into the ready list: it is driven as soon as the share of its queue allows,
    /// whatever its readiness.
    /// Does nothing for a source that is gone.
    pub fn wake(&mut self, token: Token) {
        if self.slots.is_current(token) {
            self.ready.mark(token.key, Readiness::empty());
        }
    }

    /// Wakes every source, and sets `readiness` as an event would. It may be a guess: a source
    /// that finds that an operation would block clears it.
    pub fn wake_all(&mut self, readiness: Readiness) {
        for (token, _) in self.slots.iter() {
            self.ready.mark(token.key, readiness);
        }
    }

    /// Makes the next poll use timeout 0: the program has more to do between turns.
    pub fn skip_next_wait(&mut self) {
        self.skip_next_wait = true;
    }

    /// Calls `work` for one source as if the source were driven; its verdict is applied in the same
    /// way. Does nothing for a source that is gone.
    ///
    /// Nothing that `work` queues in the source is sent by itself: `work` sends it, or returns
    /// [`Verdict::Again`] to have the source driven in the next turn. [`Verdict::Hold`] leaves the
    /// source as it is.
    pub fn with_source(
        &mut self,
        token: Token,
        shared: &mut S::Shared,
        work: impl FnOnce(&mut S, &mut Context<'_, S::Shared>, &mut Births<S>) -> Verdict,
    ) {
        if self.slots.is_current(token) {
            self.call(token.key, shared, work);
            self.settle(shared);
            self.begin(TurnPhase::Between);
        }
    }

    /// [`with_source`](Self::with_source) for every source, in the order of the slots.
    pub fn for_each(
        &mut self,
        shared: &mut S::Shared,
        mut work: impl FnMut(&mut S, &mut Context<'_, S::Shared>) -> Verdict,
    ) {
        for key in 0..self.slots.end() {
            self.call(key, shared, |source, cx, _| work(source, cx));
        }
        self.settle(shared);
        self.begin(TurnPhase::Between);
    }

    /// All sources with their tokens.
    pub fn sources(&self) -> impl Iterator<Item = (Token, &S)> {
        self.slots.iter()
    }

    /// All slots, including the free ones.
    pub fn slots(&self) -> impl ExactSizeIterator<Item = (Token, Option<&S>)> {
        self.slots.all()
    }

    /// The number of sources.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no source. A turn would then wait forever.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// When the last turn began.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// What the loop has counted about itself.
    #[must_use]
    pub fn stats(&self) -> LoopStats {
        LoopStats {
            ready: self.ready.len(Queue::Sparse) + self.ready.len(Queue::Bulk),
            deadlines: self.timers.count,
            ..self.stats
        }
    }

    /// The recorder.
    #[must_use]
    pub fn recorder(&self) -> &R {
        &self.recorder
    }

    /// Mutable access to the recorder.
    pub fn recorder_mut(&mut self) -> &mut R {
        &mut self.recorder
    }
}
