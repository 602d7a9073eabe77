//! Prints a recording as a ladder: time, turn, token, what happened.
//!
//! **Owns** the layout of the ladder. **Must never touch** a file: it reads from its input and
//! writes to its output. **Invariant**: every line is built from parsed values, so that a
//! recording from an untrusted source cannot control the terminal. Each is written as soon as it is
//! read, so that a recording of any size needs no memory.

use super::TokenFilter;
use super::describe::{Detail, Line, PHASES};
use super::trace::{self, Event, EventType, ReadError};
use serde_json::error::Category;
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

/// The most characters of a message that are shown: it may quote the input.
const MAX_MESSAGE_COLUMNS: usize = 60;

/// Why no ladder was printed, or not all of it.
#[derive(Debug)]
pub enum Error {
    /// The input cannot be read, or is not a recording.
    Input(ReadError),
    /// The recording has no events to show.
    Empty,
    /// No line passes the filter.
    Nothing,
    /// The output cannot be written.
    Output(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => formatter.write_str(&describe(error)),
            Self::Empty => formatter.write_str("is a recording without events"),
            Self::Nothing => formatter.write_str("has no event of that turn or token"),
            Self::Output(error) => write!(formatter, "cannot be written as text: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// What is wrong with the input, and where, without the names of this program's types.
fn describe(error: &ReadError) -> String {
    let ReadError { source, event } = error;
    let (line, column) = (source.line(), source.column());
    let at = match event {
        Some(event) => format!("event {event} (line {line}, column {column})"),
        None => format!("line {line}, column {column}"),
    };
    match source.classify() {
        Category::Eof if (line, column) == (1, 0) => "is empty".to_owned(),
        Category::Eof => format!("is incomplete: it ends in {at}"),
        Category::Io if is_unreadable(source) => format!("cannot be read: {source}"),
        Category::Io => format!("{NOT_A_RECORDING}: {source}"),
        Category::Syntax => format!("is not JSON: {at}: {}", message_of(source)),
        Category::Data => format!("{NOT_A_RECORDING}: {at} {}", reason(&message_of(source))),
    }
}

const NOT_A_RECORDING: &str = "is not a recording of `helloop serve --record`";

/// Whether the input failed, and not what it holds.
fn is_unreadable(error: &serde_json::Error) -> bool {
    let kind = error.io_error_kind();
    kind.is_some_and(|kind| kind != io::ErrorKind::InvalidData)
}

/// The parser's message without the place.
fn message_of(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    shorten(message.strip_suffix(&place).unwrap_or(&message))
}

/// What is wrong with a value, for a person who does not know how it is parsed.
fn reason(message: &str) -> String {
    let quoted = |start: &str| {
        let rest = message.strip_prefix(start)?;
        // A long value has lost its end.
        Some(rest.split('`').next().unwrap_or(rest).to_owned())
    };
    if let Some(key) = quoted("missing field `") {
        format!("has no `{key}`")
    } else if let Some(key) = quoted("duplicate field `") {
        format!("has `{key}` twice")
    } else if let Some(value) = quoted("unknown variant `").or_else(|| quoted("unknown field `")) {
        format!("has the unknown value `{value}`")
    } else if message.starts_with("invalid ") {
        "has a value of the wrong kind".to_owned()
    } else {
        message.to_owned()
    }
}

/// The start of a long message, escaped: it may quote the input.
fn shorten(message: &str) -> String {
    let mut start: String = message.chars().take(MAX_MESSAGE_COLUMNS).collect();
    if start.len() < message.len() {
        start.push('…');
    }
    start.escape_debug().to_string()
}

/// Prints the recording in `input` as a ladder.
///
/// # Errors
///
/// See [`Error`].
pub fn show(input: impl Read, filter: Filter, out: &mut impl Write) -> Result<(), Error> {
    let mut ladder = Ladder {
        filter,
        turn: 0,
        phase: "",
        shown_turn: None,
        shown_us: 0.0,
        out,
    };
    let mut unwritable = None;
    let read = trace::read_each(input, |event| {
        ladder.add(&event).map_err(|error| {
            let kind = error.kind();
            unwritable = Some(error);
            serde_json::Error::io(kind.into())
        })
    });
    if let Some(error) = unwritable {
        return Err(Error::Output(error));
    }
    read.map_err(Error::Input)?;
    match ladder.shown_turn {
        Some(_) => Ok(()),
        None if filter == Filter::default() => Err(Error::Empty),
        None => Err(Error::Nothing),
    }
}

struct Ladder<'a, W> {
    filter: Filter,
    /// The turn and the phase of the current event.
    turn: u64,
    phase: &'static str,
    /// The turn of the last line; `None` before the first.
    shown_turn: Option<u64>,
    /// The time of the last line, in microseconds.
    shown_us: f64,
    out: &'a mut W,
}

impl<W: Write> Ladder<'_, W> {
    fn add(&mut self, event: &Event) -> io::Result<()> {
        if event.ph == EventType::End {
            return Ok(());
        }
        match &event.detail {
            Detail::Turn { turn } => self.turn = *turn,
            Detail::Phase {} => {
                let known = PHASES.iter().find(|phase| **phase == event.name);
                self.phase = known.copied().unwrap_or_default();
            }
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
        let at_us = at_us.round(); // as it is shown
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
