//! What happens in a loop: as data, and as text.
//!
//! **Owns** [`Detail`], the content of a recorded event, and the wording that a recording's slices,
//! `helloop show` and the page share. **Must never touch** a source, the recorder or a file.
//! **Invariant**: all text is built from parsed values, so that no byte of a file is shown
//! verbatim.

use super::{State, TokenFilter, WorkCounters};
use crate::reactor::{CallReport, Readiness, Token, TurnPhase, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The phases of a turn in order, and the time between turns.
pub(crate) const PHASES: [&str; 6] = ["wait", "mark", "drive", "expire", "settle", "between turns"];

/// The index of a phase in [`PHASES`].
pub(crate) fn phase_index(phase: TurnPhase) -> usize {
    match phase {
        TurnPhase::Wait(_) => 0,
        TurnPhase::Mark => 1,
        TurnPhase::Drive => 2,
        TurnPhase::Expire => 3,
        TurnPhase::Settle => 4,
        TurnPhase::Between => 5,
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// What one call of a source did: the difference of the program's [`WorkCounters`]. A recording has
/// only what is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallStats {
    /// Connections accepted.
    #[serde(skip_serializing_if = "is_zero")]
    pub accepted: u32,
    /// Messages completed.
    #[serde(skip_serializing_if = "is_zero")]
    pub messages: u32,
    /// Calls of `read`.
    #[serde(skip_serializing_if = "is_zero")]
    pub reads: u32,
    /// Bytes read.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u32,
    /// Calls of `write`.
    #[serde(skip_serializing_if = "is_zero")]
    pub writes: u32,
    /// Bytes written.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u32,
    /// Datagrams received.
    #[serde(skip_serializing_if = "is_zero")]
    pub datagrams: u32,
    /// Datagrams answered.
    #[serde(skip_serializing_if = "is_zero")]
    pub answered: u32,
}

impl CallStats {
    /// What moved the counters from `before` to `after`.
    #[must_use]
    pub fn between(before: &WorkCounters, after: &WorkCounters) -> Self {
        let moved = |before: u64, after: u64| {
            u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX)
        };
        Self {
            accepted: moved(before.accepted, after.accepted),
            messages: moved(before.messages, after.messages),
            reads: moved(before.reads, after.reads),
            bytes_in: moved(before.bytes_in, after.bytes_in),
            writes: moved(before.writes, after.writes),
            bytes_out: moved(before.bytes_out, after.bytes_out),
            datagrams: moved(before.datagrams, after.datagrams),
            answered: moved(before.answered, after.answered),
        }
    }
}

/// One call of a source. Its `Display` text is one line: `read 12 B; park (waiting -> held)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// The source.
    #[serde(with = "as_text")]
    pub token: Token,
    /// What the call did.
    #[serde(rename = "did")]
    pub stats: CallStats,
    /// The readiness before the call.
    #[serde(with = "as_text")]
    pub before: Readiness,
    /// The readiness that was left.
    #[serde(with = "as_text")]
    pub after: Readiness,
    /// The verdict that the source returned.
    #[serde(with = "VerdictName")]
    pub verdict: Verdict,
    /// The state before the call, if it was another. Recordings of earlier versions always have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<State>,
    /// The state after it.
    pub is: State,
}

impl CallRecord {
    pub(crate) fn new(call: CallReport, stats: CallStats, was: State, is: State) -> Self {
        Self {
            token: call.token,
            stats,
            before: call.before,
            after: call.after,
            verdict: call.verdict,
            was: Some(was).filter(|was| *was != is),
            is,
        }
    }

    /// What was done, and which operation would have blocked: `read 12 B, write 17 B`,
    /// `accept x3`, `write 40 B -> would block`.
    pub(crate) fn work(&self) -> String {
        let stats = &self.stats;
        let is_spent = |bit| self.before.contains(bit) && !self.after.contains(bit);
        let blocked = |bit| if is_spent(bit) { " -> would block" } else { "" };
        let bytes = |count| match count {
            0 => String::new(),
            count => format!(" {count} B"),
        };
        let mut parts = Vec::new();
        if stats.accepted > 0 {
            let end = blocked(Readiness::READABLE);
            parts.push(format!("accept x{}{end}", stats.accepted));
        }
        if stats.reads > 0 {
            let end = match (is_spent(Readiness::READABLE), stats.bytes_in) {
                (true, _) if self.before.contains(Readiness::CLOSED) => " -> end",
                (true, 0) => " -> would block",
                _ => "",
            };
            parts.push(format!("read{}{end}", bytes(stats.bytes_in)));
        }
        if stats.datagrams > 0 {
            parts.push(format!("receive x{}", stats.datagrams));
        }
        if stats.answered > 0 {
            parts.push(format!("answer x{}", stats.answered));
        }
        if stats.writes > 0 {
            let end = blocked(Readiness::WRITABLE);
            parts.push(format!("write{}{end}", bytes(stats.bytes_out)));
        }
        if parts.is_empty() {
            return "nothing".to_owned();
        }
        parts.join(", ")
    }
}

impl fmt::Display for CallRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; ", self.work())?;
        // A formatter is a serializer of unit variants.
        VerdictName::serialize(&self.verdict, &mut *formatter)?;
        if let Some(was) = self.was.filter(|was| *was != self.is) {
            write!(formatter, " ({was} -> {})", self.is)?;
        }
        Ok(())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Verdict", rename_all = "lowercase")]
enum VerdictName {
    Park,
    Hold,
    Again,
    Close,
}

/// The content of a recorded event: its category and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cat", content = "args", rename_all = "lowercase")]
pub enum Detail {
    /// Names a process or a track.
    Name {
        /// The name.
        name: String,
    },
    /// The place of a track among the others. Without it, viewers may sort slot 10 before slot 2.
    Place {
        /// Tracks are drawn in this order.
        sort_index: u64,
    },
    /// One turn, with the wait before it.
    Turn {
        /// Its number.
        turn: u64,
    },
    /// The wait for events.
    Wait {
        /// The timeout in microseconds; `None`: no timeout.
        timeout_us: Option<f64>,
    },
    /// Another phase of a turn.
    Phase {},
    /// The poll returned an event.
    Mark {
        /// The source.
        #[serde(with = "as_text")]
        token: Token,
        /// The readiness that it announced.
        #[serde(with = "as_text")]
        readiness: Readiness,
        /// Whether the source still existed; absent if it did.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        current: bool,
    },
    /// A source was called.
    Call(CallRecord),
    /// A source was added.
    Born {
        /// The source.
        #[serde(with = "as_text")]
        token: Token,
        /// Its state.
        state: State,
    },
    /// A source was removed.
    Died {
        /// The source.
        #[serde(with = "as_text")]
        token: Token,
    },
    /// On the track of a slot: the lifetime of a source.
    #[serde(rename = "life")]
    Lifetime {},
    /// On the track of a slot: the source is in one state.
    State {},
    /// On the track of a slot: a call of the source. Only in recordings of earlier versions, which
    /// had each call on two tracks.
    Work {},
    /// A counter.
    Count {
        /// Its value.
        value: u64,
    },
    /// Nothing was recorded: a recording was being saved.
    Pause {},
}

/// One line of `helloop show`, and of the history of a slot on the page.
#[derive(Debug)]
pub(crate) struct Line {
    /// The source that it is about.
    pub(crate) token: Option<Token>,
    pub(crate) event: &'static str,
    pub(crate) text: String,
}

impl Detail {
    /// The line for an event in the phase named `phase`; `None` if the event only lays out tracks.
    pub(crate) fn line(&self, phase: &str) -> Option<Line> {
        let (token, event, text) = match self {
            Self::Wait { timeout_us } => (None, "wait", wait_text(*timeout_us)),
            Self::Mark {
                token,
                readiness,
                current,
            } => {
                let gone = match current {
                    true => "",
                    false => ", for one that is gone",
                };
                (Some(*token), "event", format!("{readiness}{gone}"))
            }
            Self::Call(call) => {
                let event = match phase {
                    "drive" => "drive",
                    "expire" => "expire",
                    _ => "visit",
                };
                (Some(call.token), event, call.to_string())
            }
            Self::Born { token, state } => (Some(*token), "born", state.to_string()),
            Self::Died { token } => (Some(*token), "gone", "its slot is free".to_owned()),
            Self::Pause {} => (None, "paused", "while a recording was saved".to_owned()),
            Self::Name { .. }
            | Self::Place { .. }
            | Self::Turn { .. }
            | Self::Phase {}
            | Self::Lifetime {}
            | Self::State {}
            | Self::Work {}
            | Self::Count { .. } => return None,
        };
        Some(Line { token, event, text })
    }
}

/// The timeout of a wait, given in microseconds. A number that is not a duration counts as 0: a file
/// may contain any number.
pub(crate) fn wait_text(timeout_us: Option<f64>) -> String {
    match timeout_us.map(|timeout| Duration::try_from_secs_f64(timeout / 1e6)) {
        None => "forever".to_owned(),
        Some(Ok(timeout)) if !timeout.is_zero() => format!("up to {timeout:?}"),
        Some(_) => "not at all".to_owned(),
    }
}

/// The names of the readiness bits in a recording.
const BIT_NAMES: [(Readiness, &str); 3] = [
    (Readiness::READABLE, "readable"),
    (Readiness::WRITABLE, "writable"),
    (Readiness::CLOSED, "closed"),
];

/// As in `readable+closed`.
impl fmt::Display for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_set = |bit: &&(Self, &str)| self.contains(bit.0);
        let names: Vec<&str> = BIT_NAMES.iter().filter(is_set).map(|bit| bit.1).collect();
        formatter.write_str(&names.join("+"))
    }
}

impl FromStr for Readiness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut readiness = Self::empty();
        for name in text.split('+').filter(|name| !name.is_empty()) {
            let known = BIT_NAMES.iter().find(|(_, known)| *known == name);
            let unknown = || format!("{} is not a readiness", name.escape_debug());
            readiness |= known.ok_or_else(unknown)?.0;
        }
        Ok(readiness)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let TokenFilter { key, generation } = text.parse()?;
        let missing = || format!("{} has no generation", text.escape_debug());
        let generation = generation.ok_or_else(missing)?;
        Ok(Self { key, generation })
    }
}

/// Serializes a value as its `Display` text, and parses it from that.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::{fmt::Display, str::FromStr};

    pub(super) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_described_by_what_it_did() {
        let all = Readiness::READABLE | Readiness::WRITABLE;
        let closed = all | Readiness::CLOSED;
        let (read, write) = (Readiness::READABLE, Readiness::WRITABLE);
        let work = |stats, before, after| {
            let token = Token {
                key: 0,
                generation: 0,
            };
            let call = CallReport {
                token,
                before,
                after,
                verdict: Verdict::Park,
            };
            CallRecord::new(call, stats, State::Waiting, State::Waiting).work()
        };
        let stats = |bytes_in, bytes_out| CallStats {
            reads: 1,
            bytes_in,
            writes: u32::from(bytes_out > 0),
            bytes_out,
            ..CallStats::default()
        };
        assert_eq!(work(stats(12, 17), all, write), "read 12 B, write 17 B");
        assert_eq!(work(stats(0, 0), all, write), "read -> would block");
        assert_eq!(work(stats(7, 0), closed, write), "read 7 B -> end");
        let full = CallStats {
            writes: 2,
            bytes_out: 40,
            ..CallStats::default()
        };
        assert_eq!(
            work(full, write, Readiness::empty()),
            "write 40 B -> would block"
        );
        let accepted = CallStats {
            accepted: 3,
            ..CallStats::default()
        };
        assert_eq!(work(accepted, read, read), "accept x3");
        assert_eq!(work(CallStats::default(), all, all), "nothing");
    }

    #[test]
    fn a_wait_is_described_by_its_timeout() {
        assert_eq!(wait_text(None), "forever");
        assert_eq!(wait_text(Some(0.0)), "not at all");
        assert_eq!(wait_text(Some(500_000.0)), "up to 500ms");
        assert_eq!(wait_text(Some(-1.0)), "not at all");
    }
}
