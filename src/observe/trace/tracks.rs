//! Lays out the tracks of a recording, entry by entry.
//!
//! **Owns** which slices are open, and which flows. **Must never touch** the format or the recorder.
//! **Invariant**: events come in chronological order, an outer slice begins before its inner ones, no
//! two points of a track have the same time, and what is kept is a few bytes per slot, however long
//! the recording is: a slice that lasts has an event where it begins and one where it ends, so it
//! need not be kept until then. A slice that is still open at the end of the recording ends there.

use super::{Event, EventType};
use crate::observe::State;
use crate::observe::describe::{CallRecord, Detail, PHASES, phase_index, wait_text};
use crate::observe::microseconds;
use crate::observe::recorder::{Entry, EventKind, KnownSource};
use crate::reactor::{Readiness, Time, Token, TurnPhase};
use std::num::NonZeroU32;
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

/// The resolution of a recording. Viewers draw two points of one track and time on top of each other,
/// or one below the other, so they are this far apart.
const TICK: Duration = Duration::from_nanos(1);

/// The format's identifier of a flow.
fn flow_id(flow: NonZeroU32) -> String {
    format!("{flow:#x}")
}

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

/// A slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    track: SlotTrack,
    /// Whether its track has a name.
    is_named: bool,
    /// The readiness that the source knows of: an event that sets only such bits does not queue it.
    known: Readiness,
    /// The flow from the events that have queued the source; the call that serves it ends the flow.
    flow: Option<NonZeroU32>,
    /// When its last point was.
    point: Time,
}

/// What is kept per slot: 20 MiB for half a million slots.
const BYTES_PER_SLOT: usize = size_of::<Slot>() + size_of::<Option<Present>>();
const _: () = assert!(BYTES_PER_SLOT <= 40);

/// The events that have not been written yet, and the slices that are open.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// To be taken by the writer after each step.
    pub(super) events: Vec<Event>,
    now: Time,
    turn: Option<u64>,
    /// Open slices of the loop: a turn, and in it a phase.
    loop_open: Vec<Detail>,
    is_driving: bool,
    /// Flows so far.
    flows: u32,
    slots: Vec<Slot>,
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
        self.name_track(LOOP_TRACK, "the loop".to_owned());
    }

    /// Learns from an entry what was in its slot when the recording began: the state before its
    /// first call.
    pub(super) fn survey(&mut self, entry: &Entry) {
        let (slot, found) = match entry.kind {
            EventKind::Called { call, .. } => {
                let token = call.token;
                let generation = token.generation;
                let state = call.was.unwrap_or(call.is);
                (token.key, SlotTrack::Occupied { generation, state })
            }
            EventKind::Born(token, _) => (token.key, SlotTrack::Free),
            _ => return,
        };
        let known = &mut self.slot_mut(slot).track;
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
        let mut found = self.slot_mut(slot).track;
        let present = self.present.get(slot as usize).copied().flatten();
        if let (SlotTrack::Unknown, Some((generation, state)), true) =
            (found, present, is_to_the_end)
        {
            found = SlotTrack::Occupied { generation, state };
        }
        if found != SlotTrack::Unknown {
            self.name_slot(slot);
        }
        if let SlotTrack::Occupied { generation, state } = found {
            let key = slot;
            self.begin_lifetime(Token { key, generation }, state);
        }
    }

    /// Ends what is open in a slot, and forgets the slot.
    pub(super) fn end_slot(&mut self, slot: u32) {
        self.end_lifetime(slot);
        self.slot_mut(slot).track = SlotTrack::Unknown;
    }

    /// Ends what is open in the loop at `now`, unless it is later already. The last phase may have
    /// begun just then, and Perfetto finds no end of a slice that takes no time.
    pub(super) fn end_loop(&mut self, now: Time) {
        self.now = self.now.max(now).after(TICK);
        self.end_loop_to(0);
        self.turn = None;
    }

    /// Nothing was recorded until `until`. The loop and all slots must be ended.
    pub(super) fn pause(&mut self, until: Time) {
        let began = self.now;
        self.now = began.max(until);
        let name = "recording paused".to_owned();
        self.slice(LOOP_TRACK, began, name, Detail::Pause {});
    }

    pub(super) fn add(&mut self, entry: &Entry) {
        self.now = self.now.max(entry.at);
        match entry.kind {
            EventKind::TurnPhase(turn, phase) => self.begin_phase(turn, phase),
            EventKind::Marked {
                token,
                readiness,
                is_current,
            } => self.mark(token, readiness, is_current),
            EventKind::Called { call, began } => self.call(began, call),
            EventKind::Born(token, state) => {
                let name = format!("{token} born");
                self.point(
                    token.key,
                    EventType::Instant,
                    name,
                    Detail::Born { token, state },
                );
                self.begin_lifetime(token, state);
            }
            EventKind::Died(token) => {
                let name = format!("{token} gone");
                self.point(token.key, EventType::Instant, name, Detail::Died { token });
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
        self.is_driving = phase == TurnPhase::Drive;
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

    /// The point of an event on the track of its slot. If the event queues the source, a flow begins
    /// there, or passes through: further events may arrive before the call.
    fn mark(&mut self, token: Token, readiness: Readiness, current: bool) {
        let gone = if current { "" } else { " (gone)" };
        let detail = Detail::Mark {
            token,
            readiness,
            current,
        };
        // No instant, which cannot be part of a flow in Perfetto, but a slice that takes no time.
        self.point(
            token.key,
            EventType::Slice,
            format!("{readiness}{gone}"),
            detail,
        );
        let flows = self.flows.wrapping_add(1);
        let slot = self.slot_mut(token.key);
        if !current || slot.known.contains(readiness) {
            return;
        }
        slot.known |= readiness;
        let waits_already = slot.flow;
        let flow = waits_already.or_else(|| NonZeroU32::new(flows));
        slot.flow = flow;
        self.flows = if waits_already.is_some() {
            self.flows
        } else {
            flows
        };
        if let Some(event) = self.events.last_mut() {
            event.bind_id = flow.map(flow_id);
            (event.flow_in, event.flow_out) = (waits_already.is_some(), true);
        }
    }

    /// The slice of a call on the loop's track, and the change of state on the slot's. A flow ends in
    /// the drive phase: a call for another reason leaves the source in the ready list.
    fn call(&mut self, began: Time, call: CallRecord) {
        let CallRecord { token, was, is, .. } = call;
        let name = format!("{token} {}", call.work());
        self.slice(LOOP_TRACK, began, name, Detail::Call(call));
        let is_driving = self.is_driving;
        let slot = self.slot_mut(token.key);
        slot.known = call.after;
        let flow = slot.flow.take_if(|_| is_driving);
        if let (Some(event), Some(flow)) = (self.events.last_mut(), flow) {
            (event.bind_id, event.flow_in) = (Some(flow_id(flow)), true);
        }
        if was.is_some() {
            self.close(track(token.key), Detail::State {});
            self.open(track(token.key), is.to_string(), Detail::State {});
        }
    }

    fn begin_lifetime(&mut self, token: Token, state: State) {
        let track = track(token.key);
        self.end_lifetime(token.key);
        self.open(track, token.to_string(), Detail::Lifetime {});
        self.open(track, state.to_string(), Detail::State {});
        self.slot_mut(token.key).track = SlotTrack::Open;
    }

    fn end_lifetime(&mut self, key: u32) {
        let slot = self.slot_mut(key);
        (slot.known, slot.flow) = (Readiness::empty(), None);
        if slot.track == SlotTrack::Open {
            slot.track = SlotTrack::Free;
            self.close(track(key), Detail::State {});
            self.close(track(key), Detail::Lifetime {});
        }
    }

    fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Slot::default());
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

    /// A whole slice, from `began` to now. It is drawn [`INSET`] shorter at both ends.
    fn slice(&mut self, track: u64, began: Time, name: String, detail: Detail) {
        let lasted = self.now.since(began);
        let inset = if lasted > 2 * INSET {
            INSET
        } else {
            Duration::ZERO
        };
        self.push(EventType::Slice, track, name, detail);
        if let Some(event) = self.events.last_mut() {
            event.begins_us = microseconds(began.after(inset).since(Time::ZERO));
            event.lasts_us = Some(microseconds(lasted - 2 * inset));
        }
    }

    /// A point on the track of a slot. If the track has one of this time, it is a nanosecond later, as
    /// is all that follows at this time.
    fn point(&mut self, key: u32, ph: EventType, name: String, detail: Detail) {
        self.name_slot(key);
        let now = self.now;
        let slot = self.slot_mut(key);
        slot.point = now.max(slot.point.after(TICK));
        self.now = slot.point;
        self.push(ph, track(key), name, detail);
        if let Some(event) = self
            .events
            .last_mut()
            .filter(|event| event.ph == EventType::Slice)
        {
            event.lasts_us = Some(0.0);
        }
    }

    fn count(&mut self, name: &str, value: u64) {
        let detail = Detail::Count { value };
        self.push(EventType::Counter, LOOP_TRACK, name.to_owned(), detail);
    }

    fn name_slot(&mut self, key: u32) {
        if !std::mem::replace(&mut self.slot_mut(key).is_named, true) {
            self.name_track(track(key), format!("slot {key}"));
        }
    }

    /// Names a track, and gives it its place.
    fn name_track(&mut self, track: u64, name: String) {
        self.name("thread_name", track, name);
        let detail = Detail::Place { sort_index: track };
        let kind = "thread_sort_index".to_owned();
        self.push(EventType::Metadata, track, kind, detail);
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
            bind_id: None,
            flow_in: false,
            flow_out: false,
            pid: PROCESS,
            tid,
            detail,
        });
    }
}
