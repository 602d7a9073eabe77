//! The loop with sources that need no socket: what it counts, how long it waits, and which sources
//! it calls. In virtual time, except for what concerns the clock and real events.

#[path = "reactor/contract.rs"]
mod contract;
#[path = "reactor/queues.rs"]
mod queues;
#[path = "reactor/real.rs"]
mod real;

use helloop::reactor::{
    Births, Context, LoopStats, Mark, Reactor, Readiness, Source, Time, Token, Verdict,
};
use mio::Registry;
use std::io;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The calls that sources got: which, for which source, and when by the clock.
type Log = Vec<(Call, Token, Time)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Driven,
    Expired,
    Unregistered,
}

use Call::{Driven, Expired, Unregistered};

type Drive = dyn FnMut(&mut Context<'_, Log>, &mut Births<TestSource>) -> Verdict;

/// A source that logs its calls, and does what the test says when it is driven.
struct TestSource {
    drive: Box<Drive>,
    registers: bool,
    /// The token that it was last to be registered under.
    token: Option<Token>,
}

impl TestSource {
    fn new(drive: impl FnMut(&mut Context<'_, Log>) -> Verdict + 'static) -> Self {
        let mut drive = drive;
        Self::with_births(move |cx, _| drive(cx))
    }

    fn with_births(
        drive: impl FnMut(&mut Context<'_, Log>, &mut Births<Self>) -> Verdict + 'static,
    ) -> Self {
        Self {
            drive: Box::new(drive),
            registers: true,
            token: None,
        }
    }
}

impl Source for TestSource {
    type Shared = Log;

    fn register(&mut self, _: &Registry, token: Token) -> io::Result<()> {
        self.token = Some(token);
        if self.registers {
            Ok(())
        } else {
            Err(io::ErrorKind::OutOfMemory.into())
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Log>, births: &mut Births<Self>) -> Verdict {
        let call = (Driven, cx.token, cx.clock_now());
        cx.shared.push(call);
        (self.drive)(cx, births)
    }

    fn expire(&mut self, cx: &mut Context<'_, Log>) -> Verdict {
        let call = (Expired, cx.token, cx.clock_now());
        cx.shared.push(call);
        Verdict::Hold
    }

    fn unregistered(&mut self, _: &io::Error, turn_start: Time, log: &mut Log) {
        let token = self.token.expect("register was called");
        log.push((Unregistered, token, turn_start));
    }
}

/// A loop in virtual time.
struct Loop {
    reactor: Reactor<TestSource>,
    now: Time,
    log: Log,
}

impl Loop {
    fn new() -> Self {
        Self {
            reactor: Reactor::simulated().unwrap(),
            now: Time::ZERO,
            log: Log::new(),
        }
    }

    /// Adds a source that is not ready.
    fn add(&mut self, drive: impl FnMut(&mut Context<'_, Log>) -> Verdict + 'static) -> Token {
        self.add_ready(drive, Readiness::empty())
    }

    fn add_ready(
        &mut self,
        drive: impl FnMut(&mut Context<'_, Log>) -> Verdict + 'static,
        readiness: Readiness,
    ) -> Token {
        let source = TestSource::new(drive);
        self.reactor.add(source, readiness).unwrap()
    }

    /// One turn with these events. Returns the calls of sources.
    fn turn(&mut self, marks: &[Mark]) -> Vec<(Call, Token)> {
        let marks = marks.iter().copied();
        self.reactor.step(self.now, marks, &mut self.log);
        let calls = self.log.drain(..);
        calls.map(|(call, token, _)| (call, token)).collect()
    }

    fn poll_timeout(&mut self) -> Option<Duration> {
        self.reactor.poll_timeout(self.now)
    }
}

/// Parks, drained.
fn park(cx: &mut Context<'_, Log>) -> Verdict {
    cx.readiness.remove(Readiness::READABLE);
    Verdict::Park
}

fn hold(_: &mut Context<'_, Log>) -> Verdict {
    Verdict::Hold
}

#[test]
fn turns_events_and_calls_are_counted() {
    let mut test = Loop::new();
    let tokens = [(); 3].map(|()| test.add(park));
    let readable = |token| (token, Readiness::READABLE);
    assert_eq!(test.turn(&tokens.map(readable)).len(), 3);
    test.now = test.now.after(SECOND);
    assert_eq!(test.turn(&[readable(tokens[1])]), [(Driven, tokens[1])]);
    assert_eq!(test.reactor.now(), Time::ZERO.after(SECOND));
    let LoopStats {
        turns,
        events,
        most_events,
        calls,
        ..
    } = test.reactor.stats();
    assert_eq!((turns, events, most_events, calls), (2, 4, 3, 4));
}

#[test]
fn a_wait_lasts_until_the_next_deadline_or_not_at_all_while_there_is_work() {
    let mut test = Loop::new();
    assert_eq!(test.poll_timeout(), None, "no source");
    let busy = test.add_ready(|_| Verdict::Again, Readiness::READABLE);
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    test.turn(&[]);
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO), "Again");
    let Loop { reactor, log, .. } = &mut test;
    reactor.with_source(busy, log, |_, _, _| Verdict::Close);
    let timed = test.add_ready(
        |cx| {
            cx.set_deadline(SECOND);
            park(cx)
        },
        Readiness::READABLE,
    );
    assert_eq!(test.turn(&[]), [(Driven, timed)]);
    assert_eq!(test.poll_timeout(), Some(SECOND));
    test.reactor.skip_next_wait();
    assert_eq!(test.poll_timeout(), Some(Duration::ZERO));
    test.now = test.now.after(2 * SECOND);
    assert_eq!(test.turn(&[]), [(Expired, timed)]);
    assert_eq!(test.poll_timeout(), None, "the deadline has fired");
}
