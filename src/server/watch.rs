//! What the server shows of itself.
//!
//! **Owns** how its sources look to those who watch, and what is done for them between turns.
//! **Must never touch** a client. **Invariant**: a server that nobody watches does none of it.

use super::bind::Bound;
use super::peer::{Peer, Phase};
use super::{Member, Server, Settings, World};
use crate::observe::file::RecordingFile;
use crate::observe::record::{Attention, Recorder};
use crate::observe::{State, Subject, Tally};
use crate::reactor::{Reactor, Record};
use crate::stream::Stream;
use log::{info, warn};
use std::io;
use std::mem;

/// What a client is about, as those see it who watch.
pub fn state_of<T: Stream>(peer: &Peer<T>) -> State {
    match peer.phase() {
        Phase::Greeting | Phase::Refusing => State::Greeting,
        Phase::Held(_) => State::Held,
        Phase::Lingering(_) => State::Lingering,
        Phase::Talking | Phase::Ending(_) if peer.owed() > 0 => State::Owed,
        Phase::Talking | Phase::Ending(_) => State::Waiting,
    }
}

/// What the server has counted, as far as a single call moves it.
#[must_use]
pub fn tally_of(world: &World) -> Tally {
    let stats = &world.stats;
    Tally {
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

impl Subject for Member {
    fn state(&self) -> State {
        match self {
            Self::Peer(peer) => state_of(peer),
            Self::Listener(_) => State::Listener,
            Self::Datagrams(_) => State::Datagrams,
            Self::Signals(_) => State::Signals,
        }
    }

    fn tally(world: &World) -> Tally {
        tally_of(world)
    }
}

/// Who is told what the server's loop does, and is served between turns.
pub trait Watch: Record<Member> + Sized {
    /// Called after every turn.
    fn attend(server: &mut Server<Self>);

    /// Called when the last turn is over.
    ///
    /// # Errors
    ///
    /// What was to be kept could not be.
    fn finish(server: &mut Server<Self>) -> io::Result<()>;
}

/// Nobody watches.
impl Watch for () {
    fn attend(server: &mut Server<Self>) {
        if mem::take(&mut server.world.recording_wanted) {
            info!("SIGUSR2, but nothing is recorded: `helloop serve --record FILE` does that");
        }
    }

    fn finish(_: &mut Server<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Watch for Recorder {
    fn attend(server: &mut Server<Self>) {
        if mem::take(&mut server.world.recording_wanted) {
            // Whatever is wrong with the file now, the clients are served on.
            if let Err(error) = server.save_recording() {
                warn!("{error}");
            }
        }
    }

    fn finish(server: &mut Server<Self>) -> io::Result<()> {
        server.save_recording()
    }
}

/// What is wanted by those who watch.
#[derive(Debug)]
pub struct Watched {
    /// Where recordings are saved, if they are.
    pub recording: Option<RecordingFile>,
    /// How many turns are remembered.
    pub turns: usize,
}

impl Server<Recorder> {
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
        let recorder = Recorder::new(watched.turns, attention);
        let mut server = Self::on(Reactor::recorded(recorder)?, bound, settings)?;
        server.file = watched.recording;
        Ok(server)
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
