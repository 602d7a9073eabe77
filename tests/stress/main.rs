//! `helloop stress`: its report and its exit code, against servers that behave and servers that
//! do not.
//!
//! Misbehaving servers are threads of the test on 127.0.0.1:0. All load goes to loopback, and
//! ends by its own limits.

mod datagrams;
mod load;
mod misbehaving;
mod process;
mod report;
mod signals;
mod timing;
mod tutorial;
mod usage;
#[path = "../util/mod.rs"]
mod util;

use serde_json::Value;
use std::net::SocketAddr;
use util::{Ended, Process, helloop};

/// Starts `helloop stress FLAGS`.
#[track_caller]
fn start(flags: &str) -> Process {
    let flags: Vec<&str> = flags.split_whitespace().collect();
    Process::start(helloop(&[&["stress"], &flags[..]].concat()))
}

/// Runs it to its end.
#[track_caller]
fn run(flags: &str) -> Ended {
    start(flags).wait()
}

/// Runs the load against `to`, and returns how it ended and its JSON report.
#[track_caller]
fn stress(to: SocketAddr, flags: &str) -> (Ended, Value) {
    with_report(run(&format!("--to {to} --json - {flags}")))
}

/// The same, with a server of the load's own.
#[track_caller]
fn spawned(flags: &str) -> (Ended, Value) {
    with_report(run(&format!("--spawn --json - {flags}")))
}

#[track_caller]
fn with_report(ended: Ended) -> (Ended, Value) {
    let report = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}): {ended:#?}"));
    (ended, report)
}

/// A short closed loop.
const BRIEF: &str = "--clients 4 --duration 300ms --warmup 0s";

#[track_caller]
fn microseconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no time: {value}"))
}
