//! The tracks of a recording, laid out entry by entry.
//!
//! **Owns** which slices are open, and when they end. **Must never touch** the format, nor the
//! recorder. **Invariant**: a slice is written down when it begins, so that the outer one stands
//! before the inner, and gets its length when it ends; what is open at the end is ended there.

use super::{Bits, Detail, Event, Kind, LOOP_TRACK, PROCESS, Who};
use crate::observe::State;
use crate::observe::describe::Story;
use crate::observe::recorder::{Entry, EventKind, Life, TurnRecorder};
use crate::reactor::{Time, Token, TurnPhase};
use std::collections::HashMap;
use std::time::Duration;

/// The tracks so far.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    events: Vec<Event>,
    now: Time,
    turn: Option<usize>,
    phase: Option<usize>,
    /// By slot: the open slices of its owner's life and of its state.
    open: HashMap<u32, (usize, usize)>,
}

impl Tracks {
    /// All events of a recording.
    pub(super) fn of(recorder: &TurnRecorder) -> Vec<Event> {
        let mut tracks = Self::default();
        tracks.name("process_name", LOOP_TRACK, "helloop".to_owned());
        tracks.name("thread_name", LOOP_TRACK, "the loop".to_owned());
        tracks.now = recorder
            .entries()
            .next()
            .map_or(Time::ZERO, |entry| entry.at);
        tracks.begin_lives(recorder);
        for entry in recorder.entries() {
            tracks.add(entry);
        }
        tracks.now = tracks.now.max(recorder.last());
        tracks.end_all();
        tracks.events
    }

    /// Those who were born before the ring begins have their tracks from its beginning on: who
    /// did something since, in the state that this found; the others as they are now.
    fn begin_lives(&mut self, recorder: &TurnRecorder) {
        let mut first: Vec<Option<(Token, Option<State>)>> = Vec::new();
        let mut see = |token: Token, state: Option<State>| {
            let index = token.key as usize;
            if index >= first.len() {
                first.resize(index + 1, None);
            }
            first[index].get_or_insert((token, state));
        };
        for entry in recorder.entries() {
            match entry.what {
                EventKind::Called { call, was, .. } => see(call.token, Some(was)),
                EventKind::Born(token, _) => see(token, None),
                EventKind::Died(_)
                | EventKind::Marked { .. }
                | EventKind::TurnPhase(..)
                | EventKind::Counted { .. } => {}
            }
        }
        for Life { token, state, .. } in recorder.lives() {
            see(*token, Some(*state));
        }
        for (token, state) in first.into_iter().flatten() {
            let slot = format!("slot {}", token.key);
            self.name("thread_name", track(token), slot);
            if let Some(state) = state {
                self.begin_life(token, state);
            }
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.now = entry.at;
        match entry.what {
            EventKind::TurnPhase(turn, phase) => self.begin_phase(turn, phase),
            EventKind::Marked {
                token,
                readiness,
                is_current,
            } => {
                let bits = Bits(readiness);
                let gone = if is_current { "" } else { " (gone)" };
                let detail = Detail::Mark {
                    token: Who(token),
                    readiness: bits,
                    current: is_current,
                };
                self.instant(format!("{token} {bits}{gone}"), detail);
            }
            EventKind::Called { .. } => self.call(entry),
            EventKind::Born(token, state) => {
                let who = Who(token);
                self.instant(format!("{token} born"), Detail::Born { token: who, state });
                self.begin_life(token, state);
            }
            EventKind::Died(token) => {
                self.instant(format!("{token} gone"), Detail::Died { token: Who(token) });
                self.end_life(token.key);
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
        self.end(self.phase);
        let is_next = match self.turn.map(|turn| &self.events[turn].detail) {
            Some(Detail::Turn { turn: open }) => *open != turn,
            _ => true,
        };
        if is_next {
            self.end(self.turn);
            let name = format!("turn {turn}");
            self.turn = Some(self.begin(LOOP_TRACK, name, Detail::Turn { turn }));
        }
        let (name, detail) = match phase {
            TurnPhase::Wait(timeout) => (
                match timeout {
                    None => "wait for ever".to_owned(),
                    Some(Duration::ZERO) => "wait not at all".to_owned(),
                    Some(timeout) => format!("wait {timeout:?}"),
                },
                Detail::Wait {
                    timeout_us: timeout.map(microseconds),
                },
            ),
            TurnPhase::Mark => ("mark".to_owned(), Detail::Phase {}),
            TurnPhase::Drive => ("drive".to_owned(), Detail::Phase {}),
            TurnPhase::Expire => ("expire".to_owned(), Detail::Phase {}),
            TurnPhase::Settle => ("settle".to_owned(), Detail::Phase {}),
            TurnPhase::Between => ("between turns".to_owned(), Detail::Phase {}),
        };
        self.phase = Some(self.begin(LOOP_TRACK, name, detail));
    }

    /// The call on the loop's track and on its slot's, and the change of state that it made.
    fn call(&mut self, entry: &Entry) {
        let EventKind::Called {
            call,
            began,
            did,
            was,
            is,
        } = entry.what
        else {
            return;
        };
        let story = Story {
            did,
            before: call.before,
            after: call.after,
        };
        let detail = Detail::Call {
            token: Who(call.token),
            did,
            before: Bits(call.before),
            after: Bits(call.after),
            verdict: call.verdict,
            was,
            is,
        };
        self.now = began;
        let on_loop = self.begin(LOOP_TRACK, format!("{} {story}", call.token), detail);
        let on_slot = self.begin(track(call.token), story.to_string(), Detail::Work {});
        self.now = entry.at;
        self.end(Some(on_loop));
        self.end(Some(on_slot));
        if was != is
            && let Some((life, state)) = self.open.get(&call.token.key).copied()
        {
            self.end(Some(state));
            let state = self.begin(track(call.token), is.to_string(), Detail::State {});
            self.open.insert(call.token.key, (life, state));
        }
    }

    fn begin_life(&mut self, token: Token, state: State) {
        self.end_life(token.key);
        let life = self.begin(track(token), token.to_string(), Detail::Life {});
        let state = self.begin(track(token), state.to_string(), Detail::State {});
        self.open.insert(token.key, (life, state));
    }

    fn end_life(&mut self, key: u32) {
        if let Some((life, state)) = self.open.remove(&key) {
            self.end(Some(state));
            self.end(Some(life));
        }
    }

    fn end_all(&mut self) {
        self.end(self.phase);
        self.end(self.turn);
        let keys: Vec<u32> = self.open.keys().copied().collect();
        for key in keys {
            self.end_life(key);
        }
    }

    fn begin(&mut self, track: u64, name: String, detail: Detail) -> usize {
        self.push(Kind::Slice, track, name, detail);
        self.events.len() - 1
    }

    fn end(&mut self, slice: Option<usize>) {
        if let Some(event) = slice.and_then(|slice| self.events.get_mut(slice)) {
            let now = microseconds(self.now.since(Time::ZERO));
            event.lasts_us = Some(now - event.begins_us);
        }
    }

    fn instant(&mut self, name: String, detail: Detail) {
        self.push(Kind::Instant, LOOP_TRACK, name, detail);
    }

    fn count(&mut self, name: &str, value: u64) {
        let detail = Detail::Count { value };
        self.push(Kind::Counter, LOOP_TRACK, name.to_owned(), detail);
    }

    fn name(&mut self, what: &str, track: u64, name: String) {
        self.push(Kind::Name, track, what.to_owned(), Detail::Name { name });
    }

    fn push(&mut self, ph: Kind, tid: u64, name: String, detail: Detail) {
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

fn track(token: Token) -> u64 {
    u64::from(token.key) + 1
}

/// Nanoseconds survive the way there and back for a hundred days: a double has 53 bits.
#[allow(clippy::cast_precision_loss)]
fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1_000.0
}
