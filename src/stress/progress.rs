//! What a person sees while it runs.
//!
//! **Owns** one line on standard error. **Must never touch** the run. **Invariant**: where
//! standard error is no terminal, nothing is written.

use super::report::text;
use super::{Shared, Stage};
use crate::reactor::Time;
use indicatif::{ProgressBar, ProgressDrawTarget};

/// The line.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// An empty line.
    #[must_use]
    pub fn start() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self(bar)
    }

    /// Shows how far the run is.
    pub fn show(&self, shared: &Shared, now: Time) {
        self.show_as("", shared, now);
    }

    /// Shows how far the run called `what` is.
    pub fn show_as(&self, what: &str, shared: &Shared, now: Time) {
        if self.0.is_hidden() {
            return;
        }
        let space = if what.is_empty() { "" } else { ": " };
        self.0
            .set_message(format!("{what}{space}{}", line(shared, now)));
        self.0.tick();
    }

    /// Takes the line away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// One line: the stage, and what is going on in it.
fn line(shared: &Shared, now: Time) -> String {
    let counters = &shared.counters;
    let stage = match shared.stage {
        Stage::Connecting => {
            return format!(
                "connecting: {} of {} clients, {} lost",
                counters.greeted,
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
        "{stage}: {:.0}s, {} clients, {rate:.0} messages a second, p99 {}, {} lost",
        now.since(shared.began).as_secs_f64(),
        counters.open,
        text::time(p99.map(|p99| p99.as_secs_f64() * 1e6)),
        counters.all_lost()
    )
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::*;

    #[test]
    fn each_stage_has_its_words() {
        let mut shared = Shared::new(plan());
        assert_eq!(
            line(&shared, Time::ZERO),
            "connecting: 0 of 1 clients, 0 lost"
        );
        shared.stage = Stage::Running;
        assert!(line(&shared, Time::ZERO).starts_with("running: 0s"));
    }
}
