//! The server: what it is made of, and the loop around its turns.
//!
//! **Owns** the settings, the shared [`World`], the `enum` of its event sources, and what is
//! done between turns: the drain, the cap on all buffered bytes, the wake-ups of listeners that
//! ran out of descriptors, reports. **Must never touch** a socket: that is the sources' work.
//! **Invariant**: while it drains, every client is read once more, is sent what it is owed, and
//! is ended (pitfall 17).

#[cfg(target_os = "linux")]
pub mod batched;
pub mod bind;
pub mod datagrams;
pub mod limiter;
pub mod listener;
pub mod mail;
pub mod peer;
pub mod signals;
pub mod stats;
pub mod threads;

use crate::greeting::Framing;
use crate::reactor::{Context, INTEREST, Reactor, Readiness, Source, Token, Turns, Verdict};
use crate::warn_limited;
use bind::Bound;
use datagrams::{DatagramSocket, Datagrams};
use limiter::Limiter;
use listener::{Accept, Listener};
use log::{info, warn};
use mio::net::{TcpListener, UdpSocket};
use mio::{Interest, Registry, event};
use peer::{Peer, READ_BYTES};
use signals::Signals;
use stats::{Cause, Stats};
use std::fmt;
use std::io;
use std::mem;
use std::time::Duration;

/// What the server allows, and how it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a message is on TCP.
    pub framing: Framing,
    /// How long the replies of one read are held.
    pub delay: Duration,
    /// The longest datagram answered, in bytes.
    pub max_datagram: usize,
    /// Clients at once; one more is refused.
    pub max_clients: u64,
    /// Bytes kept for all clients together.
    pub max_buffered: usize,
    /// How long a client may say nothing while it is owed nothing; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client that is owed replies may take none of them.
    pub write_timeout: Duration,
    /// How long clients may take, when the server stops, to be sent what they are owed.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            framing: Framing::Chunk,
            delay: Duration::ZERO,
            max_datagram: 1_024,
            max_clients: u64::MAX,
            max_buffered: 64 * 1_024 * 1_024,
            idle_timeout: None,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// How far the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Asked to stop in this turn; at its end everybody is told.
    Stopping,
    /// Listeners close, each client is read once more and sent what it is owed.
    Draining,
    /// Draining took longer than allowed.
    OutOfTime,
    /// Asked a second time, by this signal: ends at once.
    Killed(i32),
}

/// The limiters of log lines that clients can cause, one for each kind.
#[derive(Debug, Default)]
pub struct Limiters {
    /// Clients over `--max-clients`.
    pub refused: Limiter,
    /// Accepts without descriptors or memory.
    pub starved: Limiter,
    /// Datagrams without an answer.
    pub dropped: Limiter,
    /// Errors of receiving datagrams.
    pub receive_failed: Limiter,
    /// Clients closed by a timeout.
    pub timed_out: Limiter,
    /// Clients closed for what they made the server keep.
    pub buffered: Limiter,
}

/// What all sources of the server share.
#[derive(Debug)]
pub struct World {
    /// What is allowed.
    pub settings: Settings,
    /// What is counted.
    pub stats: Stats,
    /// How far the server is.
    pub stage: Stage,
    /// Whether the counters are to be logged.
    pub report_wanted: bool,
    /// Listeners that wait for a connection to end.
    pub starved: Vec<Token>,
    /// What keeps the log short.
    pub limiters: Limiters,
    /// What one read returned. Shared, since a source is done with it before the next is driven.
    pub input: Box<[u8]>,
    /// What it is answered with.
    pub replies: Vec<u8>,
}

impl World {
    /// A world for `settings`, in which nothing has happened yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stats: Stats::default(),
            stage: Stage::default(),
            report_wanted: false,
            starved: Vec::new(),
            limiters: Limiters::default(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            replies: Vec::new(),
        }
    }

    /// Notes a listener that can only go on once a connection has ended.
    pub fn note_starved(&mut self, listener: Token) {
        // Once: its deadline and new connections make it try, and fail, again and again.
        if !self.starved.contains(&listener) {
            self.starved.push(listener);
        }
    }

    /// Whether sources that find nothing more to do should end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stage != Stage::Serving
    }
}

/// What UDP is served by: batches where the system has calls for them, single datagrams elsewhere.
#[cfg(target_os = "linux")]
pub type Datagram = batched::Batched;
/// What UDP is served by.
#[cfg(not(target_os = "linux"))]
pub type Datagram = UdpSocket;

/// One event source of the server. Those that there are few of are boxed, so that a client's
/// slot is as small as a client. Generic over its sockets, so that tests script them and have
/// the whole server in virtual time.
#[derive(Debug)]
pub enum Member<A: Accept = TcpListener, U: DatagramSocket = Datagram> {
    /// A client's connection.
    Peer(Peer<A::Stream>),
    /// A listening socket.
    Listener(Box<Listener<A>>),
    /// A UDP socket.
    Datagrams(Box<Datagrams<U>>),
    /// The signals.
    Signals(Box<Signals>),
}

// An idle client must cost little: 19,000 of them at 48 bytes are less than a megabyte. mio's
// sockets carry a check of their own in debug builds.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Option<Member>>() + size_of::<u32>() <= 48);

impl<A: Accept, U: DatagramSocket> Source for Member<A, U> {
    type World = World;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let (socket, interest): (&mut dyn event::Source, _) = match self {
            Self::Peer(peer) => (peer.stream_mut(), INTEREST),
            Self::Listener(listener) => (listener.socket_mut(), Interest::READABLE),
            Self::Datagrams(datagrams) => (datagrams.socket_mut(), INTEREST),
            Self::Signals(signals) => (signals.pipe_mut(), Interest::READABLE),
        };
        socket.register(registry, token.into(), interest)
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.drive(cx),
            Self::Listener(listener) => listener.drive(cx),
            Self::Datagrams(datagrams) => datagrams.drive(cx),
            Self::Signals(signals) => signals.drive(cx),
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.expire(cx),
            Self::Listener(listener) => listener.expire(cx),
            Self::Datagrams(_) => Verdict::Park,
            Self::Signals(signals) => signals.expire(cx),
        }
    }

    fn unregistered(&mut self, error: &io::Error, world: &mut World) {
        if let Self::Peer(peer) = self {
            peer.unregistered(world);
            warn!("a client could not be registered with the poll: {error}");
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everybody got what they were owed.
    Drained,
    /// Time ran out, and so many clients were still owed replies.
    CutOff(usize),
    /// A second signal, this one, ended it at once.
    Killed(i32),
}

impl Outcome {
    /// The exit code that tells it: 0, 1, or 128 and the signal's number, as a shell would.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Drained => 0,
            Self::CutOff(_) => 1,
            Self::Killed(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

/// What a run amounted to, in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// TCP clients accepted.
    pub clients: u64,
    /// Messages they completed.
    pub messages: u64,
    /// Datagrams answered.
    pub datagrams: u64,
    /// How long the server was up.
    pub up: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let up = Duration::from_millis(u64::try_from(self.up.as_millis()).unwrap_or(u64::MAX));
        write!(
            formatter,
            "served {} clients, {} messages, {} datagrams in {}",
            self.clients,
            self.messages,
            self.datagrams,
            humantime::format_duration(up)
        )
    }
}

/// The server, bound and ready to run.
#[derive(Debug)]
pub struct Server<A: Accept = TcpListener, U: DatagramSocket = Datagram> {
    /// The loop.
    pub reactor: Reactor<Member<A, U>>,
    /// What its sources share.
    pub world: World,
    /// Sources that outlive a drain: the signals.
    lasting: usize,
    /// Connections that had ended when the starved listeners were last woken.
    ended_before: u64,
}

impl Server {
    /// Puts the bound sockets, and the signals, on a loop.
    ///
    /// # Errors
    ///
    /// The poll and the signals need descriptors.
    pub fn new(bound: Vec<Bound>, settings: Settings) -> io::Result<Self> {
        let mut server = Self::with_reactor(Reactor::new()?, settings);
        let signals = Member::Signals(Box::new(Signals::new()?));
        server.reactor.add(signals, Readiness::NONE)?;
        server.lasting += 1;
        for sockets in bound {
            sockets.set_nonblocking()?;
            let tcp = TcpListener::from_std(sockets.tcp);
            server.add(Member::Listener(Box::new(Listener::new(tcp))))?;
            if let Some(udp) = sockets.udp.map(UdpSocket::from_std) {
                server.add(Member::Datagrams(Box::new(Datagrams::new(udp.into()))))?;
            }
        }
        Ok(server)
    }

    /// Serves until it is told to stop, and then until everybody got what they are owed.
    ///
    /// # Errors
    ///
    /// The poll's: nothing that a client does is one.
    pub fn run(&mut self) -> io::Result<Outcome> {
        loop {
            self.reactor.turn(&mut self.world)?;
            if let Some(outcome) = self.between_turns() {
                return Ok(outcome);
            }
        }
    }
}

impl<A: Accept, U: DatagramSocket> Server<A, U> {
    /// A server on `reactor`, a simulated one for example, without sockets yet.
    pub fn with_reactor(reactor: Reactor<Member<A, U>>, settings: Settings) -> Self {
        Self {
            reactor,
            world: World::new(settings),
            lasting: 0,
            ended_before: 0,
        }
    }

    /// Gives the server a source.
    ///
    /// # Errors
    ///
    /// Its registration's.
    pub fn add(&mut self, member: Member<A, U>) -> io::Result<Token> {
        self.reactor.add(member, Readiness::NONE)
    }

    /// What is done when no source is at work: everything that concerns them all. Says how the
    /// run ended, once it has.
    pub fn between_turns(&mut self) -> Option<Outcome> {
        self.wake_starved();
        self.cap_buffered();
        if mem::take(&mut self.world.report_wanted) {
            self.report();
        }
        match self.world.stage {
            Stage::Serving => None,
            Stage::Stopping => {
                self.world.stage = Stage::Draining;
                // Everybody looks once more: who finds nothing to do now is done for good.
                self.reactor
                    .wake_all(Readiness::READABLE | Readiness::WRITABLE);
                None
            }
            Stage::Draining if self.reactor.len() > self.lasting => None,
            Stage::Draining => Some(Outcome::Drained),
            Stage::OutOfTime => Some(self.cut_off()),
            Stage::Killed(signal) => Some(Outcome::Killed(signal)),
        }
    }

    /// A listener without descriptors, or with too many refusals at once, goes on as soon as a
    /// connection has ended, and not only by its deadline (pitfall 4).
    fn wake_starved(&mut self) {
        let ended = self.world.stats.accepted - self.world.stats.open();
        if ended != self.ended_before {
            self.ended_before = ended;
            for listener in self.world.starved.drain(..) {
                self.reactor.wake(listener, Readiness::NONE);
            }
        }
    }

    /// Above the cap on what is kept for all clients together, the one that is kept most for is
    /// closed: one pass over all a turn, so that the loop goes on whatever the clients do.
    fn cap_buffered(&mut self) {
        if self.world.stats.buffered <= self.world.settings.max_buffered {
            return;
        }
        let largest = self
            .reactor
            .sources()
            .filter_map(|(token, member)| match member {
                Member::Peer(peer) => Some((peer.buffered(), token)),
                _ => None,
            })
            .max_by_key(|(buffered, _)| *buffered);
        let Some((buffered, token)) = largest else {
            return;
        };
        warn_limited!(
            self.world.limiters.buffered,
            self.reactor.now(),
            "closing {token}, for which {buffered} bytes are kept: all clients together are over              the {} bytes of --max-buffered",
            self.world.settings.max_buffered
        );
        self.reactor
            .call_one(token, &mut self.world, |member, cx| match member {
                Member::Peer(peer) => peer.end(Cause::BufferedTooMuch, cx),
                _ => Verdict::Park,
            });
    }

    /// Ends all connections that are left, and counts those that were owed something.
    fn cut_off(&mut self) -> Outcome {
        let mut owed = 0;
        self.reactor
            .visit(&mut self.world, |member, cx| match member {
                Member::Peer(peer) if peer.owed() > 0 => {
                    owed += 1;
                    peer.end(Cause::CutOff, cx)
                }
                _ => Verdict::Close,
            });
        match owed {
            0 => Outcome::Drained,
            clients => Outcome::CutOff(clients),
        }
    }

    /// What the run amounted to so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            clients: self.world.stats.accepted - self.world.stats.refused,
            messages: self.world.stats.messages,
            datagrams: self.world.stats.datagrams_answered,
            up: self.reactor.now().since(crate::reactor::Time::ZERO),
        }
    }

    /// Logs all counters.
    pub fn report(&self) {
        let Turns {
            turns,
            events,
            most_events,
            calls,
            longest,
        } = self.reactor.turns();
        info!(
            "{}; turns {turns} events {events} most-events {most_events} calls {calls} \
             longest-turn {longest:?}",
            self.world.stats
        );
    }
}
