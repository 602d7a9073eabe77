//! The result of a run, as text, JSON and HTML.
//!
//! **Owns** how a report is put together, and the exit code. **Must never touch** a run in
//! progress: a report is made once, after the run. **Invariant**: the three forms show the same
//! numbers.
//!
//! Imports run one way: this file uses `measure`, which reads the run, the objectives and the
//! verdict; the forms `text`, `side_by_side` and `html` see only the data in `schema`, which `file`
//! reads back.

mod charts;
mod figures;
mod file;
pub(crate) mod fold;
pub(crate) mod html;
mod measure;
mod names;
mod origin;
pub(crate) mod schema;
mod side_by_side;
pub(crate) mod text;

pub(crate) use figures::{MAX_RUNS, NamedRun};
pub(crate) use file::read;
pub(crate) use schema::{Report, json_schema};
pub(crate) use side_by_side::SideBySide;

use super::plan::Transport;
use super::slo::Slo;
use super::{Run, signals};
use schema::{SCHEMA_VERSION, SloReport, VerdictReport};

/// The exit codes of a run; clap's own is 2, and that of an interrupted run is
/// [`EXIT_INTERRUPTED`](signals::EXIT_INTERRUPTED).
pub mod exit {
    /// The load did all that was asked for, and all objectives were met.
    pub const OK: u8 = 0;
    /// The run could not start.
    pub const NOT_STARTED: u8 = 1;
    /// An objective was missed.
    pub const SLO_MISSED: u8 = 3;
    /// The load did not do all that was asked for.
    pub const NOT_ACHIEVED: u8 = 4;
}

impl Report {
    /// Reports `run` and checks it against `slos`.
    #[must_use]
    pub(crate) fn new(run: &Run, slos: &[Slo]) -> Self {
        let shared = &run.shared;
        let counters = &shared.counters;
        let own = measure::process(run, |sample| sample.own);
        let server = measure::process(run, |sample| sample.server);
        let messages = measure::messages(shared);
        let verdict = measure::verdict(shared, own, server);
        let slos: Vec<_> = slos
            .iter()
            .map(|slo| measure::slo(slo, shared, &messages))
            .collect();
        Self {
            schema_version: SCHEMA_VERSION,
            helloop_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: humantime::format_rfc3339_seconds(run.started).to_string(),
            command: origin::command(),
            machine: origin::machine(),
            plan: measure::plan(shared),
            interrupted: shared.interrupted,
            clients: measure::clients(shared),
            connects: measure::connects(shared),
            latency: measure::latencies(&counters.latency),
            distribution: measure::distribution(&counters.latency),
            seconds: measure::seconds(counters),
            served: measure::served(counters),
            datagrams: (shared.plan.transport == Transport::Udp)
                .then(|| measure::datagrams(counters.datagrams)),
            server,
            load: measure::load(own, counters),
            exit_code: exit_code(shared.interrupted, &verdict, &slos),
            messages,
            verdict,
            slos,
        }
    }
}

fn exit_code(interrupted: bool, verdict: &VerdictReport, slos: &[SloReport]) -> u8 {
    if interrupted {
        signals::EXIT_INTERRUPTED
    } else if !verdict.achieved {
        exit::NOT_ACHIEVED
    } else if slos.iter().any(|slo| !slo.met) {
        exit::SLO_MISSED
    } else {
        exit::OK
    }
}
