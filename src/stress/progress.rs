//! The progress line.
//!
//! **Owns** one line on standard error. **Must never touch** the run. **Invariant**: if standard
//! error is not a terminal, nothing is written.

use super::latency::microseconds;
use super::report::text;
use super::{Shared, Stage};
use crate::reactor::Time;
use indicatif::{ProgressBar, ProgressDrawTarget};

/// The line.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// An empty line.
    #[must_use]
    pub(crate) fn start() -> Self {
        let target = ProgressDrawTarget::stderr();
        Self(ProgressBar::with_draw_target(None, target))
    }

    /// Shows the state of the run after `prefix`.
    pub(crate) fn show(&self, prefix: &str, shared: &Shared, now: Time) {
        if !self.0.is_hidden() {
            self.0.set_message(prefix.to_owned() + &line(shared, now));
            self.0.tick();
        }
    }

    /// Removes the line.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// The stage and its figures.
fn line(shared: &Shared, now: Time) -> String {
    let counters = &shared.counters;
    let stage = match shared.stage {
        Stage::Connecting => {
            return format!(
                "connecting: {} of {} clients, {} lost",
                counters.welcomed,
                shared.plan.clients,
                counters.all_lost()
            );
        }
        Stage::WarmingUp(_) => "warming up",
        Stage::Running => "running",
        Stage::Finishing(_) => "finishing",
        Stage::Over => "over",
    };
    let (rate, p99) = counters.seconds.last().map_or((0.0, None), |second| {
        let length = second.length.as_secs_f64().max(1e-9);
        (second.replies as f64 / length, second.p99)
    });
    format!(
        "{stage}: {:.0}s, {}, {rate:.0} messages a second, p99 {}, {} lost",
        now.since(shared.began).as_secs_f64(),
        text::count(counters.open, "client", "clients"),
        text::time(p99.map(microseconds)),
        counters.all_lost()
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn the_line_names_the_stage() {
        let mut shared = Shared::new(plan());
        assert_eq!(
            line(&shared, Time::ZERO),
            "connecting: 0 of 1 clients, 0 lost"
        );
        shared.stage = Stage::Running;
        assert!(line(&shared, Time::ZERO).starts_with("running: 0s"));
    }
}
