//! One slot's story, for the page.
//!
//! **Owns** the answer of `/slots/N`. **Must never touch** the sources: it tells what the
//! recorder has seen. **Invariant**: at most [`MAX_LINES`] lines, the last ones.

use super::State;
use super::describe::{self, Story};
use super::recorder::{EventKind, TurnRecorder};
use super::trace::Bits;
use crate::reactor::{Time, Token, TurnPhase};
use serde::Serialize;
use std::collections::VecDeque;

/// Lines of one story: as many as are taken in at a glance.
pub const MAX_LINES: usize = 12;

/// EventKind the program knows of the slot by itself.
#[derive(Clone, Copy, Debug)]
pub struct SlotInfo {
    /// The owner, or the next one if the slot is free.
    pub token: Token,
    /// EventKind the owner is about; `None`: the slot is free.
    pub state: Option<State>,
    /// Bytes kept for it.
    pub owed: usize,
}

#[derive(Serialize)]
struct Told {
    token: String,
    state: &'static str,
    owed: usize,
    /// The oldest first; of earlier owners too.
    lines: VecDeque<Line>,
}

#[derive(Serialize)]
struct Line {
    /// In microseconds since the loop was made.
    at: f64,
    turn: u64,
    token: String,
    words: String,
}

/// The story as JSON; `look` is `None` for a slot that never was.
#[must_use]
pub fn to_json(slot: u32, look: Option<SlotInfo>, recorder: &TurnRecorder) -> Vec<u8> {
    let mut lines = VecDeque::with_capacity(MAX_LINES);
    let (mut turn, mut phase) = (0, TurnPhase::Between);
    for entry in recorder.entries() {
        if let EventKind::TurnPhase(number, now) = entry.what {
            (turn, phase) = (number, now);
        }
        let Some(token) = entry.what.token().filter(|token| token.key == slot) else {
            continue;
        };
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(Line {
            at: entry.at.since(Time::ZERO).as_secs_f64() * 1e6,
            turn,
            token: token.to_string(),
            words: words(&entry.what, phase),
        });
    }
    let told = Told {
        token: look.map_or_else(|| format!("#{slot}"), |look| look.token.to_string()),
        state: look.and_then(|look| look.state).map_or("free", State::name),
        owed: look.map_or(0, |look| look.owed),
        lines,
    };
    // Nothing in it can fail to be written to memory.
    serde_json::to_vec(&told).unwrap_or_default()
}

fn words(what: &EventKind, phase: TurnPhase) -> String {
    match what {
        EventKind::Marked {
            readiness,
            is_current,
            ..
        } => {
            let gone = if *is_current {
                ""
            } else {
                ", for one that is gone"
            };
            format!("event: {}{gone}", Bits(*readiness))
        }
        EventKind::Called {
            call, did, was, is, ..
        } => {
            let why = match phase {
                TurnPhase::Drive => "driven",
                TurnPhase::Expire => "expired",
                TurnPhase::Wait(_) | TurnPhase::Mark | TurnPhase::Settle | TurnPhase::Between => {
                    "visited"
                }
            };
            let story = Story {
                did: *did,
                before: call.before,
                after: call.after,
            };
            let verdict = describe::verdict(call.verdict);
            let change = if was == is {
                String::new()
            } else {
                format!(", {was} → {is}")
            };
            format!("{why}: {story}; {verdict}{change}")
        }
        EventKind::Born(_, state) => format!("born, {state}"),
        EventKind::Died(_) => "gone; the slot is free".to_owned(),
        EventKind::TurnPhase(..) | EventKind::Counted { .. } => String::new(),
    }
}
