//! The status line: one line at the bottom of a terminal that changes in place.
//!
//! **Owns** when the line is on the screen, and that it fits. **Must never touch** what it says.
//! **Invariant**: if standard error is not a terminal, nothing is written; the line never takes more
//! than one row, whatever the width; nothing of it is left on the screen when it is hidden.
//!
//! The cursor stays on the first column of the line. A terminal that is made narrower wraps the line,
//! and the cursor with it: what is cleared from there on is all of it. A terminal that cuts it off
//! instead has nothing below. A prompt of the shell, after a SIGKILL, overwrites it.

use super::log;
use crate::system;
use std::env;
use std::io::{self, IsTerminal};
use std::time::Duration;

/// Assumed if the terminal does not report its width.
const DEFAULT_COLUMNS: usize = 80;

/// Moves to the first column, and clears from there to the end of the screen. Lets the terminal wrap
/// again: at Ctrl-C the system discards what is not displayed yet, which may be the end of a [`frame`].
pub(super) const ERASE: &[u8] = b"\r\x1b[J\x1b[?7h";

/// The width of a [`bar`] between its brackets.
const BAR_COLUMNS: usize = 20;

/// What separates two parts of the line.
const SEPARATOR: &str = "  ";

/// The state of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Status {
    /// No command has started one.
    #[default]
    Off,
    /// Ended: it is not shown again.
    Ended,
    /// Nothing is on the screen now.
    Hidden,
    /// This is on the screen, below the log.
    Shown(String),
}

/// A part of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Printable characters of one column each.
    pub(crate) text: String,
    /// The part with the highest rank is left out first.
    pub(crate) rank: u8,
}

impl Part {
    pub(crate) fn new(rank: u8, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { text, rank }
    }
}

/// The parts that fit, in their order. The last column stays free: a character there would leave some
/// terminals between two rows.
pub(crate) fn fit(parts: &[Part], columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let mut parts: Vec<&Part> = parts.iter().filter(|part| !part.text.is_empty()).collect();
    loop {
        let texts: Vec<&str> = parts.iter().map(|part| &*part.text).collect();
        let line = texts.join(SEPARATOR);
        let last = parts.iter().enumerate().max_by_key(|(_, part)| part.rank);
        match last {
            Some((last, _)) if line.chars().count() > room && parts.len() > 1 => {
                parts.remove(last);
            }
            _ => return cut(&line, room).to_owned(),
        }
    }
}

/// The first `columns` characters.
fn cut(line: &str, columns: usize) -> &str {
    let end = line.char_indices().nth(columns).map(|(end, _)| end);
    end.map_or(line, |end| &line[..end])
}

/// A share in whole percent, rounded down: 100% means all.
pub(crate) fn percent(done: f64) -> String {
    format!("{:.0}%", (done * 100.0).floor())
}

/// A share as a bar.
pub(crate) fn bar(done: f64) -> String {
    let full = (done * BAR_COLUMNS as f64) as usize;
    format!("[{:<BAR_COLUMNS$}]", "#".repeat(full.min(BAR_COLUMNS)))
}

/// A time to the second: `5s`, `1m05s`, `2h03m`.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// Rounds the time left up to a whole second.
pub(crate) fn ceil(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

/// The bytes that replace the line on the screen. Meanwhile the terminal does not wrap: it may have
/// become narrower since its width was queried.
pub(super) fn frame(line: &str) -> Vec<u8> {
    format!("\x1b[?7l\r{line}\x1b[J\r\x1b[?7h").into_bytes()
}

/// The width of the terminal now. It is queried each time, so that a resize needs no signal.
fn columns() -> usize {
    #[cfg(feature = "cli")]
    if let Some((width, _)) = terminal_size::terminal_size_of(io::stderr()) {
        return width.0.into();
    }
    DEFAULT_COLUMNS
}

/// The line. Hidden when dropped.
#[derive(Debug)]
pub(crate) struct StatusLine(());

impl StatusLine {
    /// A line without text, if standard error is a terminal that can move its cursor.
    pub(crate) fn start() -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !is_dumb && system::enable_escapes() {
            log().start_status();
        }
        Self(())
    }

    /// Whether it can be shown.
    #[expect(clippy::unused_self, reason = "only who has started the line has one")]
    pub(crate) fn is_on(&self) -> bool {
        !matches!(log().status, Status::Off | Status::Ended)
    }

    /// Shows these parts in place of what is there.
    #[expect(clippy::unused_self, reason = "only who has started the line has one")]
    pub(crate) fn show(&self, parts: &[Part]) {
        log().show_status(fit(parts, columns()));
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        log().end_status(Status::Off);
    }
}

/// Takes the line off the screen, until it is shown again: before anything else is written to the
/// terminal.
pub(crate) fn hide() {
    log().hide_status();
}

/// Takes the line off the screen for good: the program is to stop.
pub(crate) fn end() {
    log().end_status(Status::Ended);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_lowest_rank_stay_in_their_order() {
        let parts = [
            Part::new(1, "aaaa"),
            Part::new(3, ""),
            Part::new(2, "bb"),
            Part::new(0, "µµµ"),
        ];
        for (columns, line) in [
            (14, "aaaa  bb  µµµ"),
            (13, "aaaa  µµµ"),
            (10, "aaaa  µµµ"),
            (9, "µµµ"),
            (4, "µµµ"),
            (3, "µµ"),
            (1, ""),
            (0, ""),
        ] {
            assert_eq!(fit(&parts, columns), line, "{columns}");
        }
        assert_eq!(fit(&[], 80), "");
    }

    #[test]
    fn times_are_told_to_the_second() {
        for (seconds, text) in [
            (0.0, "0s"),
            (59.9, "59s"),
            (65.0, "1m05s"),
            (3_599.0, "59m59s"),
            (7_385.0, "2h03m"),
        ] {
            assert_eq!(clock(Duration::from_secs_f64(seconds)), text);
        }
        assert_eq!(ceil(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(ceil(Duration::from_secs(1)), Duration::from_secs(1));
    }
}
