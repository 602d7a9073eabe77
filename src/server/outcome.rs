//! How a run ended, and what it amounted to.
//!
//! **Owns** the words and the exit code for both. **Must never touch** the server.
//! **Invariant**: the exit code is 0 only if everybody got what they were owed.

use std::fmt;
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody got what they were owed.
    Drained,
    /// Time ran out, and so many clients were still owed replies.
    CutOff(usize),
}

impl Outcome {
    /// The exit code that tells it: 0, or 1 where clients were cut off.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::CutOff(_) => 1,
        }
    }
}

/// What a run amounted to, in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// TCP clients accepted.
    pub clients: u64,
    /// Messages they completed.
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
            "served {} clients, {} messages, {} datagrams in {}",
            self.clients,
            self.messages,
            self.datagrams,
            humantime::format_duration(up)
        )
    }
}
