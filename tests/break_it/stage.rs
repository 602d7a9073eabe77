//! A stage in virtual time for the code here and for the naive code, under the same loop.
//!
//! **Owns** the time, the far ends, and what the loop records of itself. **Must never touch** a
//! clock or a real socket. **Invariant**: a program gets the edges that a poll would announce,
//! each once, and its waits are recorded as a poll would have been asked.

#![allow(unreachable_pub)]

use crate::program::{Habit, NaiveServer, Welcome, slept};
use crate::script::{AcceptQueue, ScriptedListener, ScriptedUdpSocket};
use crate::script::{Remote, ScriptedStream};
use helloop::observe::recorder::{Entry, RecorderMode, TurnRecorder};
use helloop::observe::show::{Filter, show};
use helloop::observe::{Observable, trace};
use helloop::reactor::{Mark, Reactor, Readiness, Recorder, Time, Token, TurnPhase};
use helloop::server::sources::listener::Listener;
use helloop::server::sources::peer::Peer;
use helloop::server::{Server, ServerSource, Settings};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// What is put on the stage.
pub trait Program {
    type Actor: Observable;

    fn reactor(&self) -> &Reactor<Self::Actor, TurnRecorder>;
    fn reactor_mut(&mut self) -> &mut Reactor<Self::Actor, TurnRecorder>;
    /// One turn without its wait.
    fn step(&mut self, now: Time, marks: &[Mark]);

    /// How long the next wait may last.
    fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        self.reactor_mut().poll_timeout(now)
    }
}

/// The code here.
pub type Here = Server<ScriptedNet>;

impl Program for Here {
    type Actor = ServerSource<ScriptedNet>;

    fn reactor(&self) -> &Reactor<Self::Actor, TurnRecorder> {
        &self.reactor
    }

    fn reactor_mut(&mut self) -> &mut Reactor<Self::Actor, TurnRecorder> {
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
pub struct Stage<P> {
    pub program: P,
    now: Time,
    far_ends: Vec<Remote>,
    has_begun: bool,
}

/// Turns remembered: more than any scene has.
const MAX_TURNS: usize = 4_096;

fn loop_of<S: Observable>() -> Reactor<S, TurnRecorder> {
    Reactor::simulated_recorded(TurnRecorder::new(MAX_TURNS, RecorderMode::Recording)).unwrap()
}

impl Stage<Here> {
    /// The code here.
    pub fn here(settings: Settings) -> Self {
        Self::new(Server::on(loop_of(), settings))
    }

    pub fn client(&mut self, (stream, far_end): (ScriptedStream, Remote)) -> Remote {
        self.program.shared.stats.accepted += 1;
        let peer = ServerSource::Peer(Peer::new(stream));
        self.program.reactor.add(peer, Readiness::WRITABLE).unwrap();
        self.watch(&far_end)
    }

    pub fn listener(&mut self) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let acceptor = ScriptedListener::default();
        let waiting = acceptor.0.clone();
        let listener = ServerSource::Listener(Box::new(Listener::new(acceptor)));
        (self.program.add(listener).unwrap(), waiting)
    }
}

impl Stage<NaiveServer> {
    /// The naive code.
    pub fn naive() -> Self {
        Self::new(NaiveServer::new(loop_of()))
    }

    pub fn client(&mut self, habit: Habit, (stream, far_end): (ScriptedStream, Remote)) -> Remote {
        self.program.add_client(habit, stream);
        self.watch(&far_end)
    }

    pub fn listener(
        &mut self,
        welcome: Welcome,
        habit: Habit,
    ) -> (Token, Rc<RefCell<AcceptQueue>>) {
        let acceptor = ScriptedListener::default();
        let waiting = acceptor.0.clone();
        (self.program.add_listener(acceptor, welcome, habit), waiting)
    }
}

impl<P: Program> Stage<P> {
    fn new(program: P) -> Self {
        Self {
            program,
            now: Time::ZERO,
            far_ends: Vec::new(),
            has_begun: false,
        }
    }

    /// How long the next wait may last.
    pub fn poll_timeout(&mut self) -> Option<Duration> {
        self.program.poll_timeout(self.now)
    }

    /// Passes on the edges of a stream.
    pub fn watch(&mut self, far_end: &Remote) -> Remote {
        self.far_ends.push(far_end.clone());
        far_end.clone()
    }

    /// A client connects: it waits in the backlog.
    pub fn connect(&mut self, waiting: &RefCell<AcceptQueue>, room: usize) -> Remote {
        let (stream, far_end) = ScriptedStream::with_room(room);
        waiting.borrow_mut().streams.push_back(stream);
        self.watch(&far_end)
    }

    fn note_wait(&mut self) {
        let patience = self.poll_timeout();
        let now = self.now;
        let reactor = self.program.reactor_mut();
        let turn = reactor.turns().turns + 1;
        let recorder = reactor.recorder_mut();
        Recorder::<P::Actor>::phase(recorder, turn, TurnPhase::Wait(patience), now);
        self.has_begun = true;
    }

    /// One turn with these marks behind the edges that are due.
    pub fn turn(&mut self, marks: &[Mark]) {
        if !self.has_begun {
            self.note_wait();
        }
        let far_ends = self.far_ends.iter();
        let mut all: Vec<Mark> = far_ends
            .filter_map(|far_end| far_end.borrow_mut().take_mark())
            .collect();
        all.extend(marks);
        self.program.step(self.now, &all);
        self.now = self.now.after(slept());
        self.note_wait();
    }

    /// Turns until the loop would wait.
    #[track_caller]
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let is_due = |far_end: &Remote| {
                let wire = far_end.borrow();
                wire.token.is_some() && !wire.edge.is_none()
            };
            let is_idle = self.poll_timeout() != Some(Duration::ZERO);
            if is_idle && !self.far_ends.iter().any(is_due) {
                return;
            }
            self.turn(&[]);
        }
        panic!("the loop never comes to rest");
    }

    /// Waits as the loop would: until this moment, with a turn for each deadline before it.
    pub fn until(&mut self, milliseconds: u64) {
        let target = Time::ZERO.after(Duration::from_millis(milliseconds));
        self.settle();
        while let Some(patience) = self.poll_timeout() {
            let deadline = self.now.after(patience);
            if deadline > target {
                break;
            }
            self.now = deadline;
            self.turn(&[]);
            self.settle();
        }
        self.now = target;
    }

    /// EventKind the loop has recorded, the oldest entry first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.program.reactor().recorder().entries()
    }

    /// EventKind `helloop show` makes of it, from the second turn on: the first one welcomes.
    pub fn ladder(&self) -> String {
        let (mut json, mut text) = (Vec::new(), Vec::new());
        trace::write(self.program.reactor().recorder(), &mut json).unwrap();
        show(json.as_slice(), Filter::default(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let is_second = |rung: &&str| rung.split_whitespace().nth(1) == Some("2");
        let header = text.lines().take(1);
        let rungs = text.lines().skip(1).skip_while(|rung| !is_second(rung));
        header.chain(rungs).flat_map(|rung| [rung, "\n"]).collect()
    }
}
