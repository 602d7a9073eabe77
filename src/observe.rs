//! Makes the loop visible: as a recording, in a terminal and in a browser.
//!
//! **Owns** how a loop's work is recorded, described and served. **Must never touch** the work of
//! a source or the program that runs the loop: the program implements [`Observable`] and answers
//! questions between turns. **Invariant**: nothing is recorded unless the program asks for it, and what
//! is recorded costs a bounded amount: a ring of turns, a limited number of observers, ten snapshots
//! per second; a search of the ring, or a file of it, takes many turns.
//!
//! - [`recorder`] keeps the last turns, and [`measures`] their histograms and sums. [`trace`] writes
//!   turns in the Chrome trace event format, `file` saves that as a file, and [`show`] prints it in a
//!   terminal. [`describe`] holds the wording that they and the page share.
//! - [`listener`] accepts observers. [`observer`] is one connection: `http` on the observed loop
//!   itself. `answer` routes its requests. A question about all sources goes to [`requests`]; the
//!   program answers it between turns with `metrics`, a `snapshot`, the `history` of a slot, or an
//!   `excerpt` of the recording.

pub(crate) mod answer;
pub(crate) mod describe;
pub(crate) mod excerpt;
pub(crate) mod file;
pub(crate) mod history;
pub(crate) mod http;
pub(crate) mod lanes;
pub(crate) mod listener;
pub(crate) mod measures;
pub(crate) mod metrics;
pub(crate) mod observer;
pub(crate) mod recorder;
pub(crate) mod requests;
pub(crate) mod show;
pub(crate) mod snapshot;
pub(crate) mod trace;

use crate::reactor::{Source, Token};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What the source in a slot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A client whose welcome, or refusal, is not sent yet.
    Greeting,
    /// A client with no replies pending: the server waits for its next message.
    Waiting,
    /// A client with unsent replies, which wait until its socket is writable.
    Owed,
    /// A client with replies held back by `--delay`.
    Held,
    /// A client that was sent everything: its remaining input is read and discarded.
    Lingering,
    /// A listening socket.
    Listener,
    /// A UDP socket.
    Datagrams,
    /// The source that receives signals.
    Signals,
    /// A connection of an observer, or the listener that accepts observers.
    Observer,
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A formatter is a serializer of unit variants: the name is the one in a recording.
        self.serialize(formatter)
    }
}

/// The counters of a program that a call of a source can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkCounters {
    /// Connections accepted so far.
    pub accepted: u64,
    /// Messages completed so far.
    pub messages: u64,
    /// Calls of `read` so far.
    #[serde(skip)]
    pub reads: u64,
    /// Bytes read so far.
    pub bytes_in: u64,
    /// Calls of `write` so far.
    #[serde(skip)]
    pub writes: u64,
    /// Bytes written so far.
    pub bytes_out: u64,
    /// Datagrams received so far.
    pub datagrams: u64,
    /// Datagrams answered so far.
    #[serde(skip)]
    pub answered: u64,
    /// Clients connected now.
    pub clients: u64,
    /// Memory allocated for all clients now, in bytes: unsent replies and incomplete lines.
    pub buffered: u64,
    /// Connections refused so far.
    pub refused: u64,
    /// Connections that the client has reset so far.
    pub reset: u64,
    /// Connections closed by a timeout so far.
    pub timed_out: u64,
}

/// A source that can be observed.
pub trait Observable: Source {
    /// What the source is doing now.
    fn state(&self) -> State;

    /// The counters of the program now.
    fn counters(shared: &Self::Shared) -> WorkCounters;
}

/// Selects sources by slot: all that were ever in it, or the one of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenFilter {
    /// The slot.
    pub key: u32,
    /// The generation; `None` selects all.
    pub generation: Option<u32>,
}

impl TokenFilter {
    /// Whether `token` is selected.
    #[must_use]
    pub fn matches(self, token: Token) -> bool {
        let Self { key, generation } = self;
        token.key == key && generation.is_none_or(|generation| generation == token.generation)
    }
}

/// Reads what [`Token`]'s `Display` writes, `#3.0`; also `3.0`, and `3` for all generations.
impl FromStr for TokenFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text.strip_prefix('#').unwrap_or(text);
        let (key, generation) = match bare.split_once('.') {
            Some((key, generation)) => (key.parse(), generation.parse().map(Some)),
            None => (bare.parse(), Ok(None)),
        };
        match (key, generation) {
            (Ok(key), Ok(generation)) => Ok(Self { key, generation }),
            _ => Err(format!(
                "{} is not a token: write one like #3.0",
                text.escape_debug()
            )),
        }
    }
}

/// `duration` in microseconds, the unit of trace viewers. Exact to the nanosecond up to 100 days: a
/// double has 53 bits.
#[allow(clippy::cast_precision_loss)]
fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_parsed_from_its_display_text() {
        let token = Token {
            key: 17,
            generation: 4,
        };
        let parse = |text: &str| text.parse::<TokenFilter>();
        let parsed = parse(&token.to_string()).unwrap();
        assert_eq!((parsed.key, parsed.generation), (17, Some(4)));
        assert!(parsed.matches(token) && parse("17").unwrap().matches(token));
        assert!(!parse("17.3").unwrap().matches(token));
        for text in ["", "#", "#x.1", "1.", "-1", "4294967296", "\u{1b}[2J"] {
            let message = parse(text).unwrap_err();
            assert!(!message.contains(char::is_control), "{message:?}");
        }
    }

    #[test]
    fn a_state_is_displayed_as_it_is_recorded() {
        assert_eq!(format!("{:>8}", State::Held), "    held");
        assert_eq!(serde_json::to_string(&State::Held).unwrap(), "\"held\"");
    }
}
