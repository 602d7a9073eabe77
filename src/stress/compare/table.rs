//! The comparison as text.
//!
//! **Owns** its words and columns. **Must never touch** a figure. **Invariant**: a model that
//! could not hold the load has no figures, and a line that says why.

use super::{Comparison, FIGURES, Row, Spread, Table, Unit};
use crate::stress::report::fold::{Lines, Tone};
use crate::units::{bytes, count, time};
use std::fmt::Write;

/// The columns of a table with its models side by side. On a narrower terminal each figure is a
/// block of lines.
const TABLE_COLUMNS: usize = 76;

impl Comparison {
    /// The comparison as lines for a terminal of this width; `None`: no terminal.
    pub(crate) fn lines(&self, columns: Option<usize>) -> Lines {
        let mut lines = Lines::default();
        let has_remarks = |table: &Table| table.rows.iter().any(|row| !row.remarks.is_empty());
        let shown = self
            .tables
            .iter()
            .filter(|table| has_figures(table) || has_remarks(table));
        if self.interrupted && shown.clone().next().is_none() {
            lines.row("interrupted before a round was complete".to_owned());
            return lines;
        }
        lines.add(
            "compare",
            format!(
                "{}, closed loop, {}s per run, {} per model",
                count(self.clients, "client", "clients"),
                self.seconds,
                count(self.rounds, "round", "rounds"),
            ),
        );
        for table in shown {
            lines.row(String::new());
            if !has_figures(table) {
                lines.row(format!("delay {}s: no figures", table.delay_seconds));
            } else if columns.is_some_and(|columns| columns < TABLE_COLUMNS) {
                add_blocks(table, &mut lines);
            } else {
                add_table(table, &mut lines);
            }
            for row in &table.rows {
                for remark in &row.remarks {
                    lines.toned(Tone::Doubtful, row.model, remark.clone());
                }
            }
        }
        if self.rounds > 1 && self.tables.iter().any(has_figures) {
            lines.row(String::new());
            if !self.tables.iter().any(has_process_figures) {
                lines.add(
                    "n/a",
                    "this system does not report the CPU time and memory of a process".to_owned(),
                );
            }
            lines.add(
                "spread",
                "median ± half the range of the rounds; ~ where the ranges overlap".to_owned(),
            );
        }
        if self.interrupted {
            lines.toned(
                Tone::Doubtful,
                "INTERRUPTED",
                "the rounds so far".to_owned(),
            );
        }
        lines
    }
}

/// Whether a model has a figure under this delay.
fn has_figures(table: &Table) -> bool {
    table.rows.iter().any(|row| !row.figures.is_empty())
}

/// Whether a model has a figure of its process.
fn has_process_figures(table: &Table) -> bool {
    let mut rows = table.rows.iter();
    rows.any(|row| row.figures.contains_key("threads"))
}

fn add_table(table: &Table, lines: &mut Lines) {
    let mut head = format!("delay {:<20}", format!("{}s", table.delay_seconds));
    for row in &table.rows {
        // Writing to a String cannot fail.
        let _ = write!(head, "{:>10}{:5}", row.model, "");
    }
    lines.row(format!("{head}{:>17}", "threads / reactor"));
    for (key, unit, _) in FIGURES {
        let mut line = format!("  {:<24}", label(key));
        for row in &table.rows {
            let (value, spread) = show(row.figures.get(key), unit);
            let _ = write!(line, "{value:>10} {spread:<4}");
        }
        lines.row(format!("{line}{:>17}", ratio(&table.rows, key)));
    }
}

fn add_blocks(table: &Table, lines: &mut Lines) {
    lines.row(format!("delay {}s", table.delay_seconds));
    for (key, unit, _) in FIGURES {
        lines.row(format!("  {}", label(key)));
        for row in &table.rows {
            let (value, spread) = show(row.figures.get(key), unit);
            let figure = format!("{value} {spread}");
            lines.row(format!("    {:<10}{}", row.model, figure.trim_end()));
        }
        lines.row(format!("    {:<10}{}", "ratio", ratio(&table.rows, key)));
    }
}

/// The words for a JSON key: the value shows the unit, so `cpu_us_per_message` is
/// `cpu per message`.
fn label(key: &str) -> String {
    key.replace("p99_9", "p99.9")
        .replace("_us", "")
        .replace("_bytes", " memory")
        .replace("bytes_per", "memory per")
        .replace('_', " ")
}

/// The median, and half the range in percent of it if there is a range.
fn show(figure: Option<&Spread>, unit: Unit) -> (String, String) {
    let Some(&Spread { median, min, max }) = figure else {
        return ("n/a".to_owned(), String::new());
    };
    let value = match unit {
        Unit::Count => format!("{median:.0}"),
        Unit::Bytes => bytes(median),
        Unit::Microseconds => time(Some(median)),
    };
    let spread = if max > min && median > 0.0 {
        format!("±{:.0}%", (max - min) / 2.0 / median * 100.0)
    } else {
        String::new()
    };
    (value, spread)
}

fn ratio(rows: &[Row], key: &str) -> String {
    let figures: Vec<_> = rows.iter().filter_map(|row| row.figures.get(key)).collect();
    let [reactor, threads] = figures[..] else {
        return "n/a".to_owned();
    };
    if reactor.median <= 0.0 {
        return "n/a".to_owned();
    }
    // One round has no range, so overlap means nothing.
    let has_range = reactor.max > reactor.min || threads.max > threads.min;
    let mark = if has_range && reactor.overlaps(threads) {
        " ~"
    } else {
        ""
    };
    format!("{:.2}{mark}", threads.median / reactor.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(columns: Option<usize>) -> String {
        text_of(&comparison(), columns)
    }

    fn text_of(comparison: &Comparison, columns: Option<usize>) -> String {
        struct Laid<'a>(&'a Comparison, Option<usize>);
        impl std::fmt::Display for Laid<'_> {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.lines(self.1).write(self.1, false, out)
            }
        }
        Laid(comparison, columns).to_string()
    }

    fn comparison() -> Comparison {
        let row = |model, figures: &[(&'static str, [f64; 3])], remarks: &[&str]| Row {
            model,
            figures: figures
                .iter()
                .map(|&(key, [min, median, max])| (key, Spread { median, min, max }))
                .collect(),
            rounds: 3,
            remarks: remarks.iter().map(ToString::to_string).collect(),
        };
        let reactor = [
            ("threads", [1.0, 1.0, 1.0]),
            ("p50_us", [1_400.0, 1_500.0, 1_700.0]),
            ("p99_us", [2_000.0, 2_000.0, 2_000.0]),
        ];
        let threads = [
            ("p50_us", [2_700.0, 3_000.0, 3_300.0]),
            ("p99_us", [1_500.0, 3_000.0, 6_000.0]),
        ];
        Comparison {
            schema_version: 2,
            clients: 10,
            seconds: 5.0,
            rounds: 3,
            interrupted: false,
            tables: vec![Table {
                delay_seconds: 1.0,
                rows: vec![
                    row("reactor", &reactor, &[]),
                    row("threads", &threads, &["round 1: cannot hold the load"]),
                ],
            }],
        }
    }

    #[test]
    fn a_figure_has_its_spread_and_its_ratio() {
        let text = text(None);
        let words = |start: &str| {
            let mut lines = text.lines().map(str::trim);
            let line = lines.find(|line| line.starts_with(start)).expect(start);
            line.split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(
            words("p50"),
            ["p50", &time(Some(1_500.0)), "±10%", "3ms", "±10%", "2.00"]
        );
        // The threads' rounds lie on both sides of the reactor's.
        assert_eq!(words("p99"), ["p99", "2ms", "3ms", "±75%", "1.50", "~"]);
        // A figure without a spread has none; one that no round has is not known.
        assert_eq!(words("threads  "), ["threads", "1", "n/a", "n/a"]);
        assert!(
            text.contains("\nthreads    round 1: cannot hold the load\n"),
            "{text}"
        );
    }

    #[test]
    fn a_table_without_a_figure_is_left_out() {
        let mut comparison = comparison();
        comparison.interrupted = true;
        let mut empty = comparison.tables[0].clone();
        empty.delay_seconds = 3.0;
        for row in &mut empty.rows {
            row.figures.clear();
            row.remarks.clear();
        }
        comparison.tables.push(empty.clone());
        for columns in [None, Some(40)] {
            let text = text_of(&comparison, columns);
            assert!(text.contains("delay 1s") && !text.contains("3s"), "{text}");
            assert!(text.contains("the rounds so far"), "{text}");
        }
        // What failed is said, without a table.
        let mut failed = empty.clone();
        failed.rows[0].remarks = vec!["round 1: cannot hold the load".to_owned()];
        comparison.tables = vec![failed, empty.clone()];
        let text = text_of(&comparison, None);
        let expected = "\ndelay 3s: no figures\nreactor    round 1: cannot hold the load\n";
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("n/a") && !text.contains("spread"), "{text}");
        comparison.tables = vec![empty.clone(), empty];
        let text = text_of(&comparison, None);
        assert_eq!(text.trim_end(), "interrupted before a round was complete");
    }

    #[test]
    fn each_layout_fits_its_columns() {
        for columns in [40, 76] {
            let text = text(Some(columns));
            let table = text.split("\n\n").nth(1).expect("it has a table");
            let widest = table.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= columns), "{text}");
            assert!(table.contains("±10%"), "{text}");
        }
    }
}
