//! The search for a rate as text.
//!
//! **Owns** its words. **Must never touch** a figure. **Invariant**: each step is a line, and the
//! result is the last one.

use super::{Outcome, RateSearch, Step};
use crate::stress::report::fold::{Lines, Tone};
use crate::stress::report::text::objective;
use crate::units::{count, time};

impl RateSearch {
    /// The search as lines.
    pub(crate) fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        let clients = count(self.clients, "client", "clients");
        let objectives = self.objectives.join(", ");
        lines.add(
            "find-rate",
            format!("{objectives}; {clients}, to {}", self.to),
        );
        for step in &self.steps {
            add_step(step, &mut lines);
        }
        let (tone, result) = self.result();
        lines.toned(tone, "result", result);
        lines
    }

    fn result(&self) -> (Tone, String) {
        let held = self.highest_rate;
        if self.interrupted {
            let so_far = match held {
                Some(rate) => format!("{rate} messages/s held so far"),
                None => "no rate has held yet".to_owned(),
            };
            return (Tone::Doubtful, format!("interrupted: {so_far}"));
        }
        match (held, self.lowest_missed_rate) {
            (Some(held), Some(missed)) if self.limited_by_client => (
                Tone::Doubtful,
                format!(
                    "at least {held} messages/s; at {missed}/s the load generator was the limit, \
                     so the server may hold more"
                ),
            ),
            (Some(held), Some(missed)) => (
                Tone::Good,
                format!("{held} messages/s is the highest rate that held; {missed}/s did not"),
            ),
            (Some(held), None) => (Tone::Good, format!("at least {held} messages/s")),
            (None, _) => (Tone::Bad, "no rate that was tried held".to_owned()),
        }
    }
}

fn add_step(step: &Step, lines: &mut Lines) {
    let (tone, outcome) = match step.outcome {
        Outcome::Held => (Tone::Good, "held"),
        Outcome::Missed => (Tone::Bad, "missed"),
        Outcome::LimitedByClient => (Tone::Doubtful, "missed"),
    };
    let figures = format!(
        "{outcome:<7} {:.0}/s answered  p50\u{a0}{:<6}  p99\u{a0}{:<6}",
        step.per_second,
        time(step.p50_us),
        time(step.p99_us),
    );
    let missed = step.slos.iter().filter(|slo| !slo.met).map(objective);
    let why: Vec<_> = missed.chain(step.remarks.iter().cloned()).collect();
    let text = format!("{figures}  {}", why.join("; "));
    lines.toned(
        tone,
        &format!("{}/s", step.rate),
        text.trim_end().to_owned(),
    );
}
