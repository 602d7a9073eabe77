//! How a run ended, and its summary.
//!
//! **Owns** the text and the exit code of both. **Must never touch** the server.
//! **Invariant**: the exit code is 0 only if every client was sent what it was owed.

use std::fmt;
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every client was sent what it was owed.
    Drained,
    /// The drain ran out of time while this many clients were owed replies.
    CutOff(usize),
}

impl Outcome {
    /// The exit code: 0, or 1 if clients were cut off.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::CutOff(_) => 1,
        }
    }
}

/// The summary of a run, in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// TCP clients accepted.
    pub clients: u64,
    /// Messages that they completed.
    pub messages: u64,
    /// Datagrams answered.
    pub datagrams: u64,
    /// How long the server was up.
    pub up: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = Duration::from_millis(u64::try_from(self.up.as_millis()).unwrap_or(u64::MAX));
        write!(
            formatter,
            "served {}, {}, {} in {}",
            plural(self.clients, "client"),
            plural(self.messages, "message"),
            plural(self.datagrams, "datagram"),
            humantime::format_duration(up)
        )
    }
}

/// `1 client`, `2 clients`.
#[must_use]
pub fn plural(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
