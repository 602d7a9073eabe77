//! What an observer may make the loop wait for: nothing. The real observer over a scripted stream,
//! in virtual time.

use helloop::net::stream::Stream;
use helloop::observe::observer::{Observer, SNAPSHOT_PERIOD};
use helloop::observe::requests::{Host, ObserverRequests, Question};
use helloop::reactor::{Context, Reactor, Readiness, Source, Time, Token, Verdict};
use mio::Registry;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

/// A stream that is given its input and takes so many bytes of output.
#[derive(Clone, Debug, Default)]
struct Script {
    incoming: Rc<RefCell<VecDeque<u8>>>,
    taken: Rc<RefCell<Vec<u8>>>,
    room: Rc<RefCell<usize>>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.incoming.borrow_mut().read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(*self.room.borrow());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *self.room.borrow_mut() -= count;
        self.taken.borrow_mut().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Script {
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Default)]
struct World {
    board: ObserverRequests,
}

impl Host for World {
    fn board(&mut self) -> &mut ObserverRequests {
        &mut self.board
    }

    fn is_serving(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct Only(Observer<Script>);

impl Source for Only {
    type Shared = World;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        self.0.drive(cx)
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        self.0.expire(cx)
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut World) {}
}

struct Stage {
    reactor: Reactor<Only>,
    shared: World,
    token: Token,
    script: Script,
    now: Time,
}

impl Stage {
    fn new(input: &[u8], room: usize) -> Self {
        let script = Script::default();
        script.incoming.borrow_mut().extend(input);
        *script.room.borrow_mut() = room;
        let mut shared = World::default();
        let mut reactor = Reactor::simulated().unwrap();
        let observer = Observer::new(script.clone(), false, &mut shared.board);
        let both = Readiness::READABLE | Readiness::WRITABLE;
        let token = reactor.add(Only(observer), both).unwrap();
        Self {
            reactor,
            shared,
            token,
            script,
            now: Time::ZERO,
        }
    }

    fn pass(&mut self, duration: Duration) {
        self.now = self.now.after(duration);
        self.reactor.step(self.now, [], &mut self.shared);
    }

    fn taken(&self) -> String {
        String::from_utf8(self.script.taken.borrow().clone()).unwrap()
    }

    /// The program answers, as it does between turns; whether it was asked.
    fn answer(&mut self, body: &[u8]) -> bool {
        let asked = self.shared.board.is_asked();
        for token in self
            .shared
            .board
            .answer_all(Question::Snapshot, body.into())
        {
            self.reactor.wake(token, Readiness::empty());
        }
        asked
    }
}

#[test]
fn a_request_that_takes_too_long_is_told_and_an_idle_connection_ends() {
    let mut slow = Stage::new(b"GET / HTTP/1.1\r\nHo", 10_000);
    slow.pass(Duration::ZERO);
    slow.pass(Duration::from_secs(9));
    assert_eq!(slow.taken(), "");
    slow.pass(Duration::from_secs(1));
    assert!(
        slow.taken().starts_with("HTTP/1.1 408 "),
        "{}",
        slow.taken()
    );
    slow.pass(Duration::from_secs(2));
    assert!(slow.reactor.is_empty() && slow.shared.board.sources == 0);
    let mut idle = Stage::new(b"", 10_000);
    idle.pass(Duration::ZERO);
    idle.pass(Duration::from_secs(11));
    assert!(idle.reactor.is_empty() && idle.taken().is_empty());
}

#[test]
fn an_observer_that_does_not_read_misses_snapshots_and_keeps_one() {
    let mut stage = Stage::new(b"GET /events HTTP/1.0\r\n\r\n", 1_000);
    stage.pass(Duration::ZERO);
    assert!(stage.answer(b"data: first\n\n"));
    stage.pass(Duration::ZERO);
    assert!(stage.taken().ends_with("data: first\n\n"));
    *stage.script.room.borrow_mut() = 5;
    stage.pass(SNAPSHOT_PERIOD);
    assert!(stage.answer(b"data: second\n\n"));
    stage.pass(Duration::ZERO);
    // Its socket is full: for as long as it stays so, nothing is asked for it.
    for _ in 0..100 {
        stage.pass(SNAPSHOT_PERIOD);
        assert!(!stage.answer(b"data: missed\n\n"));
    }
    *stage.script.room.borrow_mut() = 1_000;
    stage.reactor.wake(stage.token, Readiness::WRITABLE);
    stage.pass(SNAPSHOT_PERIOD);
    assert!(stage.answer(b"data: last\n\n"));
    stage.pass(Duration::ZERO);
    assert!(
        stage
            .taken()
            .ends_with("data: first\n\ndata: second\n\ndata: last\n\n")
    );
    assert_eq!(
        (stage.shared.board.streams, stage.shared.board.observers),
        (1, 1)
    );
}

#[test]
fn an_answer_that_nobody_takes_ends_its_connection() {
    let mut stage = Stage::new(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 100);
    stage.pass(Duration::ZERO);
    assert_eq!(stage.taken().len(), 100);
    stage.pass(Duration::from_secs(11));
    assert!(stage.reactor.is_empty() && stage.shared.board.observers == 0);
}
