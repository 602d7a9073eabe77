//! The history of one slot, for the page.
//!
//! **Owns** the response to `/slots/N`, and the search for it. **Must never touch** a source: it
//! reads the recorder. **Invariant**: at most [`MAX_LINES`] lines, the last ones; a search looks at
//! no more entries per turn than the program says, however long the recording is (pitfall 23).

use super::describe::{Detail, PHASES, phase_index};
use super::recorder::{Entry, EventKind, TurnRecorder};
use super::{State, microseconds};
use crate::reactor::{Time, Token};
use serde_json::json;

/// Lines of one history: as many as a reader takes in at a glance.
const MAX_LINES: usize = 12;

/// What the program knows about a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotInfo {
    /// The token of the source in the slot, or of the next source if the slot is free.
    pub(crate) token: Token,
    /// `None`: the slot is free.
    pub(crate) state: Option<State>,
    /// Memory allocated for the source, in bytes: unsent replies, or an incomplete line.
    pub(crate) buffered: usize,
}

/// A search for the last events of one slot: from the newest entry back, a part at a time.
#[derive(Debug)]
pub(crate) struct Search {
    slot: u32,
    /// The number of the entry before which the search continues. Numbers stay the same while the
    /// loop goes on recording and drops old entries.
    before: u64,
    /// The entries found, the newest first, with their turn and phase.
    found: Vec<(u64, &'static str, Entry)>,
    /// How many of them, the newest first, have their turn and phase: the entry that begins a phase
    /// precedes those in it.
    placed: usize,
}

impl Search {
    /// A search for the events of `slot` that are recorded so far.
    pub(crate) fn new(slot: u32, recorder: &TurnRecorder) -> Self {
        Self {
            slot,
            before: recorder.end(),
            found: Vec::new(),
            placed: 0,
        }
    }

    /// Looks at no more than `max_entries` further entries. Returns whether the search is over.
    pub(crate) fn advance(&mut self, recorder: &TurnRecorder, max_entries: usize) -> bool {
        for entry in recorder.entries_before(self.before).take(max_entries) {
            self.before -= 1;
            if let EventKind::TurnPhase(number, began) = entry.kind {
                for place in &mut self.found[self.placed..] {
                    (place.0, place.1) = (number, PHASES[phase_index(began)]);
                }
                self.placed = self.found.len();
                if self.found.len() == MAX_LINES {
                    return true;
                }
            } else if self.found.len() < MAX_LINES
                && entry
                    .kind
                    .token()
                    .is_some_and(|token| token.key == self.slot)
            {
                self.found.push((0, "", *entry));
            }
        }
        recorder.entries_before(self.before).next().is_none()
    }

    /// What was found, as JSON. `info` is `None` if the slot was never used. Lines are oldest first,
    /// those about earlier sources in the slot included; times are in microseconds since the reactor
    /// was made.
    pub(crate) fn to_json(&self, info: Option<SlotInfo>) -> Vec<u8> {
        let found = self.found.iter().rev();
        let lines = found.filter_map(|(turn, phase, entry)| {
            let line = detail(&entry.kind)?.line(phase)?;
            Some(json!({
                "at": microseconds(entry.at.since(Time::ZERO)),
                "turn": turn,
                "token": line.token?.to_string(),
                "words": format!("{}: {}", line.event, line.text),
            }))
        });
        let state = info.and_then(|info| info.state);
        let slot = self.slot;
        let history = json!({
            "token": info.map_or_else(|| format!("#{slot}"), |info| info.token.to_string()),
            "state": state.map_or_else(|| "free".to_owned(), |state| state.to_string()),
            "buffered": info.map_or(0, |info| info.buffered),
            "lines": lines.collect::<Vec<_>>(),
        });
        history.to_string().into_bytes()
    }
}

/// What a recording says about this event of a source; `None` for an event of the loop.
pub(super) fn detail(kind: &EventKind) -> Option<Detail> {
    Some(match *kind {
        EventKind::Marked {
            token,
            readiness,
            is_current: current,
        } => Detail::Mark {
            token,
            readiness,
            current,
        },
        EventKind::Called { call, .. } => Detail::Call(call),
        EventKind::Born(token, state) => Detail::Born { token, state },
        EventKind::Died(token) => Detail::Died { token },
        EventKind::TurnPhase(..)
        | EventKind::Counted { .. }
        | EventKind::Observed { .. }
        | EventKind::Paused { .. } => return None,
    })
}
