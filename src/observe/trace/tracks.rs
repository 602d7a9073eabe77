//! Lays out the tracks of a recording, entry by entry.
//!
//! **Owns** which slices are open. **Must never touch** the format or the recorder.
//! **Invariant**: events come in chronological order, an outer slice begins before its inner ones,
//! and what is kept is a few bytes per slot, however long the recording is: a slice that lasts has
//! an event where it begins and one where it ends, so it need not be kept until then. A slice that
//! is still open at the end of the recording ends there.

use super::{Event, EventType};
use crate::observe::State;
use crate::observe::describe::{CallRecord, Detail, PHASES, phase_index, wait_text};
use crate::observe::microseconds;
use crate::observe::recorder::{Entry, EventKind, KnownSource};
use crate::reactor::{Time, Token, TurnPhase};
use std::time::Duration;

/// The only process of a recording.
const PROCESS: u32 = 1;

/// The loop's track; slot N has track N + 2. Perfetto draws thread 0 and the thread with the number of
/// the process into one track, the main thread's: so there is no thread 0.
const LOOP_TRACK: u64 = PROCESS as u64;

/// Keeps a whole slice inside the slice that begins or ends at the same time. Perfetto puts the longer
/// whole slice first where two begin together, even before the one around it, and truncates each time
/// to a nanosecond.
const INSET: Duration = Duration::from_nanos(2);

fn track(slot: u32) -> u64 {
    LOOP_TRACK + 1 + u64::from(slot)
}

/// What is known of a slot while its track is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum SlotTrack {
    /// Nothing, so far.
    #[default]
    Unknown,
    /// There is no source in it.
    Free,
    /// A source was there in this state, when the recording begins.
    Occupied { generation: u32, state: State },
    /// The slices of a lifetime and of a state are open.
    Open,
}

/// Generation and state of a source.
type Present = (u32, State);

/// What is kept per slot: 8 MiB for half a million slots.
const BYTES_PER_SLOT: usize = size_of::<SlotTrack>() + size_of::<Option<Present>>();
const _: () = assert!(BYTES_PER_SLOT <= 16);

/// The events that have not been written yet, and the slices that are open.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// To be taken by the writer after each step.
    pub(super) events: Vec<Event>,
    now: Time,
    turn: Option<u64>,
    /// Open slices of the loop: a turn, and in it a phase.
    loop_open: Vec<Detail>,
    slots: Vec<SlotTrack>,
    /// The sources when the recording ended. They may change while it is written.
    present: Vec<Option<Present>>,
}

impl Tracks {
    /// Names the process and the loop's track. `present` are the sources that are there now.
    pub(super) fn begin<'a>(&mut self, now: Time, present: impl Iterator<Item = &'a KnownSource>) {
        self.now = now;
        for KnownSource { token, state, .. } in present {
            let index = token.key as usize;
            self.present.resize(self.present.len().max(index + 1), None);
            self.present[index] = Some((token.generation, *state));
        }
        self.name("process_name", LOOP_TRACK, "helloop".to_owned());
        self.name("thread_name", LOOP_TRACK, "the loop".to_owned());
    }

    /// Learns from an entry what was in its slot when the recording began: the state before its
    /// first call.
    pub(super) fn survey(&mut self, entry: &Entry) {
        let (slot, found) = match entry.kind {
            EventKind::Called { call, .. } => {
                let CallRecord { token, was, .. } = call;
                let generation = token.generation;
                let state = was;
                (token.key, SlotTrack::Occupied { generation, state })
            }
            EventKind::Born(token, _) => (token.key, SlotTrack::Free),
            _ => return,
        };
        let known = self.slot_mut(slot);
        if *known == SlotTrack::Unknown {
            *known = found;
        }
    }

    /// The number of slots that are known of.
    pub(super) fn slots(&self) -> usize {
        self.slots.len().max(self.present.len())
    }

    /// Names the track of a slot, and begins the lifetime of a source that is older than the
    /// recording. If nothing was recorded of the slot from here to the end, the source that is there
    /// now has been there all the time.
    pub(super) fn begin_slot(&mut self, slot: u32, is_to_the_end: bool) {
        let mut found = *self.slot_mut(slot);
        let present = self.present.get(slot as usize).copied().flatten();
        if let (SlotTrack::Unknown, Some((generation, state)), true) =
            (found, present, is_to_the_end)
        {
            found = SlotTrack::Occupied { generation, state };
        }
        if found != SlotTrack::Unknown {
            self.name("thread_name", track(slot), format!("slot {slot}"));
        }
        if let SlotTrack::Occupied { generation, state } = found {
            let key = slot;
            self.begin_lifetime(Token { key, generation }, state);
        }
    }

    /// Ends what is open in a slot, and forgets the slot.
    pub(super) fn end_slot(&mut self, slot: u32) {
        self.end_lifetime(slot);
        *self.slot_mut(slot) = SlotTrack::Unknown;
    }

    /// Ends what is open in the loop at `now`, unless it is later already.
    pub(super) fn end_loop(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.end_loop_to(0);
        self.turn = None;
    }

    /// Nothing was recorded until `until`. The loop and all slots must be ended.
    pub(super) fn pause(&mut self, until: Time) {
        let lasted = until.since(self.now);
        let name = "recording paused".to_owned();
        self.slice(LOOP_TRACK, self.now, lasted, name, Detail::Pause {});
        self.now = self.now.max(until);
    }

    pub(super) fn add(&mut self, entry: &Entry) {
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
                self.end_lifetime(token.key);
            }
            EventKind::Counted {
                clients,
                buffered,
                events,
            } => {
                self.count("clients", clients);
                self.count("buffered bytes", buffered);
                self.count("events a turn", u64::from(events));
            }
            // It separates what was recorded before from what was recorded after: see `pause`.
            EventKind::Observed { .. } | EventKind::Paused { .. } => {}
        }
    }

    fn begin_phase(&mut self, turn: u64, phase: TurnPhase) {
        self.end_loop_to(1);
        if self.turn.replace(turn) != Some(turn) {
            self.end_loop_to(0);
            self.open_in_loop(format!("turn {turn}"), Detail::Turn { turn });
        }
        let mut name = PHASES[phase_index(phase)].to_owned();
        let mut detail = Detail::Phase {};
        if let TurnPhase::Wait(timeout) = phase {
            let timeout_us = timeout.map(microseconds);
            name = format!("{name} {}", wait_text(timeout_us));
            detail = Detail::Wait { timeout_us };
        }
        self.open_in_loop(name, detail);
    }

    fn open_in_loop(&mut self, name: String, detail: Detail) {
        self.loop_open.push(detail.clone());
        self.open(LOOP_TRACK, name, detail);
    }

    /// Ends the slices of the loop but the `depth` outer ones.
    fn end_loop_to(&mut self, depth: usize) {
        while self.loop_open.len() > depth {
            if let Some(detail) = self.loop_open.pop() {
                self.close(LOOP_TRACK, detail);
            }
        }
    }

    /// The slices of a call on the loop's track and on the slot's, and the change of state.
    fn call(&mut self, began: Time, call: CallRecord) {
        let (lasted, work) = (self.now.since(began), call.work());
        let CallRecord { token, was, is, .. } = call;
        let slot = track(token.key);
        let name = format!("{token} {work}");
        self.slice(LOOP_TRACK, began, lasted, name, Detail::Call(call));
        self.slice(slot, began, lasted, work, Detail::Work {});
        if was != is {
            self.close(slot, Detail::State {});
            self.open(slot, is.to_string(), Detail::State {});
        }
    }

    fn begin_lifetime(&mut self, token: Token, state: State) {
        let slot = track(token.key);
        self.end_lifetime(token.key);
        self.open(slot, token.to_string(), Detail::Lifetime {});
        self.open(slot, state.to_string(), Detail::State {});
        *self.slot_mut(token.key) = SlotTrack::Open;
    }

    fn end_lifetime(&mut self, slot: u32) {
        if *self.slot_mut(slot) == SlotTrack::Open {
            self.close(track(slot), Detail::State {});
            self.close(track(slot), Detail::Lifetime {});
            *self.slot_mut(slot) = SlotTrack::Free;
        }
    }

    fn slot_mut(&mut self, slot: u32) -> &mut SlotTrack {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, SlotTrack::Unknown);
        }
        &mut self.slots[index]
    }

    /// Begins a slice inside the open ones of its track.
    fn open(&mut self, track: u64, name: String, detail: Detail) {
        self.push(EventType::Begin, track, name, detail);
    }

    /// Ends the innermost open slice of a track, which began with this detail: Perfetto ends none of
    /// another category.
    fn close(&mut self, track: u64, detail: Detail) {
        self.push(EventType::End, track, String::new(), detail);
    }

    /// A whole slice, which may begin before now. It is drawn [`INSET`] shorter at both ends.
    fn slice(&mut self, track: u64, began: Time, lasted: Duration, name: String, detail: Detail) {
        self.push(EventType::Slice, track, name, detail);
        let inset = if lasted > 2 * INSET {
            INSET
        } else {
            Duration::ZERO
        };
        if let Some(event) = self.events.last_mut() {
            event.begins_us = microseconds(began.after(inset).since(Time::ZERO));
            event.lasts_us = Some(microseconds(lasted - 2 * inset));
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
