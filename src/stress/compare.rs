//! The tutorial's question, answered: one loop, or a thread for each client?
//!
//! **Owns** the order of the runs, and the medians of their figures. **Must never touch** a
//! run's inside: each is a run as any other, against a server of its own. **Invariant**: both
//! models meet the same load on the same machine, in turn and in rounds, so that what else the
//! machine does meets both.

pub mod table;

use super::child::SpawnedServer;
use super::plan::{Length, Plan};
use super::report::Report;
use super::signals::Interrupt;
use super::{Shared, child, run};
use crate::reactor::Time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of the JSON form.
pub const SCHEMA_VERSION: u32 = 1;

/// The two servers, as `--model` names them.
pub const MODELS: [&str; 2] = ["reactor", "threads"];

/// Takes one figure out of a report, if it has it.
pub type Figure = fn(&Report) -> Option<f64>;

/// What is compared: a figure's name, the figure, and what it is counted in.
pub const FIGURES: [(&str, Figure, Unit); 11] = [
    (
        "threads",
        |report| Some(report.server?.threads as f64),
        Unit::Count,
    ),
    (
        "resident_bytes",
        |report| Some(report.server?.resident_bytes as f64),
        Unit::Bytes,
    ),
    (
        "bytes_per_client",
        |report| report.server?.bytes_per_client,
        Unit::Bytes,
    ),
    (
        "context_switches",
        |report| Some(report.server?.context_switches as f64),
        Unit::Count,
    ),
    (
        "connects_per_second",
        |report| Some(report.connects.per_second),
        Unit::Count,
    ),
    (
        "messages_per_second",
        |report| Some(report.messages.per_second),
        Unit::Count,
    ),
    (
        "cpu_us_per_message",
        |report| report.server?.cpu_us_per_message,
        Unit::Microseconds,
    ),
    (
        "load_cpu_us_per_message",
        |report| report.load.process?.cpu_us_per_message,
        Unit::Microseconds,
    ),
    ("p50_us", |report| report.latency.p50_us, Unit::Microseconds),
    ("p99_us", |report| report.latency.p99_us, Unit::Microseconds),
    (
        "p99_9_us",
        |report| report.latency.p99_9_us,
        Unit::Microseconds,
    ),
];

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces.
    Count,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Microseconds,
}

/// How one model did under one delay: the medians of its rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `reactor` or `threads`.
    pub model: &'static str,
    /// By the names of [`FIGURES`]; a figure that no round has is absent.
    pub figures: BTreeMap<&'static str, f64>,
    /// Rounds that did what was asked.
    pub rounds: usize,
    /// What went wrong in the others, or was to be doubted; one line each.
    pub remarks: Vec<String>,
}

/// Both models under one delay.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// How long the server holds each reply.
    pub delay_seconds: f64,
    /// A row a model, in the order of [`MODELS`].
    pub rows: Vec<Row>,
}

/// The whole comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Clients of each run.
    pub clients: u32,
    /// The measured time of each run.
    pub seconds: f64,
    /// Rounds asked for.
    pub rounds: u32,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Without a delay, and with one.
    pub tables: Vec<Table>,
}

impl Comparison {
    /// Runs `plan` against both models, `rounds` times each, under each of `delays`. `watch` is
    /// told what is being run, and shown its shared after every tick.
    ///
    /// # Errors
    ///
    /// This process cannot poll. What a server cannot do is a remark in its row.
    pub fn new(
        plan: &Plan,
        delays: &[Duration],
        rounds: u32,
        interrupt: &Interrupt,
        watch: &mut dyn FnMut(&str, &Shared, Time),
    ) -> std::io::Result<Self> {
        let mut tables = Vec::new();
        for delay in delays {
            let mut reports = MODELS.map(|model| (model, Vec::new(), Vec::new()));
            for round in 1..=rounds {
                for (model, fine, remarks) in &mut reports {
                    if interrupt.came() {
                        break;
                    }
                    let delay = humantime::format_duration(*delay).to_string();
                    let what = format!("{model}, delay {delay}, round {round} of {rounds}");
                    match one_run(plan, model, &delay, interrupt, &mut |shared, now| {
                        watch(&what, shared, now)
                    })? {
                        Ok(report) => {
                            remarks.extend(doubts(&report, round));
                            fine.push(report);
                        }
                        Err(why) => remarks.push(format!("round {round}: {why}")),
                    }
                }
            }
            tables.push(Table {
                delay_seconds: delay.as_secs_f64(),
                rows: reports
                    .into_iter()
                    .map(|(model, fine, remarks)| row(model, &fine, remarks))
                    .collect(),
            });
        }
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            clients: plan.clients,
            seconds: match plan.length {
                Length::Time(time) => time.as_secs_f64(),
                Length::Messages(_) => 0.0,
            },
            rounds,
            interrupted: interrupt.came(),
            tables,
        })
    }
}

/// One run against a new server: its report, or why it does not count.
fn one_run(
    plan: &Plan,
    model: &str,
    delay: &str,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(&Shared, Time),
) -> std::io::Result<Result<Report, String>> {
    let flags = [format!("--model={model}"), format!("--delay={delay}")];
    let server = match SpawnedServer::start(&flags) {
        Ok(server) => server,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let plan = Plan {
        to: server.address,
        ..plan.clone()
    };
    let done = run(plan, Some(server.id()), interrupt, watch)?;
    let ended: Result<String, child::Error> = server.stop();
    let report = Report::new(&done, &[]);
    if report.interrupted {
        return Ok(Err("interrupted".to_owned()));
    }
    if !report.verdict.achieved {
        let mut why = report.verdict.shortcomings.join(", ");
        if let Err(error) = ended {
            why = format!("{why}; {error}");
        }
        return Ok(Err(format!("cannot hold the load: {why}")));
    }
    Ok(Ok(report))
}

/// What is to be said of a run that counts.
fn doubts(report: &Report, round: u32) -> Option<String> {
    let limited = report.verdict.limited_by_client;
    limited.then(|| format!("round {round}: {}", report.verdict.words))
}

fn row(model: &'static str, fine: &[Report], remarks: Vec<String>) -> Row {
    let figures = FIGURES.iter().filter_map(|(name, figure, _)| {
        let values = fine.iter().filter_map(figure).collect();
        Some((*name, median(values)?))
    });
    Row {
        model,
        figures: figures.collect(),
        rounds: fine.len(),
        remarks,
    }
}

/// The middle value; the mean of the middle two where there is none.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }
}
