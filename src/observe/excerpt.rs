//! What was recorded around one moment, with every call, for the page while it is paused.
//!
//! **Owns** the response to `/turns/N`. **Must never touch** a source: it reads the recorder.
//! **Invariant**: at most [`MAX_ENTRIES`] entries and [`MAX_BYTES`] bytes; no more entries are
//! formatted per turn than the program says, however long the recording is (pitfall 23).
//!
//! A moment is the number of entries that were recorded until then. A snapshot says its own, so the
//! page asks for what happened before and after the snapshot that it shows.

use super::describe::phase_index;
use super::history::detail;
use super::microseconds;
use super::recorder::{Entry, EventKind, TurnRecorder};
use super::snapshot::letter;
use crate::reactor::{Time, Token};
use serde::Serialize;

/// Entries before the moment: the histories of the slots come from them.
const ENTRIES_BEFORE: u64 = 3_072;

/// Entries after it: the next steps.
const ENTRIES_AFTER: u64 = 1_024;

const MAX_ENTRIES: u64 = ENTRIES_BEFORE + ENTRIES_AFTER;

/// The length of an excerpt at most: an entry takes at most 180 bytes, and 60 on average.
const MAX_BYTES: usize = 180 * MAX_ENTRIES as usize;

/// An excerpt, formatted a part at a time.
#[derive(Debug)]
pub(crate) struct Excerpt {
    /// The number of the first entry.
    first: u64,
    /// The number of the next entry.
    next: u64,
    /// The number of the entry at which the excerpt ends.
    end: u64,
    /// The formatted entries, each followed by a comma.
    json: Vec<u8>,
}

/// One entry as JSON, an array: when it happened, its kind, and what depends on the kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Row {
    /// `"p"`: a phase begins; its index, and its turn.
    TurnPhase(f64, char, usize, u64),
    /// `"m"`, `"c"`, `"b"`, `"d"`: a mark, a call, a birth, a death; slot, generation, what happened,
    /// and the letters of the states after it and before it.
    Source(f64, char, u32, u32, String, Option<char>, Option<char>),
    /// `"o"`: what of the turn was spent on observers, in calls and between turns.
    Observed(f64, char, f64, f64),
    /// `"-"`: something else.
    Other(f64, char),
}

impl Excerpt {
    /// What is recorded so far around the moment `number`, or the last of it.
    pub(crate) fn around(number: u64, recorder: &TurnRecorder) -> Self {
        let end = number.saturating_add(ENTRIES_AFTER).min(recorder.end());
        let first = number.min(recorder.end()).saturating_sub(ENTRIES_BEFORE);
        Self {
            first,
            next: first,
            end,
            json: Vec::new(),
        }
    }

    /// Formats no more than `max_entries` further entries. Returns whether the excerpt is complete.
    pub(crate) fn advance(&mut self, recorder: &TurnRecorder, max_entries: usize) -> bool {
        for (number, entry) in recorder.entries_from(self.next).take(max_entries) {
            // Entries have left the recording: the excerpt begins after them.
            if number != self.next || self.json.is_empty() {
                self.first = number;
                self.json.clear();
            }
            if number >= self.end {
                return true;
            }
            self.next = number + 1;
            // Cannot fail: numbers and strings, written to memory.
            let _ = serde_json::to_writer(&mut self.json, &row(entry));
            self.json.push(b',');
            if self.json.len() > MAX_BYTES {
                return true;
            }
        }
        self.next >= self.end || recorder.entries_from(self.next).next().is_none()
    }

    /// The excerpt as JSON: the number of its first entry, and the entries.
    pub(crate) fn into_json(mut self) -> Vec<u8> {
        self.json.pop();
        let mut json = format!("{{\"first\":{},\"entries\":[", self.first).into_bytes();
        json.append(&mut self.json);
        json.extend_from_slice(b"]}");
        json
    }
}

fn row(entry: &Entry) -> Row {
    let at = microseconds(entry.at.since(Time::ZERO));
    let source = |kind, token: Token, is, was| {
        // The page knows the phase, and names the event after it.
        let line = detail(&entry.kind).and_then(|detail| detail.line(""));
        let text = line.map_or_else(String::new, |line| line.text);
        Row::Source(at, kind, token.key, token.generation, text, is, was)
    };
    match &entry.kind {
        EventKind::TurnPhase(turn, phase) => Row::TurnPhase(at, 'p', phase_index(*phase), *turn),
        EventKind::Marked { token, .. } => source('m', *token, None, None),
        EventKind::Called { call, .. } => {
            let was = call.was.unwrap_or(call.is);
            let (is, was) = (letter(Some(call.is)), letter(Some(was)));
            source('c', call.token, Some(is), Some(was))
        }
        EventKind::Born(token, state) => source('b', *token, Some(letter(Some(*state))), None),
        EventKind::Died(token) => source('d', *token, None, None),
        EventKind::Observed { drive, between } => {
            Row::Observed(at, 'o', microseconds(*drive), microseconds(*between))
        }
        EventKind::Counted { .. } | EventKind::Paused { .. } => Row::Other(at, '-'),
    }
}
