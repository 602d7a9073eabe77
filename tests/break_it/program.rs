//! The program around the naive code: its event sources, and where they are wrong together.
//!
//! **Owns** the sources that drive the functions of [`naive`] under the real reactor, and what
//! they share. **Must never touch** what the code here does. **Invariant**: apart from those
//! functions it does what is right.

#![allow(unreachable_pub)]

use crate::naive;
use crate::script::ScriptedListener;
use crate::script::ScriptedStream;
use crate::stage::Program;
use helloop::net::stream::Traffic;
use helloop::observe::recorder::TurnRecorder;
use helloop::observe::{Observable, State, WorkCounters};
use helloop::reactor::{Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use mio::event::Source as _;
use mio::{Interest, Registry};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::time::Duration;

thread_local! {
    /// EventKind [`sleep`] has added to the time of this turn.
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Sleeps in virtual time: whoever calls it in the loop keeps the loop.
pub fn sleep(duration: Duration) {
    SLEPT.set(SLEPT.get() + duration);
}

/// How long was slept since this was last asked.
pub fn slept() -> Duration {
    SLEPT.take()
}

/// `Hello, NAME!`
pub fn greeting(name: &[u8]) -> Vec<u8> {
    [b"Hello, ", name, b"!"].concat()
}

/// A stream that counts its calls for the ladder, so that the naive code need not.
#[derive(Debug)]
pub struct Counted {
    stream: ScriptedStream,
    traffic: Traffic,
    /// EventKind has said "would block", or has come to its end.
    spent: Readiness,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.traffic.reads += 1;
        let read = self.stream.read(buffer);
        match &read {
            Ok(count) if *count > 0 => self.traffic.bytes_in += *count as u64,
            Ok(_) | Err(_) => self.spent |= Readiness::READABLE,
        }
        read
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.traffic.writes += 1;
        let written = self.stream.write(bytes);
        match &written {
            Ok(count) => self.traffic.bytes_out += *count as u64,
            Err(_) => self.spent |= Readiness::WRITABLE,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a naive client is served.
pub type Habit = fn(&mut Client) -> io::Result<Verdict>;

/// How a naive listener accepts.
pub type Welcome = fn(&ScriptedListener, &mut Vec<ScriptedStream>) -> Verdict;

/// A client as the naive code has it.
#[derive(Debug)]
pub struct Client {
    pub stream: Counted,
    /// Replies that the socket has not taken.
    pub owed: Vec<u8>,
    /// EventKind the event said.
    pub event: Readiness,
    habit: Habit,
    is_welcomed: bool,
}

impl Client {
    fn new(stream: ScriptedStream, habit: Habit) -> Self {
        let (traffic, spent) = (Traffic::default(), Readiness::empty());
        Self {
            stream: Counted {
                stream,
                traffic,
                spent,
            },
            owed: Vec::new(),
            event: Readiness::empty(),
            habit,
            is_welcomed: false,
        }
    }

    /// Sends a greeting behind what is owed, and keeps what the socket does not take.
    pub fn greet(&mut self, name: &[u8]) -> io::Result<()> {
        self.owed.extend(greeting(name));
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.owed.is_empty() {
            match self.stream.write(&self.owed) {
                Ok(count) => drop(self.owed.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn work(&mut self, readiness: Readiness) -> Verdict {
        self.event = readiness;
        let is_news = readiness != Readiness::WRITABLE;
        let worked = if !is_news && !mem::replace(&mut self.is_welcomed, true) {
            self.stream.write(b"Welcome!").map(|_| Verdict::Park)
        } else if is_news {
            (self.habit)(self)
        } else {
            self.flush().map(|()| Verdict::Park)
        };
        match worked {
            Ok(verdict) => verdict,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Verdict::Park,
            Err(_) => Verdict::Close,
        }
    }
}

/// The naive program's event sources.
#[derive(Debug)]
pub enum Naive {
    Client(Client),
    Listener(ScriptedListener, Welcome, Habit),
}

/// EventKind they share.
#[derive(Debug, Default)]
pub struct Shared {
    tally: WorkCounters,
    /// When each reply was sent.
    pub answered: Vec<Time>,
    /// Where idle clients are noted, if they are.
    deadlines: Option<BinaryHeap<Reverse<(Time, usize)>>>,
}

impl Source for Naive {
    type Shared = Shared;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Client(client) => {
                let stream = &mut client.stream.stream;
                stream.register(registry, token.into(), Interest::READABLE)
            }
            Self::Listener(..) => Ok(()),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Client(client) => {
                let verdict = client.work(cx.readiness);
                let Traffic {
                    reads,
                    writes,
                    bytes_in,
                    bytes_out,
                } = mem::take(&mut client.stream.traffic);
                cx.readiness.remove(mem::take(&mut client.stream.spent));
                let tally = &mut cx.shared.tally;
                tally.reads += reads;
                tally.writes += writes;
                tally.bytes_in += bytes_in;
                tally.bytes_out += bytes_out;
                if bytes_out > 0 && bytes_in > 0 {
                    cx.shared.answered.push(cx.turn_start.after(SLEPT.get()));
                }
                if let Some(deadlines) = &mut cx.shared.deadlines {
                    naive::heard(deadlines, cx.turn_start, cx.token.key as usize);
                }
                verdict
            }
            Self::Listener(socket, welcome, habit) => {
                let (mut clients, habit) = (Vec::new(), *habit);
                let verdict = welcome(socket, &mut clients);
                if verdict == Verdict::Park && socket.0.borrow().streams.is_empty() {
                    cx.readiness.remove(Readiness::READABLE);
                }
                cx.shared.tally.accepted += clients.len() as u64;
                for stream in clients {
                    cx.spawn(Readiness::WRITABLE, |_| {
                        Self::Client(Client::new(stream, habit))
                    });
                }
                verdict
            }
        }
    }

    fn expire(&mut self, _: &mut Context<'_, Self>) -> Verdict {
        Verdict::Park
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Shared) {}
}

impl Observable for Naive {
    fn state(&self) -> State {
        match self {
            Self::Listener(..) => State::Listener,
            Self::Client(client) if !client.is_welcomed => State::Greeting,
            Self::Client(client) if client.owed.is_empty() => State::Waiting,
            Self::Client(_) => State::Owed,
        }
    }

    fn tally(world: &Shared) -> WorkCounters {
        world.tally
    }
}

/// The naive code under the same reactor.
#[derive(Debug)]
pub struct NaiveServer {
    pub reactor: Reactor<Naive, TurnRecorder>,
    pub shared: Shared,
    /// Whether events name a slot and no owner, and each is handled before the next is looked at.
    pub names_slots_only: bool,
}

impl Program for NaiveServer {
    type Actor = Naive;

    fn reactor(&self) -> &Reactor<Naive, TurnRecorder> {
        &self.reactor
    }

    fn reactor_mut(&mut self) -> &mut Reactor<Naive, TurnRecorder> {
        &mut self.reactor
    }

    fn step(&mut self, now: Time, marks: &[Mark]) {
        if self.names_slots_only && !marks.is_empty() {
            for &(token, readiness) in marks {
                let owners = self.reactor.sources();
                let mut owners = owners
                    .map(|(token, _)| (token.key as usize, token))
                    .collect();
                let event = mio::Token(token.key as usize);
                if let Some(&mut owner) = naive::whose(&mut owners, event) {
                    self.step_all(now, &[(owner, readiness)]);
                }
            }
        } else {
            self.step_all(now, marks);
        }
    }

    fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        let nearest = self.shared.deadlines.as_ref().and_then(BinaryHeap::peek);
        let patience = nearest.map(|Reverse((due, _))| due.since(now));
        self.reactor.poll_timeout(now).or(patience)
    }
}

impl NaiveServer {
    pub fn new(reactor: Reactor<Naive, TurnRecorder>) -> Self {
        Self {
            reactor,
            shared: Shared::default(),
            names_slots_only: false,
        }
    }

    /// Idle clients are closed.
    pub fn keep_deadlines(&mut self) {
        self.shared.deadlines = Some(BinaryHeap::new());
    }

    pub fn add_client(&mut self, habit: Habit, stream: ScriptedStream) {
        let client = Naive::Client(Client::new(stream, habit));
        self.reactor.add(client, Readiness::WRITABLE).unwrap();
    }

    pub fn add_listener(
        &mut self,
        socket: ScriptedListener,
        welcome: Welcome,
        habit: Habit,
    ) -> Token {
        let listener = Naive::Listener(socket, welcome, habit);
        self.reactor.add(listener, Readiness::empty()).unwrap()
    }

    /// Bytes kept for all clients.
    pub fn owed(&self) -> usize {
        let owed = self.reactor.sources().map(|(_, source)| match source {
            Naive::Client(client) => client.owed.len(),
            Naive::Listener(..) => 0,
        });
        owed.sum()
    }

    fn step_all(&mut self, now: Time, marks: &[Mark]) {
        for &(token, readiness) in marks {
            // The naive code remembers no readiness: every event wakes it.
            self.reactor.wake(token, readiness);
        }
        self.reactor
            .step(now, marks.iter().copied(), &mut self.shared);
        while let Some(owner) = self.overdue(now) {
            self.reactor
                .with_source(owner, &mut self.shared, |_, _| Verdict::Close);
        }
    }

    /// Whoever has the slot of a deadline that has passed.
    fn overdue(&mut self, now: Time) -> Option<Token> {
        let deadlines = self.shared.deadlines.as_mut()?;
        loop {
            let slot = naive::overdue(deadlines, now)?;
            let mut owners = self.reactor.sources().map(|(token, _)| token);
            if let Some(owner) = owners.find(|token| token.key as usize == slot) {
                return Some(owner);
            }
        }
    }
}
