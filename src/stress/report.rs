//! What a run amounted to.
//!
//! **Owns** the figures as they are told, in text, JSON and HTML alike, and the exit code.
//! **Must never touch** a counter of a run that goes on: it is made once, of a run that is
//! through. **Invariant**: the three forms show the same numbers; a number that is not known, or
//! that too few samples support, is absent and never zero.

pub mod figures;
pub mod html;
mod measure;
pub mod text;

use super::latency::Latencies;
use super::slo::Slo;
use super::{Run, signals};
use figures::{
    Bar, Clients, Connects, DatagramReport, LatencyReport, LoadReport, Messages, PlanReport,
    ProcessReport, SecondReport, Served, SloReport, Verdict,
};
use serde::Serialize;

/// The version of the JSON form: raised when a key changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Exit codes of a run.
pub mod exit {
    /// All as asked.
    pub const OK: u8 = 0;
    /// It could not start.
    pub const NOT_STARTED: u8 = 1;
    /// An objective was missed.
    pub const SLO_MISSED: u8 = 3;
    /// The stimulus was not achieved.
    pub const NOT_ACHIEVED: u8 = 4;
}

/// One run, told. Times in microseconds (`_us`) or seconds, shares of one processor as 1.0.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// This program's version.
    pub helloop_version: &'static str,
    /// What was asked for.
    pub plan: PlanReport,
    /// Whether the run was stopped before its time.
    pub interrupted: bool,
    /// How many clients came how far.
    pub clients: Clients,
    /// How fast they connected.
    pub connects: Connects,
    /// What they said and heard.
    pub messages: Messages,
    /// How long replies took.
    pub latency: LatencyReport,
    /// How the latencies are spread: none where there are none.
    pub distribution: Vec<Bar>,
    /// The run, second by second.
    pub seconds: Vec<SecondReport>,
    /// The client served best and the one served worst; `None` if none is through.
    pub served: Option<Served>,
    /// What happened to datagrams; `None` over TCP.
    pub datagrams: Option<DatagramReport>,
    /// The server's process; `None` where it is not known or may not be asked.
    pub server: Option<ProcessReport>,
    /// This process.
    pub load: LoadReport,
    /// Whether to believe it.
    pub verdict: Verdict,
    /// The objectives.
    pub slos: Vec<SloReport>,
    /// What the program exits with.
    pub exit_code: u8,
}

impl Report {
    /// The report of `run`, judged by `slos`.
    #[must_use]
    pub fn new(run: &Run, slos: &[Slo]) -> Self {
        let mut report = measure::measure(run);
        report.slos = slos
            .iter()
            .map(|slo| report.hold_against(slo, &run.shared.counters.latency))
            .collect();
        report.exit_code = report.code();
        report
    }

    fn hold_against(&self, slo: &Slo, latencies: &Latencies<u64>) -> SloReport {
        let measured = slo.measured(self, latencies);
        SloReport {
            slo: slo.to_string(),
            measured,
            met: measured.is_some_and(|value| slo.is_met_by(value)),
        }
    }

    fn code(&self) -> u8 {
        if self.interrupted {
            signals::EXIT_INTERRUPTED
        } else if !self.verdict.achieved {
            exit::NOT_ACHIEVED
        } else if self.slos.iter().any(|slo| !slo.met) {
            exit::SLO_MISSED
        } else {
            exit::OK
        }
    }
}
