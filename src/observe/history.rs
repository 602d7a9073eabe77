//! The history of one slot, for the page.
//!
//! **Owns** the response to `/slots/N`. **Must never touch** a source: it reads the recorder.
//! **Invariant**: at most [`MAX_LINES`] lines, the last ones.

use super::describe::{Detail, PHASES, phase_index};
use super::recorder::{EventKind, TurnRecorder};
use super::{State, microseconds};
use crate::reactor::{Time, Token};
use serde_json::json;
use std::collections::VecDeque;

/// Lines of one history: as many as a reader takes in at a glance.
const MAX_LINES: usize = 12;

/// What the program knows about a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotInfo {
    /// The token of the source in the slot, or of the next source if the slot is free.
    pub(crate) token: Token,
    /// `None`: the slot is free.
    pub(crate) state: Option<State>,
    /// Bytes buffered for the source.
    pub(crate) owed: usize,
}

/// The history of `slot` as JSON. `info` is `None` if the slot was never used. Lines are oldest
/// first, those about earlier sources in the slot included; times are in microseconds since the
/// reactor was made.
pub(crate) fn to_json(slot: u32, info: Option<SlotInfo>, recorder: &TurnRecorder) -> Vec<u8> {
    let mut last = VecDeque::with_capacity(MAX_LINES);
    let (mut turn, mut phase) = (0, "");
    for entry in recorder.entries() {
        if let EventKind::TurnPhase(number, began) = entry.kind {
            (turn, phase) = (number, PHASES[phase_index(began)]);
        }
        if entry.kind.token().is_some_and(|token| token.key == slot) {
            if last.len() == MAX_LINES {
                last.pop_front();
            }
            last.push_back((turn, phase, entry));
        }
    }
    let lines = last.iter().filter_map(|(turn, phase, entry)| {
        let line = detail(&entry.kind)?.line(phase)?;
        Some(json!({
            "at": microseconds(entry.at.since(Time::ZERO)),
            "turn": turn,
            "token": line.token?.to_string(),
            "words": format!("{}: {}", line.event, line.text),
        }))
    });
    let state = info.and_then(|info| info.state);
    let history = json!({
        "token": info.map_or_else(|| format!("#{slot}"), |info| info.token.to_string()),
        "state": state.map_or_else(|| "free".to_owned(), |state| state.to_string()),
        "owed": info.map_or(0, |info| info.owed),
        "lines": lines.collect::<Vec<_>>(),
    });
    history.to_string().into_bytes()
}

/// What a recording says about this event of a source; `None` for an event of the loop.
fn detail(kind: &EventKind) -> Option<Detail> {
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
        EventKind::TurnPhase(..) | EventKind::Counted { .. } => return None,
    })
}
