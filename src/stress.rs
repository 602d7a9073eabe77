//! The load: very many clients on the same loop as the server's, and numbers to be believed.
//!
//! **Owns** the reactor with its [`Member`]s, the [`World`] that they share, and the loop around
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
pub mod datagrams;
pub mod latency;
pub mod member;
pub mod pace;
pub mod plan;
pub mod progress;
pub mod report;
pub mod signals;
#[cfg(test)]
mod simulated;
pub mod slo;
pub mod tally;
pub mod verdict;
pub mod world;

pub use member::Member;
pub use world::{Stage, World};

use crate::reactor::{Reactor, Readiness, Time, Token, Verdict};
use crate::system::{self, Figures};
use conductor::Conductor;
use plan::Plan;
use signals::{Interrupt, Signals};
use std::io;
use std::time::Duration;

/// How often the world is shown: as often as eyes follow.
const PROGRESS: Duration = Duration::from_millis(100);

/// What the two processes had used at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// When.
    pub at: Time,
    /// This process.
    pub own: Option<Figures>,
    /// The server's, where it is known and can be asked.
    pub server: Option<Figures>,
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
    /// Its world, with what was counted.
    pub world: World,
    /// What the processes had used.
    pub snapshots: Snapshots,
}

/// Carries `plan` out, until its end or an interrupt. `server` is the process whose figures are
/// wanted; `watch` is shown the world ten times a second.
///
/// # Errors
///
/// The poll's, and the signals' descriptors: what happens to a client is no error.
pub fn run(
    plan: Plan,
    server: Option<u32>,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(&World, Time),
) -> io::Result<Run> {
    let mut reactor = Reactor::<Member>::new()?;
    let mut world = World::new(plan);
    let signals = Box::new(Signals::new()?);
    reactor.add(Member::Signals(signals), Readiness::NONE)?;
    let conductor = Box::new(Conductor::new(&world, Time::ZERO));
    let conductor = reactor.add(Member::Conductor(conductor), Readiness::NONE)?;
    let snapshot = |at| Snapshot {
        at,
        own: system::figures(std::process::id()),
        server: server.and_then(system::figures),
    };
    let mut snapshots = Snapshots {
        before: snapshot(Time::ZERO),
        ..Snapshots::default()
    };
    let mut shown = Time::ZERO;
    loop {
        let stage = world.stage;
        // Asked of the flag, and not of the source: a signal may have come before there was one.
        world.interrupted = interrupt.came();
        conduct(&mut reactor, conductor, &mut world);
        if world.stage == Stage::Over {
            break;
        }
        if stage != world.stage && world.stage == Stage::Running {
            snapshots.started = snapshot(reactor.now());
        }
        if reactor.now().since(shown) >= PROGRESS {
            shown = reactor.now();
            watch(&world, shown);
        }
        reactor.turn(&mut world)?;
    }
    snapshots.ended = snapshot(reactor.now());
    hang_up(&mut reactor, &mut world);
    Ok(Run { world, snapshots })
}

/// What is done between turns: the conductor moves the run on, and says whom to wake.
fn conduct(reactor: &mut Reactor<Member>, conductor: Token, world: &mut World) {
    reactor.call_one(conductor, world, |member, cx| match member {
        Member::Conductor(conductor) if cx.world.interrupted => {
            conductor.end(cx.time(), cx.world);
            Verdict::Park
        }
        Member::Conductor(conductor) => conductor.conduct(cx),
        Member::Caller(_) | Member::Datagrams(_) | Member::Signals(_) => Verdict::Park,
    });
    for token in world.wake.drain(..) {
        reactor.wake(token, Readiness::NONE);
    }
}

/// Each client is accounted for, and closed.
fn hang_up(reactor: &mut Reactor<Member>, world: &mut World) {
    reactor.visit(world, |member, cx| match member {
        Member::Caller(caller) => caller.finish(cx),
        Member::Datagrams(client) => client.finish(cx),
        Member::Conductor(_) | Member::Signals(_) => Verdict::Close,
    });
}
