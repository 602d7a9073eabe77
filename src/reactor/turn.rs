//! The turn: wait, mark, drive, expire, settle.
//!
//! **Owns** the order of the phases, and what a verdict means. **Must never touch** a protocol.
//! **Invariant**: [`Reactor::step`] neither waits nor reads a clock, so the real loop also runs in
//! virtual time; a turn does a bounded amount of work, and waits for events only in its wait.

use super::ready::Queue;
use super::record::CallReport;
use super::source::{Births, Context, Source, Verdict, clock};
use super::{EVENTS_PER_WAIT, Mark, Reactor, Readiness, Recorder, Time, Token, TurnPhase};
use log::trace;
use mio::Events;
use std::io;
use std::mem;
use std::time::Duration;

/// What a call costs beside the bytes that it moves: a message of some ten bytes takes 5 µs, of
/// which the system calls are nearly all, and 1 KiB of replies to empty lines takes 10 µs. All
/// budgets are in this unit, and never in time, so that a run can be repeated exactly.
const CALL_COST_BYTES: usize = 512;

/// A source that used more when it was last driven waits in the bulk queue: more than the longest
/// chunk and its reply.
const QUANTUM_BYTES: usize = 4 * 1_024;

/// The share of the sparse queue per turn: 384 short messages, about 2 ms. In the first turns of a
/// drain each call also sends FIN, 17 µs in all: with 512 calls such a turn took 9 ms.
const SPARSE_BUDGET_BYTES: usize = 192 * 1_024;

/// The share of the bulk queue per turn: one read of nothing but empty lines, or four times the
/// chunks of one client, about 0.2 ms. It is what a client in the sparse queue waits for, however
/// many connections are in the bulk queue. With twice as much it waited 4.7 times as long beside
/// 1,000 connections that flood chunks as beside one; the goal is 3.
const BULK_BUDGET_BYTES: usize = 32 * 1_024;

/// The share of deadlines per turn: 384 short replies that were delayed, or 384 times FIN.
const EXPIRE_BUDGET_BYTES: usize = 192 * 1_024;

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// One turn: waits for events or the next deadline, then does one [step](Self::step) with
    /// them.
    ///
    /// # Errors
    ///
    /// The poll failed. What happens to one source is never an error of the loop.
    pub fn turn(&mut self, shared: &mut S::Shared) -> io::Result<()> {
        let (asked, now) = self.wait()?;
        // Lent to the step: each event becomes a mark on its way, without a list in between.
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        self.step_asked(asked, now, events.iter().map(readiness_of), shared);
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
        self.step_asked(now, now, marks, shared);
    }

    /// A step whose marks were asked for at `asked`: what became ready later is not among them.
    fn step_asked(
        &mut self,
        asked: Time,
        now: Time,
        marks: impl IntoIterator<Item = Mark>,
        shared: &mut S::Shared,
    ) {
        self.now = now;
        self.skip_next_wait = false;
        self.stats.turns += 1;
        self.mark(asked, marks);
        self.drive(shared);
        self.expire(shared);
        self.settle(shared);
        self.begin(TurnPhase::Between);
    }

    /// The only code that blocks: until an event or the next deadline; not at all while sources
    /// are in the ready list. Apart from this, only the recorder and [`Context::clock_now`] read
    /// the clock.
    ///
    /// Returns the time before the poll was asked, and the time after.
    fn wait(&mut self) -> io::Result<(Time, Time)> {
        let mut now = clock(self.epoch, self.now);
        if self.stats.turns > 0 {
            self.stats.longest = self.stats.longest.max(now.since(self.now));
        }
        loop {
            let timeout = self.poll_timeout(now);
            self.begin(TurnPhase::Wait(timeout));
            let asked = now;
            let polled = self.poll.poll(&mut self.events, timeout);
            now = clock(self.epoch, self.now);
            match polled {
                Ok(()) => return Ok((asked, now)),
                // The signal arrives as an event of its own; the deadline stays where it was
                // (pitfall 11).
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
    ///
    /// A full batch may not be all there is, and deadlines then wait for the rest. They do not wait
    /// forever: once the batches hold as many events as there were sources, every source that was
    /// ready when the poll was first asked has been reported.
    fn mark(&mut self, asked: Time, marks: impl IntoIterator<Item = Mark>) {
        self.begin(TurnPhase::Mark);
        if self.unreported == 0 {
            (self.asked, self.unreported) = (asked, self.slots.len());
        }
        let mut events = 0;
        for (token, readiness) in marks {
            events += 1;
            trace!("event for {token}: {readiness:?}");
            let is_current = self.slots.is_current(token);
            if is_current && !self.ready.get(token.key).contains(readiness) {
                self.ready.mark(token.key, readiness);
            }
            if self.recorder.is_on() {
                self.recorder.marked(token, readiness, is_current);
            }
        }
        self.stats.events += events as u64;
        self.stats.most_events = self.stats.most_events.max(events as u64);
        let is_full = events >= EVENTS_PER_WAIT;
        let unreported = self.unreported.saturating_sub(events);
        self.unreported = if is_full { unreported } else { 0 };
    }

    /// Drives the sources that were in the queues when the turn began, in order and at most once
    /// each, as far as the budget of each queue goes; at least one per queue. A source that says
    /// `Again` goes to the end of its queue.
    fn drive(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Drive);
        let sparse = self.ready.len(Queue::Sparse);
        let bulk = self.ready.len(Queue::Bulk);
        for (queue, entries, budget) in [
            (Queue::Sparse, sparse, SPARSE_BUDGET_BYTES),
            (Queue::Bulk, bulk, BULK_BUDGET_BYTES),
        ] {
            let mut spent = 0;
            for _ in 0..entries {
                if let Some(key) = self.ready.pop(queue) {
                    spent += self.call(key, shared, S::drive);
                }
                if spent >= budget {
                    break;
                }
            }
        }
    }

    /// Calls the sources whose deadline had passed when the poll was asked, as far as the budget
    /// goes. A pause of the machine must not look like silence of the clients (pitfall 20): what
    /// became ready during the pause is marked before, and a source that waits to be driven is
    /// driven before, and called in the same turn if its deadline still stands.
    fn expire(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Expire);
        let mut spent = 0;
        while let Some(key) = self.ready.pop_overdue() {
            if self.timers.is_due(key, self.asked) {
                spent += self.call_expired(key, shared);
            }
        }
        while self.unreported == 0 && spent < EXPIRE_BUDGET_BYTES {
            let Some(key) = self.timers.expired(self.asked) else {
                break;
            };
            if self.ready.is_queued(key) {
                self.ready.postpone(key);
                spent += CALL_COST_BYTES;
            } else {
                spent += self.call_expired(key, shared);
            }
        }
    }

    fn call_expired(&mut self, key: u32, shared: &mut S::Shared) -> usize {
        let deadline = self.timers.cancel(key);
        if self.recorder.is_on() {
            self.recorder.expired(deadline);
        }
        self.call(key, shared, |source, cx, _| source.expire(cx))
    }

    /// Lets one source work, and carries out its verdict. Returns what the call cost.
    pub(super) fn call(
        &mut self,
        key: u32,
        shared: &mut S::Shared,
        work: impl FnOnce(&mut S, &mut Context<'_, S::Shared>, &mut Births<S>) -> Verdict,
    ) -> usize {
        let Some((token, source, generations)) = self.slots.borrow(key) else {
            return 0;
        };
        let mut cost = CALL_COST_BYTES;
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
            cost: &mut cost,
        };
        let verdict = work(source, &mut cx, &mut self.births);
        self.ready.set(key, after, cost > QUANTUM_BYTES);
        if self.recorder.is_on() {
            let report = CallReport {
                token,
                before,
                after,
                verdict,
            };
            let is_timed = self.recorder.is_timing_calls();
            let at = is_timed.then(|| clock(self.epoch, self.now));
            self.recorder.called(report, at, source, shared);
        }
        match verdict {
            Verdict::Park => debug_assert!(
                !after.contains(Readiness::READABLE),
                "{token} parks although it may be readable: no event will wake it; see Verdict"
            ),
            Verdict::Hold => {}
            Verdict::Again => self.ready.mark(key, Readiness::empty()),
            Verdict::Close => {
                self.retire(token);
                cost += CALL_COST_BYTES; // close(2)
            }
        }
        cost
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
