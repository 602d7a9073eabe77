//! The lines of a text report: labels, folding and colours.
//!
//! **Owns** how text is laid out on a terminal. **Must never touch** its words. **Invariant**: a
//! folded line is at most as wide as the terminal, unless a single word is wider.

use anstyle::{AnsiColor, Style};
use std::fmt;

/// The width of the labels, and the indentation of a folded line.
const LABEL_COLUMNS: usize = 11;

/// A narrower terminal has an indentation of its own, so that a quarter of it is not blank.
const NARROW_COLUMNS: usize = 50;

/// The indentation of a folded line there.
const NARROW_INDENT_COLUMNS: usize = 4;

/// What a line says about the run, shown as its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stress) enum Tone {
    /// Nothing: no colour.
    Plain,
    /// As asked: green.
    Good,
    /// To be read with care: yellow.
    Doubtful,
    /// Not as asked: red.
    Bad,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
        }
    }
}

#[derive(Debug)]
struct Line {
    tone: Tone,
    text: String,
    /// Whether it may be folded; a row of a table may not.
    foldable: bool,
}

/// The lines of a report, not folded yet.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<Line>);

impl Lines {
    /// Adds a line with a label.
    pub(in crate::stress) fn add(&mut self, label: &str, text: String) {
        self.toned(Tone::Plain, label, text);
    }

    /// Adds a line about the same subject as the one before.
    pub(in crate::stress) fn more(&mut self, text: String) {
        self.add("", text);
    }

    /// Adds a line with a label and a tone. A label that does not fit its column ends with a colon.
    pub(in crate::stress) fn toned(&mut self, tone: Tone, label: &str, text: String) {
        let text = if label.len() < LABEL_COLUMNS {
            format!("{label:<LABEL_COLUMNS$}{text}")
        } else {
            format!("{label}: {text}")
        };
        let foldable = true;
        self.0.push(Line {
            tone,
            text,
            foldable,
        });
    }

    /// Adds a row of a table.
    pub(in crate::stress) fn row(&mut self, text: String) {
        self.0.push(Line {
            tone: Tone::Plain,
            text,
            foldable: false,
        });
    }

    /// Writes the lines, folded to `columns` if there is such a limit, without a final line ending.
    pub(crate) fn write(
        &self,
        columns: Option<usize>,
        coloured: bool,
        out: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        for (number, line) in self.0.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            let text = match columns {
                Some(columns) if line.foldable => fold(&line.text, columns),
                _ => line.text.clone(),
            };
            // Inside the program, such a space keeps a name and its value together.
            let text = text.replace('\u{a0}', " ");
            if coloured && line.tone != Tone::Plain {
                let style = line.tone.style();
                write!(out, "{style}{text}{style:#}")?;
            } else {
                out.write_str(&text)?;
            }
        }
        Ok(())
    }
}

/// Breaks a line at spaces where it exceeds `columns`.
fn fold(line: &str, columns: usize) -> String {
    let indent = if columns < NARROW_COLUMNS {
        NARROW_INDENT_COLUMNS
    } else {
        LABEL_COLUMNS
    };
    fold_with(line, columns, indent)
}

/// The same with an indentation of the lines that follow.
pub(super) fn fold_with(line: &str, columns: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut width = 0;
    // A line without a label begins where a folded line continues.
    let line = match line.strip_prefix(&" ".repeat(LABEL_COLUMNS)) {
        Some(text) => &format!("{:indent$}{text}", ""),
        None => line,
    };
    // Each piece is a word with the spaces before it.
    for piece in pieces(line) {
        let word = piece.trim_start_matches(' ');
        let spaces = piece.len() - word.len();
        let word_width = word.chars().count();
        if width > indent && width + spaces + word_width > columns {
            folded += "\n";
            folded += &" ".repeat(indent);
            folded += word;
            width = indent + word_width;
        } else {
            folded += piece;
            width += spaces + word_width;
        }
    }
    folded
}

/// Splits a line before each run of spaces.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let word = rest.find(|character| character != ' ')?;
        let end = rest[word..].find(' ').map_or(rest.len(), |end| word + end);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_folded_at_words_with_a_hanging_indent() {
        let line = "clients    100 requested, 100 connected, 100 greeted; peak 100, 0 lost";
        assert_eq!(fold(line, 70), line);
        assert_eq!(
            fold(line, 50),
            "clients    100 requested, 100 connected, 100\n           greeted; peak 100, 0 lost"
        );
        assert_eq!(
            fold(line, 40),
            "clients    100 requested, 100 connected,\n    100 greeted; peak 100, 0 lost"
        );
        for columns in 1..80 {
            let folded = fold(line, columns);
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&folded), words(line), "{columns}");
            let widest = folded.lines().map(str::len).max();
            assert!(
                columns < 22 || widest <= Some(columns),
                "{columns}: {folded}"
            );
        }
    }

    #[test]
    fn a_name_stays_with_its_value_and_a_word_is_never_broken() {
        assert_eq!(
            fold("latency    p50\u{a0}1ms  p99\u{a0}2ms", 50),
            "latency    p50\u{a0}1ms  p99\u{a0}2ms"
        );
        assert_eq!(
            fold("latency    p50\u{a0}1ms  p99\u{a0}2ms", 22),
            "latency    p50\u{a0}1ms\n    p99\u{a0}2ms"
        );
        assert_eq!(
            fold("slo        abcdefghijkl", 5),
            "slo        abcdefghijkl"
        );
        assert_eq!(fold("", 5), "");
        assert_eq!(fold("           a b", 40), "    a b");
        assert_eq!(fold("           a b", 80), "           a b");
    }
}
