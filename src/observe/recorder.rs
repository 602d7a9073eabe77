//! The last turns, remembered.
//!
//! **Owns** a ring of what the loop reported. **Must never touch** the loop, a clock or a file:
//! it is told, with the time, and is read between turns. **Invariant**: the ring holds whole
//! turns, the last ones, and never more than its limits, the newest turn alone excepted, which
//! is bounded by the number of sources.
//!
//! EventKind a source *did* is the difference that its call made to the program's counters, so that
//! no source reports anything.

use super::describe::CallStats;
use super::{Observable, State, WorkCounters};
use crate::reactor::{CallReport, Readiness, Recorder, Time, Token, TurnPhase};
use std::collections::VecDeque;
use std::time::Duration;

/// Entries kept for each turn of the ring, on average: a turn of a busy server has a handful of
/// calls, and one entry is under 128 bytes, so 10,000 turns take at most 41 MiB.
const ENTRIES_PER_TURN: usize = 32;
const _: () = assert!(size_of::<Entry>() <= 128);

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When; of a call, when it was over.
    pub at: Time,
    /// EventKind.
    pub what: EventKind,
}

/// EventKind happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A phase of this turn began.
    TurnPhase(u64, TurnPhase),
    /// An event came. `is_current` is false for one whose source is gone.
    Marked {
        /// For whom.
        token: Token,
        /// EventKind it said.
        readiness: Readiness,
        /// Whether there was somebody to hear it.
        is_current: bool,
    },
    /// A source worked.
    Called {
        /// Who, with what readiness, and with which verdict.
        call: CallReport,
        /// When it began.
        began: Time,
        /// EventKind it did.
        did: CallStats,
        /// EventKind it was about before.
        was: State,
        /// EventKind it is about now.
        is: State,
    },
    /// A source was born.
    Born(Token, State),
    /// A source is gone.
    Died(Token),
    /// EventKind the program counted at the turn's end.
    Counted {
        /// Clients connected.
        clients: u64,
        /// Bytes kept for them.
        owed: u64,
        /// Events of this turn.
        events: u32,
    },
}

impl EventKind {
    /// Whom it is about, if it is about somebody.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Marked { token, .. } | Self::Born(token, _) | Self::Died(token) => Some(*token),
            Self::Called { call, .. } => Some(call.token),
            Self::TurnPhase(..) | Self::Counted { .. } => None,
        }
    }
}

/// EventKind is known of a slot's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its name.
    pub token: Token,
    /// EventKind it is about.
    pub state: State,
    /// When it last worked, or was born.
    pub worked: Time,
}

/// Whether, and for whom, there is something to remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attention {
    /// Nobody watches.
    #[default]
    None,
    /// Somebody looks on: turns are timed.
    Watching,
    /// A recording is made: calls are timed too.
    Recording,
}

/// For how long the longest turn is remembered: as long as a snapshot is looked at.
pub const LONGEST_WINDOW: Duration = Duration::from_millis(100);

/// The longest turn of this window and of the one before, so that a look at any time finds it.
#[derive(Clone, Copy, Debug, Default)]
struct Longest {
    turn_began: Option<Time>,
    window_began: Time,
    now: Duration,
    before: Duration,
}

impl Longest {
    fn end(&mut self, at: Time) {
        if at.since(self.window_began) > LONGEST_WINDOW {
            self.before = self.now;
            self.now = Duration::ZERO;
            self.window_began = at;
        }
        if let Some(began) = self.turn_began.take() {
            self.now = self.now.max(at.since(began));
        }
    }
}

/// Remembers the last turns.
#[derive(Debug)]
pub struct TurnRecorder {
    attention: Attention,
    max_turns: usize,
    entries: VecDeque<Entry>,
    /// How many entries each turn of the ring has, the oldest turn first.
    lengths: VecDeque<usize>,
    turn: u64,
    /// When the last thing happened: the next call began then.
    last: Time,
    /// The counters after the last call; `None` if what the first call finds is not its own doing.
    tally: Option<WorkCounters>,
    events: u32,
    longest: Longest,
    /// By slot key.
    lives: Vec<Option<Life>>,
}

impl TurnRecorder {
    /// A recorder of the last `max_turns` turns, at least one, for a loop that has not begun.
    #[must_use]
    pub fn new(max_turns: usize, attention: Attention) -> Self {
        Self {
            attention,
            max_turns: max_turns.max(1),
            entries: VecDeque::new(),
            lengths: VecDeque::new(),
            turn: 0,
            last: Time::ZERO,
            tally: Some(WorkCounters::default()),
            events: 0,
            longest: Longest::default(),
            lives: Vec::new(),
        }
    }

    /// Somebody looks on from now on, or nobody does any more; a recording goes on either way.
    /// EventKind was remembered for the last who looked on is forgotten, for it ends before a gap.
    pub fn watch(&mut self, is_watched: bool) {
        match (self.attention, is_watched) {
            (Attention::None, true) => {
                *self = Self {
                    tally: None,
                    ..Self::new(self.max_turns, Attention::Watching)
                };
            }
            (Attention::Watching, false) => self.attention = Attention::None,
            (Attention::Recording, _) | (Attention::Watching, true) | (Attention::None, false) => {}
        }
    }

    /// The longest turn of about the last [`LONGEST_WINDOW`], the wait not counted.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest.now.max(self.longest.before)
    }

    /// The oldest entry first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Who is in the slots now, as far as it was seen.
    pub fn lives(&self) -> impl Iterator<Item = &Life> {
        self.lives.iter().flatten()
    }

    /// The turn that is going on.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether the owner of a slot has worked within the last `period`.
    #[must_use]
    pub fn has_worked(&self, token: Token, period: Duration) -> bool {
        let life = self.lives.get(token.key as usize).copied().flatten();
        life.is_some_and(|life| life.token == token && self.last.since(life.worked) <= period)
    }

    /// When the last thing happened.
    #[must_use]
    pub fn last(&self) -> Time {
        self.last
    }

    fn remember(&mut self, at: Time, what: EventKind) {
        self.last = self.last.max(at);
        self.entries.push_back(Entry { at, what });
        match self.lengths.back_mut() {
            Some(length) => *length += 1,
            None => self.lengths.push_back(1),
        }
    }

    /// Makes room for a further turn, and forgets the oldest ones that have none.
    fn begin_turn(&mut self, turn: u64) {
        self.turn = turn;
        while self.lengths.len() >= self.max_turns
            || self.entries.len() > self.max_turns * ENTRIES_PER_TURN
        {
            let Some(length) = self.lengths.pop_front() else {
                break;
            };
            self.entries.drain(..length);
        }
        self.lengths.push_back(0);
    }

    fn life_mut(&mut self, token: Token) -> &mut Option<Life> {
        let index = token.key as usize;
        if index >= self.lives.len() {
            self.lives.resize(index + 1, None);
        }
        &mut self.lives[index]
    }
}

impl<S: Observable> Recorder<S> for TurnRecorder {
    fn is_on(&self) -> bool {
        self.attention != Attention::None
    }

    fn is_timing_calls(&self) -> bool {
        self.attention == Attention::Recording
    }

    fn phase(&mut self, turn: u64, phase: TurnPhase, at: Time) {
        if turn != self.turn {
            self.begin_turn(turn);
        }
        self.remember(at, EventKind::TurnPhase(turn, phase));
        match phase {
            TurnPhase::Wait(_) => self.longest.end(at),
            TurnPhase::Mark => {
                self.events = 0;
                self.longest.turn_began = Some(at);
            }
            TurnPhase::Between => {
                let tally = self.tally.unwrap_or_default();
                let counted = EventKind::Counted {
                    clients: tally.clients,
                    owed: tally.owed,
                    events: self.events,
                };
                self.remember(at, counted);
            }
            TurnPhase::Drive | TurnPhase::Expire | TurnPhase::Settle => {}
        }
    }

    fn marked(&mut self, token: Token, readiness: Readiness, is_current: bool) {
        self.events += 1;
        let marked = EventKind::Marked {
            token,
            readiness,
            is_current,
        };
        self.remember(self.last, marked);
    }

    fn called(&mut self, call: CallReport, at: Time, source: &S, world: &S::Shared) {
        let (tally, is) = (S::counters(world), source.state());
        let before = self.tally.replace(tally).unwrap_or(tally);
        let did = CallStats::between(&before, &tally);
        let (began, at) = (self.last, at.max(self.last));
        let life = self.life_mut(call.token);
        let known = life.filter(|life| life.token == call.token);
        *life = Some(Life {
            token: call.token,
            state: is,
            worked: at,
        });
        let called = EventKind::Called {
            call,
            began,
            did,
            was: known.map_or(is, |life| life.state),
            is,
        };
        self.remember(at, called);
    }

    fn born(&mut self, token: Token, source: &S) {
        let (state, last) = (source.state(), self.last);
        *self.life_mut(token) = Some(Life {
            token,
            state,
            worked: last,
        });
        self.remember(last, EventKind::Born(token, state));
    }

    fn died(&mut self, token: Token) {
        *self.life_mut(token) = None;
        self.remember(self.last, EventKind::Died(token));
    }
}
