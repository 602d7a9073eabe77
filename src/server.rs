//! The server: what it is made of, and the loop around its turns.
//!
//! **Owns** the reactor with its [`ServerSource`]s, the [`Shared`] that they share, and what is done
//! between turns: the drain, the cap on all buffered bytes, the wake-ups of listeners that
//! ran out of descriptors, reports. **Must never touch** a socket: that is the sources' work.
//! **Invariant**: while it drains, every client is read once more, is sent what it is owed, and
//! is ended (pitfall 17).

pub mod limiter;
pub mod metrics;
pub mod observed;
pub mod outcome;
pub mod pending;
pub mod shared;
pub mod sources;
pub mod stats;
pub mod threads;

pub use crate::net::udp::Datagram;
pub use outcome::{Outcome, Summary};
pub use shared::{Lifecycle, Limiters, Settings, Shared};
pub use sources::ServerSource;

use crate::net::bind::Bound;
use crate::observe::file::RecordingFile;
use crate::reactor::{LoopStats, Reactor, Readiness, Recorder, Time, Token, Verdict};
use crate::warn_limited;
use log::info;
use mio::net::TcpListener;
use observed::Watch;
use sources::datagrams::{DatagramSocket, Datagrams};
use sources::listener::{Accept, Listener};
use sources::signals::Signals;
use sources::stdin::StdinWatch;
use stats::CloseCause;
use std::io;
use std::mem;

/// The server, bound and ready to run. `R` is told what its loop does.
#[derive(Debug)]
pub struct Server<A = TcpListener, U = Datagram, R = ()>
where
    A: Accept,
    U: DatagramSocket,
    R: Recorder<ServerSource<A, U>>,
{
    /// The loop.
    pub reactor: Reactor<ServerSource<A, U>, R>,
    /// What its sources share.
    pub shared: Shared,
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
        let signals = ServerSource::Signals(Box::new(Signals::new()?));
        self.reactor.add(signals, Readiness::NONE)?;
        self.lasting += 1;
        for sockets in bound {
            sockets.set_nonblocking()?;
            let tcp = TcpListener::from_std(sockets.tcp);
            self.add(ServerSource::Listener(Box::new(Listener::new(tcp))))?;
            if let Some(udp) = sockets.udp.map(Datagram::from_std) {
                self.add(ServerSource::Datagrams(Box::new(Datagrams::new(udp))))?;
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
        self.add(ServerSource::StdinWatch(Box::new(StdinWatch::new()?)))
            .map(drop)
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
            self.reactor.turn(&mut self.shared)?;
            if let Some(outcome) = self.between_turns() {
                return Ok(outcome);
            }
        }
    }
}

impl<A: Accept, U: DatagramSocket, R: Watch<A, U>> Server<A, U, R> {
    /// A server on `reactor`, a simulated one for example, without sockets yet.
    pub fn with_reactor(reactor: Reactor<ServerSource<A, U>, R>, settings: Settings) -> Self {
        Self {
            reactor,
            shared: Shared::new(settings),
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
    pub fn add(&mut self, member: ServerSource<A, U>) -> io::Result<Token> {
        self.reactor.add(member, Readiness::NONE)
    }

    /// What is done when no source is at work: everything that concerns them all. Says how the
    /// run ended, once it has.
    pub fn between_turns(&mut self) -> Option<Outcome> {
        self.wake_starved();
        self.cap_buffered();
        R::attend(self);
        if mem::take(&mut self.shared.report_wanted) {
            self.report();
        }
        match self.shared.stage {
            Lifecycle::Serving => None,
            Lifecycle::Stopping => {
                self.shared.stage = Lifecycle::Draining;
                // Everybody looks once more: who finds nothing to do now is done for good.
                self.reactor
                    .wake_all(Readiness::READABLE | Readiness::WRITABLE);
                None
            }
            Lifecycle::Draining if self.reactor.len() > self.lasting_sources() => None,
            Lifecycle::Draining => Some(Outcome::Drained),
            Lifecycle::OutOfTime => Some(self.cut_off()),
        }
    }

    /// Sources that outlive a drain: the signals, and those who watch it.
    fn lasting_sources(&self) -> usize {
        self.lasting + self.shared.board.sources
    }

    /// A listener without descriptors, or with too many refusals at once, goes on as soon as a
    /// connection has ended, and not only by its deadline (pitfall 4).
    fn wake_starved(&mut self) {
        let ended = self.shared.stats.accepted - self.shared.stats.open();
        if ended != self.ended_before {
            self.ended_before = ended;
            for listener in self.shared.starved.drain(..) {
                self.reactor.wake(listener, Readiness::NONE);
            }
        }
    }

    /// Above the cap on what is kept for all clients together, first what nobody uses is given
    /// back, and where that is not enough, the one that is kept most for is closed: two passes over
    /// all a turn, so that the loop goes on whatever the clients do.
    fn cap_buffered(&mut self) {
        if self.shared.stats.buffered <= self.shared.settings.max_buffered {
            return;
        }
        self.reactor
            .for_each(&mut self.shared, |member, cx| match member {
                ServerSource::Peer(peer) => peer.trim(cx),
                _ => Verdict::Park,
            });
        if self.shared.stats.buffered <= self.shared.settings.max_buffered {
            return;
        }
        let largest = self
            .reactor
            .sources()
            .filter_map(|(token, member)| match member {
                ServerSource::Peer(peer) => Some((peer.buffered(), token)),
                _ => None,
            })
            .max_by_key(|(buffered, _)| *buffered);
        let Some((buffered, token)) = largest else {
            return;
        };
        warn_limited!(
            self.shared.limiters.buffered,
            self.reactor.now(),
            "closing {token}, for which {buffered} bytes are kept: over {} for all (--max-buffered)",
            self.shared.settings.max_buffered
        );
        self.reactor
            .with_source(token, &mut self.shared, |member, cx| match member {
                ServerSource::Peer(peer) => peer.end(CloseCause::BufferedTooMuch, cx),
                _ => Verdict::Park,
            });
        // The next one is closed after the next turn, which must come though nobody speaks.
        if self.shared.stats.buffered > self.shared.settings.max_buffered {
            self.reactor.skip_next_wait();
        }
    }

    /// Ends all connections that are left, and counts those that were owed something.
    fn cut_off(&mut self) -> Outcome {
        let mut owed = 0;
        self.reactor
            .for_each(&mut self.shared, |member, cx| match member {
                ServerSource::Peer(peer) if peer.owed() > 0 => {
                    owed += 1;
                    peer.end(CloseCause::CutOff, cx)
                }
                ServerSource::Peer(peer) => peer.end(CloseCause::Drained, cx),
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
        &self.shared.settings
    }

    /// What the run amounted to so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            clients: self.shared.stats.accepted - self.shared.stats.refused,
            messages: self.shared.stats.messages,
            datagrams: self.shared.stats.datagrams_answered,
            up: self.reactor.now().since(Time::ZERO),
        }
    }

    /// Logs all counters.
    pub fn report(&self) {
        let LoopStats {
            turns,
            events,
            most_events,
            calls,
            longest,
        } = self.reactor.turns();
        info!(
            "{}; turns {turns} events {events} most-events {most_events} calls {calls} \
             longest-turn {longest:?}",
            self.shared.stats
        );
    }
}
