//! The server: what it is made of, and the loop around its turns.
//!
//! **Owns** the reactor with its [`Member`]s, the [`World`] that they share, and what is done
//! between turns: the drain, the cap on all buffered bytes, the wake-ups of listeners that
//! ran out of descriptors, reports. **Must never touch** a socket: that is the sources' work.
//! **Invariant**: while it drains, every client is read once more, is sent what it is owed, and
//! is ended (pitfall 17).

pub mod backlog;
pub mod bind;
pub mod datagrams;
pub mod figures;
pub mod limiter;
pub mod listener;
pub mod mail;
pub mod member;
pub mod outcome;
pub mod parent;
pub mod peer;
pub mod signals;
pub mod stats;
pub mod threads;
// Linux has calls for many datagrams (see `system`); every Unix has those for one.
#[cfg_attr(
    all(target_os = "linux", not(feature = "portable")),
    path = "server/udp/batched.rs"
)]
#[cfg_attr(
    not(all(target_os = "linux", not(feature = "portable"))),
    path = "server/udp/single.rs"
)]
pub mod udp;
pub mod watch;
pub mod world;

pub use member::Member;
pub use outcome::{Outcome, Summary};
pub use udp::Datagram;
pub use world::{Limiters, Settings, Stage, World};

use crate::observe::file::RecordingFile;
use crate::reactor::{Reactor, Readiness, Record, Time, Token, Turns, Verdict};
use crate::warn_limited;
use bind::Bound;
use datagrams::{DatagramSocket, Datagrams};
use listener::{Accept, Listener};
use log::info;
use mio::net::TcpListener;
use parent::Parent;
use signals::Signals;
use stats::Cause;
use std::io;
use std::mem;
use watch::Watch;

/// The server, bound and ready to run. `R` is told what its loop does.
#[derive(Debug)]
pub struct Server<A = TcpListener, U = Datagram, R = ()>
where
    A: Accept,
    U: DatagramSocket,
    R: Record<Member<A, U>>,
{
    /// The loop.
    pub reactor: Reactor<Member<A, U>, R>,
    /// What its sources share.
    pub world: World,
    /// Sources that outlive a drain: the signals.
    lasting: usize,
    /// Where a recording is saved.
    file: Option<RecordingFile>,
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
        server.take_in(bound)?;
        Ok(server)
    }
}

impl<R: Watch<TcpListener, Datagram>> Server<TcpListener, Datagram, R> {
    /// Puts the signals and the bound sockets on the loop.
    fn take_in(&mut self, bound: Vec<Bound>) -> io::Result<()> {
        let signals = Member::Signals(Box::new(Signals::new()?));
        self.reactor.add(signals, Readiness::NONE)?;
        self.lasting += 1;
        for sockets in bound {
            sockets.set_nonblocking()?;
            let tcp = TcpListener::from_std(sockets.tcp);
            self.add(Member::Listener(Box::new(Listener::new(tcp))))?;
            if let Some(udp) = sockets.udp.map(Datagram::from_std) {
                self.add(Member::Datagrams(Box::new(Datagrams::new(udp))))?;
            }
        }
        Ok(())
    }

    /// Lets the server end with its standard input, as after a signal.
    ///
    /// # Errors
    ///
    /// Standard input cannot be watched: it is closed, or a file.
    pub fn end_with_stdin(&mut self) -> io::Result<()> {
        self.add(Member::Parent(Box::new(Parent::new()?))).map(drop)
    }

    /// Serves until it is told to stop, and then until everybody got what they are owed.
    ///
    /// # Errors
    ///
    /// The poll's: nothing that a client does is one.
    pub fn run(&mut self) -> io::Result<Outcome> {
        let outcome = self.serve()?;
        R::finish(self)?;
        Ok(outcome)
    }

    fn serve(&mut self) -> io::Result<Outcome> {
        loop {
            self.reactor.turn(&mut self.world)?;
            if let Some(outcome) = self.between_turns() {
                return Ok(outcome);
            }
        }
    }
}

impl<A: Accept, U: DatagramSocket, R: Watch<A, U>> Server<A, U, R> {
    /// A server on `reactor`, a simulated one for example, without sockets yet.
    pub fn with_reactor(reactor: Reactor<Member<A, U>, R>, settings: Settings) -> Self {
        Self {
            reactor,
            world: World::new(settings),
            lasting: 0,
            file: None,
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
        R::attend(self);
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
            Stage::Draining if self.reactor.len() > self.lasting_sources() => None,
            Stage::Draining => Some(Outcome::Drained),
            Stage::OutOfTime => Some(self.cut_off()),
        }
    }

    /// Sources that outlive a drain: the signals, and those who watch it.
    fn lasting_sources(&self) -> usize {
        self.lasting + self.world.board.sources
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

    /// Above the cap on what is kept for all clients together, first what nobody uses is given
    /// back, and where that is not enough, the one that is kept most for is closed: two passes over
    /// all a turn, so that the loop goes on whatever the clients do.
    fn cap_buffered(&mut self) {
        if self.world.stats.buffered <= self.world.settings.max_buffered {
            return;
        }
        self.reactor
            .visit(&mut self.world, |member, cx| match member {
                Member::Peer(peer) => peer.trim(cx),
                _ => Verdict::Park,
            });
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
            "closing {token}, for which {buffered} bytes are kept: over {} for all (--max-buffered)",
            self.world.settings.max_buffered
        );
        self.reactor
            .call_one(token, &mut self.world, |member, cx| match member {
                Member::Peer(peer) => peer.end(Cause::BufferedTooMuch, cx),
                _ => Verdict::Park,
            });
        // The next one is closed after the next turn, which must come though nobody speaks.
        if self.world.stats.buffered > self.world.settings.max_buffered {
            self.reactor.hurry();
        }
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
                Member::Peer(peer) => peer.end(Cause::Drained, cx),
                _ => Verdict::Close,
            });
        match owed {
            0 => Outcome::Drained,
            clients => Outcome::CutOff(clients),
        }
    }

    /// What is allowed.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// What the run amounted to so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            clients: self.world.stats.accepted - self.world.stats.refused,
            messages: self.world.stats.messages,
            datagrams: self.world.stats.datagrams_answered,
            up: self.reactor.now().since(Time::ZERO),
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
