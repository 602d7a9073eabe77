//! How all of it looks at one moment, for the page.
//!
//! **Owns** the event that `/events` streams. **Must never touch** the sources: the program
//! tells of each. **Invariant**: a snapshot stands for itself, so that one who missed any number
//! of them has all with the next; and it is bounded, by [`MAX_CELLS`] and [`MAX_LANES`].
//!
//! Slots are told as runs, since most of many thousand clients do the same: nothing.

use super::recorder::{EventKind, TurnRecorder};
use super::{State, WorkCounters};
use crate::reactor::{LoopStats, Time, Token, TurnPhase};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// Slots shown: more are no longer told apart on a screen. At worst 12 bytes each.
pub const MAX_CELLS: u32 = 32_768;

/// LoopStats shown, the last ones.
pub const MAX_LANES: usize = 48;

/// How many phases a turn has: the five of its picture, and the time between turns.
const PHASES: usize = 6;

/// One event of the stream. Times are in microseconds since the loop was made.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    at: f64,
    serving: bool,
    accepted: u64,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
    datagrams: u64,
    clients: u64,
    owed: u64,
    turns: u64,
    events: u64,
    calls: u64,
    /// The longest turn of late.
    longest: f64,
    observers: usize,
    /// All slots, those not shown included.
    slots: u32,
    /// Runs of a state's letter and how often it stands there, 1 left out: `w300.g2`.
    cells: String,
    /// Runs of a generation and how often: `[0, 300, 1, 3]`.
    generations: Vec<u32>,
    /// Runs of slots that did not, and did, work within the last period: `[5, 2]`.
    active: Vec<u32>,
    lanes: Vec<Lane>,
}

/// One turn: its number, when its wait began, how long each phase lasted, events, calls.
type Lane = (u64, f64, [f64; PHASES], u32, u32);

/// The runs of slots, as they are told one by one.
#[derive(Debug, Default)]
pub struct Cells {
    count: u32,
    letters: String,
    run: Option<(char, u32)>,
    generations: Vec<u32>,
    /// Ends with a run of the active if its length is even.
    active: Vec<u32>,
}

/// The letter of a state on the page; a free slot is a dot.
#[must_use]
pub fn letter(state: Option<State>) -> char {
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
    /// Tells of the next slot: whose it is, and whether that one has worked of late.
    pub fn push(&mut self, token: Token, state: Option<State>, is_active: bool) {
        self.count += 1;
        if self.count > MAX_CELLS {
            return;
        }
        let letter = letter(state);
        match &mut self.run {
            Some((last, length)) if *last == letter => *length += 1,
            _ => {
                self.end_run();
                self.run = Some((letter, 1));
            }
        }
        match self.generations.as_mut_slice() {
            [.., last, length] if *last == token.generation => *length += 1,
            _ => self.generations.extend([token.generation, 1]),
        }
        let ends_active = self.active.len().is_multiple_of(2);
        match self.active.last_mut() {
            Some(length) if ends_active == is_active => *length += 1,
            None if is_active => self.active.extend([0, 1]),
            _ => self.active.push(1),
        }
    }

    fn end_run(&mut self) {
        // Writing to a String cannot fail.
        let _ = match self.run.take() {
            None => Ok(()),
            Some((letter, 1)) => write!(self.letters, "{letter}"),
            Some((letter, length)) => write!(self.letters, "{letter}{length}"),
        };
    }
}

impl Snapshot {
    /// Puts together what is to be seen at `now`.
    #[must_use]
    pub fn new(
        now: Time,
        serving: bool,
        tally: &WorkCounters,
        turns: LoopStats,
        mut cells: Cells,
    ) -> Self {
        cells.end_run();
        Self {
            at: microseconds(now),
            serving,
            accepted: tally.accepted,
            messages: tally.messages,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            datagrams: tally.datagrams,
            clients: tally.clients,
            owed: tally.owed,
            turns: turns.turns,
            events: turns.events,
            calls: turns.calls,
            longest: 0.0,
            observers: 0,
            slots: cells.count,
            cells: cells.letters,
            generations: cells.generations,
            active: cells.active,
            lanes: Vec::new(),
        }
    }

    /// Adds what the recorder has seen, and how many observe.
    #[must_use]
    pub fn with_recorder(mut self, recorder: &TurnRecorder, observers: usize) -> Self {
        self.observers = observers;
        self.longest = length(recorder.longest());
        self.lanes = lanes(recorder);
        self
    }

    /// The event as it is streamed.
    #[must_use]
    pub fn event(&self) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        // Nothing in it can fail to be written to memory: no maps, no foreign text.
        let _ = serde_json::to_writer(&mut event, self);
        event.extend_from_slice(b"\n\n");
        event
    }
}

/// The last turns that are over, the oldest first.
fn lanes(recorder: &TurnRecorder) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::with_capacity(MAX_LANES);
    // Walked backwards, a phase ends where the one seen before begins.
    let mut end = recorder.last();
    let (mut events, mut calls) = (0, 0);
    let mut lane: Option<Lane> = None;
    let present = recorder.turn();
    for entry in recorder.entries().rev() {
        match entry.what {
            EventKind::Marked { .. } => events += 1,
            EventKind::Called { .. } => calls += 1,
            EventKind::TurnPhase(turn, phase) => {
                let open = lane.get_or_insert((turn, 0.0, [0.0; PHASES], 0, 0));
                open.2[index(phase)] += length(end.since(entry.at));
                end = entry.at;
                if let TurnPhase::Wait(_) = phase {
                    (open.1, open.3, open.4) = (microseconds(entry.at), events, calls);
                    (events, calls) = (0, 0);
                    lanes.extend(lane.take().filter(|lane| lane.0 != present));
                    if lanes.len() == MAX_LANES {
                        break;
                    }
                }
            }
            EventKind::Born(..) | EventKind::Died(_) | EventKind::Counted { .. } => {}
        }
    }
    lanes.reverse();
    lanes
}

fn index(phase: TurnPhase) -> usize {
    match phase {
        TurnPhase::Wait(_) => 0,
        TurnPhase::Mark => 1,
        TurnPhase::Drive => 2,
        TurnPhase::Expire => 3,
        TurnPhase::Settle => 4,
        TurnPhase::Between => 5,
    }
}

fn microseconds(time: Time) -> f64 {
    length(time.since(Time::ZERO))
}

fn length(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_told_as_runs() {
        let mut cells = Cells::default();
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
        let tally = WorkCounters::default();
        let shown = Snapshot::new(Time::ZERO, true, &tally, LoopStats::default(), cells);
        assert_eq!((shown.cells.as_str(), shown.slots), ("Lw3.2", 6));
        assert_eq!(shown.generations, [0, 3, 5, 2, 0, 1]);
        assert_eq!(shown.active, [1, 2, 3]);
        let event = String::from_utf8(shown.event()).unwrap();
        let json = event.strip_prefix("data: ").unwrap().trim_end();
        assert!(event.ends_with("\n\n") && !json.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["cells"], "Lw3.2");
    }

    #[test]
    fn a_snapshot_is_bounded_however_many_slots_there_are() {
        let mut cells = Cells::default();
        for key in 0..MAX_CELLS + 1_000 {
            let state = Some(State::ALL[key as usize % 5]);
            let token = Token {
                key,
                generation: key % 7,
            };
            cells.push(token, state, key % 2 == 0);
        }
        let tally = WorkCounters::default();
        let shown = Snapshot::new(Time::ZERO, true, &tally, LoopStats::default(), cells);
        assert_eq!(shown.slots, MAX_CELLS + 1_000);
        assert!(shown.event().len() < 12 * MAX_CELLS as usize);
    }
}
