//! The pitfalls of the genre, one test each, named after it: each fails when its handling is
//! taken out. Scripted where the order of things matters, on the real server where the kernel's
//! part does.

mod accept;
mod backpressure;
mod ending;
mod errors;
mod readiness;
#[path = "../util/rig.rs"]
mod rig;
#[path = "../util/script.rs"]
mod script;
#[path = "../util/mod.rs"]
mod util;
mod waiting;

use helloop::protocol::greeting::Framing;
use helloop::reactor::Readiness;
use helloop::server::Settings;
use rig::Rig;
use script::{FarEnd, Scripted};

fn lines() -> Settings {
    Settings {
        framing: Framing::Line,
        ..Settings::default()
    }
}

/// All that an event can say.
fn anything() -> Readiness {
    Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED
}

/// A server for one client, after so many came at once; and their far ends.
fn crowd(count: usize) -> (Rig, Vec<FarEnd>) {
    let mut rig = Rig::new(Settings {
        max_clients: 1,
        ..Settings::default()
    });
    let (listener, waiting) = rig.listener();
    let (streams, far_ends): (Vec<_>, Vec<_>) = (0..count).map(|_| Scripted::roomy()).unzip();
    waiting.borrow_mut().streams.extend(streams);
    rig.step_with(&[(listener, Readiness::READABLE)]);
    rig.settle();
    (rig, far_ends)
}

/// The number behind `name` in a line of counters, which must be there.
#[track_caller]
fn figure(counters: &str, name: &str) -> u64 {
    assert!(counters.contains(name), "no {name} in {counters}");
    util::figure(counters, name)
}
