//! How a run ended, and its summary.
//!
//! **Owns** the exit code, the limits that can end a client in a drain, and the text of the
//! summary. **Must never touch** the server. **Invariant**: the exit code is 0 only if every client
//! was sent what it was owed.

use crate::units::count;
use enum_map::{Enum, EnumMap};
use std::fmt;
use std::time::Duration;

/// A limit that ran out during a drain while a client was owed replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum DrainLimit {
    /// `--drain-timeout`.
    DrainTimeout,
    /// `--write-timeout`: the client read none of its replies.
    WriteTimeout,
    /// `--max-buffered`, of all clients together.
    MaxBuffered,
    /// The bytes that a drain reads of one client.
    ClientBytes,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every client was sent what it was owed.
    Drained,
    /// A limit ran out during the drain while this many clients were owed replies.
    CutOff(u64),
}

impl Outcome {
    /// The exit code: 1 if clients were cut off, 0 otherwise.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        u8::from(self != Self::Drained)
    }
}

/// The summary of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// TCP clients accepted.
    pub clients: u64,
    /// Their messages.
    pub messages: u64,
    /// Datagrams answered.
    pub datagrams: u64,
    /// How long the server ran.
    pub up: Duration,
    /// Clients cut off during the drain, by the limit that ran out.
    pub cut_off: EnumMap<DrainLimit, u64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = Duration::from_millis(self.up.as_millis() as u64);
        write!(
            formatter,
            "served {}, {}, {} in {}",
            count(self.clients, "client", "clients"),
            count(self.messages, "message", "messages"),
            count(self.datagrams, "datagram", "datagrams"),
            humantime::format_duration(up)
        )
    }
}
