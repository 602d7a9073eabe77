//! The load: very many clients on the same loop as the server's, and numbers to be believed.
//!
//! **Owns** the shared [`World`] of a run, the `enum` of its event sources, and the loop around
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
//! The same [`Reactor`] drives it as drives the server. A [`Caller`] is to it what a peer is
//! there; the [`Conductor`] is its only source without a socket.

pub mod caller;
pub mod check;
pub mod child;
pub mod compare;
pub mod conductor;
pub mod connect;
pub mod datagrams;
pub mod latency;
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

use crate::reactor::{Context, INTEREST, Reactor, Readiness, Source, Time, Token, Verdict};
use crate::stream::Traffic;
use crate::system::{self, Figures};
use caller::Caller;
use conductor::Conductor;
use datagrams::Datagrams;
use mio::event::Source as _;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry};
use pace::Schedule;
use plan::{Plan, Script};
use signals::{Interrupt, Signals};
use std::io;
use std::time::Duration;
use tally::{Cause, Tally};

/// Bytes of one read: many replies of a pipeline, and shared by all clients.
const READ_BYTES: usize = 16 * 1_024;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Clients connect and are welcomed; nobody talks.
    #[default]
    Connecting,
    /// They talk, and nothing counts: caches fill, and the first rush passes.
    WarmingUp,
    /// What begins now counts.
    Running,
    /// Nothing begins any more; what is in flight is awaited.
    Finishing,
    /// Through.
    Over,
}

/// What all sources of a run share.
#[derive(Debug)]
pub struct World {
    /// What was asked for.
    pub plan: Plan,
    /// The bytes that all clients say and hear.
    pub script: Script,
    /// How far the run is.
    pub stage: Stage,
    /// What is counted.
    pub tally: Tally,
    /// When which message is due (open loop, once there is talking).
    pub schedule: Option<Schedule>,
    /// Messages that may still begin (closed loop); no limit unless one was asked for.
    pub left: u64,
    /// When the run began.
    pub began: Time,
    /// When the warm-up ends.
    pub warm_at: Time,
    /// What begins from then on counts; never, until that is known.
    pub measured_from: Time,
    /// Until when messages begin.
    pub measured_until: Time,
    /// Until when replies are awaited.
    pub finish_by: Time,
    /// What had gone through the connections when measuring began.
    pub traffic_before: Traffic,
    /// Those who talk, by their seats.
    pub talkers: Vec<Token>,
    /// Whom the program's own loop is to wake.
    pub wake: Vec<Token>,
    /// What one read returned. Shared, since a source is done with it before the next is driven.
    pub input: Box<[u8]>,
    /// The next datagram.
    pub letter: Vec<u8>,
    /// Whether the run was told to stop.
    pub interrupted: bool,
}

impl World {
    /// A world for `plan`, in which nothing has happened yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let never = Time::ZERO.after(Duration::MAX);
        let script = Script::new(&plan);
        // One byte more than a datagram's reply, so that a longer one is seen to be.
        let input_bytes = READ_BYTES.max(script.reply.len() + 1);
        Self {
            stage: Stage::default(),
            tally: Tally::default(),
            schedule: None,
            left: u64::MAX,
            began: Time::ZERO,
            warm_at: never,
            measured_from: never,
            measured_until: never,
            finish_by: never,
            traffic_before: Traffic::default(),
            talkers: Vec::with_capacity(plan.active as usize),
            wake: Vec::with_capacity(plan.active as usize),
            input: vec![0; input_bytes].into_boxed_slice(),
            letter: script.message.clone(),
            interrupted: false,
            script,
            plan,
        }
    }

    /// Whether a message counts that began then.
    #[must_use]
    pub fn is_measured(&self, begun: Time) -> bool {
        begun >= self.measured_from
    }

    /// Whether what happens now counts.
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Finishing)
    }

    /// How many of `wanted` messages a client may begin in the closed loop.
    #[must_use]
    pub fn may_begin(&self, wanted: u32) -> u32 {
        match self.stage {
            Stage::WarmingUp | Stage::Running => {
                u32::try_from(self.left).map_or(wanted, |left| wanted.min(left))
            }
            Stage::Connecting | Stage::Finishing | Stage::Over => 0,
        }
    }

    /// A message began.
    pub fn note_begun(&mut self, begun: Time) {
        self.tally.in_flight += 1;
        self.tally.sent += u64::from(self.is_measured(begun));
        if self.left != u64::MAX {
            self.left -= 1;
        }
    }

    /// A place among those who talk, while there is one.
    pub fn take_seat(&mut self, token: Token) -> Option<u32> {
        let seat = self.talkers.len() as u32;
        (seat < self.plan.active).then(|| {
            self.talkers.push(token);
            seat
        })
    }

    /// Keeps the first error of the system that the causes do not name.
    pub fn note_error(&mut self, error: &io::Error) {
        if Cause::from(error) == Cause::Failed {
            let first = &mut self.tally.first_error;
            first.get_or_insert_with(|| error.to_string());
        }
    }

    /// Keeps what the first wrong reply was: these bytes of the shared input, cut to a line's.
    pub fn note_wrong_bytes(&mut self, from: usize, to: usize) {
        let words = &self.input[from..to.min(from + tally::WORDS_BYTES)];
        let first = &mut self.tally.wrong_bytes;
        first.get_or_insert_with(|| words.to_vec());
    }
}

/// One event source of the load.
#[derive(Debug)]
pub enum Member {
    /// A TCP client.
    Caller(Caller<TcpStream>),
    /// A UDP client.
    Datagrams(Datagrams<UdpSocket>),
    /// What leads the run.
    Conductor(Box<Conductor>),
    /// The signals.
    Signals(Box<Signals>),
}

/// What a client may cost here, beyond what the kernel keeps for it.
pub const MAX_CLIENT_BYTES: usize = 128;

// Its slot; the generation, the readiness and the place in the list of marked sources; a
// deadline, and its entry in the heap; its seat. mio's sockets carry a check of their own in
// debug builds.
#[cfg(not(debug_assertions))]
const _: () = assert!(
    size_of::<Option<Member>>() + (4 + 1 + 4) + (16 + 16) + size_of::<Token>() <= MAX_CLIENT_BYTES
);

impl From<Caller<TcpStream>> for Member {
    fn from(caller: Caller<TcpStream>) -> Self {
        Self::Caller(caller)
    }
}

impl From<Datagrams<UdpSocket>> for Member {
    fn from(datagrams: Datagrams<UdpSocket>) -> Self {
        Self::Datagrams(datagrams)
    }
}

impl Source for Member {
    type World = World;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let token = token.into();
        match self {
            Self::Caller(caller) => caller.stream_mut().register(registry, token, INTEREST),
            Self::Datagrams(client) => client.socket_mut().register(registry, token, INTEREST),
            Self::Signals(signals) => {
                signals
                    .pipe_mut()
                    .register(registry, token, Interest::READABLE)
            }
            Self::Conductor(_) => Ok(()),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.drive(cx),
            Self::Datagrams(client) => client.drive(cx),
            Self::Signals(signals) => signals.drive(cx),
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.expire(cx),
            Self::Datagrams(client) => client.expire(cx),
            // The deadline has ended the wait; the call comes between the turns.
            Self::Conductor(_) | Self::Signals(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, error: &io::Error, _: Time, world: &mut World) {
        match self {
            Self::Caller(caller) => caller.unregistered(error, world),
            Self::Datagrams(client) => client.unregistered(error, world),
            Self::Conductor(_) | Self::Signals(_) => {}
        }
    }
}

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

/// How often the world is shown.
const PROGRESS: Duration = Duration::from_millis(100);

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
