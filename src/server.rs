//! The server: its sources, and the program around the turns of its loop.
//!
//! **Owns** the reactor with its [`ServerSource`]s, what they share, and what is done between
//! turns: the drain, the cap on buffered bytes, waking listeners that wait for a connection to
//! close, reports. **Must never touch** a socket: that is the sources' work.
//! **Invariant**: during a drain every client is read until its socket is empty, is sent what it is
//! owed, and is ended (pitfall 17).

pub mod addresses;
mod limiter;
mod metrics;
pub(crate) mod observed;
pub(crate) mod outcome;
mod pending;
mod recording;
pub(crate) mod shared;
pub mod sources;
pub mod stats;
pub mod threads;

pub use crate::observe::file::RecordingFile;
pub use observed::ObserveOptions;
pub use outcome::{DrainLimit, Outcome, Summary};
pub use shared::{DRAIN_BYTES_PER_CLIENT, Lifecycle, Limiters, REFUSALS_AT_ONCE, Settings, Shared};
pub use sources::ServerSource;

use crate::net::bind::Bound;
use crate::net::{Net, SystemNet, UdpSocket};
use crate::observe::excerpt::Excerpt;
use crate::observe::history::Search;
use crate::observe::listener::ObserverListener;
use crate::observe::recorder::{RecorderMode, TurnRecorder};
use crate::output;
use crate::reactor::{Context, LoopStats, Reactor, Readiness, Time, Token, Verdict};
use crate::warn_limited;
use log::info;
use mio::net::TcpListener;
use sources::datagrams::Datagrams;
use sources::listener::Listener;
use sources::signals::Signals;
use sources::stdin::{self, StdinWatch};
use stats::CloseCause;
use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::SystemTime;

/// Clients woken per turn that wait for room.
const WOKEN_CLIENTS_PER_TURN: usize = 64;

/// Clients closed per turn because of `--max-buffered`: 3 ms. They may free less than one turn adds;
/// the bound is [`Shared::has_room`]: over the cap, clients that have something buffered are not read,
/// and an eighth above it no client is.
const CAPPED_CLIENTS_PER_TURN: usize = 256;
/// Sources closed per turn once a drain is out of time: 8 µs each, and all 15,000 clients at once
/// took 120 ms, in which no observer got an answer.
const CUT_OFF_SOURCES_PER_TURN: usize = 256;

/// The server, bound and ready to run. Generic over its network, so that a test can run all of it
/// on scripted sockets.
#[derive(Debug)]
pub struct Server<N: Net = SystemNet> {
    /// The event loop.
    pub reactor: Reactor<ServerSource<N>, TurnRecorder>,
    /// What its sources share.
    pub shared: Shared,
    /// Sources that outlive a drain: the signals.
    lasting: usize,
    /// When the server was made.
    started: SystemTime,
    /// Where the recording is saved, if one is made.
    recording: Option<RecordingFile>,
    /// Searches for the histories of slots that observers ask for.
    searches: BTreeMap<u32, Search>,
    /// Excerpts of the recording that observers ask for.
    excerpts: BTreeMap<u64, Excerpt>,
    /// The connections that had closed when waiting listeners were last woken.
    closed_before: u64,
}

impl Server {
    /// Puts the bound sockets, the signals, and what observers need on a loop.
    ///
    /// # Errors
    ///
    /// The poll and the signals need descriptors.
    pub fn new(bound: Vec<Bound>, settings: Settings, observe: ObserveOptions) -> io::Result<Self> {
        let mode = match (&observe.recording, &observe.listener) {
            (Some(_), _) => RecorderMode::Recording,
            (None, Some(_)) => RecorderMode::Measuring,
            (None, None) => RecorderMode::Off,
        };
        let recorder = TurnRecorder::new(observe.turns, mode);
        let mut server = Self::on(Reactor::recorded(recorder)?, settings);
        if let Some(file) = observe.recording {
            server.record_to(file);
        }
        server.add(ServerSource::Signals(Box::new(Signals::new()?)))?;
        server.lasting += 1;
        for sockets in bound {
            sockets.set_nonblocking()?;
            let tcp = TcpListener::from_std(sockets.tcp);
            server.add(ServerSource::Listener(Box::new(Listener::new(tcp))))?;
            if let Some(udp) = sockets.udp.map(UdpSocket::from_std) {
                server.add(ServerSource::Datagrams(Box::new(Datagrams::new(udp))))?;
            }
        }
        if let Some(listener) = observe.listener {
            listener.set_nonblocking(true)?;
            let listener = ObserverListener::new(TcpListener::from_std(listener));
            server.add(ServerSource::ObserverListener(Box::new(listener)))?;
            server.shared.observers.sources += 1;
            server.shared.observers.hosts = observe.hosts;
        }
        Ok(server)
    }

    /// Ends the process at once at EOF on standard input, because the parent process is gone.
    ///
    /// # Errors
    ///
    /// Standard input cannot be polled: it is closed, or a file.
    pub fn end_with_stdin(&mut self) -> io::Result<()> {
        let Some(stdin) = StdinWatch::new()? else {
            return stdin::watch_by_thread();
        };
        self.add(ServerSource::Stdin(Box::new(stdin)))?;
        self.lasting += 1;
        Ok(())
    }

    /// Serves until asked to stop, and then until the drain is complete.
    ///
    /// # Errors
    ///
    /// The poll failed. Nothing that a client does is an error.
    pub fn run(&mut self) -> io::Result<Outcome> {
        loop {
            self.reactor.turn(&mut self.shared)?;
            if let Some(outcome) = self.between_turns() {
                self.end_streams();
                return Ok(outcome);
            }
        }
    }
}

impl<N: Net> Server<N> {
    /// A server on this reactor, for example a simulated one, without sockets yet.
    pub fn on(reactor: Reactor<ServerSource<N>, TurnRecorder>, settings: Settings) -> Self {
        Self {
            reactor,
            shared: Shared::new(settings),
            lasting: 0,
            started: SystemTime::now(),
            recording: None,
            searches: BTreeMap::new(),
            excerpts: BTreeMap::new(),
            closed_before: 0,
        }
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// It could not be registered with the poll.
    pub fn add(&mut self, source: ServerSource<N>) -> io::Result<Token> {
        self.reactor.add(source, Readiness::empty())
    }

    /// The work that concerns all sources, done while none is driven. Returns how the run ended,
    /// once it has.
    pub fn between_turns(&mut self) -> Option<Outcome> {
        self.cap_buffered();
        // After what closes clients between turns: the next turn may block.
        self.wake_waiting_listeners();
        self.wake_for_room();
        self.answer_observers();
        if mem::take(&mut self.shared.requested.report) {
            self.report();
        }
        self.save_part_of_recording();
        match self.shared.lifecycle {
            Lifecycle::Serving => None,
            Lifecycle::Stopping => {
                self.shared.lifecycle = Lifecycle::Draining;
                self.shared.observers.is_draining = true;
                // Every source is driven once more; those with nothing left to do close.
                let all = Readiness::READABLE | Readiness::WRITABLE;
                self.reactor.wake_all(all);
                None
            }
            Lifecycle::Draining if self.reactor.len() > self.lasting_sources() => None,
            Lifecycle::Draining => Some(self.outcome()),
            Lifecycle::OutOfTime => self.cut_off(),
        }
    }

    /// Sources that outlive a drain: the signals, and observers, who may watch it.
    fn lasting_sources(&self) -> usize {
        self.lasting + self.shared.observers.sources
    }

    /// Wakes the listeners that wait for a connection to close, once one has closed. The deadline
    /// of a listener without descriptors is only the fallback (pitfall 4).
    fn wake_waiting_listeners(&mut self) {
        let closed = self.shared.stats.closed.values().sum();
        if closed != self.closed_before {
            self.closed_before = closed;
            for listener in self.shared.waiting_listeners.drain(..) {
                self.reactor.wake(listener);
            }
        }
    }

    /// Wakes clients that wait for room for what they have sent, some per turn: the first of them may
    /// take all of it.
    fn wake_for_room(&mut self) {
        if self.shared.has_room(true) {
            let count = self
                .shared
                .waiting_for_room
                .len()
                .min(WOKEN_CLIENTS_PER_TURN);
            for client in self.shared.waiting_for_room.drain(..count) {
                self.reactor.wake(client);
            }
        }
    }

    /// Over the cap on buffered bytes, closes the clients that have made no progress for longest,
    /// until an eighth of it is free, so that newcomers do not take all room from those who wait for it
    /// (pitfall 21). What `--delay` holds is sent anyway: if only such replies are
    /// left, none is closed, and the clients wait for room.
    fn cap_buffered(&mut self) {
        let cap = self.shared.settings.max_buffered;
        if self.shared.stats.buffered <= cap {
            return;
        }
        for _ in 0..CAPPED_CLIENTS_PER_TURN {
            let is_enough = self.shared.stats.buffered <= cap - cap / 8;
            let oldest = self.shared.pending.oldest().filter(|_| !is_enough);
            let Some(token) = oldest else {
                return;
            };
            warn_limited!(
                self.shared.limiters.buffered,
                self.reactor.now(),
                "closing {token}, which has made no progress for longest: over {} bytes are \
                 buffered for all clients (--max-buffered)",
                cap
            );
            self.reactor
                .with_source(token, &mut self.shared, |source, cx, _| match source {
                    ServerSource::Peer(peer) => peer.abort(CloseCause::BufferedTooMuch, cx),
                    _ => Verdict::Hold,
                });
        }
        // The rest is closed after the next turn, which must not wait for an event.
        self.reactor.skip_next_wait();
    }

    /// Closes what is left, a bounded number per turn.
    fn cut_off(&mut self) -> Option<Outcome> {
        use ServerSource::{Datagrams, Listener, Peer};
        let sources = self.reactor.sources();
        let left: Vec<_> = sources
            .filter(|(_, source)| matches!(source, Peer(_) | Listener(_) | Datagrams(_)))
            .map(|(token, _)| token)
            .take(CUT_OFF_SOURCES_PER_TURN)
            .collect();
        for token in left {
            let close = |source: &mut ServerSource<N>, cx: &mut Context<'_, Shared>, _: &mut _| {
                match source {
                    Peer(peer) => peer.cut_off(cx),
                    _ => Verdict::Close,
                }
            };
            self.reactor.with_source(token, &mut self.shared, close);
        }
        if self.reactor.len() <= self.lasting_sources() {
            return Some(self.outcome());
        }
        self.reactor.skip_next_wait();
        None
    }

    /// How the drain ended.
    fn outcome(&self) -> Outcome {
        match self.shared.stats.closed[CloseCause::CutOff] {
            0 => Outcome::Drained,
            clients => Outcome::CutOff(clients),
        }
    }

    /// The summary of the run so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            clients: self.shared.stats.accepted - self.shared.stats.refused,
            messages: self.shared.stats.messages,
            datagrams: self.shared.stats.datagrams_answered,
            up: self.reactor.now().since(Time::ZERO),
            cut_off: self.shared.stats.cut_off,
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
            ..
        } = self.reactor.stats();
        info!(
            "{}; turns {turns} events {events} most-events {most_events} calls {calls} \
             longest-turn {longest:?}; log-lines-dropped {}",
            self.shared.stats,
            output::dropped_log_lines()
        );
    }
}
