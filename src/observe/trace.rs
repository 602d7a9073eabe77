//! A recording in the Chrome trace event format, which Perfetto and chrome://tracing open.
//!
//! **Owns** the format, to write it and to read it back. **Must never touch** the loop: it is
//! made of what the [`TurnRecorder`] remembers. **Invariant**: the events stand in the order in
//! which things happened; times rise; on each track slices nest.
//!
//! Track 0 is the loop: a slice for each turn, in it one for each phase, and in those the calls
//! of the sources. Track N + 1 is slot N of the slab: a slice for each owner's life, in it its
//! states, and in those its calls. A call that changes the state lies in the state before.
//! The format: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

mod tracks;

use super::describe::CallStats;
use super::recorder::TurnRecorder;
use super::{State, parse_token};
use crate::reactor::{Readiness, Token, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Read, Write};
use tracks::Tracks;

/// The one process of the format's.
const PROCESS: u32 = 1;

/// The loop's track; slot N has N + 1.
const LOOP_TRACK: u64 = 0;

/// One event of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// EventKind the viewer shows.
    pub name: String,
    /// Its kind.
    pub ph: Kind,
    /// When it begins, in microseconds.
    #[serde(rename = "ts")]
    pub begins_us: f64,
    /// How long it lasts, in microseconds, if it is a slice.
    #[serde(rename = "dur", default, skip_serializing_if = "Option::is_none")]
    pub lasts_us: Option<f64>,
    /// The process.
    pub pid: u32,
    /// The track.
    pub tid: u64,
    /// EventKind it tells.
    #[serde(flatten)]
    pub detail: Detail,
}

/// The kinds of events that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A complete slice.
    #[serde(rename = "X")]
    Slice,
    /// A moment.
    #[serde(rename = "i")]
    Instant,
    /// A counter's value.
    #[serde(rename = "C")]
    Counter,
    /// The name of a process or a track.
    #[serde(rename = "M")]
    Name,
}

/// EventKind an event tells: the format's category, and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cat", content = "args", rename_all = "lowercase")]
pub enum Detail {
    /// The name of the process or the track.
    Name {
        /// In words.
        name: String,
    },
    /// One turn, its wait included.
    Turn {
        /// Its number.
        turn: u64,
    },
    /// The wait: at most so long, in microseconds; `None`: for ever.
    Wait {
        /// As the poll was asked.
        timeout_us: Option<f64>,
    },
    /// Another phase.
    Phase {},
    /// An event came.
    Mark {
        /// For whom.
        token: Who,
        /// EventKind it said.
        readiness: Bits,
        /// Whether there was somebody to hear it.
        current: bool,
    },
    /// A source worked. Its track has the same slice as a [`Detail::Work`].
    Call {
        /// Who.
        token: Who,
        /// EventKind it did.
        did: CallStats,
        /// EventKind it might try.
        before: Bits,
        /// EventKind is left of that.
        after: Bits,
        /// EventKind it said.
        #[serde(with = "VerdictName")]
        verdict: Verdict,
        /// EventKind it was about before.
        was: State,
        /// EventKind it is about now.
        is: State,
    },
    /// A source was born.
    Born {
        /// Who.
        token: Who,
        /// EventKind it is about.
        state: State,
    },
    /// A source is gone.
    Died {
        /// Who.
        token: Who,
    },
    /// On a slot's track: its owner.
    Life {},
    /// On a slot's track: what its owner is about.
    State {},
    /// On a slot's track: its owner works.
    Work {},
    /// A counter.
    Count {
        /// Its value.
        value: u64,
    },
}

/// A [`Token`] as the recording has it: `#3.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Who(pub Token);

impl From<Who> for String {
    fn from(who: Who) -> Self {
        who.0.to_string()
    }
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match parse_token(&text)? {
            (key, Some(generation)) => Ok(Self(Token { key, generation })),
            (_, None) => Err(format!("{} has no generation", text.escape_debug())),
        }
    }
}

/// A [`Readiness`] as the recording has it: `readable+closed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Bits(pub Readiness);

/// How a recording writes readiness; read back by the same words.
const BIT_NAMES: [(Readiness, &str); 3] = [
    (Readiness::READABLE, "readable"),
    (Readiness::WRITABLE, "writable"),
    (Readiness::CLOSED, "closed"),
];

impl fmt::Display for Bits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = BIT_NAMES
            .iter()
            .filter(|(bit, _)| self.0.contains(*bit))
            .map(|(_, name)| *name)
            .collect();
        formatter.write_str(&names.join("+"))
    }
}

impl From<Bits> for String {
    fn from(bits: Bits) -> Self {
        bits.to_string()
    }
}

impl TryFrom<String> for Bits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut readiness = Readiness::NONE;
        for name in text.split('+').filter(|name| !name.is_empty()) {
            let known = BIT_NAMES.iter().find(|(_, known)| *known == name);
            let (bit, _) =
                known.ok_or_else(|| format!("{} is no readiness", name.escape_debug()))?;
            readiness |= *bit;
        }
        Ok(Self(readiness))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict", rename_all = "lowercase")]
enum VerdictName {
    Park,
    Again,
    Close,
}

/// Writes what `recorder` remembers.
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

/// Why a file is no recording.
#[derive(Debug)]
pub enum Error {
    /// It could not be read.
    Io(io::Error),
    /// It is not JSON, or not in the words of a recording of helloop's.
    Format(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(formatter, "cannot be read: {error}"),
            // EventKind a stranger's file says is quoted in the parser's words.
            Self::Format(error) => write!(
                formatter,
                "is not a recording of `helloop serve --record`: {}",
                error.to_string().escape_debug()
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Reads a recording back.
///
/// # Errors
///
/// It cannot be read, or is none.
pub fn read(input: impl Read) -> Result<Vec<Event>, Error> {
    #[derive(Deserialize)]
    struct Recording {
        #[serde(rename = "traceEvents")]
        events: Vec<Event>,
    }
    serde_json::from_reader::<_, Recording>(io::BufReader::new(input))
        .map(|recording| recording.events)
        .map_err(|error| {
            if error.is_io() {
                Error::Io(error.into())
            } else {
                Error::Format(error)
            }
        })
}
