//! The state of the whole loop at one moment, for the page.
//!
//! **Owns** the event that `/events` streams. **Must never touch** a source: the program passes
//! the state of each slot. **Invariant**: a snapshot is complete, so that a reader that missed
//! any number of them needs only the next; and it is bounded by [`MAX_CELLS`] and
//! [`MAX_LANES`](super::lanes::MAX_LANES).
//!
//! Slots are run-length encoded, since most of many thousand clients are in the same state: idle.

use super::lanes::{Lane, lanes};
use super::recorder::TurnRecorder;
use super::{State, WorkCounters, microseconds};
use crate::reactor::{LoopStats, Time, Token};
use serde::Serialize;
use std::fmt::Write as _;

/// Slots in a snapshot: a screen cannot show more as separate cells. Each takes at most 12 bytes.
pub(crate) const MAX_CELLS: u32 = 32_768;

/// One event of the stream. Times are in microseconds since the reactor was made.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    at: f64,
    serving: bool,
    #[serde(flatten)]
    counters: WorkCounters,
    turns: u64,
    events: u64,
    calls: u64,
    /// The longest recent turn.
    longest: f64,
    /// The longest recent wait of a source, from the event or verdict that queued it to its call.
    queue_wait: f64,
    /// The longest recent time from a deadline to the call of its source.
    late: f64,
    /// How long the loop has waited in the poll, while it was recorded, and worked; and what of this
    /// work was for observers.
    waited: f64,
    busy: f64,
    observing: f64,
    /// Entries of the ready list.
    ready: usize,
    /// Deadlines set.
    timers: usize,
    observers: usize,
    /// The moment of the snapshot: how many entries were recorded before it.
    recorded: u64,
    /// All slots, those beyond [`MAX_CELLS`] included.
    slots: u32,
    /// Runs of a state: its letter, and the length unless it is 1, as in `w300.g2`.
    cells: String,
    /// Runs of a generation: it and the length, as in `[0, 300, 1, 3]`.
    generations: Vec<u32>,
    /// Lengths of alternating runs of slots: idle in the last period, active, idle, and so on.
    active: Vec<u32>,
    lanes: Vec<Lane>,
}

/// Run-length encoding: values and how often each is repeated.
#[derive(Debug, Default)]
struct Runs<T>(Vec<(T, u32)>);

impl<T: PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((last, length)) if *last == value => *length += 1,
            _ => self.0.push((value, 1)),
        }
    }
}

/// The slots of a snapshot, pushed in order.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    /// All slots, those that are not pushed included.
    count: u32,
    letters: Runs<char>,
    generations: Runs<u32>,
    active: Runs<bool>,
}

/// The letter of a state on the page; a dot for a free slot.
pub(super) fn letter(state: Option<State>) -> char {
    match state {
        None => '.',
        Some(State::Greeting) => 'g',
        Some(State::Waiting) => 'w',
        Some(State::Owed) => 'o',
        Some(State::Held) => 'h',
        Some(State::Lingering) => 'l',
        Some(State::Listener) => 'L',
        Some(State::Datagrams) => 'U',
        Some(State::Signals) => 'S',
        Some(State::Observer) => 'E',
    }
}

impl Cells {
    /// No cells yet, for this number of slots.
    pub(crate) fn of(count: u32) -> Self {
        Self {
            count,
            ..Self::default()
        }
    }

    /// Adds the next slot, of at most [`MAX_CELLS`]. `state` is `None` if it is free; `is_active`
    /// says whether its source was called in the last period.
    pub(crate) fn push(&mut self, token: Token, state: Option<State>, is_active: bool) {
        self.letters.push(letter(state));
        self.generations.push(token.generation);
        self.active.push(is_active);
    }

    fn encode_letters(&self) -> String {
        let mut text = String::new();
        for &(letter, length) in &self.letters.0 {
            text.push(letter);
            if length > 1 {
                // Writing to a String cannot fail.
                let _ = write!(text, "{length}");
            }
        }
        text
    }

    fn encode_generations(&self) -> Vec<u32> {
        let runs = self.generations.0.iter();
        runs.flat_map(|&(generation, length)| [generation, length])
            .collect()
    }

    fn encode_activity(&self) -> Vec<u32> {
        // The first run is of idle slots. It is empty if the first slot is active.
        let empty_run = self.active.0.first().filter(|run| run.0).map(|_| 0);
        let lengths = self.active.0.iter().map(|run| run.1);
        empty_run.into_iter().chain(lengths).collect()
    }
}

impl Snapshot {
    /// The snapshot at `now`, without what the recorder holds.
    pub(crate) fn new(
        now: Time,
        serving: bool,
        counters: &WorkCounters,
        turns: LoopStats,
        cells: Cells,
    ) -> Self {
        Self {
            at: microseconds(now.since(Time::ZERO)),
            serving,
            counters: *counters,
            turns: turns.turns,
            events: turns.events,
            calls: turns.calls,
            longest: 0.0,
            queue_wait: 0.0,
            late: 0.0,
            waited: 0.0,
            busy: 0.0,
            observing: 0.0,
            ready: turns.ready,
            timers: turns.deadlines,
            observers: 0,
            recorded: 0,
            slots: cells.count,
            cells: cells.encode_letters(),
            generations: cells.encode_generations(),
            active: cells.encode_activity(),
            lanes: Vec::new(),
        }
    }

    /// Adds the last turns, and the number of observers.
    pub(crate) fn with_recorder(mut self, recorder: &TurnRecorder, observers: usize) -> Self {
        let measures = recorder.measures();
        self.observers = observers;
        self.recorded = recorder.end();
        self.longest = microseconds(measures.turn.recent());
        self.queue_wait = microseconds(measures.queue_wait.recent());
        self.late = microseconds(measures.lateness.recent());
        self.waited = microseconds(measures.waited);
        self.busy = microseconds(measures.busy);
        self.observing = microseconds(measures.observing);
        self.lanes = lanes(recorder);
        self
    }

    /// The event as it is streamed.
    pub(crate) fn event(&self) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        // Cannot fail: strings and numbers, written to memory.
        let _ = serde_json::to_writer(&mut event, self);
        event.extend_from_slice(b"\n\n");
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot_of(cells: Cells) -> Snapshot {
        let counters = WorkCounters::default();
        Snapshot::new(Time::ZERO, true, &counters, LoopStats::default(), cells)
    }

    #[test]
    fn slots_are_run_length_encoded() {
        let mut cells = Cells::of(6);
        let waiting = Some(State::Waiting);
        for (key, generation, state, is_active) in [
            (0, 0, Some(State::Listener), false),
            (1, 0, waiting, true),
            (2, 0, waiting, true),
            (3, 5, waiting, false),
            (4, 5, None, false),
            (5, 0, None, false),
        ] {
            cells.push(Token { key, generation }, state, is_active);
        }
        let snapshot = snapshot_of(cells);
        assert_eq!((snapshot.cells.as_str(), snapshot.slots), ("Lw3.2", 6));
        assert_eq!(snapshot.generations, [0, 3, 5, 2, 0, 1]);
        assert_eq!(snapshot.active, [1, 2, 3]);
        let event = String::from_utf8(snapshot.event()).unwrap();
        let json = event.strip_prefix("data: ").unwrap().trim_end();
        assert!(event.ends_with("\n\n") && !json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["cells"], "Lw3.2");
    }

    #[test]
    fn runs_of_active_slots_begin_with_the_idle_ones() {
        let mut cells = Cells::of(3);
        for key in 0..3 {
            let token = Token { key, generation: 0 };
            cells.push(token, Some(State::Waiting), key < 2);
        }
        assert_eq!(snapshot_of(cells).active, [0, 2, 1]);
    }

    #[test]
    fn a_snapshot_is_bounded_with_any_number_of_slots() {
        let states = [State::Greeting, State::Waiting, State::Owed, State::Held];
        let mut cells = Cells::of(MAX_CELLS + 1_000);
        for key in 0..MAX_CELLS {
            let token = Token {
                key,
                generation: key % 7,
            };
            cells.push(token, Some(states[key as usize % 4]), key % 2 == 0);
        }
        let snapshot = snapshot_of(cells);
        assert_eq!(snapshot.slots, MAX_CELLS + 1_000);
        assert!(snapshot.event().len() < 12 * MAX_CELLS as usize);
    }
}
