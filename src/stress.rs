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
pub(crate) mod units;
pub(crate) mod verdict;

pub(crate) use shared::{Shared, Stage};
pub(crate) use sources::LoadSource;

use crate::net::system::{self, ProcessUsage};
use crate::reactor::{Reactor, Readiness, Time, Verdict};
use conductor::Conductor;
use plan::Plan;
use signals::Interrupt;
use std::io;
use std::time::Duration;

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
    let mut reactor = Reactor::<LoadSource>::new()?;
    let mut shared = Shared::new(plan);
    let conductor = Box::new(Conductor::new(&shared, Time::ZERO));
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
    loop {
        let stage = shared.stage;
        shared.interrupted = interrupt.is_set();
        reactor.with_source(conductor, &mut shared, |source, cx, births| match source {
            LoadSource::Conductor(conductor) => conductor.conduct(cx, births),
            LoadSource::Caller(_) | LoadSource::UdpCaller(_) => Verdict::Hold,
        });
        if shared.stage == Stage::Over {
            break;
        }
        match shared.stage {
            Stage::Running if stage != Stage::Running => usage.started = sample(reactor.now()),
            // The clients that wait for their last replies do not belong to the window.
            Stage::Finishing(_) if shared.is_window_over(reactor.now()) && ended.is_none() => {
                ended = Some(sample(reactor.now()));
            }
            _ => {}
        }
        if reactor.now().since(shown) >= PROGRESS_INTERVAL {
            shown = reactor.now();
            show_progress(&shared, shown);
        }
        reactor.turn(&mut shared)?;
    }
    usage.ended = ended.unwrap_or_else(|| sample(reactor.now()));
    close_all(&mut reactor, &mut shared);
    Ok(Run { shared, usage })
}

/// Closes every client and counts what it leaves unanswered.
fn close_all(reactor: &mut Reactor<LoadSource>, shared: &mut Shared) {
    reactor.for_each(shared, |source, cx| match source {
        LoadSource::Caller(caller) => caller.finish(cx),
        LoadSource::UdpCaller(caller) => caller.finish(cx),
        LoadSource::Conductor(_) => Verdict::Close,
    });
}
