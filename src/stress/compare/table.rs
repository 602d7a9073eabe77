//! The comparison as text.
//!
//! **Owns** its words and columns. **Must never touch** a figure. **Invariant**: a model that
//! could not hold the load has no figures, and a line that says why.

use super::{Comparison, FIGURES, Row, Table, Unit};
use crate::stress::report::text::{bytes, time};
use std::fmt;

/// The comparison as text, without a final line ending.
impl fmt::Display for Comparison {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} clients in a closed loop, {}s a run, {} rounds in turn; medians",
            self.clients, self.seconds, self.rounds
        )?;
        for table in &self.tables {
            write_table(table, out)?;
        }
        if self.interrupted {
            write!(out, "\nINTERRUPTED: this is what there was")?;
        }
        Ok(())
    }
}

fn write_table(table: &Table, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(out, "\n\ndelay {:<20}", format!("{}s", table.delay_seconds))?;
    for row in &table.rows {
        write!(out, "{:>14}", row.model)?;
    }
    write!(out, "{:>22}", "threads / reactor")?;
    for (key, unit, _) in FIGURES {
        write!(out, "\n  {:<24}", label(key))?;
        for row in &table.rows {
            write!(out, "{:>14}", show(row.figures.get(key).copied(), unit))?;
        }
        write!(out, "{:>22}", ratio(&table.rows, key))?;
    }
    for row in &table.rows {
        for remark in &row.remarks {
            write!(out, "\n  {}: {remark}", row.model)?;
        }
    }
    Ok(())
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

fn show(value: Option<f64>, unit: Unit) -> String {
    match (value, unit) {
        (None, _) => "n/a".to_owned(),
        (Some(value), Unit::Count) => format!("{value:.0}"),
        (Some(value), Unit::Bytes) => bytes(value),
        (value, Unit::Microseconds) => time(value),
    }
}

fn ratio(rows: &[Row], key: &str) -> String {
    let figures: Vec<_> = rows.iter().filter_map(|row| row.figures.get(key)).collect();
    match figures[..] {
        [reactor, threads] if *reactor > 0.0 => format!("{:.2}", threads / reactor),
        _ => "n/a".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_cannot_hold_the_load_says_so() {
        let row = |model, figures: &[(&'static str, f64)], remarks: &[&str]| Row {
            model,
            figures: figures.iter().copied().collect(),
            rounds: 1,
            remarks: remarks.iter().map(ToString::to_string).collect(),
        };
        let comparison = Comparison {
            schema_version: 1,
            clients: 10,
            seconds: 5.0,
            rounds: 1,
            interrupted: false,
            tables: vec![Table {
                delay_seconds: 1.0,
                rows: vec![
                    row("reactor", &[("threads", 1.0), ("p50_us", 1_500.0)], &[]),
                    row(
                        "threads",
                        &[("p50_us", 3_000.0)],
                        &["round 1: cannot hold the load"],
                    ),
                ],
            }],
        };
        let text = comparison.to_string();
        let line = |start: &str| {
            let mut lines = text.lines().map(str::trim);
            let line = lines.find(|line| line.starts_with(start)).expect(start);
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(line("p50"), ["p50", "1.50ms", "3ms", "2.00"]);
        assert_eq!(line("threads  "), ["threads", "1", "n/a", "n/a"]);
        assert!(
            text.ends_with("threads: round 1: cannot hold the load"),
            "{text}"
        );
    }
}
