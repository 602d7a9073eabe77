//! Prints a recording as a ladder: time, turn, token, what happened.
//!
//! **Owns** the layout of the ladder. **Must never touch** a file: it reads from its input and
//! writes to its output. **Invariant**: every line is built from parsed values, so that a
//! recording from an untrusted source cannot control the terminal.

use super::TokenFilter;
use super::describe::{Detail, Line};
use super::trace::{self, Event, EventType};
use std::fmt;
use std::io::{self, Read, Write};

/// Which lines are printed; all by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this turn.
    pub turn: Option<u64>,
    /// Only those about these sources.
    pub token: Option<TokenFilter>,
}

/// Why no ladder was printed.
#[derive(Debug)]
pub enum Error {
    /// The input cannot be read, or is not a recording.
    Input(serde_json::Error),
    /// No line passes the filter.
    Nothing,
    /// The output cannot be written.
    Output(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) if error.is_io() => write!(formatter, "cannot be read: {error}"),
            // The parser's message quotes the input.
            Self::Input(error) => write!(
                formatter,
                "is not a recording of `helloop serve --record`: {}",
                error.to_string().escape_debug()
            ),
            Self::Nothing => formatter.write_str("has no event of that turn or token"),
            Self::Output(error) => write!(formatter, "cannot be shown: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// Prints the recording in `input` as a ladder.
///
/// # Errors
///
/// See [`Error`].
pub fn show(input: impl Read, filter: Filter, out: &mut impl Write) -> Result<(), Error> {
    let events = trace::read(input).map_err(Error::Input)?;
    let mut ladder = Ladder {
        filter,
        turn: 0,
        phase: "",
        shown_turn: None,
        shown_us: 0.0,
        out,
    };
    for event in &events {
        ladder.add(event).map_err(Error::Output)?;
    }
    if ladder.shown_turn.is_none() && filter != Filter::default() {
        return Err(Error::Nothing);
    }
    Ok(())
}

struct Ladder<'a, W> {
    filter: Filter,
    /// The turn and the phase of the current event.
    turn: u64,
    phase: &'a str,
    /// The turn of the last line; `None` before the first.
    shown_turn: Option<u64>,
    /// The time of the last line, in microseconds.
    shown_us: f64,
    out: &'a mut W,
}

impl<'a, W: Write> Ladder<'a, W> {
    fn add(&mut self, event: &'a Event) -> io::Result<()> {
        if event.ph == EventType::End {
            return Ok(());
        }
        match &event.detail {
            Detail::Turn { turn } => self.turn = *turn,
            Detail::Phase {} => self.phase = &event.name,
            detail => {
                let line = detail.line(self.phase);
                if let Some(line) = line.filter(|line| self.is_wanted(line)) {
                    self.print(event.begins_us, &line)?;
                }
            }
        }
        Ok(())
    }

    fn is_wanted(&self, line: &Line) -> bool {
        let Filter { turn, token } = self.filter;
        let matches = |filter: TokenFilter| line.token.is_some_and(|token| filter.matches(token));
        turn.is_none_or(|turn| turn == self.turn) && token.is_none_or(matches)
    }

    /// Prints one line: the turn's number only once, and the time only where it changes.
    fn print(&mut self, at_us: f64, line: &Line) -> io::Result<()> {
        if self.shown_turn.is_none() {
            writeln!(self.out, "    seconds    turn  token   what happened")?;
        }
        let is_new_turn = self.shown_turn.replace(self.turn) != Some(self.turn);
        let is_new_time = std::mem::replace(&mut self.shown_us, at_us) != at_us;
        let turn = is_new_turn.then(|| self.turn.to_string());
        let seconds = (is_new_turn || is_new_time).then(|| format!("{:.6}", at_us / 1e6));
        let token = line.token.map(|token| token.to_string());
        writeln!(
            self.out,
            "{:>12} {:>6}  {:<7} {:<7} {}",
            seconds.unwrap_or_default(),
            turn.unwrap_or_default(),
            token.unwrap_or_default(),
            line.event,
            line.text,
        )
    }
}
