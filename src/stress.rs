//! The load generator: very many clients on the same event loop as the server's.
//!
//! **Owns** the reactor with its [`LoadSource`]s, their [`Shared`] state, and the loop around
//! its turns. **Must never touch** a socket: the sources do. It contains no server code:
//! [`child`] starts a server as a separate process. **Invariant**: everything that is reported
//! was measured; where the load generator was the limit and not the server, the report says so.
//!
//! ```text
//! plan ---> check ---> connecting ---> warming up ---> running ---> finishing ---> report
//!           is it      at most 100     nothing is      every byte   replies in     verdict,
//!           possible?  at once         measured yet    is checked   flight         exit code
//! ```
//!
//! There are two kinds of load. In the *closed loop* a client sends its next message when the
//! last reply is complete: the server sets the pace, and a server that stalls gets fewer requests
//! during the stall. In the *open loop* messages are due by a schedule, and the latency of a
//! message counts from when it was due, even if it was sent later: a stall affects every message
//! that was due during it. Gil Tene calls the error of the closed loop *coordinated omission*.
//!
//! The load runs on the same [`Reactor`] as the server. A [`Caller`](caller::Caller) is the
//! counterpart of the server's peer; the [`Conductor`] is the only source without a socket.

pub(crate) mod caller;
pub(crate) mod check;
pub(crate) mod child;
pub(crate) mod compare;
pub(crate) mod conductor;
pub(crate) mod connect;
pub(crate) mod counters;
pub(crate) mod find_rate;
pub(crate) mod latency;
pub(crate) mod number;
pub(crate) mod pace;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod report;
pub(crate) mod shared;
pub(crate) mod signals;
#[cfg(test)]
mod simulated;
pub(crate) mod slo;
pub(crate) mod sources;
pub(crate) mod udp_caller;
pub(crate) mod verdict;

pub(crate) use shared::{Shared, Stage};
pub(crate) use sources::LoadSource;

use crate::net::system::{self, ProcessUsage};
use crate::reactor::{Reactor, Readiness, Time, Verdict};
use conductor::Conductor;
use counters::Second;
use plan::Plan;
use signals::Interrupt;
use std::io;
use std::time::{Duration, SystemTime};

/// How often the progress is shown: faster updates are unreadable.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What both processes had used at one point in time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UsageSample {
    /// When it was taken.
    pub at: Time,
    /// This process.
    pub own: Option<ProcessUsage>,
    /// The server's process, if it is known and readable.
    pub server: Option<ProcessUsage>,
}

impl UsageSample {
    /// Adds to `second`, which ends now, what both processes have used since `last`.
    fn note_cpu(&self, last: Self, second: Option<&mut Second>) {
        let seconds = self.at.since(last.at).as_secs_f64();
        let Some(second) = second.filter(|_| seconds > 0.0) else {
            return;
        };
        let share = |of: fn(&Self) -> Option<ProcessUsage>| {
            let cpu = of(self)?.cpu.saturating_sub(of(&last)?.cpu);
            Some(cpu.as_secs_f64() / seconds)
        };
        second.server_cpu_share = share(|sample| sample.server);
        second.load_cpu_share = share(|sample| sample.own);
    }
}

/// The usage samples of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Before the first connect.
    pub before: UsageSample,
    /// When the measured part began.
    pub started: UsageSample,
    /// When the measured window ended, with the clients still connected.
    pub ended: UsageSample,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its state at the end, with the counters.
    pub shared: Shared,
    /// The usage samples of both processes.
    pub usage: Usage,
    /// When the run started, by the wall clock.
    pub started: SystemTime,
}

/// Runs `plan` until it ends or is interrupted. `server` is the server's process, whose usage is
/// sampled; `show_progress` is called ten times per second.
///
/// # Errors
///
/// An error of the poll. What happens to a client is not an error of the run.
pub(crate) fn run(
    plan: Plan,
    server: Option<u32>,
    interrupt: &Interrupt,
    show_progress: &mut dyn FnMut(&Shared, Time),
) -> io::Result<Run> {
    let started = SystemTime::now();
    let mut reactor = Reactor::<LoadSource>::new()?;
    let mut shared = Shared::new(plan);
    let conductor = Box::new(Conductor::new(&shared, Time::ZERO).with_timer());
    let conductor = reactor.add(LoadSource::Conductor(conductor), Readiness::empty())?;
    let sample = |at| UsageSample {
        at,
        own: system::process_usage(std::process::id()),
        server: server.and_then(system::process_usage),
    };
    let mut usage = Usage {
        before: sample(Time::ZERO),
        ..Usage::default()
    };
    let (mut shown, mut ended) = (Time::ZERO, None);
    let mut last = usage.before;
    loop {
        let stage = shared.stage;
        let seconds = shared.counters.seconds.len();
        shared.interrupted = interrupt.is_set();
        reactor.with_source(conductor, &mut shared, |source, cx, births| match source {
            LoadSource::Conductor(conductor) => conductor.conduct(cx, births),
            LoadSource::Caller(_) | LoadSource::UdpCaller(_) => Verdict::Hold,
        });
        let starts_measuring = stage != shared.stage && shared.stage == Stage::Running;
        if starts_measuring || shared.counters.seconds.len() > seconds {
            let now = sample(reactor.now());
            now.note_cpu(last, shared.counters.seconds.get_mut(seconds));
            last = now;
            if starts_measuring {
                usage.started = now;
            }
        }
        if shared.stage == Stage::Over {
            break;
        }
        // The clients that wait for their last replies do not belong to the window.
        let is_finishing = matches!(shared.stage, Stage::Finishing(_));
        if is_finishing && ended.is_none() && shared.is_window_over(reactor.now()) {
            ended = Some(sample(reactor.now()));
        }
        if reactor.now().since(shown) >= PROGRESS_INTERVAL {
            shown = reactor.now();
            show_progress(&shared, shown);
        }
        reactor.turn(&mut shared)?;
    }
    usage.ended = ended.unwrap_or_else(|| sample(reactor.now()));
    close_all(&mut reactor, &mut shared);
    Ok(Run {
        shared,
        usage,
        started,
    })
}

/// Closes every client and counts what it leaves unanswered.
fn close_all(reactor: &mut Reactor<LoadSource>, shared: &mut Shared) {
    reactor.for_each(shared, |source, cx| match source {
        LoadSource::Caller(caller) => caller.finish(cx),
        LoadSource::UdpCaller(caller) => caller.finish(cx),
        LoadSource::Conductor(_) => Verdict::Close,
    });
}
