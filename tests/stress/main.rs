//! `helloop stress`: its report and its exit code, against correct and faulty servers.
//!
//! A faulty server is a set of threads of the test, on 127.0.0.1:0. All load goes to loopback, and
//! is bounded by its own flags.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(dead_code, unused_imports))]

mod datagrams;
mod faulty;
mod files;
#[cfg(unix)] // needs a pseudo-terminal
mod folded;
mod hostile;
mod load;
#[cfg(unix)] // needs /proc
mod process;
mod report;
#[cfg(unix)] // there are no signals elsewhere
mod signals;
mod timing;
mod truth;
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

/// Runs `helloop stress FLAGS` until it exits.
#[track_caller]
fn run(flags: &str) -> Ended {
    start(flags).wait()
}

/// Runs the load against `to`; returns the exit and the JSON report.
#[track_caller]
fn stress(to: SocketAddr, flags: &str) -> (Ended, Value) {
    with_report(run(&format!("--to {to} --json - {flags}")))
}

/// Runs the load with `--spawn`; returns the exit and the JSON report.
#[track_caller]
fn spawned(flags: &str) -> (Ended, Value) {
    with_report(run(&format!("--spawn --json - {flags}")))
}

#[track_caller]
fn with_report(ended: Ended) -> (Ended, Value) {
    let report = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("no JSON report ({error}): {ended:#?}"));
    (ended, report)
}

/// A short run in the closed loop.
const SHORT: &str = "--clients 4 --duration 300ms --warmup 0s";

#[track_caller]
fn microseconds(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}
