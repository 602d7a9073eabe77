//! A test for each pitfall of readiness-based servers, which fails if its handling is removed.
//!
//! On scripted sockets where the order of events matters, on a real server where the kernel's
//! behaviour does.

// Tests that need Unix are left out elsewhere.
#![cfg_attr(not(unix), allow(unused_imports))]

#[macro_use]
#[path = "../util/mod.rs"]
mod util;

mod accept;
mod backpressure;
mod closing;
mod contract;
mod deadlines;
mod ending;
mod errors;
#[path = "../util/harness.rs"]
mod harness;
#[cfg(unix)] // needs signals and a pseudo-terminal
mod log;
mod memory;
mod observers;
mod overload;
mod readiness;
#[path = "../util/script.rs"]
mod script;

use harness::Harness;
use helloop::reactor::Readiness;
use helloop::server::Settings;
use script::{Remote, ScriptedStream};

/// A server with `--max-clients 1` to which `count` clients have connected at once, and the remote
/// ends of their streams.
fn overloaded(count: usize) -> (Harness, Vec<Remote>) {
    let mut harness = Harness::new(Settings {
        max_clients: 1,
        ..Settings::default()
    });
    let (listener, queue) = harness.listener();
    let (streams, remotes): (Vec<_>, Vec<_>) =
        (0..count).map(|_| ScriptedStream::unlimited()).unzip();
    queue.borrow_mut().streams.extend(streams);
    harness.step_with(&[(listener, Readiness::READABLE)]);
    harness.run_until_idle();
    (harness, remotes)
}

/// The number after `name` in a line of counters, which must contain it.
#[track_caller]
fn counter(counters: &str, name: &str) -> u64 {
    assert!(counters.contains(name), "no {name} in {counters}");
    util::counter(counters, name)
}
