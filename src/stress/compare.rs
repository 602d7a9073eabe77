//! One loop or a thread per client: both models of the server under the same load.
//!
//! **Owns** the order of the runs, and the spread of their figures. **Must never touch** the
//! inside of a run: each is a normal run, against a server of its own. **Invariant**: both models
//! get the same load on the same machine, alternating round by round, so that other activity on
//! the machine affects both.

mod table;

use super::child::SpawnedServer;
use super::plan::{Length, Plan};
use super::progress::Position;
use super::report::Report;
use super::signals::Interrupt;
use super::{Shared, run};
use crate::reactor::Time;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// The version of the JSON form, raised when a key is removed or changes its meaning.
const SCHEMA_VERSION: u32 = 2;

/// The values of `--model`.
const MODELS: [&str; 2] = ["reactor", "threads"];

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Count,
    Bytes,
    Microseconds,
}

/// Reads one figure from a report.
type Figure = fn(&Report) -> Option<f64>;

/// The figures that are compared: the JSON key, the unit and the value.
const FIGURES: [(&str, Unit, Figure); 11] = [
    ("threads", Unit::Count, |run| {
        Some(run.server?.threads as f64)
    }),
    ("resident_bytes", Unit::Bytes, |run| {
        Some(run.server?.resident_bytes as f64)
    }),
    ("bytes_per_client", Unit::Bytes, |run| {
        run.server?.bytes_per_client
    }),
    ("context_switches", Unit::Count, |run| {
        Some(run.server?.context_switches as f64)
    }),
    ("connects_per_second", Unit::Count, |run| {
        Some(run.connects.per_second)
    }),
    ("messages_per_second", Unit::Count, |run| {
        Some(run.messages.per_second)
    }),
    ("cpu_us_per_message", Unit::Microseconds, |run| {
        run.server?.cpu_us_per_message
    }),
    ("load_cpu_us_per_message", Unit::Microseconds, |run| {
        run.load.process?.cpu_us_per_message
    }),
    ("p50_us", Unit::Microseconds, |run| run.latency.p50_us),
    ("p99_us", Unit::Microseconds, |run| run.latency.p99_us),
    ("p99_9_us", Unit::Microseconds, |run| run.latency.p99_9_us),
];

/// One figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Spread {
    /// The middle value, or the mean of the middle two.
    median: f64,
    /// The lowest value.
    min: f64,
    /// The highest value.
    max: f64,
}

impl Spread {
    /// The spread of `values`; `None` without values.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        Some(Self {
            median: if values.len() % 2 == 1 {
                upper
            } else {
                f64::midpoint(values[middle - 1], upper)
            },
            min: *values.first()?,
            max: *values.last()?,
        })
    }

    /// Whether both ranges overlap, so that the rounds do not distinguish the two.
    fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

/// One model under one delay.
#[derive(Clone, Debug, Serialize)]
struct Row {
    /// One of [`MODELS`].
    model: &'static str,
    /// The figures by key; a figure that no round has is left out.
    figures: BTreeMap<&'static str, Spread>,
    /// Rounds that did all that was asked for.
    rounds: usize,
    /// Why the other rounds did not, and which rounds were limited by the load generator.
    remarks: Vec<String>,
}

/// Both models under one delay.
#[derive(Clone, Debug, Serialize)]
struct Table {
    /// How long the server delays each reply.
    delay_seconds: f64,
    /// One row per model, in the order of [`MODELS`].
    rows: Vec<Row>,
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    schema_version: u32,
    /// Clients of each run.
    clients: u32,
    /// The measured time of each run.
    seconds: f64,
    /// Rounds asked for.
    rounds: u32,
    /// The comparison was stopped by a signal.
    pub interrupted: bool,
    /// One table per delay.
    tables: Vec<Table>,
}

impl Comparison {
    /// Runs `plan` against both models, `rounds` times each under each of `delays`. `on_progress`
    /// gets the current run and its state.
    ///
    /// # Errors
    ///
    /// This process cannot poll. A server that fails is a remark in its row.
    pub(crate) fn new(
        plan: &Plan,
        delays: &[Duration],
        rounds: u32,
        interrupt: &Interrupt,
        on_progress: &mut dyn FnMut(Position<'_>, &Shared, Time),
    ) -> io::Result<Self> {
        let mut tables = Vec::new();
        let mut run = 0;
        let of = (delays.len() * MODELS.len()) as u32 * rounds;
        for delay in delays {
            let mut models = MODELS.map(|model| (model, Vec::new(), Vec::new()));
            for round in 1..=rounds {
                for (model, reports, remarks) in &mut models {
                    if interrupt.is_set() {
                        break;
                    }
                    let delay = humantime::format_duration(*delay);
                    let name = format!("{model}, delay {delay}");
                    run += 1;
                    let position = Position {
                        name: &name,
                        run,
                        of,
                    };
                    let flags = [format!("--model={model}"), format!("--delay={delay}")];
                    let mut on_progress = |shared: &Shared, now| on_progress(position, shared, now);
                    match one_run(plan, &flags, interrupt, &mut on_progress)? {
                        Ended::Complete(report) => {
                            if report.verdict.limited_by_client {
                                remarks.push(format!("round {round}: {}", report.verdict.words));
                            }
                            reports.push(*report);
                        }
                        Ended::Failed(why) => remarks.push(format!("round {round}: {why}")),
                        // The comparison says so.
                        Ended::Interrupted => {}
                    }
                }
            }
            tables.push(Table {
                delay_seconds: delay.as_secs_f64(),
                rows: models
                    .into_iter()
                    .map(|(model, reports, remarks)| row(model, &reports, remarks))
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
            interrupted: interrupt.is_set(),
            tables,
        })
    }
}

/// How a run ended.
enum Ended {
    /// It did all that was asked for.
    Complete(Box<Report>),
    /// It does not count; why.
    Failed(String),
    /// A signal stopped it.
    Interrupted,
}

/// One run against a new server.
fn one_run(
    plan: &Plan,
    flags: &[String],
    interrupt: &Interrupt,
    on_progress: &mut dyn FnMut(&Shared, Time),
) -> io::Result<Ended> {
    let server = match SpawnedServer::start(flags, interrupt) {
        Ok(server) => server,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Ended::Interrupted),
        Err(error) => return Ok(Ended::Failed(error.to_string())),
    };
    let plan = Plan {
        to: server.address,
        ..plan.clone()
    };
    let run = run(plan, Some(server.id()), interrupt, on_progress)?;
    let stopped = server.stop(&|| interrupt.is_set());
    let report = Report::new(&run, &[]);
    Ok(if report.interrupted {
        Ended::Interrupted
    } else if report.verdict.achieved {
        Ended::Complete(Box::new(report))
    } else {
        let why = report.verdict.shortcomings.join(", ");
        Ended::Failed(match stopped {
            Ok(_) => format!("cannot hold the load: {why}"),
            Err(error) => format!("cannot hold the load: {why}; {error}"),
        })
    })
}

fn row(model: &'static str, reports: &[Report], remarks: Vec<String>) -> Row {
    let figures = FIGURES.iter().filter_map(|(key, _, figure)| {
        let values = reports.iter().filter_map(figure).collect();
        Some((*key, Spread::of(values)?))
    });
    Row {
        model,
        figures: figures.collect(),
        rounds: reports.len(),
        remarks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_median_between_the_lowest_and_the_highest() {
        let spread = |values: &[f64]| {
            Spread::of(values.to_vec()).map(|spread| [spread.min, spread.median, spread.max])
        };
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[3.0]), Some([3.0, 3.0, 3.0]));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some([1.0, 2.0, 9.0]));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some([1.0, 3.0, 9.0]));
    }

    #[test]
    fn spreads_overlap_if_a_value_lies_in_both() {
        let overlaps = |one: [f64; 2], other: [f64; 2]| {
            let spread = |values: [f64; 2]| Spread::of(values.to_vec()).expect("it has values");
            spread(one).overlaps(&spread(other))
        };
        assert!(overlaps([1.0, 3.0], [2.0, 4.0]) && overlaps([1.0, 4.0], [2.0, 3.0]));
        assert!(overlaps([1.0, 2.0], [2.0, 3.0]));
        assert!(!overlaps([1.0, 2.0], [3.0, 4.0]) && !overlaps([3.0, 4.0], [1.0, 2.0]));
    }
}
