//! Tests: the real loop, conductor and clients in virtual time, over scripted streams.
//!
//! The script's other end is a server of a few lines, which a test can silence, slow down and
//! make take its bytes one by one. Nothing here waits, and no clock is read.

use super::caller::Caller;
use super::conductor::Conductor;
use super::connect::Connecting;
use super::plan::{Length, Plan, tests::plan};
use super::udp_caller::Datagrams;
use super::{Shared, Stage};
use crate::net::stream::Stream;
use crate::protocol::greeting;
use crate::reactor::{Births, Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use mio::Registry;
use mio::net::{TcpStream, UdpSocket};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Duration;

/// What lies between a client and its server.
#[derive(Debug)]
struct Wire {
    /// On its way to the server.
    asked: VecDeque<u8>,
    /// On its way to the client.
    answered: VecDeque<u8>,
    /// The line that the server reads, and its reply.
    line: Vec<u8>,
    reply: Vec<u8>,
    /// Bytes that a write takes, and a read returns.
    piece: usize,
    /// Whether the last write was cut short.
    full: bool,
    connected: bool,
}

impl Wire {
    fn new(piece: usize) -> Rc<RefCell<Self>> {
        const ROOM: usize = 1 << 16;
        let mut wire = Self {
            asked: VecDeque::with_capacity(ROOM),
            answered: VecDeque::with_capacity(ROOM),
            line: Vec::with_capacity(ROOM),
            reply: Vec::with_capacity(ROOM),
            piece,
            full: false,
            connected: true,
        };
        wire.answered.extend(b"Welcome!\n");
        Rc::new(RefCell::new(wire))
    }

    /// The server answers all that it was asked.
    fn serve(&mut self) {
        while let Some(byte) = self.asked.pop_front() {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            self.reply.clear();
            greeting::greet(&self.line, b"\n", &mut self.reply);
            self.answered.extend(&self.reply);
            self.line.clear();
        }
    }

    fn readiness(&mut self) -> Readiness {
        let mut readiness = Readiness::empty();
        if !self.answered.is_empty() {
            readiness |= Readiness::READABLE;
        }
        if std::mem::take(&mut self.full) {
            readiness |= Readiness::WRITABLE;
        }
        readiness
    }
}

/// The client's end.
#[derive(Debug)]
struct End(Rc<RefCell<Wire>>);

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.answered.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = wire.piece.min(buffer.len());
        wire.answered.read(&mut buffer[..length])
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut wire = self.0.borrow_mut();
        if wire.full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = wire.piece.min(bytes.len());
        wire.full = length < bytes.len();
        wire.asked.extend(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for End {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connecting for End {
    fn is_connected(&self) -> io::Result<bool> {
        Ok(self.0.borrow().connected)
    }
}

/// The load's sources, their sockets scripted.
#[derive(Debug)]
enum LoadSource {
    Caller(Caller<End>),
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
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.expire(cx),
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Shared) {}
}

impl From<Caller<TcpStream>> for LoadSource {
    fn from(_caller: Caller<TcpStream>) -> Self {
        unreachable!("all clients are here from the start")
    }
}

impl From<Datagrams<UdpSocket>> for LoadSource {
    fn from(_client: Datagrams<UdpSocket>) -> Self {
        unreachable!("the script is TCP's")
    }
}

/// A run, a millisecond at a time.
struct Run {
    reactor: Reactor<LoadSource>,
    shared: Shared,
    conductor: Token,
    wires: Vec<(Token, Rc<RefCell<Wire>>)>,
    marks: Vec<Mark>,
    now: Time,
}

impl Run {
    fn new(plan: Plan, piece: usize) -> Self {
        let clients = plan.clients;
        let mut shared = Shared::new(plan);
        let mut reactor = Reactor::simulated().expect("a descriptor");
        let conductor = LoadSource::Conductor(Conductor::new(&shared, Time::ZERO));
        let conductor = reactor
            .add(conductor, Readiness::empty())
            .expect("no socket");
        let mut wires = Vec::new();
        for _ in 0..clients {
            let wire = Wire::new(piece);
            let caller = Caller::new(End(Rc::clone(&wire)), Time::ZERO);
            shared.counters.note_launched();
            let token = reactor
                .add(LoadSource::Caller(caller), Readiness::WRITABLE)
                .expect("no socket");
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

    /// One millisecond; the server answers unless it is `silent`.
    fn step(&mut self, silent: bool) {
        self.reactor.with_source(
            self.conductor,
            &mut self.shared,
            |member, cx, births| match member {
                LoadSource::Conductor(conductor) => conductor.conduct(cx, births),
                LoadSource::Caller(_) => Verdict::Hold,
            },
        );
        for token in self.shared.wake.drain(..) {
            self.reactor.wake(token);
        }
        for (token, wire) in &self.wires {
            let mut wire = wire.borrow_mut();
            if !silent {
                wire.serve();
            }
            let readiness = wire.readiness();
            if !readiness.is_empty() {
                self.marks.push((*token, readiness));
            }
        }
        self.now = self.now.after(Duration::from_millis(1));
        let marks = self.marks.drain(..);
        self.reactor.step(self.now, marks, &mut self.shared);
    }

    /// Steps until the run is over; the server is silent in the given milliseconds.
    fn finish(&mut self, silent: std::ops::Range<u64>) -> &Shared {
        for millisecond in 0..100_000 {
            if self.shared.stage == Stage::Over {
                return &self.shared;
            }
            self.step(silent.contains(&millisecond));
        }
        panic!("the run does not end: {:?}", self.shared.stage);
    }
}

fn lines(clients: u32, pipeline: u32) -> Plan {
    Plan {
        clients,
        active: clients,
        pipeline,
        ..plan()
    }
}

#[test]
fn every_reply_is_found_however_it_is_cut() {
    for piece in [1, 2, 7, 15, 16, 17, 1_000] {
        for pipeline in [1, 5] {
            let plan = Plan {
                length: Length::Messages(200),
                ..lines(3, pipeline)
            };
            let mut run = Run::new(plan, piece);
            let counters = &run.finish(0..0).counters;
            assert_eq!(
                (counters.greeted, counters.answered_once),
                (3, 3),
                "{piece} {pipeline}"
            );
            assert_eq!(
                (counters.sent, counters.answered),
                (200, 200),
                "{piece} {pipeline}"
            );
            assert_eq!((counters.in_flight, counters.all_lost()), (0, 0));
            assert_eq!(counters.traffic.bytes_out, 200 * 8);
        }
    }
}

#[test]
fn a_message_counts_from_when_it_was_due_however_late_it_was_sent() {
    let plan = Plan {
        rate: NonZeroU64::new(1_000),
        length: Length::Time(Duration::from_secs(4)),
        ..lines(10, 1)
    };
    let world_of = |plan: Plan| {
        let mut run = Run::new(plan, 1_000);
        run.finish(1_000..3_000);
        run.shared.counters
    };
    let open = world_of(plan.clone());
    assert_eq!((open.sent, open.answered), (4_000, 4_000));
    // Half of all fell into the stall: nine of ten waited at most 0.8 of it, and for the queue.
    let p90 = open.latency.quantile(0.9).expect("4,000 samples");
    assert!(
        p90.abs_diff(Duration::from_millis(1_600)) < Duration::from_millis(60),
        "{p90:?}"
    );
    assert!(
        open.latency
            .max()
            .is_some_and(|max| max >= Duration::from_secs(2))
    );
    // The same stall, asked politely: only those in flight have felt it.
    let closed = world_of(Plan { rate: None, ..plan });
    let p99 = closed.latency.quantile(0.99).expect("many samples");
    assert!(p99 <= Duration::from_millis(3), "{p99:?}");
    assert!(
        closed
            .latency
            .max()
            .is_some_and(|max| max >= Duration::from_secs(2))
    );
}

#[test]
fn a_server_that_falls_silent_loses_its_clients_and_their_messages() {
    let plan = Plan {
        rate: NonZeroU64::new(100),
        timeout: Duration::from_millis(500),
        length: Length::Time(Duration::from_secs(2)),
        ..lines(2, 1)
    };
    let mut run = Run::new(plan, 1_000);
    let counters = &run.finish(1_000..100_000).counters;
    assert_eq!(
        counters.lost[super::counters::LossCause::TimedOut as usize],
        2
    );
    // One in flight each, and those that were due while it was awaited.
    assert_eq!(counters.sent - counters.answered, 2);
    assert!(
        (45..=55).contains(&counters.unanswered),
        "{}",
        counters.unanswered
    );
    assert_eq!(
        counters.latency.len(),
        counters.answered + counters.unanswered
    );
    assert_eq!((counters.in_flight, counters.open), (0, 0));
}

#[test]
fn a_connection_that_does_not_come_about_is_given_up() {
    let plan = Plan {
        timeout: Duration::from_millis(500),
        ..lines(2, 1)
    };
    let mut run = Run::new(plan, 1_000);
    run.wires[1].1.borrow_mut().connected = false;
    let counters = &run.finish(0..0).counters;
    assert_eq!(
        (counters.connected, counters.greeted, counters.peak),
        (1, 1, 1)
    );
    assert_eq!(
        counters.lost[super::counters::LossCause::TimedOut as usize],
        1
    );
    assert!(counters.answered > 0);
}

#[test]
fn a_message_allocates_nothing() {
    let mut run = Run::new(
        Plan {
            length: Length::Time(Duration::from_secs(3_600)),
            ..lines(50, 1)
        },
        1_000,
    );
    // Until every list has had its longest, and short of the line that each second adds.
    for _ in 0..1_100 {
        run.step(false);
    }
    let before = run.shared.counters.answered;
    let allocated = allocation_counter::measure(|| {
        for _ in 0..800 {
            run.step(false);
        }
    });
    assert!(run.shared.counters.answered - before > 10_000);
    assert_eq!(allocated.count_total, 0);
}
