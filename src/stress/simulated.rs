//! Tests: the real reactor, conductor and clients in virtual time, with scripted sockets.
//!
//! The other end of each socket is a server of a few lines, which a test can silence, slow down
//! or make lossy. Nothing here waits, and no clock is read.

mod contract;
mod ends;
mod judged;
mod pauses;
mod tcp;
mod udp;

use super::caller::Caller;
use super::conductor::Conductor;
use super::plan::Plan;
use super::udp_caller::UdpCaller;
use super::{Shared, Stage};
use crate::reactor::{Births, Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use mio::Registry;
use mio::net::{TcpStream, UdpSocket};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The sources of the load, with scripted sockets.
#[derive(Debug)]
enum LoadSource {
    Caller(Caller<tcp::Socket>),
    UdpCaller(UdpCaller<udp::Socket>),
    Conductor(Conductor),
}

impl Source for LoadSource {
    type Shared = Shared;

    fn register(&mut self, _registry: &Registry, _token: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Shared>, _: &mut Births<Self>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.drive(cx),
            Self::UdpCaller(caller) => caller.drive(cx),
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.expire(cx),
            Self::UdpCaller(caller) => caller.drive(cx),
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Shared) {}
}

impl From<Caller<TcpStream>> for LoadSource {
    fn from(_: Caller<TcpStream>) -> Self {
        unreachable!("all clients exist from the start")
    }
}

impl From<UdpCaller<UdpSocket>> for LoadSource {
    fn from(_: UdpCaller<UdpSocket>) -> Self {
        unreachable!("all clients exist from the start")
    }
}

/// When the poll reports an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BackEnd {
    /// epoll and kqueue: whenever there is something new.
    #[default]
    EveryEdge,
    /// mio's back end on poll(2): what a socket is ready for, once, and again only after a call that
    /// returned `WouldBlock` (pitfall 25).
    AfterWouldBlock {
        /// The directions that are not reported again before that.
        reported: Readiness,
    },
}

impl BackEnd {
    const AFTER_WOULD_BLOCK: Self = Self::AfterWouldBlock {
        reported: Readiness::empty(),
    };

    /// The event of a socket that is ready for `ready`; empty if there is none.
    fn report(&mut self, ready: Readiness) -> Readiness {
        let Self::AfterWouldBlock { reported } = self else {
            return ready;
        };
        let event = ready & !*reported;
        *reported |= event;
        event
    }

    /// The error of a call that would block.
    fn would_block(&mut self) -> io::Error {
        if let Self::AfterWouldBlock { reported } = self {
            *reported = Readiness::empty();
        }
        io::ErrorKind::WouldBlock.into()
    }
}

/// What lies between a client and its server, and the server.
trait Wire {
    /// The server handles what it has received by `now`.
    fn serve(&mut self, now: Time);

    /// The events for the client at `now`.
    fn readiness(&mut self, now: Time) -> Readiness;
}

/// A run, one millisecond per step.
struct Run<W> {
    reactor: Reactor<LoadSource>,
    shared: Shared,
    conductor: Token,
    wires: Vec<(Token, Rc<RefCell<W>>)>,
    marks: Vec<Mark>,
    now: Time,
}

impl<W: Wire> Run<W> {
    fn new(plan: Plan, mut connect: impl FnMut() -> (LoadSource, Rc<RefCell<W>>)) -> Self {
        let clients = plan.clients;
        let mut shared = Shared::new(plan);
        let mut reactor = Reactor::simulated().expect("a descriptor");
        let conductor = LoadSource::Conductor(Conductor::new(&shared, Time::ZERO));
        let conductor = reactor
            .add(conductor, Readiness::empty())
            .expect("no socket");
        let mut wires = Vec::new();
        for _ in 0..clients {
            let (client, wire) = connect();
            shared.counters.note_started();
            let token = reactor.add(client, Readiness::WRITABLE).expect("no socket");
            wires.push((token, wire));
        }
        Self {
            reactor,
            shared,
            conductor,
            marks: Vec::with_capacity(wires.len()),
            wires,
            now: Time::ZERO,
        }
    }

    /// One millisecond, in which the server does nothing if it is `silent`.
    fn step(&mut self, silent: bool) {
        self.conduct();
        if self.shared.stage == Stage::Over {
            return;
        }
        self.exchange(silent);
        self.now = self.now.after(Duration::from_millis(1));
        let marks = self.marks.drain(..);
        self.reactor.step(self.now, marks, &mut self.shared);
    }

    /// The load generator is stopped for so long, the server is not. After it the poll reports what
    /// has happened in batches, as the real one does, in an order of its own.
    fn pause(&mut self, length: Duration) {
        const BATCH_EVENTS: usize = 1_024;
        self.exchange(false);
        self.marks.reverse();
        self.now = self.now.after(length);
        while !self.marks.is_empty() && self.shared.stage != Stage::Over {
            let batch = BATCH_EVENTS.min(self.marks.len());
            let marks = self.marks.drain(..batch);
            self.reactor.step(self.now, marks, &mut self.shared);
            self.conduct();
        }
    }

    fn conduct(&mut self) {
        let conductor = self.conductor;
        self.reactor.with_source(
            conductor,
            &mut self.shared,
            |source, cx, births| match source {
                LoadSource::Conductor(conductor) => conductor.conduct(cx, births),
                LoadSource::Caller(_) | LoadSource::UdpCaller(_) => Verdict::Hold,
            },
        );
    }

    /// The server handles what it was sent, unless it is `silent`; the events become marks.
    fn exchange(&mut self, silent: bool) {
        for (token, wire) in &self.wires {
            let mut wire = wire.borrow_mut();
            if !silent {
                wire.serve(self.now);
            }
            let readiness = wire.readiness(self.now);
            if !readiness.is_empty() {
                self.marks.push((*token, readiness));
            }
        }
    }

    /// Steps until the run is over, the server being silent in the given milliseconds.
    fn finish(&mut self, silent: std::ops::Range<u64>) {
        for millisecond in 0..100_000 {
            if self.shared.stage == Stage::Over {
                return self.close_all();
            }
            self.step(silent.contains(&millisecond));
        }
        panic!("the run does not end: {:?}", self.shared.stage);
    }

    /// Ends the run now.
    fn close_all(&mut self) {
        self.reactor
            .for_each(&mut self.shared, |source, cx| match source {
                LoadSource::Caller(caller) => caller.finish(cx),
                LoadSource::UdpCaller(caller) => caller.finish(cx),
                LoadSource::Conductor(_) => Verdict::Close,
            });
    }
}
