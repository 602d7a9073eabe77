//! The loop made visible: to a file, to a terminal, to a browser.
//!
//! **Owns** the words in which a loop's work is shown. **Must never touch** a source's work, nor
//! the program whose sources they are: that says through [`Observable`] what it shows, and hands
//! over what it counts between turns. **Invariant**: what is not looked at costs nothing, and
//! what is costs a bounded amount: a ring of turns, a limited number of observers, ten snapshots
//! a second.
//!
//! - [`recorder`] remembers the last turns; [`trace`] writes them as a recording in the Chrome
//!   trace event format to a [`mod@file`], and [`show`] prints one as a ladder.
//! - [`listener`] lets observers in, [`observer`] is one of them: [`http`] on the loop itself.
//!   [`answer`] says what is where. EventKind needs a look at all sources is asked on the [`requests`]
//!   and answered by the program between turns, as [`metrics`], [`snapshot`] or [`history`].

pub mod answer;
pub mod describe;
pub mod file;
pub mod history;
pub mod http;
pub mod listener;
pub mod metrics;
pub mod observer;
pub mod recorder;
pub mod requests;
pub mod show;
pub mod snapshot;
pub mod trace;

use crate::reactor::{Source, Token};
use serde::{Deserialize, Serialize};
use std::fmt;

/// EventKind the owner of a slot is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A client that is still to be welcomed, or refused.
    Greeting,
    /// A client that is owed nothing: the next word is its own.
    Waiting,
    /// A client whose replies wait for its socket to take them.
    Owed,
    /// A client whose replies wait for `--delay`.
    Held,
    /// A client that was sent everything; the rest of what it says is thrown away.
    Lingering,
    /// A listening socket.
    Listener,
    /// A UDP socket.
    Datagrams,
    /// The signals.
    Signals,
    /// A connection, or the listener, of those who watch.
    Observer,
}

impl State {
    /// All states.
    pub const ALL: [Self; 9] = [
        Self::Greeting,
        Self::Waiting,
        Self::Owed,
        Self::Held,
        Self::Lingering,
        Self::Listener,
        Self::Datagrams,
        Self::Signals,
        Self::Observer,
    ];

    /// The state in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Waiting => "waiting",
            Self::Owed => "owed",
            Self::Held => "held",
            Self::Lingering => "lingering",
            Self::Listener => "listener",
            Self::Datagrams => "datagrams",
            Self::Signals => "signals",
            Self::Observer => "observer",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// EventKind a program counts, as far as a single call of a source moves it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkCounters {
    /// Connections accepted so far.
    pub accepted: u64,
    /// Messages completed so far.
    pub messages: u64,
    /// Calls of `read` so far.
    pub reads: u64,
    /// Bytes read so far.
    pub bytes_in: u64,
    /// Calls of `write` so far.
    pub writes: u64,
    /// Bytes written so far.
    pub bytes_out: u64,
    /// Datagrams received so far.
    pub datagrams: u64,
    /// Datagrams answered so far.
    pub answered: u64,
    /// Clients connected at present.
    pub clients: u64,
    /// Bytes kept for all of them at present.
    pub owed: u64,
}

/// A source that can be looked at.
pub trait Observable: Source {
    /// EventKind it is about at present.
    fn state(&self) -> State;

    /// EventKind the program has counted up to now.
    fn counters(shared: &Self::Shared) -> WorkCounters;
}

/// Reads back what [`Token`]'s `Display` wrote: `#3.0`, or `3.0`, or the slot alone, of which
/// every owner is then meant.
///
/// # Errors
///
/// The words for the person who wrote something else.
pub fn parse_token(text: &str) -> Result<(u32, Option<u32>), String> {
    let wrong = || {
        format!(
            "{} is no token; one is written as in #3.0",
            text.escape_debug()
        )
    };
    let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong());
    let bare = text.strip_prefix('#').unwrap_or(text);
    match bare.split_once('.') {
        Some((key, generation)) => Ok((number(key)?, Some(number(generation)?))),
        None => Ok((number(bare)?, None)),
    }
}

/// Whether `token` is what [`parse_token`] returned.
#[must_use]
pub fn is_meant(token: Token, (key, generation): (u32, Option<u32>)) -> bool {
    token.key == key && generation.is_none_or(|generation| token.generation == generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_as_it_was_shown() {
        let token = Token {
            key: 17,
            generation: 4,
        };
        let parsed = parse_token(&token.to_string()).unwrap();
        assert_eq!(parsed, (17, Some(4)));
        assert!(is_meant(token, parsed) && is_meant(token, parse_token("17").unwrap()));
        assert!(!is_meant(token, parse_token("17.3").unwrap()));
        for text in ["", "#", "#x.1", "1.", "-1", "4294967296", "\u{1b}[2J"] {
            let words = parse_token(text).unwrap_err();
            assert!(!words.contains(char::is_control), "{words:?}");
        }
    }

    #[test]
    fn each_state_has_its_place_and_its_word() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index);
            assert_eq!(
                serde_json::to_string(&state).unwrap(),
                format!("\"{}\"", state.name())
            );
        }
    }
}
