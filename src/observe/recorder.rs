//! A ring of the last turns.
//!
//! **Owns** what the loop has reported. **Must never touch** the loop, a clock or a file: reports
//! carry their time, and the ring is read between turns. **Invariant**: the ring holds whole
//! turns, the most recent ones, within two limits, of turns and of entries; only the newest turn may
//! exceed them, and it is bounded by the number of sources.
//!
//! What a call *did* is the difference between the program's counters before and after it. Sources
//! report nothing themselves.

mod entry;

pub use entry::{Entry, EventKind};

use super::describe::{CallRecord, CallStats};
use super::measures::LoopMeasures;
use super::{Observable, State, WorkCounters};
use crate::reactor::{CallReport, Readiness, Recorder, Time, Token, TurnPhase};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Entries kept per turn of the ring, on average: a turn with a dozen calls has as many. Turns with
/// hundreds fill the ring before the limit of turns is reached; [`Extent`] says how many turns it
/// holds. An entry is at most 128 bytes, so 10,000 turns take at most 41 MiB.
pub(crate) const ENTRIES_PER_TURN: usize = 32;
const _: () = assert!(size_of::<Entry>() <= 128);

/// How much the ring holds, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Turns, the current one included.
    pub turns: usize,
    /// The time from the first entry to the last.
    pub lasted: Duration,
    /// The limit of turns.
    pub most_turns: usize,
    /// The limit of entries: busy turns are fewer than `most_turns`.
    pub most_entries: usize,
}

impl fmt::Display for Extent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.turns == 1 { "" } else { "s" };
        let seconds = self.lasted.as_secs_f64();
        write!(formatter, "{} turn{plural}, {seconds:.2} s", self.turns)
    }
}

/// What the recorder knows about the source in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownSource {
    /// Its token.
    pub token: Token,
    /// Its state after its last call, or when it was added.
    pub state: State,
    /// When its last call returned, or when it was added.
    pub last_active: Time,
}

/// What the recorder records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecorderMode {
    /// Nothing.
    #[default]
    Off,
    /// No turns: only how long they take and what waits, for metrics.
    Measuring,
    /// Turns with the time of each phase, for observers.
    Watching,
    /// Turns with the time of each call, for a recording.
    Recording,
    /// Nothing, while a recording is saved. What is known of the sources stays up to date.
    Paused,
}

/// The ring of the last turns.
#[derive(Debug)]
pub struct TurnRecorder {
    mode: RecorderMode,
    /// The mode while no one watches: `Off` or `Measuring`.
    unwatched: RecorderMode,
    max_turns: usize,
    entries: VecDeque<Entry>,
    /// How many entries were dropped: entries are numbered from the first that ever was.
    dropped: u64,
    /// The number of the last [`EventKind::Paused`].
    last_pause: Option<u64>,
    /// When the recording was paused, while it is.
    paused_at: Time,
    /// Entries per turn, the oldest turn first.
    lengths: VecDeque<usize>,
    turn: u64,
    /// When the last event happened: the next call begins then.
    last: Time,
    /// The counters after the last call; `None` if they are not known.
    counters: Option<WorkCounters>,
    events: u32,
    measures: LoopMeasures,
    /// What observers' sources have worked so far, and what of the turn was spent on observers: in
    /// calls, and between turns.
    observers_worked: Duration,
    observed: [Duration; 2],
    between_began: Time,
    /// Since when observers are answered, if they are.
    answering_since: Option<Time>,
    /// By slot key.
    known_sources: Vec<Option<KnownSource>>,
}

impl TurnRecorder {
    /// A recorder of the last `max_turns` turns (at least one) for a loop before its first turn.
    #[must_use]
    pub fn new(max_turns: usize, mode: RecorderMode) -> Self {
        Self {
            mode,
            unwatched: match mode {
                RecorderMode::Measuring => mode,
                _ => RecorderMode::Off,
            },
            max_turns: max_turns.max(1),
            entries: VecDeque::new(),
            dropped: 0,
            last_pause: None,
            paused_at: Time::ZERO,
            lengths: VecDeque::new(),
            turn: 0,
            last: Time::ZERO,
            counters: Some(WorkCounters::default()),
            events: 0,
            measures: LoopMeasures::default(),
            observers_worked: Duration::ZERO,
            observed: [Duration::ZERO; 2],
            between_began: Time::ZERO,
            answering_since: None,
            known_sources: Vec::new(),
        }
    }

    /// Starts or stops recording for observers; a recording for a file continues either way.
    /// Starting empties the ring, which would otherwise have a gap.
    pub fn set_watched(&mut self, is_watched: bool) {
        match (self.mode, is_watched) {
            (RecorderMode::Off | RecorderMode::Measuring, true) => {
                self.mode = RecorderMode::Watching;
                self.dropped = self.end();
                self.counters = None;
                self.entries.clear();
                self.lengths.clear();
                self.known_sources.clear();
            }
            (RecorderMode::Watching, false) => {
                self.mode = self.unwatched;
                if self.mode == RecorderMode::Off {
                    self.measures.stop();
                }
            }
            (RecorderMode::Recording | RecorderMode::Paused, _)
            | (RecorderMode::Watching, true)
            | (RecorderMode::Off | RecorderMode::Measuring, false) => {}
        }
    }

    /// Stops recording until [`resume`](Self::resume), while the ring is being saved.
    pub fn pause(&mut self) {
        if self.mode == RecorderMode::Recording {
            self.mode = RecorderMode::Paused;
            self.paused_at = self.last;
        }
    }

    /// Goes on recording after a pause, which the ring has as an entry of the turn before it.
    pub fn resume(&mut self) {
        if self.mode == RecorderMode::Paused {
            self.mode = RecorderMode::Recording;
            self.last_pause = Some(self.end());
            let paused = EventKind::Paused { until: self.last };
            self.remember(self.paused_at, paused);
        }
    }

    /// Whether there is a pause after the first `index` entries of the ring.
    #[must_use]
    pub fn has_pause_since(&self, index: usize) -> bool {
        let number = self.dropped + index as u64;
        self.last_pause.is_some_and(|pause| pause >= number)
    }

    /// What was measured while the recorder was on.
    #[must_use]
    pub fn measures(&self) -> &LoopMeasures {
        &self.measures
    }

    /// The sources of observers have worked for `worked` so far: what is new belongs to this turn.
    pub fn observers_worked(&mut self, worked: Duration) {
        let new = worked.saturating_sub(self.observers_worked);
        self.observers_worked = worked;
        self.observed[0] += new;
        self.measures.observing += new;
    }

    /// Observers are answered between turns: the rest of the time before the next counts as theirs.
    pub fn observers_answered(&mut self) {
        self.answering_since = Some(self.between_began);
    }

    /// The entries, the oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How much the ring holds.
    #[must_use]
    pub fn extent(&self) -> Extent {
        let first = self.entries.front().map_or(Time::ZERO, |entry| entry.at);
        Extent {
            turns: self.lengths.len(),
            lasted: self.recorded_until().since(first),
            most_turns: self.max_turns,
            most_entries: self.max_turns * ENTRIES_PER_TURN,
        }
    }

    /// The entry with this index, counted from the oldest.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    /// The number of the next entry. An entry keeps its number when older ones are dropped.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    /// The entries with lower numbers than `number`, the newest first.
    pub fn entries_before(&self, number: u64) -> impl Iterator<Item = &Entry> {
        let count = number.saturating_sub(self.dropped) as usize;
        self.entries.range(..count.min(self.entries.len())).rev()
    }

    /// The entries with this number and higher ones, the oldest first, with their numbers.
    pub fn entries_from(&self, number: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let number = number.clamp(self.dropped, self.end());
        let index = (number - self.dropped) as usize;
        (number..).zip(self.entries.range(index..))
    }

    /// The state of a source after its last call, if it is recorded.
    pub(crate) fn state_of(&self, token: Token) -> Option<State> {
        let known = self.known_sources.get(token.key as usize)?.as_ref()?;
        (known.token == token).then_some(known.state)
    }

    /// The current sources, as far as they were recorded.
    pub fn known_sources(&self) -> impl Iterator<Item = &KnownSource> {
        self.known_sources.iter().flatten()
    }

    /// The number of the current turn.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether a source was called or added within the last `period`.
    #[must_use]
    pub fn was_active(&self, token: Token, period: Duration) -> bool {
        let known = self.known_sources.get(token.key as usize);
        known.copied().flatten().is_some_and(|known| {
            known.token == token && self.last.since(known.last_active) <= period
        })
    }

    /// When the last event happened.
    #[must_use]
    pub fn last(&self) -> Time {
        self.last
    }

    /// When the last event happened that is in the ring.
    #[must_use]
    pub fn recorded_until(&self) -> Time {
        match self.mode {
            RecorderMode::Paused => self.paused_at,
            _ => self.last,
        }
    }

    fn remember(&mut self, at: Time, kind: EventKind) {
        self.last = self.last.max(at);
        if matches!(self.mode, RecorderMode::Paused | RecorderMode::Measuring) {
            return;
        }
        self.entries.push_back(Entry { at, kind });
        match self.lengths.back_mut() {
            Some(length) => *length += 1,
            None => self.lengths.push_back(1),
        }
    }

    /// Begins a turn, and drops the oldest turns beyond the limits.
    fn begin_turn(&mut self, turn: u64) {
        self.turn = turn;
        while self.lengths.len() >= self.max_turns
            || self.entries.len() > self.max_turns * ENTRIES_PER_TURN
        {
            let Some(length) = self.lengths.pop_front() else {
                break;
            };
            self.entries.drain(..length);
            self.dropped += length as u64;
        }
        self.lengths.push_back(0);
    }

    /// Notes what of the turn was spent on observers.
    fn end_turn(&mut self, at: Time) {
        if let Some(since) = self.answering_since.take() {
            self.observed[1] += at.since(since);
            self.measures.observing += at.since(since);
        }
        let [drive, between] = std::mem::take(&mut self.observed);
        if !(drive + between).is_zero() {
            self.remember(at, EventKind::Observed { drive, between });
        }
    }

    fn known_source_mut(&mut self, token: Token) -> &mut Option<KnownSource> {
        let index = token.key as usize;
        if index >= self.known_sources.len() {
            self.known_sources.resize(index + 1, None);
        }
        &mut self.known_sources[index]
    }
}

impl<S: Observable> Recorder<S> for TurnRecorder {
    fn is_on(&self) -> bool {
        self.mode != RecorderMode::Off
    }

    fn is_timing_calls(&self) -> bool {
        self.mode == RecorderMode::Recording
    }

    fn phase(&mut self, turn: u64, phase: TurnPhase, at: Time) {
        self.measures.phase(phase, at);
        if turn != self.turn {
            self.end_turn(at);
            if self.mode != RecorderMode::Paused {
                self.begin_turn(turn);
            }
        }
        self.remember(at, EventKind::TurnPhase(turn, phase));
        match phase {
            TurnPhase::Mark => self.events = 0,
            TurnPhase::Between => {
                self.between_began = at;
                let counters = self.counters.unwrap_or_default();
                let counted = EventKind::Counted {
                    clients: counters.clients,
                    buffered: counters.buffered,
                    events: self.events,
                };
                self.remember(at, counted);
            }
            TurnPhase::Wait(_) | TurnPhase::Drive | TurnPhase::Expire | TurnPhase::Settle => {}
        }
    }

    fn marked(&mut self, token: Token, readiness: Readiness, is_current: bool) {
        self.events += 1;
        if is_current {
            self.measures.marked(token, readiness, self.last);
        }
        let marked = EventKind::Marked {
            token,
            readiness,
            is_current,
        };
        self.remember(self.last, marked);
    }

    fn expired(&mut self, deadline: Time) {
        self.measures.expired(deadline, self.last);
    }

    fn called(&mut self, call: CallReport, at: Option<Time>, source: &S, shared: &S::Shared) {
        let timed = at.map(|at| (self.last, at));
        self.measures.called(&call, timed, self.last);
        if self.mode == RecorderMode::Measuring {
            return;
        }
        let (counters, is) = (S::counters(shared), source.state());
        let before = self.counters.replace(counters).unwrap_or(counters);
        let stats = CallStats::between(&before, &counters);
        let (began, at) = (self.last, at.unwrap_or_default().max(self.last));
        let known = self.known_source_mut(call.token);
        let before = known.filter(|known| known.token == call.token);
        *known = Some(KnownSource {
            token: call.token,
            state: is,
            last_active: at,
        });
        let was = before.map_or(is, |known| known.state);
        let call = CallRecord::new(call, stats, was, is);
        self.remember(at, EventKind::Called { call, began });
    }

    fn born(&mut self, token: Token, source: &S) {
        let (state, last) = (source.state(), self.last);
        *self.known_source_mut(token) = Some(KnownSource {
            token,
            state,
            last_active: last,
        });
        self.remember(last, EventKind::Born(token, state));
    }

    fn died(&mut self, token: Token) {
        self.measures.died(token);
        *self.known_source_mut(token) = None;
        self.remember(self.last, EventKind::Died(token));
    }
}
