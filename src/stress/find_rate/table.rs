//! The search for a rate as text.
//!
//! **Owns** its words and columns. **Must never touch** a figure. **Invariant**: each step is a
//! line, and the result is the last one.

use super::{Outcome, RateSearch, Step};
use crate::stress::report::text::{count, slo_value, time};
use std::fmt;

/// The search as text, without a final line ending.
impl fmt::Display for RateSearch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = count(self.clients, "client", "clients");
        let objectives = self.objectives.join(", ");
        writeln!(out, "find-rate  {objectives}; {clients}, to {}", self.to)?;
        writeln!(
            out,
            "\n{:>12}{:>12}{:>10}{:>10}   outcome",
            "rate", "achieved", "p50", "p99"
        )?;
        for step in &self.steps {
            write_step(step, out)?;
        }
        write!(out, "\n{}", self.result())
    }
}

fn write_step(step: &Step, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let outcome = match step.outcome {
        Outcome::Held => "held".to_owned(),
        Outcome::Missed | Outcome::LimitedByClient => format!("missed: {}", why(step)),
    };
    writeln!(
        out,
        "{:>10}/s{:>10.0}/s{:>10}{:>10}   {outcome}",
        step.rate,
        step.per_second,
        time(step.p50_us),
        time(step.p99_us),
    )
}

/// The objectives that were missed with their values, then the remarks.
fn why(step: &Step) -> String {
    let missed = step.slos.iter().filter(|slo| !slo.met);
    let missed = missed.map(|slo| format!("{} ({})", slo.slo, slo_value(slo)));
    let remarks = step.remarks.iter().cloned();
    missed.chain(remarks).collect::<Vec<_>>().join("; ")
}

impl RateSearch {
    fn result(&self) -> String {
        if self.interrupted {
            let so_far = match self.highest_rate {
                Some(rate) => format!("{rate} messages/s held so far"),
                None => "no rate has held yet".to_owned(),
            };
            return format!("INTERRUPTED: {so_far}");
        }
        match (self.highest_rate, self.lowest_missed_rate) {
            (Some(held), Some(missed)) if self.limited_by_client => format!(
                "highest rate: at least {held} messages/s; at {missed}/s this load generator was \
                 the limit, so the server may hold more"
            ),
            (Some(held), Some(missed)) => {
                format!("highest rate: {held} messages/s; {missed}/s was missed")
            }
            (Some(held), None) => format!("highest rate: at least {held} messages/s"),
            (None, _) => "highest rate: none: no rate that was tried held".to_owned(),
        }
    }
}
