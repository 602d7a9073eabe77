//! The loop alone, with sources that need no socket: what it counts, how long it waits, whom it
//! calls. In virtual time but for what concerns the clock itself.

use helloop::reactor::{
    Births, Context, INTEREST, LoopStats, Reactor, Readiness, Source, Time, Token, Verdict,
};
use mio::Registry;
use std::io;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// A source that does what the test tells it.
struct Actor(fn(&mut Context<'_, Log>) -> Verdict);

/// What happened: which source was driven or expired, and when by the clock.
type Log = Vec<(&'static str, Token, Time)>;

impl Source for Actor {
    type Shared = Log;

    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Log>, _: &mut Births<Self>) -> Verdict {
        let entry = ("driven", cx.token, cx.clock_now());
        cx.shared.push(entry);
        (self.0)(cx)
    }

    fn expire(&mut self, cx: &mut Context<'_, Log>) -> Verdict {
        let entry = ("expired", cx.token, cx.clock_now());
        cx.shared.push(entry);
        Verdict::Park
    }

    fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Self::Shared) {}
}

fn park(cx: &mut Context<'_, Log>) -> Verdict {
    cx.readiness.remove(Readiness::READABLE);
    Verdict::Park
}

fn again(_: &mut Context<'_, Log>) -> Verdict {
    Verdict::Again
}

fn ask_for_a_second(cx: &mut Context<'_, Log>) -> Verdict {
    cx.set_deadline(SECOND);
    park(cx)
}

#[test]
fn it_counts_turns_events_and_calls() {
    let mut reactor = Reactor::simulated().unwrap();
    let mut shared = Vec::new();
    let tokens = [(); 3].map(|()| reactor.add(Actor(park), Readiness::empty()).unwrap());
    let event = |token| (token, Readiness::READABLE);
    reactor.step(Time::ZERO, tokens.map(event), &mut shared);
    reactor.step(Time::ZERO.after(SECOND), [event(tokens[1])], &mut shared);
    assert_eq!(reactor.now(), Time::ZERO.after(SECOND));
    let LoopStats {
        turns,
        events,
        most_events,
        calls,
        ..
    } = reactor.stats();
    assert_eq!((turns, events, most_events, calls), (2, 4, 3, 4));
    assert_eq!(shared.len(), 4);
}

#[test]
fn it_waits_as_long_as_nobody_has_anything_to_do() {
    let mut reactor = Reactor::simulated().unwrap();
    let mut shared = Vec::new();
    let readable = Readiness::READABLE;
    assert_eq!(
        reactor.poll_timeout(Time::ZERO),
        None,
        "nobody will ever come"
    );
    let busy = reactor.add(Actor(again), readable).unwrap();
    assert_eq!(reactor.poll_timeout(Time::ZERO), Some(Duration::ZERO));
    reactor.step(Time::ZERO, [], &mut shared);
    assert_eq!(
        reactor.poll_timeout(Time::ZERO),
        Some(Duration::ZERO),
        "again"
    );
    reactor.with_source(busy, &mut shared, |_, _, _| Verdict::Close);
    reactor.add(Actor(ask_for_a_second), readable).unwrap();
    reactor.step(Time::ZERO, [], &mut shared);
    reactor.step(Time::ZERO, [], &mut shared);
    assert_eq!(reactor.poll_timeout(Time::ZERO), Some(SECOND));
    reactor.skip_next_wait();
    assert_eq!(reactor.poll_timeout(Time::ZERO), Some(Duration::ZERO));
    let late = Time::ZERO.after(2 * SECOND);
    reactor.step(late, [], &mut shared);
    assert_eq!(shared.last().unwrap().0, "expired");
    assert_eq!(
        reactor.poll_timeout(late),
        None,
        "once, and not in a hurry any more"
    );
}

#[test]
fn a_visit_calls_everybody_and_whoever_closes_is_gone() {
    let mut reactor = Reactor::simulated().unwrap();
    let mut shared = Vec::new();
    for _ in 0..3 {
        reactor.add(Actor(park), Readiness::empty()).unwrap();
    }
    let mut visited = 0;
    reactor.for_each(&mut shared, |_, cx| {
        visited += 1;
        match cx.token.key {
            1 => Verdict::Close,
            _ => Verdict::Hold,
        }
    });
    assert_eq!((visited, reactor.len()), (3, 2));
    let keys = reactor.sources().map(|(token, _)| token.key);
    assert_eq!(keys.collect::<Vec<_>>(), [0, 2]);
    let slots: Vec<_> = reactor
        .slots()
        .map(|(token, source)| (token.key, token.generation, source.is_some()))
        .collect();
    assert_eq!(slots, [(0, 0, true), (1, 1, false), (2, 0, true)]);
}

/// The loop with its own clock. Bounds are as wide as a busy machine may need.
#[test]
fn by_the_clock_a_deadline_is_waited_for_and_the_longest_turn_is_known() {
    fn work_for_a_while(cx: &mut Context<'_, Log>) -> Verdict {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        cx.set_deadline(Duration::from_millis(30));
        park(cx)
    }
    let mut reactor = Reactor::new().unwrap();
    let mut shared = Vec::new();
    reactor
        .add(Actor(work_for_a_while), Readiness::READABLE)
        .unwrap();
    // What passes before the first turn is nobody's work.
    let began = Instant::now();
    while began.elapsed() < SECOND / 2 {
        std::thread::sleep(began.elapsed().abs_diff(SECOND / 2));
    }
    reactor.turn(&mut shared).unwrap();
    let first = Instant::now();
    reactor.turn(&mut shared).unwrap();
    assert!(first.elapsed() < 20 * SECOND);
    let [("driven", _, driven), ("expired", _, expired)] = shared[..] else {
        panic!("{shared:?}");
    };
    // From the turn's beginning on, which came before the work.
    assert!(
        expired.since(driven) >= Duration::from_millis(29),
        "{shared:?}"
    );
    assert!(
        driven.since(Time::ZERO) >= SECOND / 2,
        "the clock began with the loop"
    );
    let longest = reactor.stats().longest;
    assert!(longest >= Duration::from_millis(20), "{longest:?}");
    assert!(
        longest < SECOND / 2,
        "{longest:?}: the time before the first turn"
    );
}

/// Real events, of a pipe and a socket whose other ends go away: whatever the poll calls it, whoever
/// reads then finds the end, and whoever writes finds the error.
#[test]
fn an_end_is_readable_and_closed_and_a_failure_is_writable_too() {
    use mio::unix::pipe;
    use std::net::Shutdown;

    enum End {
        Pipe(pipe::Receiver),
        Socket(mio::net::UnixStream),
    }

    impl Source for End {
        type Shared = Vec<Readiness>;

        fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
            match self {
                Self::Pipe(pipe) => registry.register(pipe, token.into(), mio::Interest::READABLE),
                Self::Socket(socket) => registry.register(socket, token.into(), INTEREST),
            }
        }

        fn drive(&mut self, cx: &mut Context<'_, Vec<Readiness>>, _: &mut Births<Self>) -> Verdict {
            cx.shared.push(*cx.readiness);
            *cx.readiness = Readiness::empty();
            Verdict::Park
        }

        fn expire(&mut self, _: &mut Context<'_, Vec<Readiness>>) -> Verdict {
            Verdict::Park
        }

        fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Self::Shared) {}
    }

    let mut reactor = Reactor::new().unwrap();
    let mut shared = Vec::new();
    let (sender, receiver) = pipe::new().unwrap();
    reactor
        .add(End::Pipe(receiver), Readiness::empty())
        .unwrap();
    drop(sender);
    // The list holds who was added, with nothing to try: the event comes behind.
    while shared.is_empty() {
        reactor.turn(&mut shared).unwrap();
    }
    let hung_up = Readiness::READABLE | Readiness::CLOSED;
    assert!(shared[0].contains(hung_up), "{shared:?}");
    // epoll says of both directions what kqueue says of the one alone.
    if cfg!(target_os = "linux") {
        assert!(shared[0].contains(Readiness::WRITABLE), "{shared:?}");
    }

    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    let near = End::Socket(mio::net::UnixStream::from_std(near));
    reactor.add(near, Readiness::empty()).unwrap();
    shared.clear();
    while shared.is_empty() {
        reactor.turn(&mut shared).unwrap();
    }
    assert!(shared[0].contains(hung_up), "{shared:?}");
}
