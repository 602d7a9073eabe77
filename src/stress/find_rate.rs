//! The highest rate at which a server meets the objectives.
//!
//! **Owns** the order of the steps, and the decision which rate is tried next. **Must never touch**
//! the inside of a step: each is a normal run in the open loop. **Invariant**: the search ends; the
//! rate that it reports was measured in one of its steps, and held.
//!
//! ```text
//! start ---> times 4 until a rate is missed ---> bisect until the bracket is 5% wide
//!        \-> divided by 4 until one holds   -/
//! ```
//!
//! A rate counts as missed only if it is missed twice: on a shared machine a single step may be
//! disturbed, and a search never returns to a rate above a missed one.

mod text;

use super::latency::samples_needed;
use super::plan::{Length, Plan};
use super::report::schema::SloReport;
use super::report::{Report, exit};
use super::signals::{EXIT_INTERRUPTED, Interrupt};
use super::slo::{Metric, Slo};
use super::{Shared, run};
use crate::reactor::Time;
use serde::Serialize;
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

/// The version of the JSON form, raised when a key is removed or changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// The factor between steps until one holds and one is missed. Throughput of servers spans four
/// decades, which takes seven such steps.
const GROWTH_FACTOR: u64 = 4;

/// The search ends when the lowest rate that was missed is at most this factor above the highest
/// that held. Repeated runs of one rate differ by about as much.
const PRECISION_FACTOR: f64 = 1.05;

/// How often a rate is tried before it counts as missed.
const RATE_TRIES: usize = 2;

/// The longest step, unless `--duration` is longer. A rate at which a percentile needs more time
/// is not tried.
const MAX_STEP: Duration = Duration::from_secs(20);

/// The bracket: what is known so far.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    start: u64,
    lowest: u64,
    /// The highest rate that held.
    held: Option<u64>,
    /// The lowest rate that counts as missed.
    missed: Option<u64>,
}

impl Bracket {
    /// The next rate to try; `None` if the search is over.
    fn next_rate(&self) -> Option<u64> {
        match (self.held, self.missed) {
            (None, None) => Some(self.start),
            (Some(held), None) => held.checked_mul(GROWTH_FACTOR),
            (None, Some(missed)) => {
                (missed > self.lowest).then(|| (missed / GROWTH_FACTOR).max(self.lowest))
            }
            (Some(held), Some(missed)) => {
                let is_wide = missed as f64 > held as f64 * PRECISION_FACTOR;
                let middle = round((held as f64 * missed as f64).sqrt());
                (is_wide && middle > held && middle < missed).then_some(middle)
            }
        }
    }

    fn note(&mut self, rate: u64, is_held: bool) {
        let bound = if is_held {
            &mut self.held
        } else {
            &mut self.missed
        };
        *bound = Some(rate);
    }
}

/// Rounds to three digits, so that the table can be read.
fn round(rate: f64) -> u64 {
    let unit = 10f64.powi((rate.max(1.0).log10() as i32 - 2).max(0));
    ((rate / unit).round() * unit) as u64
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// The rate was achieved, and all objectives were met.
    Held,
    /// The server missed an objective, or did not achieve the rate.
    Missed,
    /// The same, but the load generator was the bottleneck.
    LimitedByClient,
}

/// One step of the search.
#[derive(Clone, Debug, Serialize)]
struct Step {
    /// Messages per second requested.
    rate: u64,
    /// Messages answered per second.
    per_second: f64,
    /// The measured time.
    seconds: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    outcome: Outcome,
    slos: Vec<SloReport>,
    /// Its shortcomings, and why the load generator was the limit, one line each.
    remarks: Vec<String>,
}

/// What the search found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RateSearch {
    schema_version: u32,
    /// The server's address.
    to: String,
    /// Clients of each step.
    clients: u32,
    /// The objectives, as they were written.
    objectives: Vec<String>,
    /// The highest rate that held; `None` if none did.
    highest_rate: Option<u64>,
    /// The lowest rate that did not hold; `None` if all did.
    lowest_missed_rate: Option<u64>,
    /// The load generator was the bottleneck at that rate: the server may hold more.
    limited_by_client: bool,
    /// The search was stopped by a signal.
    interrupted: bool,
    steps: Vec<Step>,
    /// The exit code of the program.
    pub exit_code: u8,
}

impl RateSearch {
    /// Checks that `slos` can be searched for. The error is a message for the user.
    pub(crate) fn check(slos: &[Slo]) -> Result<(), String> {
        if slos.is_empty() {
            return Err("--find-rate needs an objective: give --slo 'p99<5ms' too".to_owned());
        }
        if let Some(slo) = slos.iter().find(|slo| slo.metric == Metric::Rate) {
            return Err(format!(
                "--find-rate searches for the rate: --slo '{slo}' cannot limit it"
            ));
        }
        Ok(())
    }

    /// Searches for the highest rate at which `plan` meets `slos`. Each step measures for the
    /// plan's length, or longer if a percentile needs more samples. `on_progress` gets the name of
    /// the current step and its state.
    ///
    /// # Errors
    ///
    /// This process cannot poll. [`io::ErrorKind::ConnectionRefused`]: no server listens.
    pub(crate) fn new(
        plan: &Plan,
        slos: &[Slo],
        server: Option<u32>,
        interrupt: &Interrupt,
        on_progress: &mut dyn FnMut(&str, &Shared, Time),
    ) -> io::Result<Self> {
        let samples = slos.iter().map(samples_for).max().unwrap_or(1);
        let lowest = lowest_rate(plan, samples);
        let mut bracket = Bracket {
            start: start_rate(plan, samples),
            lowest,
            held: None,
            missed: None,
        };
        let mut steps: Vec<Step> = Vec::new();
        while let Some(rate) = bracket.next_rate().and_then(NonZeroU64::new) {
            let step_plan = plan_at(plan, rate, samples);
            let name = format!("step {}, {rate} messages/s", steps.len() + 1);
            let mut on_progress = |shared: &Shared, now| on_progress(&name, shared, now);
            let run = run(step_plan, server, interrupt, &mut on_progress)?;
            if interrupt.is_set() {
                break;
            }
            if steps.is_empty() && run.shared.counters.all_refused() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let step = Step::new(rate.get(), Report::new(&run, slos));
            let is_held = step.outcome == Outcome::Held;
            steps.push(step);
            let misses = steps
                .iter()
                .rev()
                .take_while(|step| step.rate == rate.get());
            if is_held || misses.count() >= RATE_TRIES {
                bracket.note(rate.get(), is_held);
            }
        }
        Ok(Self::of(plan, slos, bracket, steps, interrupt.is_set()))
    }

    fn of(
        plan: &Plan,
        slos: &[Slo],
        bracket: Bracket,
        steps: Vec<Step>,
        interrupted: bool,
    ) -> Self {
        let at_missed = |step: &&Step| Some(step.rate) == bracket.missed;
        let last_missed = steps.iter().rev().find(at_missed);
        let limited_by_client =
            last_missed.is_some_and(|step| step.outcome == Outcome::LimitedByClient);
        let is_objective_missed = last_missed.is_some_and(|step| {
            let mut slos = step.slos.iter();
            slos.any(|slo| !slo.met && slo.measured.is_some())
        });
        Self {
            schema_version: SCHEMA_VERSION,
            to: plan.to.to_string(),
            clients: plan.clients,
            objectives: slos.iter().map(ToString::to_string).collect(),
            highest_rate: bracket.held,
            lowest_missed_rate: bracket.missed,
            limited_by_client,
            interrupted,
            steps,
            exit_code: match bracket.held {
                _ if interrupted => EXIT_INTERRUPTED,
                Some(_) => exit::OK,
                None if is_objective_missed => exit::SLO_MISSED,
                None => exit::NOT_ACHIEVED,
            },
        }
    }
}

impl Step {
    fn new(rate: u64, report: Report) -> Self {
        let verdict = report.verdict;
        let is_held = verdict.achieved && report.slos.iter().all(|slo| slo.met);
        let mut remarks = verdict.shortcomings;
        // A client that is lost is no matter of speed.
        let is_limited = verdict.limited_by_client && report.clients.lost == 0;
        let outcome = match (is_held, is_limited) {
            (true, _) => Outcome::Held,
            (false, false) => Outcome::Missed,
            (false, true) => {
                remarks.push(verdict.words);
                Outcome::LimitedByClient
            }
        };
        Self {
            rate,
            per_second: report.messages.per_second,
            seconds: report.messages.seconds,
            p50_us: report.latency.p50_us,
            p99_us: report.latency.p99_us,
            outcome,
            slos: report.slos,
            remarks,
        }
    }
}

/// The samples that an objective needs.
fn samples_for(slo: &Slo) -> u64 {
    match slo.metric {
        Metric::Quantile(quantile) => samples_needed(quantile),
        Metric::Min | Metric::Mean | Metric::Max | Metric::Rate | Metric::Loss => 1,
    }
}

/// The lowest rate at which a step of permitted length has enough samples.
fn lowest_rate(plan: &Plan, samples: u64) -> u64 {
    let longest = step_time(plan).max(MAX_STEP);
    let rate = samples as f64 / longest.as_secs_f64();
    (rate.ceil() as u64).max(1)
}

/// The first rate: a message per second for each client, or as many as a step of the plan's length
/// needs.
fn start_rate(plan: &Plan, samples: u64) -> u64 {
    let enough = samples as f64 / step_time(plan).as_secs_f64();
    u64::from(plan.active).max(enough.ceil() as u64).max(1)
}

/// The plan of the step at `rate`.
fn plan_at(plan: &Plan, rate: NonZeroU64, samples: u64) -> Plan {
    // One message more: the first and the last are due at the ends of the time.
    let needed = Duration::from_secs_f64((samples + 1) as f64 / rate.get() as f64);
    Plan {
        rate: Some(rate),
        length: Length::Time(step_time(plan).max(needed)),
        ..plan.clone()
    }
}

fn step_time(plan: &Plan) -> Duration {
    match plan.length {
        Length::Time(time) => time,
        Length::Messages(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;
    use proptest::prelude::*;

    /// Searches against a server that holds rates up to `capacity`. Returns the bracket and the
    /// number of rates tried.
    fn search(start: u64, lowest: u64, capacity: u64) -> (Bracket, u32) {
        let mut bracket = Bracket {
            start,
            lowest,
            held: None,
            missed: None,
        };
        let mut tried = 0;
        while let Some(rate) = bracket.next_rate() {
            bracket.note(rate, rate <= capacity);
            tried += 1;
        }
        (bracket, tried)
    }

    proptest! {
        #[test]
        fn the_search_ends_within_its_precision_of_the_capacity(
            start in 1_u64..100_000,
            capacity in 100_u64..10_000_000_000,
        ) {
            let (bracket, tried) = search(start, 1, capacity);
            let held = bracket.held.expect("the lowest rate is held");
            prop_assert!(held <= capacity);
            prop_assert!(capacity as f64 <= held as f64 * PRECISION_FACTOR, "{held}");
            prop_assert!(tried <= 30, "{tried}");
        }
    }

    #[test]
    fn a_server_that_holds_no_rate_is_tried_down_to_the_lowest() {
        let (bracket, tried) = search(1_000, 100, 50);
        assert_eq!((bracket.held, bracket.missed), (None, Some(100)));
        assert_eq!(tried, 3);
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(
            [0.6, 7.0, 123.4, 1_234.0, 98_765.0].map(round),
            [1, 7, 123, 1_230, 98_800]
        );
    }

    #[test]
    fn a_step_is_long_enough_for_its_percentile() {
        let plan = plan();
        let slo: Slo = "p99.9<5ms".parse().expect("it is valid");
        let samples = samples_for(&slo);
        assert_eq!(samples, 10_000);
        assert_eq!(start_rate(&plan, samples), 10_000);
        assert_eq!(start_rate(&plan, 1), 1);
        // In 20 s at the most.
        assert_eq!(lowest_rate(&plan, samples), 500);
        let length =
            |rate| plan_at(&plan, NonZeroU64::new(rate).expect("not zero"), samples).length;
        assert_eq!(length(100_000), plan.length);
        let Length::Time(time) = length(600) else {
            panic!("a step takes a time");
        };
        assert!(time >= Duration::from_secs(16), "{time:?}");
    }

    #[test]
    fn objectives_that_cannot_be_searched_for_are_rejected() {
        let check = |text: &str| RateSearch::check(&[text.parse().expect(text)]);
        assert_eq!(check("p99<5ms"), Ok(()));
        assert!(check("rate>5").is_err_and(|error| error.contains("rate>5")));
        assert!(RateSearch::check(&[]).is_err_and(|error| error.contains("--slo")));
    }
}
