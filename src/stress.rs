//! The load: very many clients on the same loop as the server's, and numbers to be believed.
//!
//! **Owns** the reactor with its [`LoadSource`]s, the [`Shared`] that they share, and the loop around
//! its turns. **Must never touch** a socket: that is the sources' work. It knows no server:
//! [`child`] starts one as a process of its own. **Invariant**: what is reported was measured;
//! where the load itself, and not the server, set the limit, the report says so.
//!
//! ```text
//! plan ---> check ---> connecting ---> warming up ---> running ---> finishing ---> report
//!           can this   a hundred at    nothing         every byte   what is in     verdict,
//!           be done?   once at most    counts yet      is checked   flight         exit code
//! ```
//!
//! Two kinds of load. In the *closed loop* a client sends when its reply is whole: the server
//! sets the pace, and a server that stalls is asked less while it does. In the *open loop*
//! messages are due by a schedule, and a latency counts from then, sent or not: a stall is felt
//! by everybody who came during it. (Gil Tene calls the difference coordinated omission.)
//!
//! The same [`Reactor`] drives it as drives the server. A [`Caller`](caller::Caller) is to it
//! what a peer is there; the [`Conductor`] is its only source without a socket.

pub mod caller;
pub mod check;
pub mod child;
pub mod compare;
pub mod conductor;
pub mod connect;
pub mod counters;
pub mod latency;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod report;
pub mod shared;
pub mod signals;
#[cfg(test)]
mod simulated;
pub mod slo;
pub mod sources;
pub mod udp_caller;
pub mod verdict;

pub use shared::{Shared, Stage};
pub use sources::LoadSource;

use crate::net::system::{self, ProcessUsage};
use crate::reactor::{Reactor, Readiness, Time, Token, Verdict};
use conductor::Conductor;
use plan::Plan;
use signals::{Interrupt, Signals};
use std::io;
use std::time::Duration;

/// How often the shared is shown: as often as eyes follow.
const PROGRESS: Duration = Duration::from_millis(100);

/// What the two processes had used at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// When.
    pub at: Time,
    /// This process.
    pub own: Option<ProcessUsage>,
    /// The server's, where it is known and can be asked.
    pub server: Option<ProcessUsage>,
}

/// The snapshots of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshots {
    /// Before the first connect.
    pub before: Snapshot,
    /// When measuring began.
    pub started: Snapshot,
    /// At the end, the clients still connected.
    pub ended: Snapshot,
}

/// A run, through.
#[derive(Debug)]
pub struct Run {
    /// Its shared, with what was counted.
    pub shared: Shared,
    /// What the processes had used.
    pub snapshots: Snapshots,
}

/// Carries `plan` out, until its end or an interrupt. `server` is the process whose figures are
/// wanted; `watch` is shown the shared ten times a second.
///
/// # Errors
///
/// The poll's, and the signals' descriptors: what happens to a client is no error.
pub fn run(
    plan: Plan,
    server: Option<u32>,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(&Shared, Time),
) -> io::Result<Run> {
    let mut reactor = Reactor::<LoadSource>::new()?;
    let mut shared = Shared::new(plan);
    let signals = Box::new(Signals::new()?);
    reactor.add(LoadSource::Signals(signals), Readiness::empty())?;
    let conductor = Box::new(Conductor::new(&shared, Time::ZERO));
    let conductor = reactor.add(LoadSource::Conductor(conductor), Readiness::empty())?;
    let snapshot = |at| Snapshot {
        at,
        own: system::process_usage(std::process::id()),
        server: server.and_then(system::process_usage),
    };
    let mut snapshots = Snapshots {
        before: snapshot(Time::ZERO),
        ..Snapshots::default()
    };
    let mut shown = Time::ZERO;
    loop {
        let stage = shared.stage;
        // Asked of the flag, and not of the source: a signal may have come before there was one.
        shared.interrupted = interrupt.came();
        conduct(&mut reactor, conductor, &mut shared);
        if shared.stage == Stage::Over {
            break;
        }
        if stage != shared.stage && shared.stage == Stage::Running {
            snapshots.started = snapshot(reactor.now());
        }
        if reactor.now().since(shown) >= PROGRESS {
            shown = reactor.now();
            watch(&shared, shown);
        }
        reactor.turn(&mut shared)?;
    }
    snapshots.ended = snapshot(reactor.now());
    hang_up(&mut reactor, &mut shared);
    Ok(Run { shared, snapshots })
}

/// What is done between turns: the conductor moves the run on, and says whom to wake.
fn conduct(reactor: &mut Reactor<LoadSource>, conductor: Token, shared: &mut Shared) {
    reactor.with_source(conductor, shared, |member, cx, births| match member {
        LoadSource::Conductor(conductor) if cx.shared.interrupted => {
            conductor.end(cx.clock_now(), cx.shared);
            Verdict::Park
        }
        LoadSource::Conductor(conductor) => conductor.conduct(cx, births),
        LoadSource::Caller(_) | LoadSource::Datagrams(_) | LoadSource::Signals(_) => Verdict::Hold,
    });
    for token in shared.wake.drain(..) {
        reactor.wake(token);
    }
}

/// Each client is accounted for, and closed.
fn hang_up(reactor: &mut Reactor<LoadSource>, shared: &mut Shared) {
    reactor.for_each(shared, |member, cx| match member {
        LoadSource::Caller(caller) => caller.finish(cx),
        LoadSource::Datagrams(client) => client.finish(cx),
        LoadSource::Conductor(_) | LoadSource::Signals(_) => Verdict::Close,
    });
}
