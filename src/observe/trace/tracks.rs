//! Lays out the tracks of a recording, entry by entry.
//!
//! **Owns** which slices are open. **Must never touch** the format or the recorder.
//! **Invariant**: a slice is added when it begins, so that an outer slice precedes its inner
//! ones, and gets its duration when it ends. A slice that is still open at the end of the recording
//! ends there.

use super::{Event, EventType};
use crate::observe::State;
use crate::observe::describe::{CallRecord, Detail, PHASES, phase_index, wait_text};
use crate::observe::microseconds;
use crate::observe::recorder::{Entry, EventKind, TurnRecorder};
use crate::reactor::{Time, Token, TurnPhase};
use std::collections::{BTreeMap, HashMap};
use std::mem;

/// The only process of a recording.
const PROCESS: u32 = 1;

/// The loop's track; slot N has track N + 1.
const LOOP_TRACK: u64 = 0;

fn track(slot: u32) -> u64 {
    u64::from(slot) + 1
}

/// The events so far, and the slices that have no duration yet.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    events: Vec<Event>,
    now: Time,
    turn: Option<u64>,
    /// By track: the open slices as indices of `events`, outermost first. That is a turn, a phase
    /// and a call for the loop; a lifetime, a state and a call for a slot.
    open: HashMap<u64, Vec<usize>>,
}

impl Tracks {
    /// All events of a recording.
    pub(super) fn of(recorder: &TurnRecorder) -> Vec<Event> {
        let mut tracks = Self::default();
        tracks.name("process_name", LOOP_TRACK, "helloop".to_owned());
        tracks.name("thread_name", LOOP_TRACK, "the loop".to_owned());
        let first = recorder.entries().next();
        tracks.now = first.map_or(Time::ZERO, |entry| entry.at);
        tracks.begin_earlier_lifetimes(recorder);
        for entry in recorder.entries() {
            tracks.add(entry);
        }
        tracks.now = tracks.now.max(recorder.last());
        for track in tracks.open.keys().copied().collect::<Vec<_>>() {
            tracks.end_to(track, 0);
        }
        tracks.events
    }

    /// Names the track of each slot, and begins the lifetime of each source that is older than
    /// the ring. Its state is the one before its first recorded call, or the current one if there is
    /// no such call.
    fn begin_earlier_lifetimes(&mut self, recorder: &TurnRecorder) {
        let recorded = recorder.entries().filter_map(|entry| match entry.kind {
            EventKind::Called { call, .. } => Some((call.token, Some(call.was))),
            EventKind::Born(token, _) => Some((token, None)),
            _ => None,
        });
        let present = recorder.known_sources();
        let present = present.map(|known| (known.token, Some(known.state)));
        let mut first = BTreeMap::new();
        for (token, state) in recorded.chain(present) {
            first.entry(token.key).or_insert((token, state));
        }
        for (slot, (token, state)) in first {
            self.name("thread_name", track(slot), format!("slot {slot}"));
            if let Some(state) = state {
                self.begin_lifetime(token, state);
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.now = entry.at;
        match entry.kind {
            EventKind::TurnPhase(turn, phase) => self.begin_phase(turn, phase),
            EventKind::Marked {
                token,
                readiness,
                is_current: current,
            } => {
                let gone = if current { "" } else { " (gone)" };
                let detail = Detail::Mark {
                    token,
                    readiness,
                    current,
                };
                self.instant(format!("{token} {readiness}{gone}"), detail);
            }
            EventKind::Called { call, began } => self.call(began, call),
            EventKind::Born(token, state) => {
                self.instant(format!("{token} born"), Detail::Born { token, state });
                self.begin_lifetime(token, state);
            }
            EventKind::Died(token) => {
                self.instant(format!("{token} gone"), Detail::Died { token });
                self.end_to(track(token.key), 0);
            }
            EventKind::Counted {
                clients,
                owed,
                events,
            } => {
                self.count("clients", clients);
                self.count("owed bytes", owed);
                self.count("events a turn", u64::from(events));
            }
        }
    }

    fn begin_phase(&mut self, turn: u64, phase: TurnPhase) {
        self.end_to(LOOP_TRACK, 1);
        if self.turn.replace(turn) != Some(turn) {
            self.end_to(LOOP_TRACK, 0);
            self.begin(LOOP_TRACK, format!("turn {turn}"), Detail::Turn { turn });
        }
        let mut name = PHASES[phase_index(phase)].to_owned();
        let mut detail = Detail::Phase {};
        if let TurnPhase::Wait(timeout) = phase {
            let timeout_us = timeout.map(microseconds);
            name = format!("{name} {}", wait_text(timeout_us));
            detail = Detail::Wait { timeout_us };
        }
        self.begin(LOOP_TRACK, name, detail);
    }

    /// The slices of a call on the loop's track and on the slot's, and the change of state.
    fn call(&mut self, began: Time, call: CallRecord) {
        let (ended, work) = (mem::replace(&mut self.now, began), call.work());
        let CallRecord { token, was, is, .. } = call;
        let slot = track(token.key);
        let on_loop = self.begin(LOOP_TRACK, format!("{token} {work}"), Detail::Call(call));
        let on_slot = self.begin(slot, work, Detail::Work {});
        self.now = ended;
        self.end_to(LOOP_TRACK, on_loop);
        self.end_to(slot, on_slot);
        if was != is {
            self.end_to(slot, 1);
            self.begin(slot, is.to_string(), Detail::State {});
        }
    }

    fn begin_lifetime(&mut self, token: Token, state: State) {
        let slot = track(token.key);
        self.end_to(slot, 0);
        self.begin(slot, token.to_string(), Detail::Lifetime {});
        self.begin(slot, state.to_string(), Detail::State {});
    }

    /// Opens a slice inside the open ones of its track, and returns how many were open before.
    fn begin(&mut self, track: u64, name: String, detail: Detail) -> usize {
        let open = self.open.entry(track).or_default();
        open.push(self.events.len());
        let depth = open.len() - 1;
        self.push(EventType::Slice, track, name, detail);
        depth
    }

    /// Ends all slices of a track but the `depth` outer ones.
    fn end_to(&mut self, track: u64, depth: usize) {
        let now = microseconds(self.now.since(Time::ZERO));
        let open = self.open.entry(track).or_default();
        for slice in open.drain(depth.min(open.len())..) {
            let event = &mut self.events[slice];
            event.lasts_us = Some(now - event.begins_us);
        }
    }

    fn instant(&mut self, name: String, detail: Detail) {
        self.push(EventType::Instant, LOOP_TRACK, name, detail);
    }

    fn count(&mut self, name: &str, value: u64) {
        let detail = Detail::Count { value };
        self.push(EventType::Counter, LOOP_TRACK, name.to_owned(), detail);
    }

    fn name(&mut self, kind: &str, track: u64, name: String) {
        let detail = Detail::Name { name };
        self.push(EventType::Metadata, track, kind.to_owned(), detail);
    }

    fn push(&mut self, ph: EventType, tid: u64, name: String, detail: Detail) {
        self.events.push(Event {
            name,
            ph,
            begins_us: microseconds(self.now.since(Time::ZERO)),
            lasts_us: None,
            pid: PROCESS,
            tid,
            detail,
        });
    }
}
