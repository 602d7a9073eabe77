//! The turn: wait, mark, drive, expire, settle.
//!
//! **Owns** the order of the phases, and what a verdict means. **Must never touch** a protocol.
//! **Invariant**: [`Reactor::step`] neither waits nor reads a clock, so the real loop also runs in
//! virtual time; a source is driven at most once per turn.

use super::record::CallReport;
use super::source::{Births, Context, Source, Verdict, clock};
use super::{Mark, Reactor, Readiness, Recorder, Time, Token, TurnPhase};
use log::trace;
use mio::Events;
use std::io;
use std::mem;
use std::time::Duration;

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// One turn: waits for events or the next deadline, then does one [step](Self::step) with
    /// them.
    ///
    /// # Errors
    ///
    /// The poll failed. What happens to one source is never an error of the loop.
    pub fn turn(&mut self, shared: &mut S::Shared) -> io::Result<()> {
        let now = self.wait()?;
        // Taken out while the step borrows the reactor, so that events become marks without a list
        // in between.
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        self.step(now, events.iter().map(readiness_of), shared);
        self.events = events;
        Ok(())
    }

    /// The turn without its wait. A test that calls it with its own times and marks runs the real
    /// loop in virtual time.
    pub fn step(
        &mut self,
        now: Time,
        marks: impl IntoIterator<Item = Mark>,
        shared: &mut S::Shared,
    ) {
        self.now = now;
        self.skip_next_wait = false;
        self.stats.turns += 1;
        self.mark(marks);
        self.drive(shared);
        self.expire(shared);
        self.settle(shared);
        self.begin(TurnPhase::Between);
    }

    /// The only code that blocks: until an event or the next deadline, and not at all while the
    /// ready list has entries. Apart from this, the clock is read only for the recorder and by
    /// [`Context::clock_now`].
    fn wait(&mut self) -> io::Result<Time> {
        let mut now = clock(self.epoch, self.now);
        if self.stats.turns > 0 {
            self.stats.longest = self.stats.longest.max(now.since(self.now));
        }
        loop {
            let timeout = self.poll_timeout(now);
            self.begin(TurnPhase::Wait(timeout));
            let polled = self.poll.poll(&mut self.events, timeout);
            now = clock(self.epoch, self.now);
            match polled {
                Ok(()) => return Ok(now),
                // The signal arrives as a separate event; the deadline does not move (pitfall 11).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How long the next wait may block, as of `now`: zero while the ready list has entries or
    /// after [`skip_next_wait`](Self::skip_next_wait), otherwise until the nearest deadline.
    /// `None`: no timeout.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        if self.skip_next_wait || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        self.timers.nearest().map(|deadline| deadline.since(now))
    }

    /// Events set readiness bits and queue their source; no source works yet. An event for a source
    /// that is gone does nothing, nor does one whose bits are set already: the source is queued, or
    /// chose to rest with those bits set ([`Verdict::Hold`]).
    fn mark(&mut self, marks: impl IntoIterator<Item = Mark>) {
        self.begin(TurnPhase::Mark);
        let is_recorded = self.recorder.is_on();
        let mut events = 0;
        for (token, readiness) in marks {
            events += 1;
            trace!("event for {token}: {readiness:?}");
            let is_current = self.slots.is_current(token);
            if is_current && !self.ready.get(token.key).contains(readiness) {
                self.ready.mark(token.key, readiness);
            }
            if is_recorded {
                self.recorder.marked(token, readiness, is_current);
            }
        }
        self.stats.events += events;
        self.stats.most_events = self.stats.most_events.max(events);
    }

    /// Drives each source that was in the ready list when the turn began, once. A source that
    /// says `Again` goes to the end of the list and is driven in the next turn.
    fn drive(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Drive);
        for _ in 0..self.ready.len() {
            if let Some(key) = self.ready.pop() {
                self.call(key, shared, S::drive);
            }
        }
    }

    /// Calls each source whose deadline has passed.
    fn expire(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Expire);
        while let Some(key) = self.timers.expired(self.now) {
            self.call(key, shared, |source, cx, _| source.expire(cx));
        }
    }

    /// Lets one source work, and carries out its verdict.
    pub(super) fn call(
        &mut self,
        key: u32,
        shared: &mut S::Shared,
        work: impl FnOnce(&mut S, &mut Context<'_, S::Shared>, &mut Births<S>) -> Verdict,
    ) {
        let Some((token, source, generations)) = self.slots.borrow(key) else {
            return;
        };
        self.stats.calls += 1;
        let before = self.ready.get(key);
        let mut after = before;
        let mut cx = Context {
            turn_start: self.now,
            token,
            readiness: &mut after,
            shared: &mut *shared,
            epoch: self.epoch,
            generations,
            ready: &mut self.ready,
            timers: &mut self.timers,
        };
        let verdict = work(source, &mut cx, &mut self.births);
        self.ready.set(key, after);
        if self.recorder.is_on() {
            let report = CallReport {
                token,
                before,
                after,
                verdict,
            };
            let is_timed = self.recorder.is_timing_calls();
            let at = if is_timed {
                clock(self.epoch, self.now)
            } else {
                self.now
            };
            self.recorder.called(report, at, source, shared);
        }
        match verdict {
            Verdict::Park => debug_assert!(
                !after.contains(Readiness::READABLE),
                "{token} parks although it may be readable: no event will wake it; see Verdict"
            ),
            Verdict::Hold => {}
            Verdict::Again => self.ready.wake(key),
            Verdict::Close => self.retire(token),
        }
    }

    /// Makes the token stale: events and deadlines of the slot resolve to nothing from here on. The
    /// slot is not reused before the turn ends, so that the rest of the ready list, which holds
    /// only slot keys, cannot reach a new owner (pitfall 3).
    fn retire(&mut self, token: Token) {
        self.deaths.push(token);
        self.slots.retire(token.key);
        self.ready.reset(token.key);
        self.timers.cancel(token.key);
    }

    /// Deaths first, so that the next accept finds their descriptors free; then births.
    pub(super) fn settle(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Settle);
        if self.deaths.is_empty() && self.births.is_empty() {
            return;
        }
        for token in self.deaths.drain(..) {
            drop(self.slots.free(token.key));
            if self.recorder.is_on() {
                self.recorder.died(token);
            }
        }
        let mut births = mem::take(&mut self.births);
        for (source, readiness) in births.drain() {
            if let Err((mut source, error)) = self.admit(source, readiness) {
                source.unregistered(&error, self.now, shared);
            }
        }
        self.births = births; // kept for its memory
    }

    /// Registers a source under a new token and stores it in its slot, or hands it back.
    pub(super) fn admit(
        &mut self,
        mut source: S,
        readiness: Readiness,
    ) -> Result<Token, (S, io::Error)> {
        let (token, slot) = self.slots.vacant();
        if let Err(error) = source.register(self.poll.registry(), token) {
            return Err((source, error));
        }
        if self.recorder.is_on() {
            self.recorder.born(token, &source);
        }
        slot.insert(source);
        if !readiness.is_empty() {
            self.ready.mark(token.key, readiness);
        }
        Ok(token)
    }

    /// Reports the phase that the loop enters. Reads the clock only if the recorder is on.
    #[inline]
    pub(super) fn begin(&mut self, phase: TurnPhase) {
        if self.recorder.is_on() {
            self.report_phase(phase);
        }
    }

    #[cold]
    fn report_phase(&mut self, phase: TurnPhase) {
        let is_next = matches!(phase, TurnPhase::Wait(_));
        let turn = self.stats.turns + u64::from(is_next);
        self.recorder
            .phase(turn, phase, clock(self.epoch, self.now));
    }
}

/// HUP and ERR mean "ask the socket", not "close" (pitfall 9): the source then reads and writes,
/// and finds the remaining input and the error.
fn readiness_of(event: &mio::event::Event) -> Mark {
    let failed = event.is_error() || event.is_write_closed();
    let closed = failed || event.is_read_closed();
    let mut readiness = Readiness::empty();
    readiness.set(Readiness::READABLE, event.is_readable() || closed);
    readiness.set(Readiness::WRITABLE, event.is_writable() || failed);
    readiness.set(Readiness::CLOSED, closed);
    (event.token().into(), readiness)
}
