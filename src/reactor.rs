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
//! crate's index.

pub mod ready;
pub mod record;
pub mod slots;
pub mod timers;

pub use ready::Readiness;
pub use record::{Call, Phase, Record};
pub use slots::Token;
pub use timers::Time;

use log::trace;
use mio::{Events, Interest, Poll, Registry};
use ready::Ready;
use slots::Slots;
use std::io;
use std::mem;
use std::time::{Duration, Instant};
use timers::Timers;

/// Events taken from the poll in one wait. More may be ready: they come with the next one, and
/// since an event only marks, the order of the batches decides nothing (pitfall 16).
const EVENTS_PER_WAIT: usize = 1_024;

/// A deadline lies after the present, or a source that asked for "now" would be called for
/// ever within one turn.
const SHORTEST_DEADLINE: Duration = Duration::from_nanos(1);

/// What the loop drives. A program has one plain `enum` of its sources, which implements this.
pub trait Source: Sized {
    /// What all sources of the program share: settings, statistics, scratch memory.
    type World;

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
    fn unregistered(&mut self, error: &io::Error, world: &mut Self::World);
}

/// What a source says when it was driven or expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do until an event or the deadline.
    Park,
    /// The budget is spent, and there may be more to do: the next wait does not block.
    Again,
    /// Done for good: drop me at the end of the turn.
    Close,
}

/// What a source may ask of the loop while it is driven.
#[derive(Debug)]
pub struct Context<'a, S: Source> {
    /// The time at which this turn began.
    pub now: Time,
    /// The source's own name.
    pub token: Token,
    /// What the source may try; it clears what turned out to block.
    pub readiness: Readiness,
    /// What all sources share.
    pub world: &'a mut S::World,
    epoch: Option<Instant>,
    slots: &'a mut Slots<S>,
    timers: &'a mut Timers,
    births: &'a mut Vec<Birth<S>>,
}

impl<S: Source> Context<'_, S> {
    /// The time at this very moment, for a source that measures: one `now` a turn would make
    /// everything within the turn look simultaneous. Virtual in a simulated loop.
    #[must_use]
    pub fn time(&self) -> Time {
        self.epoch.map_or(self.now, since)
    }

    /// Sets the source's one deadline, or moves it.
    pub fn deadline(&mut self, from_now: Duration) {
        let deadline = self.now.after(from_now.max(SHORTEST_DEADLINE));
        self.timers.set(self.token.key, deadline);
    }

    /// Takes the source's deadline back.
    pub fn no_deadline(&mut self) {
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

type Birth<S> = (Token, Readiness, S);

/// One event, boiled down: which source, and what it may try.
pub type Mark = (Token, Readiness);

/// What the loop counts of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Turns so far.
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
pub struct Reactor<S: Source, R: Record<S> = ()> {
    poll: Poll,
    events: Events,
    /// The marks of the turn; kept for its memory.
    marks: Vec<Mark>,
    /// Where time begins; `None` where time is what the caller of `step` says.
    epoch: Option<Instant>,
    /// When the present turn began.
    now: Time,
    slots: Slots<S>,
    ready: Ready,
    timers: Timers,
    births: Vec<Birth<S>>,
    deaths: Vec<Token>,
    turns: Turns,
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

impl<S: Source, R: Record<S>> Reactor<S, R> {
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
            marks: Vec::new(),
            epoch,
            now: Time::ZERO,
            slots: Slots::default(),
            ready: Ready::default(),
            timers: Timers::default(),
            births: Vec::new(),
            deaths: Vec::new(),
            turns: Turns::default(),
            record,
        })
    }

    /// One turn: waits for events or the next deadline, and does one step with what came.
    ///
    /// # Errors
    ///
    /// The poll's. What happens to one source is never an error of the loop.
    pub fn turn(&mut self, world: &mut S::World) -> io::Result<()> {
        let mut marks = mem::take(&mut self.marks);
        let now = self.wait(&mut marks)?;
        self.step(now, &marks, world);
        self.marks = marks;
        Ok(())
    }

    /// The rest of a turn, which neither waits nor works by a clock: a test that calls it with
    /// times and marks of its own has the real loop in virtual time.
    pub fn step(&mut self, now: Time, marks: &[Mark], world: &mut S::World) {
        self.now = now;
        self.turns.turns += 1;
        self.mark(marks);
        self.drive(world);
        self.expire(world);
        self.settle(world);
        self.begin(Phase::Between);
    }

    /// The only code that touches the poll's events and the clock. Blocks until an event, the
    /// next deadline, or not at all while sources are in the list.
    fn wait(&mut self, marks: &mut Vec<Mark>) -> io::Result<Time> {
        marks.clear();
        let ended = self.clock();
        if self.turns.turns > 0 {
            self.turns.longest = self.turns.longest.max(ended.since(self.now));
        }
        let mut now = ended;
        loop {
            let timeout = self.patience(now);
            self.begin(Phase::Wait(timeout));
            let polled = self.poll.poll(&mut self.events, timeout);
            now = self.clock();
            match polled {
                Ok(()) => break,
                // A signal's own event follows; the deadline stays where it was (pitfall 11).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        marks.extend(self.events.iter().map(boil_down));
        Ok(now)
    }

    /// How long the next wait may last, seen from `now`: not at all while sources are in the
    /// list, else until the nearest deadline; `None`: for ever.
    pub fn patience(&mut self, now: Time) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        self.timers.nearest().map(|deadline| deadline.since(now))
    }

    /// Events set readiness bits, and nothing else. One for a source that is gone does nothing.
    fn mark(&mut self, marks: &[Mark]) {
        self.begin(Phase::Mark);
        let events = marks.len() as u64;
        self.turns.events += events;
        self.turns.most_events = self.turns.most_events.max(events);
        for &(token, readiness) in marks {
            trace!("event for {token}: {readiness:?}");
            let is_current = self.slots.is_current(token);
            if is_current {
                self.ready.mark(token.key, readiness);
            }
            if self.record.is_on() {
                self.record.marked(token, readiness, is_current);
            }
        }
    }

    /// Each source that was in the list when the turn began is driven once. One that says
    /// `Again` goes to the end, behind everybody who came meanwhile: its turn is the next one.
    fn drive(&mut self, world: &mut S::World) {
        self.begin(Phase::Drive);
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop() else { break };
            if !self.ready.get(key).is_none() {
                self.call(key, world, S::drive);
            }
        }
    }

    /// Each source whose deadline has passed is told.
    fn expire(&mut self, world: &mut S::World) {
        self.begin(Phase::Expire);
        while let Some(key) = self.timers.expired(self.now) {
            self.call(key, world, S::expire);
        }
    }

    /// Lets one source work, and carries its verdict out.
    fn call(
        &mut self,
        key: u32,
        world: &mut S::World,
        work: impl FnOnce(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        let Some(mut source) = self.slots.take(key) else {
            return;
        };
        self.turns.calls += 1;
        let (token, before) = (self.slots.token(key), self.ready.get(key));
        let mut cx = Context {
            now: self.now,
            token,
            readiness: before,
            world: &mut *world,
            epoch: self.epoch,
            slots: &mut self.slots,
            timers: &mut self.timers,
            births: &mut self.births,
        };
        let verdict = work(&mut source, &mut cx);
        let after = cx.readiness;
        self.ready.set(key, after);
        if self.record.is_on() {
            let call = Call {
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
            self.record.called(call, at, &source, world);
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
    /// under the rest of the batch (pitfall 3).
    fn retire(&mut self, key: u32) {
        self.deaths.push(self.slots.token(key));
        self.slots.retire(key);
        self.ready.reset(key);
        self.timers.cancel(key);
    }

    /// Deaths first, so that their descriptors are free again; then births.
    fn settle(&mut self, world: &mut S::World) {
        self.begin(Phase::Settle);
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
                    source.unregistered(&error, world);
                    self.slots.retire(token.key);
                    self.slots.free(token.key);
                }
            }
        }
    }

    /// Tells the record where in the turn the loop is. Only for the record is a clock read here.
    fn begin(&mut self, phase: Phase) {
        if self.record.is_on() {
            let coming = matches!(phase, Phase::Wait(_));
            let turn = self.turns.turns + u64::from(coming);
            self.record.phase(turn, phase, self.clock());
        }
    }

    fn clock(&self) -> Time {
        self.epoch.map_or(self.now, since)
    }
}

/// What a program's own loop may do, between turns and nowhere else.
impl<S: Source, R: Record<S>> Reactor<S, R> {
    /// Gives the loop a source before its first turn.
    ///
    /// # Errors
    ///
    /// The source's registration's.
    pub fn add(&mut self, mut source: S, readiness: Readiness) -> io::Result<Token> {
        let token = self.slots.reserve();
        if let Err(error) = source.register(self.poll.registry(), token) {
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

    /// Marks all sources.
    pub fn wake_all(&mut self, readiness: Readiness) {
        for (token, _) in self.slots.iter() {
            self.ready.mark(token.key, readiness);
        }
    }

    /// Calls `work` for one source, as if it was driven; for none if it is gone.
    pub fn call_one(
        &mut self,
        token: Token,
        world: &mut S::World,
        work: impl FnOnce(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        if self.slots.is_current(token) {
            self.call(token.key, world, work);
            self.settle(world);
            self.begin(Phase::Between);
        }
    }

    /// Calls `work` for every source, as if each was driven.
    pub fn visit(
        &mut self,
        world: &mut S::World,
        mut work: impl FnMut(&mut S, &mut Context<'_, S>) -> Verdict,
    ) {
        for key in 0..self.slots.end() {
            self.call(key, world, &mut work);
        }
        self.settle(world);
        self.begin(Phase::Between);
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
    pub fn turns(&self) -> Turns {
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

fn since(epoch: Instant) -> Time {
    Time::ZERO.after(epoch.elapsed())
}

/// What sources are registered for: both directions, edge-triggered, once and for good, so that
/// no message costs a call to change it.
pub const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// HUP and ERR say "ask the socket", not "close" (pitfall 9): whoever reads and writes then
/// finds what is still to be had, and the reason.
fn boil_down(event: &mio::event::Event) -> Mark {
    let failed = event.is_error() || event.is_write_closed();
    let closed = failed || event.is_read_closed();
    let bit = |set, bit| if set { bit } else { Readiness::NONE };
    let readiness = bit(event.is_readable() || closed, Readiness::READABLE)
        | bit(event.is_writable() || failed, Readiness::WRITABLE)
        | bit(closed, Readiness::CLOSED);
    (event.token().into(), readiness)
}
