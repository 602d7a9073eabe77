//! The event loop: one thread, one poll, any number of event sources.
//!
//! **Owns** the poll, the sources, their readiness and their deadlines. **Must never touch** a
//! protocol: what a source does when it is driven is up to the source.
//! **Invariant**: between two turns every source is resting, in the ready list, or gone; and only
//! [`Reactor::turn`]'s `wait` ever blocks.
//!
//! ```text
//!             +------------------------- one step ------------------------------+
//!  wait  ---> mark  ---------> drive  -----------------> expire ------> settle  |
//!  poll,      events set       each marked source, in    deadlines      deaths, |
//!  until the  readiness bits,  order, a bounded amount   that passed    then    |
//!  next       no work yet      of work -> a Verdict      -> a Verdict   births  |
//!  deadline   +-----------------------------------------------------------------+
//! ```
//!
//! An event only *marks* a source as ready. First-in, first-out queues of marked sources do the
//! *work*, a bounded amount per source and per turn, at the loop's own pace. This one idea handles
//! draining under edge triggering (1), budgets (2), spurious wakeups (15) and event batches that
//! are too small (16). Generational [`Token`]s handle reused slots (3), [`Timers`] handle deadlines
//! without system calls (12), and the wait resumes after EINTR (11). The numbers refer to the index
//! of pitfalls on the crate's first page.
//!
//! A program brings one `enum` of its sources, which implements [`Source`], and calls
//! [`Reactor::turn`] in a loop. The modules: `turn` is the turn itself, `between` is what the
//! program may do between turns, [`source`] is the contract with a source, and the three data
//! structures are [`ready`], [`slots`] and [`timers`]. [`record`] reports what the loop does.

mod between;
pub mod ready;
pub mod record;
pub mod slots;
pub mod source;
pub mod timers;
mod turn;

pub use ready::Readiness;
pub use record::{CallReport, Recorder, TurnPhase};
pub use slots::Token;
pub use source::{Births, Context, INTEREST, Source, Verdict};
pub use timers::Time;

use mio::{Events, Poll};
use ready::Ready;
use slots::Slots;
use std::io;
use std::time::{Duration, Instant};
use timers::Timers;

/// The most events that one wait takes from the poll. If more are ready, the next wait returns
/// them; an event only marks a source, so it does not matter how events are split into batches
/// (pitfall 16).
const EVENTS_PER_WAIT: usize = 1_024;

/// One event, reduced to what the loop needs: the source, and its readiness.
pub type Mark = (Token, Readiness);

/// What the loop counts about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoopStats {
    /// Turns so far.
    pub turns: u64,
    /// Events taken from the poll.
    pub events: u64,
    /// The most events in one turn.
    pub most_events: u64,
    /// Calls of a source: driven or expired.
    pub calls: u64,
    /// The longest time from the end of a wait to the next.
    pub longest: Duration,
    /// Entries in the ready list now.
    pub ready: usize,
    /// Deadlines set now.
    pub deadlines: usize,
}

/// The event loop. See the [module documentation](self). `R` receives reports of what the loop
/// does; the default, `()`, ignores them at no cost.
#[derive(Debug)]
pub struct Reactor<S: Source, R: Recorder<S> = ()> {
    poll: Poll,
    events: Events,
    /// When time zero was; `None` in virtual time, where the caller of `step` provides the time.
    epoch: Option<Instant>,
    /// When the current turn began.
    now: Time,
    slots: Slots<S>,
    ready: Ready,
    timers: Timers,
    births: Births<S>,
    deaths: Vec<Token>,
    /// When the first batch of the current series was asked for. A series of full batches ends with one
    /// that is not full, or once `unreported` is zero.
    asked: Time,
    /// How many sources that were ready at `asked` may still be missing from the series.
    unreported: usize,
    /// The program asked that the next wait does not block.
    skip_next_wait: bool,
    stats: LoopStats,
    recorder: R,
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

    /// A loop in virtual time, for tests and simulations: it is driven only by
    /// [`step`](Self::step), and never reads the clock.
    ///
    /// # Errors
    ///
    /// The poll needs a file descriptor; sources may still register with it.
    pub fn simulated() -> io::Result<Self> {
        Self::simulated_recorded(())
    }
}

impl<S: Source, R: Recorder<S>> Reactor<S, R> {
    /// A loop that reports what it does to `recorder`.
    ///
    /// # Errors
    ///
    /// The poll needs a file descriptor.
    pub fn recorded(recorder: R) -> io::Result<Self> {
        Self::with_epoch(Some(Instant::now()), recorder)
    }

    /// A loop in virtual time that reports what it does to `recorder`.
    ///
    /// # Errors
    ///
    /// The poll needs a file descriptor.
    pub fn simulated_recorded(recorder: R) -> io::Result<Self> {
        Self::with_epoch(None, recorder)
    }

    fn with_epoch(epoch: Option<Instant>, recorder: R) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            epoch,
            now: Time::ZERO,
            slots: Slots::default(),
            ready: Ready::default(),
            timers: Timers::default(),
            births: Births::default(),
            deaths: Vec::new(),
            asked: Time::ZERO,
            unreported: 0,
            skip_next_wait: false,
            stats: LoopStats::default(),
            recorder,
        })
    }
}

/// The memory that one source costs the loop, in bytes: its slot and generation, its readiness and
/// its entry in the ready list, its deadline and the deadline's entry in the heap. A loop whose
/// sources set no deadlines does not pay for the last two.
#[must_use]
pub const fn bytes_per_source<S>() -> usize {
    slots::bytes_per_slot::<S>() + ready::BYTES_PER_SLOT + timers::BYTES_PER_SLOT
}
