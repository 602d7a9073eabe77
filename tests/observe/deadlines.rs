//! An observer that is slow or does not read is closed at its deadline, and gets no more than one
//! snapshot. The real observer over a scripted stream, in virtual time.

use helloop::net::Descriptor;
use helloop::net::stream::Stream;
use helloop::reactor::{Births, Context, Mark, Reactor, Readiness, Source, Time, Token, Verdict};
use helloop::testing::observe::{Observer, SNAPSHOT_PERIOD};
use helloop::testing::observe::{ObserverRequests, Question};
use mio::Registry;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

/// A stream with given input and room for a given number of output bytes.
#[derive(Clone, Debug, Default)]
struct ScriptedStream {
    incoming: Rc<RefCell<VecDeque<u8>>>,
    /// Whether EOF follows the input.
    is_ended: Rc<RefCell<bool>>,
    written: Rc<RefCell<Vec<u8>>>,
    room: Rc<RefCell<usize>>,
}

impl Read for ScriptedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(buffer)? {
            0 if !*self.is_ended.borrow() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for ScriptedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(*self.room.borrow());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *self.room.borrow_mut() -= count;
        self.written.borrow_mut().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Descriptor for ScriptedStream {
    fn descriptor(&self) -> usize {
        0 // there is no other
    }
}

impl Stream for ScriptedStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct OneObserver(Observer<ScriptedStream>);

impl Source for OneObserver {
    type Shared = ObserverRequests;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, ObserverRequests>, _: &mut Births<Self>) -> Verdict {
        self.0.drive(cx)
    }

    fn expire(&mut self, cx: &mut Context<'_, ObserverRequests>) -> Verdict {
        self.0.expire(cx)
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut ObserverRequests) {}
}

struct Simulation {
    reactor: Reactor<OneObserver>,
    requests: ObserverRequests,
    token: Token,
    stream: ScriptedStream,
    now: Time,
}

impl Simulation {
    fn new(input: &[u8], room: usize) -> Self {
        let stream = ScriptedStream::default();
        stream.incoming.borrow_mut().extend(input);
        *stream.room.borrow_mut() = room;
        let mut requests = ObserverRequests::default();
        let mut reactor = Reactor::simulated().unwrap();
        let observer = Observer::new(stream.clone(), &mut requests);
        let both = Readiness::READABLE | Readiness::WRITABLE;
        let token = reactor.add(OneObserver(observer), both).unwrap();
        Self {
            reactor,
            requests,
            token,
            stream,
            now: Time::ZERO,
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.pass_with(duration, []);
    }

    fn pass_with(&mut self, duration: Duration, marks: impl IntoIterator<Item = Mark>) {
        self.now = self.now.after(duration);
        self.reactor.step(self.now, marks, &mut self.requests);
    }

    fn written(&self) -> String {
        String::from_utf8(self.stream.written.borrow().clone()).unwrap()
    }

    /// Answers as the program does between turns. Returns whether anything was asked.
    fn answer(&mut self, body: &[u8]) -> bool {
        let is_asked = self.requests.is_asked();
        for token in self.requests.answer_all(Question::Snapshot, body.into()) {
            self.reactor.wake(token);
        }
        is_asked
    }
}

#[test]
fn a_slow_request_gets_408_and_an_idle_connection_is_closed() {
    let mut slow = Simulation::new(b"GET / HTTP/1.1\r\nHo", 10_000);
    slow.pass(Duration::ZERO);
    slow.pass(Duration::from_secs(9));
    assert_eq!(slow.written(), "");
    slow.pass(Duration::from_secs(1));
    assert!(
        slow.written().starts_with("HTTP/1.1 408 "),
        "{}",
        slow.written()
    );
    slow.pass(Duration::from_secs(2));
    assert!(slow.reactor.is_empty() && slow.requests.sources == 0);
    let mut idle = Simulation::new(b"", 10_000);
    idle.pass(Duration::ZERO);
    idle.pass(Duration::from_secs(11));
    assert!(idle.reactor.is_empty() && idle.written().is_empty());
}

#[test]
fn an_observer_that_does_not_read_misses_snapshots_and_buffers_one() {
    let mut simulation = Simulation::new(b"GET /events HTTP/1.0\r\n\r\n", 1_000);
    simulation.pass(Duration::ZERO);
    assert!(!simulation.answer(b"data: too early\n\n"));
    simulation.pass(SNAPSHOT_PERIOD);
    assert!(simulation.answer(b"data: first\n\n"));
    simulation.pass(Duration::ZERO);
    assert!(simulation.written().ends_with("data: first\n\n"));
    *simulation.stream.room.borrow_mut() = 5;
    simulation.pass(SNAPSHOT_PERIOD);
    assert!(simulation.answer(b"data: second\n\n"));
    simulation.pass(Duration::ZERO);
    // While its send buffer is full, no snapshot is requested for it.
    for _ in 0..99 {
        simulation.pass(SNAPSHOT_PERIOD);
        assert!(!simulation.answer(b"data: missed\n\n"));
    }
    *simulation.stream.room.borrow_mut() = 1_000;
    let has_room = (simulation.token, Readiness::WRITABLE);
    simulation.pass_with(SNAPSHOT_PERIOD, [has_room]);
    assert!(simulation.answer(b"data: last\n\n"));
    simulation.pass(Duration::ZERO);
    assert!(
        simulation
            .written()
            .ends_with("data: first\n\ndata: second\n\ndata: last\n\n")
    );
    assert_eq!(
        (simulation.requests.streams, simulation.requests.observers),
        (1, 1)
    );
}

#[test]
fn a_stream_that_takes_nothing_for_ten_seconds_is_closed() {
    let mut simulation = Simulation::new(b"GET /events HTTP/1.0\r\n\r\n", 500);
    simulation.pass(Duration::ZERO);
    simulation.pass(SNAPSHOT_PERIOD);
    // Each time that it takes a part, the ten seconds begin again.
    assert!(simulation.answer(&[b'x'; 2_000]));
    for _ in 0..3 {
        *simulation.stream.room.borrow_mut() = 1;
        let has_room = (simulation.token, Readiness::WRITABLE);
        simulation.pass_with(Duration::ZERO, [has_room]);
        for _ in 0..99 {
            simulation.pass(SNAPSHOT_PERIOD);
            assert!(!simulation.reactor.is_empty());
        }
    }
    simulation.pass(SNAPSHOT_PERIOD);
    assert!(simulation.reactor.is_empty());
    assert_eq!(
        (simulation.requests.streams, simulation.requests.sources),
        (0, 0)
    );
}

#[test]
fn a_stream_whose_client_has_ended_its_input_is_closed() {
    let mut simulation = Simulation::new(b"GET /events HTTP/1.0\r\n\r\n", 500);
    simulation.pass(Duration::ZERO);
    assert_eq!(simulation.requests.streams, 1);
    *simulation.stream.is_ended.borrow_mut() = true;
    let ended = Readiness::READABLE | Readiness::CLOSED;
    simulation.pass_with(Duration::ZERO, [(simulation.token, ended)]);
    assert!(simulation.reactor.is_empty() && simulation.requests.streams == 0);
}

#[test]
fn streams_that_began_at_different_times_ask_at_the_same_time() {
    let first_ask = |started: Duration| {
        let mut simulation = Simulation::new(b"GET /events HTTP/1.0\r\n\r\n", 500);
        simulation.pass(started);
        assert!(!simulation.answer(b""));
        let wait = simulation.reactor.poll_timeout(simulation.now).unwrap();
        simulation.pass(wait);
        assert!(simulation.answer(b"data: first\n\n"));
        simulation.now
    };
    let expected = Time::ZERO.after(SNAPSHOT_PERIOD);
    for started in [0, 1, 50, 99] {
        assert_eq!(first_ask(Duration::from_millis(started)), expected);
    }
    let next = first_ask(SNAPSHOT_PERIOD);
    assert_eq!(next, expected.after(SNAPSHOT_PERIOD));
}

#[test]
fn a_response_that_is_not_read_is_dropped_at_its_deadline() {
    let mut simulation = Simulation::new(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100);
    simulation.pass(Duration::ZERO);
    assert_eq!(simulation.written().len(), 100);
    simulation.pass(Duration::from_secs(11));
    assert!(simulation.reactor.is_empty() && simulation.requests.observers == 0);
}
