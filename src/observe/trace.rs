//! Recordings in the Chrome trace event format, which Perfetto and chrome://tracing open.
//!
//! **Owns** the format: it writes and reads recordings. **Must never touch** the loop: its input
//! is what the [`TurnRecorder`] holds. **Invariant**: events are in chronological order, and the
//! slices of a track nest.
//!
//! Track 0 is the loop: a slice per turn, in it a slice per phase, and in those the calls of
//! sources. Track N + 1 is slot N: a slice per source, in it a slice per state, and in those the
//! calls. A call that changes the state is in the slice of the state before it.
//! The format: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

mod read;
mod tracks;

pub use read::read;
pub(crate) use read::read_each;

use super::describe::Detail;
use super::recorder::TurnRecorder;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use tracks::Tracks;

/// One event of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The label in the viewer.
    pub name: String,
    /// Its type.
    pub ph: EventType,
    /// When it begins, in microseconds.
    #[serde(rename = "ts")]
    pub begins_us: f64,
    /// How long a slice lasts, in microseconds.
    #[serde(rename = "dur", default, skip_serializing_if = "Option::is_none")]
    pub lasts_us: Option<f64>,
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
    /// A slice: a "complete" event.
    #[serde(rename = "X")]
    Slice,
    /// A point in time.
    #[serde(rename = "i")]
    Instant,
    /// The value of a counter.
    #[serde(rename = "C")]
    Counter,
    /// The name of a process or a track.
    #[serde(rename = "M")]
    Metadata,
}

/// Writes what `recorder` holds as a recording.
///
/// # Errors
///
/// The output's.
pub fn write(recorder: &TurnRecorder, out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"producer\":\"helloop {}\"}},\"traceEvents\":[",
        env!("CARGO_PKG_VERSION")
    )?;
    for (index, event) in Tracks::of(recorder).into_iter().enumerate() {
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &event)?;
    }
    out.write_all(b"\n]}\n")?;
    out.flush()
}
