//! The last turns, for the time axis of the page.
//!
//! **Owns** what a snapshot says of each turn. **Must never touch** a source: it reads the recorder.
//! **Invariant**: at most [`MAX_LANES`] turns, and a bounded number of entries is looked at.
//!
//! An observer must not mistake its own work for that of the clients. So a turn says what of it was
//! spent on observers, and in which phases other sources had work.

use super::describe::{PHASES, phase_index};
use super::recorder::{EventKind, TurnRecorder};
use super::{State, microseconds};
use crate::reactor::{Time, Token, TurnPhase};
use std::collections::BTreeSet;

/// Turns in a snapshot, the last ones: more than fit on the axis.
pub(super) const MAX_LANES: usize = 48;

/// Entries of the recording that are looked at for them: fewer turns are shown if those are long.
const MAX_LANE_ENTRIES: usize = 32_768;

/// One turn: its number, when its wait began, the duration of each phase, events, calls; what of the
/// calls and of the time between turns was for observers; and the phases in which other sources had
/// work, as bits.
pub(super) type Lane = (u64, f64, [f64; PHASES.len()], u32, u32, [f64; 2], u8);

/// The last complete turns, oldest first.
pub(super) fn lanes(recorder: &TurnRecorder) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::with_capacity(MAX_LANES);
    // In reverse, a phase ends where the one seen before begins.
    let mut end = recorder.last();
    let mut turn = Turn::default();
    let mut gone_observers = BTreeSet::new();
    for entry in recorder.entries().rev().take(MAX_LANE_ENTRIES) {
        let EventKind::TurnPhase(number, phase) = entry.kind else {
            turn.read(&entry.kind, recorder, &mut gone_observers);
            continue;
        };
        turn.phases[phase_index(phase)] += microseconds(end.since(entry.at));
        turn.begin_phase(phase_index(phase));
        end = entry.at;
        if let TurnPhase::Wait(_) = phase {
            if number != recorder.turn() {
                let began = microseconds(entry.at.since(Time::ZERO));
                lanes.push(turn.lane(number, began, &gone_observers));
            }
            turn = Turn::default();
            if lanes.len() == MAX_LANES {
                break;
            }
        }
    }
    lanes.reverse();
    lanes
}

/// A turn whose entries are read from the last one to the first.
#[derive(Debug, Default)]
struct Turn {
    phases: [f64; PHASES.len()],
    events: u32,
    calls: u32,
    observers: [f64; 2],
    /// The phases in which sources other than observers had work, as bits.
    worked: u8,
    /// Whether such a source was seen in the phase that is being read.
    has_work: bool,
    /// Sources that are gone, in the phase that is being read and, with its bit, in later ones.
    gone: Vec<(Token, u8)>,
}

impl Turn {
    /// `observers` collects observers: a source that is gone is known by its calls, which come before
    /// the rest in reverse.
    fn read(&mut self, kind: &EventKind, recorder: &TurnRecorder, observers: &mut BTreeSet<Token>) {
        match *kind {
            EventKind::Marked { .. } => self.events += 1,
            EventKind::Called { call, .. } => {
                self.calls += 1;
                if call.is == State::Observer {
                    observers.insert(call.token);
                }
            }
            EventKind::Observed { drive, between } => {
                self.observers = [drive, between].map(microseconds);
            }
            _ => {}
        }
        let Some(token) = kind.token() else {
            return;
        };
        match recorder.state_of(token) {
            Some(State::Observer) => {}
            Some(_) => self.has_work = true,
            None => self.gone.push((token, 0)),
        }
    }

    /// The entries of this phase have been read.
    fn begin_phase(&mut self, index: usize) {
        let bit = 1 << index;
        if self.has_work {
            self.worked |= bit;
        }
        self.has_work = false;
        for (_, phase) in self.gone.iter_mut().rev().take_while(|gone| gone.1 == 0) {
            *phase = bit;
        }
    }

    fn lane(&self, number: u64, began: f64, observers: &BTreeSet<Token>) -> Lane {
        let clients = self
            .gone
            .iter()
            .filter(|(token, _)| !observers.contains(token));
        let worked = clients.fold(self.worked, |worked, (_, bit)| worked | bit);
        (
            number,
            began,
            self.phases,
            self.events,
            self.calls,
            self.observers,
            worked,
        )
    }
}
