//! A recording in the Chrome trace event format, which Perfetto and chrome://tracing open.
//!
//! **Owns** the format, to write it and to read it back. **Must never touch** the loop: it is
//! made of what the [`Recorder`] remembers. **Invariant**: the events stand in the order in
//! which things happened; times rise; on each track slices nest.
//!
//! Track 0 is the loop: a slice for each turn, in it one for each phase, and in those the calls
//! of the sources. Track N + 1 is slot N of the slab: a slice for each owner's life, in it its
//! states, and in those its calls. A call that changes the state lies in the state before.
//! The format: "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use super::State;
use super::parse_token;
use super::record::{Did, Entry, Life, Recorder, Story, What};
use crate::reactor::{Phase, Readiness, Time, Token, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

/// The one process of the format's.
const PROCESS: u32 = 1;

/// The loop's track; slot N has N + 1.
const LOOP_TRACK: u64 = 0;

/// One event of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What the viewer shows.
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
    /// What it tells.
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

/// What an event tells: the format's category, and its arguments.
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
        /// What it said.
        readiness: Bits,
        /// Whether there was somebody to hear it.
        current: bool,
    },
    /// A source worked. Its track has the same slice as a [`Detail::Work`].
    Call {
        /// Who.
        token: Who,
        /// What it did.
        did: Did,
        /// What it might try.
        before: Bits,
        /// What is left of that.
        after: Bits,
        /// What it said.
        #[serde(with = "VerdictName")]
        verdict: Verdict,
        /// What it was about before.
        was: State,
        /// What it is about now.
        is: State,
    },
    /// A source was born.
    Born {
        /// Who.
        token: Who,
        /// What it is about.
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
pub fn write(recorder: &Recorder, out: &mut impl Write) -> io::Result<()> {
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
            // What a stranger's file says is quoted in the parser's words.
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

/// The tracks, as they are laid out entry by entry. Slices are written down when they begin, so
/// that the outer one stands before the inner, and get their length when they end.
#[derive(Debug, Default)]
struct Tracks {
    events: Vec<Event>,
    now: Time,
    turn: Option<usize>,
    phase: Option<usize>,
    /// By slot: the open slices of its owner's life and of its state.
    open: HashMap<u32, (usize, usize)>,
}

impl Tracks {
    fn of(recorder: &Recorder) -> Vec<Event> {
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
    fn begin_lives(&mut self, recorder: &Recorder) {
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
                What::Called { call, was, .. } => see(call.token, Some(was)),
                What::Born(token, _) => see(token, None),
                What::Died(_) | What::Marked { .. } | What::Phase(..) | What::Counted { .. } => {}
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
            What::Phase(turn, phase) => self.begin_phase(turn, phase),
            What::Marked {
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
            What::Called { .. } => self.call(entry),
            What::Born(token, state) => {
                let who = Who(token);
                self.instant(format!("{token} born"), Detail::Born { token: who, state });
                self.begin_life(token, state);
            }
            What::Died(token) => {
                self.instant(format!("{token} gone"), Detail::Died { token: Who(token) });
                self.end_life(token.key);
            }
            What::Counted {
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

    fn begin_phase(&mut self, turn: u64, phase: Phase) {
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
            Phase::Wait(timeout) => (
                match timeout {
                    None => "wait for ever".to_owned(),
                    Some(Duration::ZERO) => "wait not at all".to_owned(),
                    Some(timeout) => format!("wait {timeout:?}"),
                },
                Detail::Wait {
                    timeout_us: timeout.map(microseconds),
                },
            ),
            Phase::Mark => ("mark".to_owned(), Detail::Phase {}),
            Phase::Drive => ("drive".to_owned(), Detail::Phase {}),
            Phase::Expire => ("expire".to_owned(), Detail::Phase {}),
            Phase::Settle => ("settle".to_owned(), Detail::Phase {}),
            Phase::Between => ("between turns".to_owned(), Detail::Phase {}),
        };
        self.phase = Some(self.begin(LOOP_TRACK, name, detail));
    }

    /// The call on the loop's track and on its slot's, and the change of state that it made.
    fn call(&mut self, entry: &Entry) {
        let What::Called {
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
