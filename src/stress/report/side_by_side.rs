//! Runs side by side, as text.
//!
//! **Owns** its columns and words. **Must never touch** a figure. **Invariant**: no line is longer
//! than the given width, except a single word that is; nothing from a file reaches the terminal
//! unescaped.

use super::figures::{self, Cell, Difference, NamedRun, Row, Unit};
use super::fold::fold_with;
use super::schema::Report;
use super::text::Text;
use crate::protocol::escape::escape;
use crate::units::{bytes, count, time};
use std::fmt::{self, Write as _};

/// The width of a figure's name.
const NAME_COLUMNS: usize = 13;

/// The width of a value with its spread: `118561 ±12%`.
const VALUE_COLUMNS: usize = 15;

/// The width of a ratio and its mark: `  0.51*`.
const RATIO_COLUMNS: usize = 8;

/// A space at which no line is folded, inside this module.
const NO_BREAK: &str = "\u{a0}";

/// Several runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SideBySide<'a> {
    /// The runs. The first one is what the others are compared with.
    pub runs: &'a [NamedRun],
    /// The width of the terminal.
    pub columns: usize,
}

/// The text, without a final line ending.
impl fmt::Display for SideBySide<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text)?;
        out.write_str(&escaped(text.trim_end()))
    }
}

impl NamedRun {
    /// The report as text, folded to `columns` if there is such a limit. It has no colours, because
    /// all of it is escaped: the file may contain control sequences.
    pub(crate) fn text(&self, columns: Option<usize>) -> String {
        let text = Text {
            report: &self.report,
            columns,
            coloured: false,
        };
        escaped(&text.to_string())
    }
}

fn escaped(text: &str) -> String {
    let lines = text.lines().map(|line| escape(line.as_bytes()));
    lines.collect::<Vec<_>>().join("\n")
}

impl SideBySide<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        for (number, run) in self.runs.iter().enumerate() {
            self.fold(out, &format!("{}  ", letter(number)), &run.name)?;
            for line in describe(&run.report) {
                self.fold(out, "   ", &line)?;
            }
        }
        let rows = figures::rows(self.runs);
        let others = self.runs.len().saturating_sub(1);
        let room = self.columns.saturating_sub(NAME_COLUMNS + VALUE_COLUMNS);
        match room / (VALUE_COLUMNS + RATIO_COLUMNS) {
            0 => write_list(out, &rows)?,
            fitting => {
                for start in (1..=others).step_by(fitting) {
                    let end = (start + fitting).min(self.runs.len());
                    write_table(out, &rows, start..end)?;
                }
            }
        }
        writeln!(out)?;
        for number in 1..self.runs.len() {
            self.write_difference(out, &rows, number)?;
        }
        self.fold(
            out,
            "",
            "±: half the distance between the quartiles of the figures of each second, in percent of \
             their median. A ratio is to A; with * the middle halves of the seconds do not overlap and \
             their medians differ by 1% or more: a difference beyond the spread.",
        )
    }

    /// Says whether a run differs from the first one.
    fn write_difference(&self, out: &mut String, rows: &[Row], number: usize) -> fmt::Result {
        let start = format!("{}  ", letter(number));
        let settings = figures::other_settings(&self.runs[0].report, &self.runs[number].report);
        let list = |difference: Difference| {
            let cells = rows.iter().map(|row| (row, row.cells[number]));
            let cells = cells.filter(|(_, cell)| cell.difference == difference);
            let names = cells.map(|(row, cell)| match cell.ratio {
                Some(ratio) => format!("{} {}", row.name, self::ratio(ratio)),
                None => row.name.to_owned(),
            });
            // A name and its ratio stay on one line.
            let names = names.map(|name| name.replace(' ', NO_BREAK));
            names.collect::<Vec<_>>().join(", ")
        };
        let beyond = list(Difference::BeyondSpread);
        let within = list(Difference::WithinSpread);
        let mut words = match (beyond.is_empty(), within.is_empty()) {
            (true, true) => "has too few seconds to tell whether it differs from A".to_owned(),
            (true, false) => {
                format!("does not differ from A beyond the spread of the seconds ({within})")
            }
            (false, true) => {
                format!("differs from A beyond the spread of the seconds: {beyond}")
            }
            (false, false) => format!(
                "differs from A beyond the spread of the seconds: {beyond}; within it: {within}"
            ),
        };
        if !settings.is_empty() {
            let _ = write!(words, ". Its settings differ: {}", settings.join(", "));
        }
        self.fold(out, &start, &format!("{words}."))
    }

    /// Writes `text` after `start`, in lines of at most the width; they begin below `text`.
    fn fold(&self, out: &mut String, start: &str, text: &str) -> fmt::Result {
        let line = format!("{start}{text}");
        let folded = fold_with(&line, self.columns, start.len());
        writeln!(out, "{}", folded.replace(NO_BREAK, " "))
    }
}

/// The name of a run in the table: A, B, C.
pub(super) fn letter(number: usize) -> char {
    char::from(b'A' + (number % figures::MAX_RUNS) as u8)
}

/// A ratio with three significant digits where it is small.
pub(super) fn ratio(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// Describes a run: its load, its origin and its verdict, a line each.
pub(super) fn describe(report: &Report) -> Vec<String> {
    let (plan, machine) = (&report.plan, &report.machine);
    let framing = plan.framing.map(|framing| format!(", {framing} framing"));
    let pace = match plan.rate {
        Some(rate) => format!("open loop, {rate} messages/s"),
        None => "closed loop".to_owned(),
    };
    let cpus = machine.cpus.map_or_else(String::new, |cpus| {
        format!(", {}", count(cpus as u64, "CPU", "CPUs"))
    });
    let mut load = format!(
        "{}, {}{}, {pace}",
        count(plan.clients, "client", "clients"),
        plan.transport,
        framing.unwrap_or_default()
    );
    if let Some(flags) = plan.server_flags.as_ref().filter(|flags| !flags.is_empty()) {
        let _ = write!(load, ", server {}", flags.join(" "));
    }
    let kernel = machine.kernel.as_ref();
    let kernel = kernel.map_or_else(String::new, |kernel| format!(" {kernel}"));
    let origin = format!(
        "{}, helloop {}, {}{kernel}{cpus}",
        report.started, report.helloop_version, machine.system
    );
    let mut verdict = vec![report.verdict.words.clone()];
    verdict.extend(report.verdict.shortcomings.iter().cloned());
    vec![load, origin, verdict.join("; ")]
}

/// A value in its unit.
pub(super) fn value(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "n/a".to_owned(),
        (Some(value), Unit::Count) => format!("{value:.0}"),
        (value, Unit::Time) => time(value),
        (Some(value), Unit::Share) => format!("{:.0}%", value * 100.0),
        (Some(value), Unit::Bytes) => bytes(value),
    }
}

/// The spread, as in `±2%`.
pub(super) fn spread(cell: &Cell) -> Option<String> {
    let share = cell.spread?.relative()?;
    Some(format!("±{:.0}%", share * 100.0))
}

fn with_spread(cell: &Cell, unit: Unit) -> String {
    let spread = spread(cell).unwrap_or_default();
    format!("{} {spread:<5}", value(cell.value, unit))
}

fn with_mark(cell: &Cell) -> String {
    let ratio = cell.ratio.map_or_else(|| "n/a".to_owned(), ratio);
    let mark = if cell.difference == Difference::BeyondSpread {
        '*'
    } else {
        ' '
    };
    format!("{ratio}{mark}")
}

/// The first run and those in `others`, as columns.
fn write_table(out: &mut String, rows: &[Row], others: std::ops::Range<usize>) -> fmt::Result {
    write!(
        out,
        "\n{:NAME_COLUMNS$}{:>VALUE_COLUMNS$}",
        "",
        format!("{}      ", letter(0))
    )?;
    for number in others.clone() {
        let name = letter(number);
        write!(
            out,
            "{:>VALUE_COLUMNS$}{:>RATIO_COLUMNS$}",
            format!("{name}      "),
            format!("{name}/A ")
        )?;
    }
    trim_end(out);
    writeln!(out)?;
    for row in rows {
        write!(out, "{:NAME_COLUMNS$}", row.name)?;
        for number in [0].into_iter().chain(others.clone()) {
            let cell = &row.cells[number];
            write!(out, "{:>VALUE_COLUMNS$}", with_spread(cell, row.unit))?;
            if number > 0 {
                write!(out, "{:>RATIO_COLUMNS$}", with_mark(cell))?;
            }
        }
        trim_end(out);
        writeln!(out)?;
    }
    Ok(())
}

/// One line for each figure of each run, for a terminal that is too narrow for a table.
fn write_list(out: &mut String, rows: &[Row]) -> fmt::Result {
    for row in rows {
        writeln!(out, "\n{}", row.name)?;
        for (number, cell) in row.cells.iter().enumerate() {
            let ratio = if number > 0 {
                with_mark(cell)
            } else {
                String::new()
            };
            write!(
                out,
                "  {}{:>VALUE_COLUMNS$}{ratio:>RATIO_COLUMNS$}",
                letter(number),
                with_spread(cell, row.unit)
            )?;
            trim_end(out);
            writeln!(out)?;
        }
    }
    Ok(())
}

fn trim_end(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
}
