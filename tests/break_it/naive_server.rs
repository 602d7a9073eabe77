//! The naive server: the sources that run the naive code on the real reactor.
//!
//! **Owns** those sources, what they share, and the faults that need more than one function: events
//! that name only a slot, and deadlines kept outside the loop. **Must never touch** the real
//! server. **Invariant**: apart from the functions of [`naive`], it is correct.

#![allow(unreachable_pub)]

use crate::harness::Program;
use crate::naive;
use crate::script::ScriptedListener;
use crate::script::ScriptedStream;
use helloop::net::stream::Traffic;
use helloop::reactor::{Births, Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use helloop::testing::observe::TurnRecorder;
use helloop::testing::observe::{Observable, State, WorkCounters};
use mio::event::Source as _;
use mio::{Interest, Registry};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::time::Duration;

thread_local! {
    /// How long [`sleep`] has slept in this turn.
    static SLEPT: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Sleeps in virtual time, and so delays the whole loop.
pub fn sleep(duration: Duration) {
    SLEPT.set(SLEPT.get() + duration);
}

/// How long [`sleep`] has slept since the last call of this function.
pub fn take_slept() -> Duration {
    SLEPT.take()
}

/// `Hello, NAME!`
pub fn greeting(name: &[u8]) -> Vec<u8> {
    [b"Hello, ", name, b"!"].concat()
}

/// A stream that counts its calls for the recording, so that the naive code does not have to.
#[derive(Debug)]
pub struct CountedStream {
    stream: ScriptedStream,
    traffic: Traffic,
    /// The directions that would block, reached EOF, or failed.
    exhausted: Readiness,
}

impl Read for CountedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.traffic.reads += 1;
        let read = self.stream.read(buffer);
        match &read {
            Ok(count) if *count > 0 => self.traffic.bytes_in += *count as u64,
            Ok(_) | Err(_) => self.exhausted |= Readiness::READABLE,
        }
        read
    }
}

impl Write for CountedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.traffic.writes += 1;
        let written = self.stream.write(bytes);
        match &written {
            Ok(count) => self.traffic.bytes_out += *count as u64,
            Err(_) => self.exhausted |= Readiness::WRITABLE,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The naive code that serves a client.
pub type ServeFn = fn(&mut Client) -> io::Result<Verdict>;

/// The naive code that accepts connections.
pub type AcceptFn = fn(&ScriptedListener, &mut Vec<ScriptedStream>) -> Verdict;

/// A client of the naive server.
#[derive(Debug)]
pub struct Client {
    pub stream: CountedStream,
    /// Replies that the socket has not taken yet.
    pub owed: Vec<u8>,
    /// The readiness that the last event reported.
    pub event: Readiness,
    serve: ServeFn,
    is_welcomed: bool,
}

impl Client {
    fn new(stream: ScriptedStream, serve: ServeFn) -> Self {
        Self {
            stream: CountedStream {
                stream,
                traffic: Traffic::default(),
                exhausted: Readiness::empty(),
            },
            owed: Vec::new(),
            event: Readiness::empty(),
            serve,
            is_welcomed: false,
        }
    }

    /// Sends a greeting after what is owed, and keeps what the socket does not take.
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
        let worked = if readiness != Readiness::WRITABLE {
            (self.serve)(self)
        } else if mem::replace(&mut self.is_welcomed, true) {
            self.flush().map(|()| Verdict::Park)
        } else {
            self.stream.write(b"Welcome!").map(|_| Verdict::Park)
        };
        match worked {
            Ok(verdict) => verdict,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Verdict::Park,
            Err(_) => Verdict::Close,
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let verdict = self.work(*cx.readiness);
        cx.readiness.remove(mem::take(&mut self.stream.exhausted));
        let Traffic {
            reads,
            writes,
            bytes_in,
            bytes_out,
        } = mem::take(&mut self.stream.traffic);
        let Shared {
            counters,
            answered_at,
            deadlines,
        } = &mut *cx.shared;
        counters.reads += reads;
        counters.writes += writes;
        counters.bytes_in += bytes_in;
        counters.bytes_out += bytes_out;
        if bytes_in > 0 && bytes_out > 0 {
            answered_at.push(cx.turn_start.after(SLEPT.get()));
        }
        if let Some(deadlines) = deadlines {
            naive::add_deadline(deadlines, cx.turn_start, cx.token.key as usize);
        }
        verdict
    }
}

/// An event source of the naive server.
#[derive(Debug)]
pub enum NaiveSource {
    Client(Client),
    Listener(ScriptedListener, AcceptFn, ServeFn),
}

/// What the sources of the naive server share.
#[derive(Debug, Default)]
pub struct Shared {
    counters: WorkCounters,
    /// When each reply was sent.
    pub answered_at: Vec<Time>,
    /// The idle deadlines by slot, if idle clients are closed.
    deadlines: Option<BinaryHeap<Reverse<(Time, usize)>>>,
}

impl Source for NaiveSource {
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

    fn drive(&mut self, cx: &mut Context<'_, Shared>, births: &mut Births<Self>) -> Verdict {
        let verdict = match self {
            Self::Client(client) => client.drive(cx),
            Self::Listener(socket, accept, serve) => {
                let mut streams = Vec::new();
                let verdict = accept(socket, &mut streams);
                if verdict == Verdict::Park && socket.0.borrow().streams.is_empty() {
                    cx.readiness.remove(Readiness::READABLE);
                }
                cx.shared.counters.accepted += streams.len() as u64;
                for stream in streams {
                    let client = Self::Client(Client::new(stream, *serve));
                    births.push(client, Readiness::WRITABLE);
                }
                verdict
            }
        };
        // Naive code parks whether the socket is drained or not. Debug builds of the loop assert
        // that it is; a release build treats the two verdicts alike.
        match verdict {
            Verdict::Park if cx.readiness.contains(Readiness::READABLE) => Verdict::Hold,
            verdict => verdict,
        }
    }

    fn expire(&mut self, _: &mut Context<'_, Shared>) -> Verdict {
        Verdict::Hold // no source sets a deadline
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Shared) {}
}

impl Observable for NaiveSource {
    fn state(&self) -> State {
        match self {
            Self::Listener(..) => State::Listener,
            Self::Client(client) if !client.is_welcomed => State::Greeting,
            Self::Client(client) if client.owed.is_empty() => State::Waiting,
            Self::Client(_) => State::Owed,
        }
    }

    fn counters(shared: &Shared) -> WorkCounters {
        shared.counters
    }
}

/// The naive server.
#[derive(Debug)]
pub struct NaiveServer {
    pub reactor: Reactor<NaiveSource, TurnRecorder>,
    pub shared: Shared,
    /// Whether an event names only a slot, without a generation, and each event is handled before
    /// the next one of its batch.
    pub ignores_generations: bool,
}

impl Program for NaiveServer {
    type Source = NaiveSource;

    fn reactor(&self) -> &Reactor<NaiveSource, TurnRecorder> {
        &self.reactor
    }

    fn reactor_mut(&mut self) -> &mut Reactor<NaiveSource, TurnRecorder> {
        &mut self.reactor
    }

    fn step(&mut self, now: Time, marks: &[Mark]) {
        if !self.ignores_generations || marks.is_empty() {
            return self.step_with(now, marks);
        }
        for &(token, readiness) in marks {
            let sources = self.reactor.sources();
            let mut owners = sources
                .map(|(token, _)| (token.key as usize, token))
                .collect();
            let event = mio::Token(token.key as usize);
            if let Some(&mut owner) = naive::owner_of(&mut owners, event) {
                self.step_with(now, &[(owner, readiness)]);
            }
        }
    }

    fn poll_timeout(&mut self, now: Time) -> Option<Duration> {
        let nearest = self.shared.deadlines.as_ref().and_then(BinaryHeap::peek);
        let idle_timeout = nearest.map(|Reverse((deadline, _))| deadline.since(now));
        self.reactor.poll_timeout(now).or(idle_timeout)
    }
}

impl NaiveServer {
    pub fn new(reactor: Reactor<NaiveSource, TurnRecorder>) -> Self {
        Self {
            reactor,
            shared: Shared::default(),
            ignores_generations: false,
        }
    }

    /// Closes idle clients from now on.
    pub fn close_idle_clients(&mut self) {
        self.shared.deadlines = Some(BinaryHeap::new());
    }

    pub fn add_client(&mut self, serve: ServeFn, stream: ScriptedStream) {
        let client = NaiveSource::Client(Client::new(stream, serve));
        self.reactor.add(client, Readiness::WRITABLE).unwrap();
    }

    pub fn add_listener(
        &mut self,
        socket: ScriptedListener,
        accept: AcceptFn,
        serve: ServeFn,
    ) -> Token {
        let listener = NaiveSource::Listener(socket, accept, serve);
        self.reactor.add(listener, Readiness::empty()).unwrap()
    }

    /// Unsent replies of all clients, in bytes.
    pub fn owed(&self) -> usize {
        let owed = self.reactor.sources().map(|(_, source)| match source {
            NaiveSource::Client(client) => client.owed.len(),
            NaiveSource::Listener(..) => 0,
        });
        owed.sum()
    }

    fn step_with(&mut self, now: Time, marks: &[Mark]) {
        // The naive code keeps no readiness of its own: every event drives its source.
        for &(token, _) in marks {
            self.reactor.wake(token);
        }
        self.reactor
            .step(now, marks.iter().copied(), &mut self.shared);
        while let Some(token) = self.expired_owner(now) {
            self.reactor
                .with_source(token, &mut self.shared, |_, _, _| Verdict::Close);
        }
    }

    /// The current owner of a slot whose deadline has passed.
    fn expired_owner(&mut self, now: Time) -> Option<Token> {
        let deadlines = self.shared.deadlines.as_mut()?;
        loop {
            let slot = naive::expired(deadlines, now)?;
            let mut tokens = self.reactor.sources().map(|(token, _)| token);
            if let Some(token) = tokens.find(|token| token.key as usize == slot) {
                return Some(token);
            }
        }
    }
}
