//! The server on scripted sockets in virtual time, driven step by step.
//!
//! **Owns** the server, the current time, and the remote ends of its streams. **Must never touch**
//! a real socket or clock. **Invariant**: nothing happens except in a step, and a step gets only
//! the marks that a poll would report, and those that a test adds.

#![allow(dead_code, unreachable_pub)] // each test crate uses only a part

use crate::script::{
    AcceptQueue, Remote, ScriptedListener, ScriptedNet, ScriptedStream, ScriptedUdpSocket,
    UdpScript,
};
use helloop::protocol::greeting::Framing;
use helloop::reactor::{Mark, Reactor, Readiness, Time, Token};
use helloop::server::sources::datagrams::Datagrams;
use helloop::server::sources::listener::Listener;
use helloop::server::sources::peer::Peer;
use helloop::server::stats::{CloseCause, Stats};
use helloop::server::{Outcome, Server, ServerSource, Settings};
use helloop::testing::observe::{ObserverListener, RecorderMode, TurnRecorder};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The default settings with line framing.
pub fn line_settings() -> Settings {
    Settings {
        framing: Framing::Line,
        ..Settings::default()
    }
}

pub struct Harness {
    pub server: Server<ScriptedNet>,
    pub now: Time,
    /// How the server's run ended, once it has.
    pub outcome: Option<Outcome>,
    remotes: Vec<Remote>,
}

impl Harness {
    /// A server whose recorder is off.
    pub fn new(settings: Settings) -> Self {
        Self::with(TurnRecorder::new(1, RecorderMode::Off), settings)
    }

    pub fn with(recorder: TurnRecorder, settings: Settings) -> Self {
        let reactor = Reactor::simulated_recorded(recorder).unwrap();
        Self {
            server: Server::on(reactor, settings),
            now: Time::ZERO,
            outcome: None,
            remotes: Vec::new(),
        }
    }

    /// Adds a client that has just been accepted; its welcome is sent in the next step.
    pub fn client(&mut self, (stream, remote): (ScriptedStream, Remote)) -> Remote {
        self.server.shared.stats.accepted += 1;
        self.add_remote(&remote);
        let peer = ServerSource::Peer(Peer::new(stream));
        self.server.reactor.add(peer, Readiness::WRITABLE).unwrap();
        remote
    }

    /// Reports the edges of a stream that the server accepts itself.
    pub fn add_remote(&mut self, remote: &Remote) {
        self.remotes.push(remote.clone());
    }

    pub fn listener(&mut self) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let socket = ScriptedListener::default();
        let queue = socket.0.clone();
        let listener = ServerSource::Listener(Box::new(Listener::new(socket)));
        (self.server.add(listener).unwrap(), queue)
    }

    pub fn observer_listener(&mut self) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let socket = ScriptedListener::default();
        let queue = socket.0.clone();
        self.server.shared.observers.sources += 1;
        let listener = ServerSource::ObserverListener(Box::new(ObserverListener::new(socket)));
        (self.server.add(listener).unwrap(), queue)
    }

    pub fn datagrams(&mut self) -> (Token, Rc<RefCell<UdpScript>>) {
        let socket = ScriptedUdpSocket::default();
        let script = socket.0.clone();
        let datagrams = ServerSource::Datagrams(Box::new(Datagrams::new(socket)));
        (self.server.add(datagrams).unwrap(), script)
    }

    /// The events that a poll would report now.
    pub fn take_marks(&self) -> Vec<Mark> {
        let remotes = self.remotes.iter();
        remotes
            .filter_map(|remote| remote.borrow_mut().take_mark())
            .collect()
    }

    /// One step with the events that a poll would report.
    pub fn step(&mut self) {
        self.step_with(&[]);
    }

    /// One step with the events that a poll would report, and these.
    pub fn step_with(&mut self, marks: &[Mark]) {
        let mut all = self.take_marks();
        all.extend(marks);
        self.step_with_only(&all);
    }

    /// One step with these events and no others.
    pub fn step_with_only(&mut self, marks: &[Mark]) {
        let Server {
            reactor, shared, ..
        } = &mut self.server;
        reactor.step(self.now, marks.iter().copied(), shared);
        self.outcome = self.server.between_turns();
    }

    /// Steps until the loop would block. The time stands still.
    #[track_caller]
    pub fn run_until_idle(&mut self) {
        for _ in 0..10_000 {
            let marks = self.take_marks();
            if marks.is_empty()
                && self.server.reactor.poll_timeout(self.now) != Some(Duration::ZERO)
            {
                return;
            }
            self.step_with_only(&marks);
        }
        panic!("the loop is never idle");
    }

    pub fn advance(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// Calls of sources so far.
    pub fn calls(&self) -> u64 {
        self.server.reactor.stats().calls
    }

    pub fn stats(&self) -> &Stats {
        &self.server.shared.stats
    }

    /// Clients closed for this cause so far.
    pub fn closed(&self, cause: CloseCause) -> u64 {
        self.stats().closed[cause]
    }

    pub fn peers(&self) -> impl Iterator<Item = (Token, &Peer<ScriptedStream>)> {
        let sources = self.server.reactor.sources();
        sources.filter_map(|(token, source)| match source {
            ServerSource::Peer(peer) => Some((token, peer)),
            _ => None,
        })
    }
}
