//! The real server and the naive one, each on the real reactor in virtual time.
//!
//! **Owns** the time, the remote ends of the connections, and the recording of the loop. **Must never
//! touch** a clock or a real socket. **Invariant**: a program gets each edge that a poll would
//! report once, and its waits are recorded with the timeout that a poll would get.

#![allow(unreachable_pub)]

use crate::naive_server::{AcceptFn, NaiveServer, ServeFn, take_slept};
use crate::script::{AcceptQueue, ScriptedListener, ScriptedNet};
use crate::script::{Remote, ScriptedStream};
use helloop::reactor::{Mark, Reactor, Readiness, Recorder, Time, Token, TurnPhase};
use helloop::server::sources::listener::Listener;
use helloop::server::sources::peer::Peer;
use helloop::server::{Server, ServerSource, Settings};
use helloop::testing::observe::Observable;
use helloop::testing::observe::{Entry, RecorderMode, TurnRecorder};
use helloop::testing::observe::{Filter, show};
use helloop::testing::trace;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What a harness runs.
pub trait Program {
    type Source: Observable;

    fn reactor(&self) -> &Reactor<Self::Source, TurnRecorder>;
    fn reactor_mut(&mut self) -> &mut Reactor<Self::Source, TurnRecorder>;
    /// One turn without its wait.
    fn step(&mut self, now: Time, marks: &[Mark]);

    /// How long the next wait may block.
    fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        self.reactor_mut().poll_timeout(now)
    }
}

impl Program for Server<ScriptedNet> {
    type Source = ServerSource<ScriptedNet>;

    fn reactor(&self) -> &Reactor<Self::Source, TurnRecorder> {
        &self.reactor
    }

    fn reactor_mut(&mut self) -> &mut Reactor<Self::Source, TurnRecorder> {
        &mut self.reactor
    }

    fn step(&mut self, now: Time, marks: &[Mark]) {
        self.reactor
            .step(now, marks.iter().copied(), &mut self.shared);
        assert_eq!(self.between_turns(), None);
    }
}

/// A program in virtual time.
#[derive(Debug)]
pub struct Harness<P> {
    pub program: P,
    now: Time,
    remotes: Vec<Remote>,
    /// Whether the wait before the next turn is recorded.
    has_recorded_wait: bool,
}

/// Turns kept by the recorder: more than any run has.
const MAX_TURNS: usize = 4_096;

fn recording_reactor<S: Observable>() -> Reactor<S, TurnRecorder> {
    Reactor::simulated_recorded(TurnRecorder::new(MAX_TURNS, RecorderMode::Recording)).unwrap()
}

impl Harness<Server<ScriptedNet>> {
    /// The real server.
    pub fn real(settings: Settings) -> Self {
        Self::new(Server::on(recording_reactor(), settings))
    }

    /// A client that was just accepted.
    pub fn client(&mut self, (stream, remote): (ScriptedStream, Remote)) -> Remote {
        self.program.shared.stats.accepted += 1;
        let peer = ServerSource::Peer(Peer::new(stream));
        self.program.reactor.add(peer, Readiness::WRITABLE).unwrap();
        self.track(&remote)
    }

    pub fn listener(&mut self) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let acceptor = ScriptedListener::default();
        let waiting = acceptor.0.clone();
        let listener = ServerSource::Listener(Box::new(Listener::new(acceptor)));
        (self.program.add(listener).unwrap(), waiting)
    }
}

impl Harness<NaiveServer> {
    /// The naive server.
    pub fn naive() -> Self {
        Self::new(NaiveServer::new(recording_reactor()))
    }

    /// A client that was just accepted, served by `serve`.
    pub fn client(&mut self, serve: ServeFn, (stream, remote): (ScriptedStream, Remote)) -> Remote {
        self.program.add_client(serve, stream);
        self.track(&remote)
    }

    /// A listener that accepts with `accept`, and whose clients are served by `serve`.
    pub fn listener(
        &mut self,
        accept: AcceptFn,
        serve: ServeFn,
    ) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let acceptor = ScriptedListener::default();
        let waiting = acceptor.0.clone();
        (self.program.add_listener(acceptor, accept, serve), waiting)
    }
}

impl<P: Program> Harness<P> {
    fn new(program: P) -> Self {
        Self {
            program,
            now: Time::ZERO,
            remotes: Vec::new(),
            has_recorded_wait: false,
        }
    }

    /// How long the next wait may block.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        self.program.poll_timeout(self.now)
    }

    /// Reports the edges of this stream from now on.
    fn track(&mut self, remote: &Remote) -> Remote {
        self.remotes.push(remote.clone());
        remote.clone()
    }

    /// A client connects, and waits in the accept backlog.
    pub fn connect(&mut self, waiting: &RefCell<AcceptQueue>) -> Remote {
        let (stream, remote) = ScriptedStream::unlimited();
        waiting.borrow_mut().streams.push_back(stream);
        self.track(&remote)
    }

    fn record_wait(&mut self) {
        let timeout = self.poll_timeout();
        let now = self.now;
        let reactor = self.program.reactor_mut();
        let turn = reactor.stats().turns + 1;
        let recorder = reactor.recorder_mut();
        Recorder::<P::Source>::phase(recorder, turn, TurnPhase::Wait(timeout), now);
        self.has_recorded_wait = true;
    }

    /// One turn with the edges that are due, and then these marks.
    pub fn turn(&mut self, marks: &[Mark]) {
        if !self.has_recorded_wait {
            self.record_wait();
        }
        let remotes = self.remotes.iter();
        let mut all: Vec<Mark> = remotes
            .filter_map(|remote| remote.borrow_mut().take_mark())
            .collect();
        all.extend(marks);
        self.program.step(self.now, &all);
        self.now = self.now.after(take_slept());
        self.record_wait();
    }

    /// Runs turns until the loop would block.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let is_due = |remote: &Remote| {
                let wire = remote.borrow();
                wire.token.is_some() && !wire.edge.is_empty()
            };
            let would_block = self.poll_timeout() != Some(Duration::ZERO);
            if would_block && !self.remotes.iter().any(is_due) {
                return;
            }
            self.turn(&[]);
        }
        panic!("the loop never blocks");
    }

    /// Runs until this time, counted from the start, with a turn at each deadline on the way.
    pub fn run_until(&mut self, milliseconds: u64) {
        let target = Time::ZERO.after(Duration::from_millis(milliseconds));
        self.settle();
        while let Some(timeout) = self.poll_timeout() {
            let deadline = self.now.after(timeout);
            if deadline > target {
                break;
            }
            self.now = deadline;
            self.turn(&[]);
            self.settle();
        }
        self.now = target;
    }

    /// The recording of the loop, oldest entry first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.program.reactor().recorder().entries()
    }

    /// What `helloop show` prints of the recording, from the second turn on: the first turn sends
    /// the welcomes.
    pub fn ladder(&self) -> String {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        trace::write(self.program.reactor().recorder(), &mut json).unwrap();
        show(json.as_slice(), Filter::default(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let is_second = |line: &&str| line.split_whitespace().nth(1) == Some("2");
        let header = text.lines().take(1);
        let lines = text.lines().skip(1).skip_while(|line| !is_second(line));
        header.chain(lines).flat_map(|line| [line, "\n"]).collect()
    }
}
