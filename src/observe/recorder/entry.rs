//! What the ring of the last turns consists of.
//!
//! **Owns** the kinds of events that are recorded. **Must never touch** the ring.
//! **Invariant**: an entry is a few plain values, so that recording it is a copy.

use crate::observe::State;
use crate::observe::describe::CallRecord;
use crate::reactor::{Readiness, Time, Token, TurnPhase};
use std::time::Duration;

/// One event of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened; for a call, when it returned.
    pub at: Time,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A phase of this turn began.
    TurnPhase(u64, TurnPhase),
    /// An event arrived.
    Marked {
        /// For which source.
        token: Token,
        /// The readiness it reported.
        readiness: Readiness,
        /// Whether the source still existed.
        is_current: bool,
    },
    /// A source was called.
    Called {
        /// The call.
        call: CallRecord,
        /// When it began.
        began: Time,
    },
    /// A source was added.
    Born(Token, State),
    /// A source was removed.
    Died(Token),
    /// The program's counters at the end of the turn.
    Counted {
        /// Clients connected.
        clients: u64,
        /// Bytes buffered for them.
        buffered: u64,
        /// Events of this turn.
        events: u32,
    },
    /// What of the turn was spent on observers, if anything.
    Observed {
        /// Calls of their sources.
        drive: Duration,
        /// Their answers, made between turns.
        between: Duration,
    },
    /// Nothing was recorded until then: a recording was being saved.
    Paused {
        /// When recording went on.
        until: Time,
    },
}

impl EventKind {
    /// The source concerned, if any.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Marked { token, .. } | Self::Born(token, _) | Self::Died(token) => Some(*token),
            Self::Called { call, .. } => Some(call.token),
            Self::TurnPhase(..)
            | Self::Counted { .. }
            | Self::Observed { .. }
            | Self::Paused { .. } => None,
        }
    }
}
