//! Recordings in the Chrome trace event format, which Perfetto and chrome://tracing open.
//!
//! **Owns** the format: it writes and reads recordings. **Must never touch** the loop: its input
//! is what the [`TurnRecorder`] holds. **Invariant**: events are in chronological order, and the
//! slices of a track nest. Writing takes a bounded time per part, but for the first, which
//! copies 8 bytes per slot; and memory for the slots alone.
//!
//! Track 1 is the loop: a slice per turn, in it a slice per phase, and in those the calls of
//! sources, each exactly once. Track N + 2 is slot N: a slice per source, in it a slice per state,
//! and in those a point for each event that marks the source. A flow leads from there to the call
//! that serves it. While a recording was saved, nothing was recorded: the file saved next has a slice
//! for that pause, in which nothing is known of any slot.
//! The format: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

mod read;
mod tracks;

pub use read::read;
pub(crate) use read::{ReadError, read_each};

use super::describe::Detail;
use super::recorder::{Entry, EventKind, TurnRecorder};
use crate::reactor::Time;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{self, Write};
use tracks::Tracks;

/// One event of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The label in the viewer; empty where a slice ends.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its type.
    pub ph: EventType,
    /// When it begins, in microseconds.
    #[serde(rename = "ts")]
    pub begins_us: f64,
    /// How long a whole slice lasts, in microseconds.
    #[serde(rename = "dur", default, skip_serializing_if = "Option::is_none")]
    pub lasts_us: Option<f64>,
    /// The flow that the slice is part of: from an event to the call that serves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind_id: Option<String>,
    /// Whether the flow comes in from an earlier slice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flow_in: bool,
    /// Whether the flow goes out to a later slice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flow_out: bool,
    /// The process.
    pub pid: u32,
    /// The track.
    pub tid: u64,
    /// The category and the arguments.
    #[serde(flatten)]
    pub detail: Detail,
}

/// The types of events that a recording uses, the format's `ph`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventType {
    /// A whole slice: a "complete" event.
    #[serde(rename = "X")]
    Slice,
    /// The beginning of a slice.
    #[serde(rename = "B")]
    Begin,
    /// The end of the innermost slice of the track that has begun, with the same detail.
    #[serde(rename = "E")]
    End,
    /// A point in time.
    #[serde(rename = "i")]
    Instant,
    /// The value of a counter.
    #[serde(rename = "C")]
    Counter,
    /// The name of a process or a track, or its place.
    #[serde(rename = "M")]
    Metadata,
}

/// Entries that are looked at, while the writer learns what was there when the recording began, in
/// the time that it takes to write one.
const SURVEYED_ENTRIES: usize = 16;

/// What the writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterStep {
    /// Writes the head of the file.
    Head,
    /// Looks at the entries up to the next pause, which begin with number `first`, for what was there
    /// before them; `next` is the next one.
    Survey { first: usize, next: usize },
    /// Begins the lifetimes of the sources that were there; `next` is the next slot.
    Begin { first: usize, next: usize },
    /// Writes the entry with this number.
    Entries(usize),
    /// Ends what is open; `next` is the next slot, `after` the entry after the pause, if the
    /// recording goes on.
    End { next: usize, after: Option<usize> },
    /// Everything is written.
    Done,
}

/// Writes a recording a part at a time, in bounded memory. The recorder must not change meanwhile.
#[derive(Debug)]
pub struct TraceWriter {
    step: WriterStep,
    tracks: Tracks,
    /// Whether an event has been written.
    has_events: bool,
}

impl Default for TraceWriter {
    fn default() -> Self {
        Self {
            step: WriterStep::Head,
            tracks: Tracks::default(),
            has_events: false,
        }
    }
}

impl TraceWriter {
    /// Writes a part of what `recorder` holds, of about `max_entries` entries. Returns whether
    /// everything is written.
    ///
    /// # Errors
    ///
    /// The output's.
    pub fn write_part(
        &mut self,
        recorder: &TurnRecorder,
        out: &mut impl Write,
        max_entries: usize,
    ) -> io::Result<bool> {
        for _ in 0..max_entries {
            self.step = match self.step {
                WriterStep::Head => self.head(recorder, out)?,
                WriterStep::Survey { first, next } => self.survey(recorder, first, next),
                WriterStep::Begin { first, next } => self.begin(recorder, first, next),
                WriterStep::Entries(index) => self.entry(recorder, index),
                WriterStep::End { next, after } => self.end(recorder, next, after),
                WriterStep::Done => return Ok(true),
            };
            self.write_events(out)?;
            if self.step == WriterStep::Done {
                out.write_all(b"\n]}\n")?;
                out.flush()?;
            }
        }
        Ok(self.step == WriterStep::Done)
    }

    fn head(&mut self, recorder: &TurnRecorder, out: &mut impl Write) -> io::Result<WriterStep> {
        let extent = recorder.extent();
        let about = json!({
            "producer": concat!("helloop ", env!("CARGO_PKG_VERSION")),
            "turns": extent.turns,
            "seconds": extent.lasted.as_secs_f64(),
            "most_turns": extent.most_turns,
            "most_entries": extent.most_entries,
        });
        write!(
            out,
            "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":["
        )?;
        let first = recorder.entry(0).map_or(Time::ZERO, |entry| entry.at);
        self.tracks.begin(first, recorder.known_sources());
        Ok(WriterStep::Survey { first: 0, next: 0 })
    }

    fn survey(&mut self, recorder: &TurnRecorder, first: usize, next: usize) -> WriterStep {
        for index in next..next + SURVEYED_ENTRIES {
            match recorder.entry(index) {
                Some(entry) if !is_pause(entry) => self.tracks.survey(entry),
                _ => return WriterStep::Begin { first, next: 0 },
            }
        }
        let next = next + SURVEYED_ENTRIES;
        WriterStep::Survey { first, next }
    }

    fn begin(&mut self, recorder: &TurnRecorder, first: usize, next: usize) -> WriterStep {
        if next >= self.tracks.slots() {
            return WriterStep::Entries(first);
        }
        let is_to_the_end = !recorder.has_pause_since(first);
        self.tracks.begin_slot(next as u32, is_to_the_end);
        let next = next + 1;
        WriterStep::Begin { first, next }
    }

    fn entry(&mut self, recorder: &TurnRecorder, index: usize) -> WriterStep {
        let after = match recorder.entry(index) {
            Some(entry) if !is_pause(entry) => {
                self.tracks.add(entry);
                return WriterStep::Entries(index + 1);
            }
            Some(entry) => {
                self.tracks.end_loop(entry.at);
                Some(index + 1)
            }
            None => {
                self.tracks.end_loop(recorder.recorded_until());
                None
            }
        };
        WriterStep::End { next: 0, after }
    }

    fn end(&mut self, recorder: &TurnRecorder, next: usize, after: Option<usize>) -> WriterStep {
        if next < self.tracks.slots() {
            self.tracks.end_slot(next as u32);
            let next = next + 1;
            return WriterStep::End { next, after };
        }
        let Some(first) = after else {
            return WriterStep::Done;
        };
        if let Some(EventKind::Paused { until }) = recorder.entry(first - 1).map(|entry| entry.kind)
        {
            self.tracks.pause(until);
        }
        let next = first;
        WriterStep::Survey { first, next }
    }

    fn write_events(&mut self, out: &mut impl Write) -> io::Result<()> {
        for event in self.tracks.events.drain(..) {
            let is_first = !std::mem::replace(&mut self.has_events, true);
            out.write_all(if is_first { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, &event)?;
        }
        Ok(())
    }
}

fn is_pause(entry: &Entry) -> bool {
    matches!(entry.kind, EventKind::Paused { .. })
}

/// Writes what `recorder` holds as a recording, all at once.
///
/// # Errors
///
/// The output's.
pub fn write(recorder: &TurnRecorder, out: &mut impl Write) -> io::Result<()> {
    TraceWriter::default()
        .write_part(recorder, out, usize::MAX)
        .map(drop)
}
