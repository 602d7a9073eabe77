//! The loop with its own clock, and with real events.

use crate::{Call, Log, SECOND, TestSource, park};
use helloop::reactor::{
    Births, Context, INTEREST, Reactor, Readiness, Source, Time, Token, Verdict,
};
use mio::Registry;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The bounds are wide enough for a busy machine.
#[test]
fn the_loop_waits_for_a_deadline_and_measures_its_longest_turn() {
    let mut reactor = Reactor::new().unwrap();
    let mut log = Log::new();
    let source = TestSource::new(|cx| {
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        cx.set_deadline(Duration::from_millis(30));
        park(cx)
    });
    reactor.add(source, Readiness::READABLE).unwrap();
    // The time before the first turn does not count.
    let started = Instant::now();
    while started.elapsed() < SECOND / 2 {
        std::thread::sleep(started.elapsed().abs_diff(SECOND / 2));
    }
    reactor.turn(&mut log).unwrap();
    let first_turn_ended = Instant::now();
    // A deadline that is due is called once the poll has been asked again.
    while log.len() < 2 {
        reactor.turn(&mut log).unwrap();
    }
    assert!(first_turn_ended.elapsed() < 20 * SECOND);
    let [(Call::Driven, _, driven), (Call::Expired, _, expired)] = log[..] else {
        panic!("{log:?}");
    };
    // A deadline counts from the start of the turn, which was before the drive.
    assert!(
        expired.since(driven) >= Duration::from_millis(29),
        "{log:?}"
    );
    assert!(
        driven.since(Time::ZERO) >= SECOND / 2,
        "the clock started with the first turn"
    );
    let longest = reactor.stats().longest;
    assert!(longest >= Duration::from_millis(20), "{longest:?}");
    assert!(longest < SECOND / 2, "{longest:?}");
}

/// A pipe or a socket. It logs its readiness when it is driven.
enum RealSource {
    #[cfg(unix)]
    Pipe(mio::unix::pipe::Receiver),
    Socket(mio::net::TcpStream),
}

impl Source for RealSource {
    type Shared = Vec<Readiness>;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            #[cfg(unix)]
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

/// The readiness with which `source` is first driven.
fn first_readiness(source: RealSource) -> Readiness {
    let mut reactor = Reactor::new().unwrap();
    let mut log = Vec::new();
    reactor.add(source, Readiness::empty()).unwrap();
    while log.is_empty() {
        reactor.turn(&mut log).unwrap();
    }
    log[0]
}

/// Whatever event the system reports, a source that then reads finds EOF, and one that writes finds
/// the error.
#[test]
fn eof_is_readable_and_closed_and_an_error_is_writable_too() {
    const EOF: Readiness = Readiness::READABLE.union(Readiness::CLOSED);

    #[cfg(unix)]
    {
        let (sender, receiver) = mio::unix::pipe::new().unwrap();
        drop(sender);
        let readiness = first_readiness(RealSource::Pipe(receiver));
        assert!(readiness.contains(EOF), "{readiness:?}");
        // epoll reports HUP, which concerns both directions; kqueue reports EOF of the one.
        if cfg!(target_os = "linux") {
            assert!(readiness.contains(Readiness::WRITABLE), "{readiness:?}");
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (local, _) = listener.accept().unwrap();
    local.set_nonblocking(true).unwrap();
    remote.shutdown(Shutdown::Write).unwrap();
    // Until FIN has arrived.
    while local.peek(&mut [0]).is_err() {
        std::thread::yield_now();
    }
    let socket = RealSource::Socket(mio::net::TcpStream::from_std(local));
    let readiness = first_readiness(socket);
    assert!(readiness.contains(EOF), "{readiness:?}");
}
