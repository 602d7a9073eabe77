//! The progress of a run.
//!
//! **Owns** what the status line says while a run lasts. **Must never touch** the run.
//! **Invariant**: if standard error is not a terminal, nothing is written; the line is gone after
//! the run, after the first signal to stop, and before an error.
//!
//! In a narrow terminal the parts that matter least are left out.

use super::latency::microseconds;
use super::plan::{Length, Transport};
use super::{Shared, Stage};
use crate::output::status::{self, Part, StatusLine, bar, clock, percent};
use crate::reactor::Time;
use crate::system;
use crate::units::{count, time};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// How much a part matters: of a line that is too long, the last of these is left out first.
#[derive(Clone, Copy, Debug)]
enum Rank {
    Percent,
    Stage,
    Losses,
    Position,
    Left,
    Rate,
    Clients,
    P99,
    Name,
    Elapsed,
    NoLosses,
    Bar,
}

impl Rank {
    fn of(self, text: impl Into<String>) -> Part {
        Part::new(self as u8, text)
    }
}

/// A run among several.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position<'a> {
    /// What distinguishes it.
    pub name: &'a str,
    /// Its number, from 1.
    pub run: u32,
    /// The number of all runs.
    pub of: u32,
}

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    line: StatusLine,
    started: Instant,
    /// The run that is shown, and how long those before it took.
    current: Cell<(u32, Duration)>,
}

impl Progress {
    /// An empty line. On a terminal, a thread removes it at the first signal to stop, so that it is
    /// gone even if a second signal ends the process at once. The caller handles these signals too.
    #[must_use]
    pub(crate) fn start() -> Self {
        let line = StatusLine::start();
        if line.is_on() {
            remove_on_signals();
        }
        Self {
            line,
            started: Instant::now(),
            current: Cell::new((1, Duration::ZERO)),
        }
    }

    /// Shows the state of the run after `prefix`.
    pub(crate) fn show(&self, prefix: &str, shared: &Shared, now: Time) {
        if self.line.is_on() {
            let mut parts = vec![Rank::Position.of(prefix.trim_end())];
            parts.extend(run_parts(estimate(shared, now), shared, now));
            self.line.show(&parts);
        }
    }

    /// Shows the state of one run among several: how far all of them are.
    pub(crate) fn show_run(&self, position: Position<'_>, shared: &Shared, now: Time) {
        if !self.line.is_on() {
            return;
        }
        let elapsed = self.started.elapsed();
        if self.current.get().0 != position.run {
            self.current.set((position.run, elapsed));
        }
        let (_, before) = self.current.get();
        let mut parts = vec![
            Rank::Position.of(format!("run {} of {}", position.run, position.of)),
            Rank::Name.of(position.name),
        ];
        let whole = whole(position, before, elapsed, shared, now);
        parts.extend(run_parts(whole, shared, now));
        self.line.show(&parts);
    }

    /// Removes the line.
    pub(crate) fn finish(self) {
        drop(self.line);
    }
}

fn remove_on_signals() {
    // Without the thread only the second signal leaves the line.
    let _ = system::on_stop(|_| status::end());
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    /// How long it has taken.
    elapsed: Duration,
    /// The share that is done; `None` if it is not known.
    done: Option<f64>,
    /// How long it is expected to take.
    left: Option<Duration>,
}

/// While clients connect: of that stage, since the clients decide how long it takes. Later, the
/// warm-up and the measured part together.
fn estimate(shared: &Shared, now: Time) -> Estimate {
    let (plan, counters) = (&shared.plan, &shared.counters);
    let elapsed = now.since(shared.began);
    let (done, left) = match (shared.stage, plan.length) {
        (Stage::Connecting, _) => {
            let settled = counters.started - counters.pending;
            by_count(settled.into(), plan.clients.into(), elapsed)
        }
        (Stage::WarmingUp(until), Length::Time(length)) => {
            by_time(plan.warmup + length, until.since(now) + length)
        }
        (Stage::Running, Length::Time(length)) => {
            by_time(plan.warmup + length, shared.measured_until.since(now))
        }
        (Stage::WarmingUp(_), Length::Messages(_)) => (Some(0.0), None),
        (Stage::Running, Length::Messages(messages)) => {
            let running = now.since(shared.measured_from);
            by_count(counters.answered, messages, running)
        }
        (Stage::Finishing(_) | Stage::Over, _) => (Some(1.0), None),
    };
    Estimate {
        elapsed,
        done,
        left,
    }
}

fn by_time(all: Duration, left: Duration) -> (Option<f64>, Option<Duration>) {
    let done = all.saturating_sub(left).as_secs_f64() / all.as_secs_f64().max(1e-9);
    (Some(done), Some(left))
}

/// The rest takes as long each as what is done.
fn by_count(done: u64, all: u64, elapsed: Duration) -> (Option<f64>, Option<Duration>) {
    let share = done as f64 / all.max(1) as f64;
    let left = elapsed.as_secs_f64() * (1.0 / share - 1.0);
    (Some(share), Duration::try_from_secs_f64(left).ok())
}

/// How far several runs are: those before this one took `before`, and each further one takes as long
/// as they did on average. The first one takes at least what is planned.
fn whole(
    position: Position<'_>,
    before: Duration,
    elapsed: Duration,
    shared: &Shared,
    now: Time,
) -> Estimate {
    let planned = match shared.plan.length {
        Length::Time(length) => shared.plan.warmup + length,
        Length::Messages(_) => Duration::ZERO,
    };
    let finished = position.run.saturating_sub(1);
    let each = before.checked_div(finished).unwrap_or(planned);
    let run = estimate(shared, now);
    let this = match shared.stage {
        Stage::Connecting => planned + run.left.unwrap_or_default(),
        _ => run.left.unwrap_or_default(),
    };
    let left = this + each * position.of.saturating_sub(position.run);
    let (done, left) = by_time(elapsed + left, left);
    Estimate {
        elapsed,
        done,
        left,
    }
}

/// The stage and its figures.
fn run_parts(estimate: Estimate, shared: &Shared, now: Time) -> Vec<Part> {
    let stage = match shared.stage {
        Stage::Connecting => "connecting",
        Stage::WarmingUp(_) => "warming up",
        Stage::Running => "running",
        Stage::Finishing(_) => "finishing",
        Stage::Over => "over",
    };
    let (clients, rate, p99) = figures(shared, now);
    let (losses, any_lost) = losses(shared);
    let losses_rank = if any_lost {
        Rank::Losses
    } else {
        Rank::NoLosses
    };
    let done = estimate.done.map(|done| done.clamp(0.0, 1.0));
    let left = estimate
        .left
        .map(|left| clock(status::ceil(left)) + " left");
    vec![
        Rank::Stage.of(stage),
        Rank::Bar.of(done.map(bar).unwrap_or_default()),
        Rank::Percent.of(done.map(percent).unwrap_or_default()),
        Rank::Elapsed.of(clock(estimate.elapsed) + " elapsed"),
        Rank::Left.of(left.unwrap_or_default()),
        Rank::Clients.of(clients),
        Rank::Rate.of(rate),
        Rank::P99.of(p99),
        losses_rank.of(losses),
    ]
}

/// The clients, the rate and the p99: the latter two of the last full second.
fn figures(shared: &Shared, now: Time) -> (String, String, String) {
    let counters = &shared.counters;
    match shared.stage {
        Stage::Connecting => {
            let elapsed = now.since(shared.began).as_secs_f64().max(1e-9);
            let rate = f64::from(counters.welcomed) / elapsed;
            let all = count(shared.plan.clients, "client", "clients");
            let welcomed = format!("{} of {all}", counters.welcomed);
            (welcomed, format!("{rate:.0}/s"), String::new())
        }
        Stage::Finishing(_) => {
            let in_flight = format!("{} in flight", counters.in_flight);
            (in_flight, String::new(), String::new())
        }
        Stage::WarmingUp(_) | Stage::Running | Stage::Over => {
            let (mut rate, mut p99) = (String::new(), String::new());
            if let Some(second) = counters.seconds.last().filter(|last| last.replies > 0) {
                let length = second.length.as_secs_f64().max(1e-9);
                rate = format!("{:.0}/s", second.replies as f64 / length);
                let p99_time = second.p99.map(|p99| time(Some(microseconds(p99))));
                p99 = p99_time.map(|p99| format!("p99 {p99}")).unwrap_or_default();
            }
            (count(counters.open, "client", "clients"), rate, p99)
        }
    }
}

/// What is lost, and whether anything is.
fn losses(shared: &Shared) -> (String, bool) {
    let clients = shared.counters.all_lost();
    let datagrams = shared.counters.datagrams.lost;
    if shared.plan.transport == Transport::Udp && datagrams > 0 {
        (count(datagrams, "datagram", "datagrams") + " lost", true)
    } else {
        (format!("{clients} lost"), clients > 0)
    }
}

#[cfg(test)]
mod tests;
