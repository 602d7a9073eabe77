//! A recording as a ladder in the terminal: time, turn, token, what happened.
//!
//! **Owns** the ladder's words. **Must never touch** the recording's file: it reads from what it
//! is given, and writes to what it is given. **Invariant**: nothing of the file is printed as it
//! stands; every line is made anew from what was understood, so that no stranger's file moves,
//! colours or reorders anything on a terminal.

use super::describe::{self, Story};
use super::is_meant;
use super::trace::{self, Detail, Event, Kind, Who};
use crate::reactor::Token;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem;
use std::time::Duration;

/// Which lines are wanted; by default all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this turn.
    pub turn: Option<u64>,
    /// Those of this slot, or of one owner of it.
    pub token: Option<(u32, Option<u32>)>,
}

/// Why there is no ladder.
#[derive(Debug)]
pub enum Error {
    /// The input is no recording.
    Input(trace::Error),
    /// The recording has nothing that the filter lets through.
    Nothing,
    /// The output is broken.
    Output(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(formatter),
            Self::Nothing => formatter.write_str("has nothing of that turn or token"),
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
        shown_turn: None,
        shown_us: 0.0,
        phase: "",
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
    /// The turn that the events now belong to.
    turn: u64,
    /// The turn whose number stands on the ladder already.
    shown_turn: Option<u64>,
    /// The time that the last rung stood at, in microseconds.
    shown_us: f64,
    /// EventKind calls are called at present.
    phase: &'static str,
    out: &'a mut W,
}

impl<W: Write> Ladder<'_, W> {
    fn add(&mut self, event: &Event) -> io::Result<()> {
        match &event.detail {
            Detail::Turn { turn } => {
                self.turn = *turn;
                Ok(())
            }
            Detail::Wait { timeout_us } => {
                let words = match timeout_us.map(from_microseconds) {
                    None => "for ever".to_owned(),
                    Some(Duration::ZERO) => "not at all".to_owned(),
                    Some(timeout) => format!("up to {timeout:?}"),
                };
                self.line(event, None, "wait", &words)
            }
            Detail::Phase {} => {
                self.phase = match event.name.as_str() {
                    "drive" => "drive",
                    "expire" => "expire",
                    _ => "visit",
                };
                Ok(())
            }
            Detail::Mark {
                token,
                readiness,
                current,
            } => {
                let gone = if *current {
                    ""
                } else {
                    ", for one that is gone"
                };
                self.line(event, Some(*token), "event", &format!("{readiness}{gone}"))
            }
            Detail::Call { .. } => self.call(event),
            Detail::Born { token, state } => self.line(event, Some(*token), "born", state.name()),
            Detail::Died { token } => self.line(event, Some(*token), "gone", "its slot is free"),
            Detail::Name { .. }
            | Detail::Life {}
            | Detail::State {}
            | Detail::Work {}
            | Detail::Count { .. } => Ok(()),
        }
    }

    fn call(&mut self, event: &Event) -> io::Result<()> {
        let Detail::Call {
            token,
            did,
            before,
            after,
            verdict,
            was,
            is,
        } = &event.detail
        else {
            return Ok(());
        };
        let story = Story {
            did: *did,
            before: before.0,
            after: after.0,
        };
        let verdict = describe::verdict(*verdict);
        let change = if was == is {
            String::new()
        } else {
            format!(" ({was} -> {is})")
        };
        let words = format!("{story}; {verdict}{change}");
        self.line(event, Some(*token), self.phase, &words)
    }

    fn line(
        &mut self,
        event: &Event,
        token: Option<Who>,
        word: &str,
        words: &str,
    ) -> io::Result<()> {
        debug_assert!(event.ph != Kind::Name, "names are no moments");
        let of_turn = self.filter.turn.is_none_or(|turn| turn == self.turn);
        let of_token = match (self.filter.token, token) {
            (None, _) => true,
            (Some(meant), Some(Who(token))) => is_meant(token, meant),
            (Some(_), None) => false,
        };
        if !of_turn || !of_token {
            return Ok(());
        }
        if self.shown_turn.is_none() {
            writeln!(self.out, "    seconds    turn  token   what happened")?;
        }
        let seconds = from_microseconds(event.begins_us).as_secs_f64();
        // A rung says only what is new: the turn's number once, a time once within the turn.
        let is_new_turn = self.shown_turn.replace(self.turn) != Some(self.turn);
        let is_new_time = mem::replace(&mut self.shown_us, event.begins_us) != event.begins_us;
        let turn = is_new_turn.then(|| self.turn.to_string());
        let seconds = (is_new_turn || is_new_time).then(|| format!("{seconds:.6}"));
        let token = token.map(|Who(token): Who| Token::to_string(&token));
        writeln!(
            self.out,
            "{:>12} {:>6}  {:<7} {word:<7} {words}",
            seconds.unwrap_or_default(),
            turn.unwrap_or_default(),
            token.unwrap_or_default(),
        )
    }
}

/// A recording's time; nothing for one that no clock shows, so that no number in a file can
/// end the program.
fn from_microseconds(microseconds: f64) -> Duration {
    Duration::try_from_secs_f64(microseconds / 1e6).unwrap_or_default()
}
