//! What the server shows of itself.
//!
//! **Owns** how its sources look to those who watch, and what is done for them between turns.
//! **Must never touch** a client. **Invariant**: a server that nobody watches does none of it.

use super::sources::datagrams::DatagramSocket;
use super::sources::listener::Accept;
use super::sources::peer::{Peer, PeerState};
use super::{Datagram, Server, ServerSource, Settings, Shared, metrics as server_metrics};
use crate::net::bind::Bound;
use crate::net::stream::Stream;
use crate::observe::file::RecordingFile;
use crate::observe::history::{self, SlotInfo};
use crate::observe::listener::ObserverListener;
use crate::observe::observer::{Observer, SNAPSHOT_PERIOD};
use crate::observe::recorder::{Attention, TurnRecorder};
use crate::observe::requests::{Host, ObserverRequests, Question};
use crate::observe::snapshot::{Cells, Snapshot};
use crate::observe::{Observable, State, WorkCounters, metrics};
use crate::reactor::{Reactor, Readiness, Recorder};
use log::{info, warn};
use mio::net::{TcpListener, TcpStream};
use std::io;
use std::mem;

/// What a client is about, as those see it who watch.
pub fn state_of<T: Stream>(peer: &Peer<T>) -> State {
    match peer.phase() {
        PeerState::Greeting | PeerState::Refusing => State::Greeting,
        PeerState::Held(_) => State::Held,
        PeerState::Lingering(_) => State::Lingering,
        PeerState::Talking | PeerState::Ending(_) if peer.owed() > 0 => State::Owed,
        PeerState::Talking | PeerState::Ending(_) => State::Waiting,
    }
}

/// What the server has counted, as far as a single call moves it.
#[must_use]
pub fn tally_of(shared: &Shared) -> WorkCounters {
    let stats = &shared.stats;
    WorkCounters {
        accepted: stats.accepted,
        messages: stats.messages,
        reads: stats.traffic.reads,
        bytes_in: stats.traffic.bytes_in,
        writes: stats.traffic.writes,
        bytes_out: stats.traffic.bytes_out,
        datagrams: stats.datagrams,
        answered: stats.datagrams_answered,
        clients: stats.clients(),
        owed: stats.buffered as u64,
    }
}

impl<A: Accept, U: DatagramSocket> Observable for ServerSource<A, U> {
    fn state(&self) -> State {
        match self {
            Self::Peer(peer) => state_of(peer),
            Self::Listener(_) => State::Listener,
            Self::Datagrams(_) => State::Datagrams,
            Self::Signals(_) | Self::StdinWatch(_) => State::Signals,
            Self::ObserverListener(_) | Self::Observer(_) => State::Observer,
        }
    }

    fn counters(shared: &Shared) -> WorkCounters {
        tally_of(shared)
    }
}

/// Who is told what the server's loop does, and is served between turns.
pub trait Watch<A: Accept, U: DatagramSocket>: Recorder<ServerSource<A, U>> + Sized {
    /// Called after every turn.
    fn attend(server: &mut Server<A, U, Self>);

    /// Called when the last turn is over.
    ///
    /// # Errors
    ///
    /// What was to be kept could not be.
    fn finish(server: &mut Server<A, U, Self>) -> io::Result<()>;
}

/// Nobody watches.
impl<A: Accept, U: DatagramSocket> Watch<A, U> for () {
    fn attend(server: &mut Server<A, U, Self>) {
        if mem::take(&mut server.shared.recording_wanted) {
            say_how_to_record();
        }
    }

    fn finish(_: &mut Server<A, U, Self>) -> io::Result<()> {
        Ok(())
    }
}

impl<A: Accept, U: DatagramSocket> Watch<A, U> for TurnRecorder {
    fn attend(server: &mut Server<A, U, Self>) {
        server.answer_observers();
        if !mem::take(&mut server.shared.recording_wanted) {
            return;
        }
        if server.file.is_none() {
            say_how_to_record();
        }
        // Whatever is wrong with the file now, the clients are served on.
        if let Err(error) = server.save_recording() {
            warn!("{error}");
        }
    }

    fn finish(server: &mut Server<A, U, Self>) -> io::Result<()> {
        server.save_recording()
    }
}

fn say_how_to_record() {
    info!("SIGUSR2, but nothing is recorded: `helloop serve --record FILE` does that");
}

/// What is wanted by those who watch.
#[derive(Debug)]
pub struct Watched {
    /// Where recordings are saved, if they are.
    pub recording: Option<RecordingFile>,
    /// How many turns are remembered.
    pub turns: usize,
    /// Where observers are let in, if they are: a blocking listener.
    pub observed_at: Option<std::net::TcpListener>,
}

impl Host for Shared {
    fn board(&mut self) -> &mut ObserverRequests {
        &mut self.board
    }

    fn is_serving(&self) -> bool {
        !self.is_draining()
    }
}

impl<A: Accept, U: DatagramSocket> From<Observer<TcpStream>> for ServerSource<A, U> {
    fn from(observer: Observer<TcpStream>) -> Self {
        Self::Observer(Box::new(observer))
    }
}

impl Server<TcpListener, Datagram, TurnRecorder> {
    /// As [`new`](Server::new), and watched.
    ///
    /// # Errors
    ///
    /// As [`new`](Server::new).
    pub fn watched(bound: Vec<Bound>, settings: Settings, watched: Watched) -> io::Result<Self> {
        let attention = match watched.recording {
            Some(_) => Attention::Recording,
            None => Attention::None,
        };
        let recorder = TurnRecorder::new(watched.turns, attention);
        let mut server = Self::with_reactor(Reactor::recorded(recorder)?, settings);
        server.take_in(bound)?;
        server.file = watched.recording;
        if let Some(listener) = watched.observed_at {
            listener.set_nonblocking(true)?;
            let gate = ObserverListener::new(TcpListener::from_std(listener));
            server.reactor.add(
                ServerSource::ObserverListener(Box::new(gate)),
                Readiness::NONE,
            )?;
            server.shared.board.sources += 1;
        }
        Ok(server)
    }
}

impl<A: Accept, U: DatagramSocket> Server<A, U, TurnRecorder> {
    /// Answers what observers asked, and wakes them. Between turns all sources may be looked at.
    fn answer_observers(&mut self) {
        let is_watched = self.shared.board.streams > 0;
        self.reactor.record_mut().watch(is_watched);
        if !self.shared.board.is_asked() {
            return;
        }
        for question in self.shared.board.questions() {
            let body = match question {
                Question::Metrics => self.metrics(),
                Question::Snapshot => self.snapshot().event(),
                Question::Story(slot) => self.story(slot),
            };
            for token in self.shared.board.answer_all(question, body.into()) {
                self.reactor.wake(token, Readiness::NONE);
            }
        }
    }

    fn metrics(&self) -> Vec<u8> {
        let (turns, now) = (self.reactor.turns(), self.reactor.now());
        metrics::render(&server_metrics::families(&self.shared, &turns, now)).into_bytes()
    }

    fn snapshot(&self) -> Snapshot {
        let (mut cells, recorder) = (Cells::default(), self.reactor.record());
        for (token, member) in self.reactor.slots() {
            let has_worked = recorder.has_worked(token, SNAPSHOT_PERIOD);
            cells.push(token, member.map(ServerSource::state), has_worked);
        }
        let tally = tally_of(&self.shared);
        let (now, turns) = (self.reactor.now(), self.reactor.turns());
        Snapshot::new(now, self.shared.is_serving(), &tally, turns, cells)
            .with_recorder(self.reactor.record(), self.shared.board.observers)
    }

    fn story(&self, slot: u32) -> Vec<u8> {
        let found = self.reactor.slots().nth(slot as usize);
        let look = found.map(|(token, member)| SlotInfo {
            token,
            state: member.map(ServerSource::state),
            owed: match member {
                Some(ServerSource::Peer(peer)) => peer.buffered(),
                _ => 0,
            },
        });
        history::to_json(slot, look, self.reactor.record())
    }

    fn save_recording(&self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let path = file.path().display();
        match file.save(self.reactor.record()) {
            Ok(()) => info!("the last turns are in {path}: `helloop show {path}`, or Perfetto"),
            Err(error) => {
                let words = format!("the recording cannot be written to {path}: {error}");
                return Err(io::Error::new(error.kind(), words));
            }
        }
        Ok(())
    }
}
