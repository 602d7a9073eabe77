//! The loop: one thread, one poll, any number of event sources.
//!
//! **Owns** the poll, the sources, their readiness and their deadlines. **Must never touch** a
//! protocol: what a source does when it is driven is the source's own.
//! **Invariant**: between two turns every source is parked, in the list of marked sources, or
//! gone; and only [`Reactor::turn`]'s `wait` ever blocks.
//!
//! ```text
//!             +------------------------- one step ------------------------------+
//!  wait  ---> mark  ---------> drive  -----------------> expire ------> settle  |
//!  poll,      events set       each marked source, in    deadlines      deaths, |
//!  till the   readiness bits,  order, a bounded amount   that passed    then    |
//!  next       nothing else     of work -> a Verdict      -> a Verdict   births  |
//!  deadline   +-----------------------------------------------------------------+
//! ```
//!
//! An event only *marks* a source as ready. The work is done from a first-in-first-out list of
//! marked sources, a bounded amount each, at the loop's own pace. That one idea answers
//! draining under edge triggering (1), budgets (2), spurious events (15) and batches that are
//! too small (16); generational [`Token`]s answer reused slots (3); [`Timers`] answer timers
//! (12); and the wait retries what a signal cut short (11). The numbers are the pitfalls' in the
//! crate's index. What the loop does it tells a [`Recorder`], if there is one.

mod between;
pub mod ready;
pub mod record;
pub mod slots;
mod source;
pub mod timers;

pub use ready::Readiness;
pub use record::{CallReport, Recorder, TurnPhase};
pub use slots::Token;
pub use source::{Context, INTEREST, Source, Verdict};
pub use timers::Time;

use log::trace;
use mio::{Events, Poll};
use ready::Ready;
use slots::Slots;
use source::{Birth, since};
use std::io;
use std::mem;
use std::time::{Duration, Instant};
use timers::Timers;

/// Events taken from the poll in one wait. More may be ready: they come with the next one, and
/// since an event only marks, the order of the batches decides nothing (pitfall 16).
const EVENTS_PER_WAIT: usize = 1_024;

/// One event, boiled down: which source, and what it may try.
pub type Mark = (Token, Readiness);

/// What the loop counts of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopStats {
    /// LoopStats so far.
    pub turns: u64,
    /// Events taken from the poll.
    pub events: u64,
    /// The most events of one turn.
    pub most_events: u64,
    /// Calls of a source: driven or expired.
    pub calls: u64,
    /// The longest turn, the wait not counted.
    pub longest: Duration,
}

/// The loop itself. See the module's documentation. `R` is told what the loop does; `()` does
/// not listen, and costs nothing.
#[derive(Debug)]
pub struct Reactor<S: Source, R: Recorder<S> = ()> {
    poll: Poll,
    events: Events,
    /// Where time begins; `None` where time is what the caller of `step` says.
    epoch: Option<Instant>,
    /// When the present turn began.
    now: Time,
    slots: Slots<S>,
    ready: Ready,
    timers: Timers,
    births: Vec<Birth<S>>,
    deaths: Vec<Token>,
    /// Whether the next wait may not block although nobody is in the list.
    hurried: bool,
    turns: LoopStats,
    record: R,
}

impl<S: Source> Reactor<S> {
    /// A loop without sources.
    ///
    /// # Errors
    ///
    /// The poll needs a file descriptor.
    pub fn new() -> io::Result<Self> {
        Self::recorded(())
    }

    /// A loop in virtual time, for tests and simulations: it is driven by [`step`](Self::step)
    /// alone, and never reads the clock.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new): sources may still register.
    pub fn simulated() -> io::Result<Self> {
        Self::simulated_recorded(())
    }
}

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// A loop that tells `record` what it does.
    ///
    /// # Errors
    ///
    /// As [`new`](Reactor::new).
    pub fn recorded(record: R) -> io::Result<Self> {
        Self::with_epoch(Some(Instant::now()), record)
    }

    /// A loop in virtual time that tells `record` what it does.
    ///
    /// # Errors
    ///
    /// As [`new`](Reactor::new).
    pub fn simulated_recorded(record: R) -> io::Result<Self> {
        Self::with_epoch(None, record)
    }

    fn with_epoch(epoch: Option<Instant>, record: R) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            epoch,
            now: Time::ZERO,
            slots: Slots::default(),
            ready: Ready::default(),
            timers: Timers::default(),
            births: Vec::new(),
            deaths: Vec::new(),
            hurried: false,
            turns: LoopStats::default(),
            record,
        })
    }

    /// One turn: waits for events or the next deadline, and does one step with what came.
    ///
    /// # Errors
    ///
    /// The poll's. What happens to one source is never an error of the loop.
    pub fn turn(&mut self, shared: &mut S::Shared) -> io::Result<()> {
        let now = self.wait()?;
        // Lent to the step: each event becomes a mark on its way, and is kept nowhere else.
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        self.step(now, events.iter().map(readiness_of), shared);
        self.events = events;
        Ok(())
    }

    /// The rest of a turn, which neither waits nor works by a clock: a test that calls it with
    /// times and marks of its own has the real loop in virtual time.
    pub fn step(
        &mut self,
        now: Time,
        marks: impl IntoIterator<Item = Mark>,
        shared: &mut S::Shared,
    ) {
        self.now = now;
        self.hurried = false;
        self.turns.turns += 1;
        self.mark(marks);
        self.drive(shared);
        self.expire(shared);
        self.settle(shared);
        self.begin(TurnPhase::Between);
    }

    /// The only code that waits: until an event, the next deadline, or not at all while sources are
    /// in the list. Elsewhere the clock is read for the record and by [`Context::time`] alone.
    fn wait(&mut self) -> io::Result<Time> {
        let ended = self.clock();
        if self.turns.turns > 0 {
            self.turns.longest = self.turns.longest.max(ended.since(self.now));
        }
        let mut now = ended;
        loop {
            let timeout = self.poll_timeout(now);
            self.begin(TurnPhase::Wait(timeout));
            let polled = self.poll.poll(&mut self.events, timeout);
            now = self.clock();
            match polled {
                Ok(()) => return Ok(now),
                // A signal's own event follows; the deadline stays where it was (pitfall 11).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How long the next wait may last, seen from `now`: not at all while sources are in the
    /// list or the program is in a hurry, else until the nearest deadline; `None`: for ever.
    pub fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        if self.hurried || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        self.timers.nearest().map(|deadline| deadline.since(now))
    }

    /// Events set readiness bits, and nothing else. One for a source that is gone does nothing;
    /// nor does one that tells a source what it knows, for it has parked knowing that.
    fn mark(&mut self, marks: impl IntoIterator<Item = Mark>) {
        self.begin(TurnPhase::Mark);
        let mut events = 0;
        for (token, readiness) in marks {
            events += 1;
            trace!("event for {token}: {readiness:?}");
            let is_current = self.slots.is_current(token);
            if is_current && !self.ready.get(token.key).contains(readiness) {
                self.ready.mark(token.key, readiness);
            }
            if self.record.is_on() {
                self.record.marked(token, readiness, is_current);
            }
        }
        self.turns.events += events;
        self.turns.most_events = self.turns.most_events.max(events);
    }

    /// Each source that was in the list when the turn began is driven once. One that says
    /// `Again` goes to the end, behind everybody who came meanwhile: its turn is the next one.
    fn drive(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Drive);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop() else { break };
            if !self.ready.get(key).is_none() {
                self.call(key, shared, S::drive);
            }
        }
    }

    /// Each source whose deadline has passed is told.
    fn expire(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Expire);
        while let Some(key) = self.timers.expired(self.now) {
            self.call(key, shared, S::expire);
        }
    }

    /// Lets one source work, and carries its verdict out.
    fn call(
        &mut self,
        key: u32,
        shared: &mut S::Shared,
        work: impl FnOnce(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        let Some(mut source) = self.slots.take(key) else {
            return;
        };
        self.turns.calls += 1;
        let (token, before) = (self.slots.token(key), self.ready.get(key));
        let mut cx = Context {
            turn_start: self.now,
            token,
            readiness: before,
            shared: &mut *shared,
            epoch: self.epoch,
            slots: &mut self.slots,
            timers: &mut self.timers,
            births: &mut self.births,
        };
        let verdict = work(&mut source, &mut cx);
        let after = cx.readiness;
        self.ready.set(key, after);
        if self.record.is_on() {
            let call = CallReport {
                token,
                before,
                after,
                verdict,
            };
            let at = if self.record.is_timing_calls() {
                self.clock()
            } else {
                self.now
            };
            self.record.called(call, at, &source, shared);
        }
        self.slots.put(key, source);
        match verdict {
            Verdict::Park => {}
            Verdict::Again => self.ready.mark(key, Readiness::NONE),
            Verdict::Close => self.retire(key),
        }
    }

    /// From here on nothing names the source any more: events and deadlines of its slot resolve
    /// to nothing. The slot stays taken until the turn's end, so that it does not change hands
    /// under the rest of the list, which names slots by their keys alone (pitfall 3).
    fn retire(&mut self, key: u32) {
        self.deaths.push(self.slots.token(key));
        self.slots.retire(key);
        self.ready.reset(key);
        self.timers.cancel(key);
    }

    /// Deaths, so that the next accept finds their descriptors free; then births.
    fn settle(&mut self, shared: &mut S::Shared) {
        self.begin(TurnPhase::Settle);
        for token in self.deaths.drain(..) {
            drop(self.slots.free(token.key));
            if self.record.is_on() {
                self.record.died(token);
            }
        }
        for (token, readiness, mut source) in self.births.drain(..) {
            match source.register(self.poll.registry(), token) {
                Ok(()) => {
                    if self.record.is_on() {
                        self.record.born(token, &source);
                    }
                    self.slots.put(token.key, source);
                    self.ready.mark(token.key, readiness);
                }
                Err(error) => {
                    source.unregistered(&error, self.now, shared);
                    self.slots.retire(token.key);
                    self.slots.free(token.key);
                }
            }
        }
    }

    /// Tells the record where in the turn the loop is. Only for the record is a clock read here.
    fn begin(&mut self, phase: TurnPhase) {
        if self.record.is_on() {
            let coming = matches!(phase, TurnPhase::Wait(_));
            let turn = self.turns.turns + u64::from(coming);
            self.record.phase(turn, phase, self.clock());
        }
    }

    fn clock(&self) -> Time {
        self.epoch.map_or(self.now, since)
    }
}

/// HUP and ERR say "ask the socket", not "close" (pitfall 9): whoever reads and writes then
/// finds what is still to be had, and the reason.
fn readiness_of(event: &mio::event::Event) -> Mark {
    let failed = event.is_error() || event.is_write_closed();
    let closed = failed || event.is_read_closed();
    let bit = |set, bit| if set { bit } else { Readiness::NONE };
    let readiness = bit(event.is_readable() || closed, Readiness::READABLE)
        | bit(event.is_writable() || failed, Readiness::WRITABLE)
        | bit(closed, Readiness::CLOSED);
    (event.token().into(), readiness)
}
