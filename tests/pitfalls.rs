//! The pitfalls of the genre, one test each, named after it: each fails when its handling is
//! taken out. Scripted where the order of things matters, on the real server where the kernel's
//! part does.

#[path = "util/rig.rs"]
mod rig;
#[path = "util/script.rs"]
mod script;
#[macro_use]
mod util;

use helloop::greeting::Framing;
use helloop::reactor::{Readiness, Token};
use helloop::server::listener::{ACCEPTS_PER_TURN, REFUSALS_AT_ONCE};
use helloop::server::peer::{LINGER, MAX_PEER_BYTES, READS_PER_TURN};
use helloop::server::stats::{Cause, Drop};
use helloop::server::{Outcome, Settings, Stage};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rig::Rig;
use script::{Fault, Scripted};
use socket2::SockRef;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use util::{
    LIMIT, Server, Setup, ask, clients_at_most, connect, expect, expect_last, read_exactly,
    read_to_end,
};

fn lines() -> Settings {
    Settings {
        framing: Framing::Line,
        ..Settings::default()
    }
}

/// Data and the end of input share one edge, and there is no second one: a short read must not
/// end the work. Nor must a read that was put off be forgotten.
#[test]
fn p01_drain_or_remember_under_edge_triggering() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"Michael\nTracy", true);
    rig.settle();
    assert_eq!(
        wire.borrow().written,
        b"Welcome!\nHello, Michael!\nHello, Tracy!\n"
    );
    assert_eq!(rig.closed(Cause::EndOfInput), 1);

    // Remember: what could not be read while much was owed is read when there is room again,
    // although no edge says so.
    let wire = rig.client(Scripted::with_room(0));
    wire.borrow_mut().arrive(&b"\n".repeat(40_000), false);
    rig.settle();
    assert!(
        !wire.borrow().arrived.is_empty(),
        "the high-water mark holds"
    );
    wire.borrow_mut().make_room(usize::MAX / 2);
    rig.settle();
    assert_eq!(wire.borrow().written.len(), 9 + 40_000 * 9);
}

/// A source that stops because its budget is spent gets no second edge: it needs a place in the
/// loop's own list.
#[test]
fn p02_a_budget_under_edge_triggering_needs_a_list_of_ones_own() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(&[b'x'; 1_024 * 50], false);
    rig.step();
    let read_in_one_turn = wire.borrow().reads.len();
    assert_eq!(read_in_one_turn, READS_PER_TURN, "the budget holds");
    rig.settle();
    assert_eq!(wire.borrow().reads.len(), 50, "and nothing is forgotten");
}

/// The poll still speaks of a client that is gone while its slot is the next one's.
#[test]
fn p03_stale_events_after_a_slot_is_reused() {
    let mut rig = Rig::new(Settings::default());
    let first = rig.client(Scripted::roomy());
    rig.settle();
    let stale = first.borrow().token.unwrap();
    first.borrow_mut().break_off();
    rig.settle();
    assert_eq!(rig.closed(Cause::Reset), 1);
    let second = rig.client(Scripted::roomy());
    rig.settle();
    let current = second.borrow().token.unwrap();
    assert_eq!(current.key, stale.key, "the slot is used again");
    assert_ne!(current, stale);
    let before = rig.calls();
    let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED;
    rig.step_with(&[(stale, all)]);
    assert_eq!(rig.calls(), before, "a stale event reaches nobody");

    // Within one batch: the slot of a client that ends is not given away before the batch ends.
    let (listener, waiting) = rig.listener();
    let (stream, newcomer) = Scripted::roomy();
    waiting.borrow_mut().streams.push_back(stream);
    second.borrow_mut().break_off();
    rig.step_with(&[(listener, Readiness::READABLE), (current, all)]);
    rig.settle();
    let newcomer = newcomer.borrow();
    assert_ne!(newcomer.token.unwrap(), current);
    assert_eq!(newcomer.written, b"Welcome!");
    assert!(!newcomer.closed);
}

/// Without a descriptor to accept with: no spin, no exit, and no lost wake-up.
#[test]
fn p04_emfile_on_accept_does_not_spin_nor_exit_nor_lose_the_wake_up() {
    let server = Setup::new(&["--max-clients", "1000"])
        .descriptors(64)
        .start();
    let address = server.tcp_address();
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(address)).collect();
    // The server greets as many as it has descriptors for, in the order of their coming.
    let fits = greeted(&mut clients);
    assert!(
        (30..64).contains(&fits),
        "{fits} greeted with 64 descriptors"
    );

    // Starved: it tries again by a deadline, and does not spin.
    let turns = |server: &Server| figure(&server.counters(), "; turns ");
    let (before, started) = (turns(&server), Instant::now());
    std::thread::sleep(Duration::from_secs(2)); // a rate is measured, not an event awaited
    let rate = (turns(&server) - before) as f64 / started.elapsed().as_secs_f64();
    assert!(rate <= 40.0, "{rate} turns a second");

    // Ten leave, ten who wait are greeted, though nobody new comes.
    for stream in clients.drain(..10) {
        drop(stream);
    }
    for stream in &mut clients[fits - 10..fits] {
        expect(stream, b"Welcome!");
    }
    assert!(
        server
            .stderr()
            .wait_for("cannot accept")
            .contains("ulimit -n")
    );
    drop(clients);
    server.assert_serves();
    assert_eq!(server.stop().code, Some(0));
}

/// How many of the clients, from the first on, have been greeted, as soon as the next has not
/// been for a while.
fn greeted(clients: &mut [TcpStream]) -> usize {
    for (index, stream) in clients.iter_mut().enumerate() {
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let mut welcome = [0; 8];
        if stream.read_exact(&mut welcome).is_err() {
            for stream in clients.iter() {
                stream.set_read_timeout(Some(LIMIT)).unwrap();
            }
            return index;
        }
    }
    panic!("all were greeted: the limit did not hold");
}

/// The number behind `name` in a line of counters.
#[track_caller]
fn figure(counters: &str, name: &str) -> u64 {
    let (_, rest) = counters
        .split_once(name)
        .unwrap_or_else(|| panic!("no {name} in {counters}"));
    let digits = rest
        .split(|char: char| !char.is_ascii_digit())
        .next()
        .unwrap();
    digits.parse().unwrap()
}

/// The same with every error that accept has for it, and those that concern one connection only.
#[test]
fn p04_every_failure_of_accept_is_survived() {
    let mut rig = Rig::new(Settings::default());
    let (listener, waiting) = rig.listener();
    for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS] {
        let (stream, far_end) = Scripted::roomy();
        waiting.borrow_mut().streams.push_back(stream);
        waiting
            .borrow_mut()
            .errors
            .push_back(io::Error::from(errno));
        let calls = waiting.borrow().calls;
        rig.step_with(&[(listener, Readiness::READABLE)]);
        rig.settle();
        assert_eq!(
            waiting.borrow().calls,
            calls + 1,
            "{errno}: tried once, no spin"
        );
        assert_eq!(
            rig.server.world.starved.pop(),
            Some(listener),
            "{errno}: noted for when one leaves"
        );
        rig.pass(Duration::from_secs(1));
        rig.settle();
        assert_eq!(
            far_end.borrow().written,
            b"Welcome!",
            "{errno}: tried again by deadline"
        );
    }
    for errno in [Errno::ECONNABORTED, Errno::EINTR, Errno::EPROTO] {
        let (stream, far_end) = Scripted::roomy();
        waiting.borrow_mut().streams.push_back(stream);
        waiting
            .borrow_mut()
            .errors
            .push_back(io::Error::from(errno));
        rig.step_with(&[(listener, Readiness::READABLE)]);
        rig.settle();
        assert_eq!(
            far_end.borrow().written,
            b"Welcome!",
            "{errno}: on to the next"
        );
    }
    assert_eq!((rig.stats().starved, rig.stats().aborted), (4, 2));
}

/// A storm of connects and those who are connected are served side by side.
#[test]
fn p05_accept_must_not_starve_clients_nor_they_it() {
    let mut rig = Rig::new(Settings::default());
    let (listener, waiting) = rig.listener();
    let polite = rig.client(Scripted::roomy());
    let flood = rig.client(Scripted::roomy());
    rig.settle();
    flood.borrow_mut().arrive(&[b'x'; 1_024 * 1_000], false);
    waiting
        .borrow_mut()
        .streams
        .extend((0..10 * ACCEPTS_PER_TURN).map(|_| Scripted::roomy().0));
    polite.borrow_mut().arrive(b"Ada", false);
    rig.step_with(&[(listener, Readiness::READABLE)]);
    assert_eq!(
        polite.borrow().written,
        b"Welcome!Hello, Ada!",
        "answered in that turn"
    );
    assert_eq!(
        waiting.borrow().calls,
        ACCEPTS_PER_TURN as u64,
        "accepts are bounded"
    );
    assert!(
        flood.borrow().reads.len() <= READS_PER_TURN,
        "reads are bounded"
    );
    rig.step();
    assert_eq!(
        waiting.borrow().calls,
        2 * ACCEPTS_PER_TURN as u64,
        "and go on, flood or not"
    );
}

/// A socket takes a part, or nothing: the rest is sent when there is room, once and in order.
#[test]
fn p06_short_writes_and_would_block_on_write() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(0));
    wire.borrow_mut().arrive(b"Michael\nTracy\n", false);
    rig.settle();
    let wanted = b"Welcome!\nHello, Michael!\nHello, Tracy!\n";
    for count in 0..wanted.len() {
        assert_eq!(wire.borrow().written, wanted[..count]);
        wire.borrow_mut().make_room(1);
        rig.settle();
    }
    assert_eq!(wire.borrow().written, wanted);
    assert_eq!(rig.stats().buffered, 0);
    wire.borrow_mut().make_room(1_000);
    wire.borrow_mut()
        .faults
        .extend([None, Some(Fault::Short), Some(Fault::Blocked)]);
    wire.borrow_mut().arrive(b"Sarah\n", false);
    rig.settle();
    assert!(wire.borrow().written.ends_with(b"Hello, Sarah!\n"));
}

/// A client that never reads costs bounded memory, stalls only itself, and is given up.
#[test]
fn p07_a_reader_that_never_reads_costs_bounded_memory() {
    let mut rig = Rig::new(lines());
    let wire = rig.client(Scripted::with_room(0));
    let polite = rig.client(Scripted::roomy());
    for _ in 0..100 {
        wire.borrow_mut().arrive(&b"\n".repeat(20_000), false);
        rig.settle();
        assert!(rig.stats().buffered <= MAX_PEER_BYTES);
    }
    assert!(wire.borrow().arrived.len() > 1_900_000, "no more is read");
    polite.borrow_mut().arrive(b"Ada\n", false);
    rig.settle();
    assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
    // Some progress is enough to stay; none is not.
    rig.pass(Duration::from_secs(29));
    wire.borrow_mut().make_room(1);
    rig.settle();
    rig.pass(Duration::from_secs(29));
    rig.settle();
    assert_eq!(rig.closed(Cause::WriteTimeout), 0);
    rig.pass(Duration::from_secs(2));
    rig.settle();
    assert_eq!(rig.closed(Cause::WriteTimeout), 1);
    assert_eq!(rig.stats().buffered, 0);
}

/// A thousand of them: all together stay within `--max-buffered`, and the others are served.
#[test]
fn p07_a_thousand_readers_that_never_read_stay_within_the_cap() {
    const CAP: usize = 4 << 20;
    let mut rig = Rig::new(Settings {
        max_buffered: CAP,
        ..lines()
    });
    let polite = rig.client(Scripted::roomy());
    let silent: Vec<_> = (0..1_000)
        .map(|_| rig.client(Scripted::with_room(0)))
        .collect();
    for (index, wire) in silent.iter().enumerate() {
        wire.borrow_mut().arrive(&b"\n".repeat(10_000), false);
        rig.settle();
        assert!(
            rig.stats().buffered <= CAP,
            "{} bytes kept",
            rig.stats().buffered
        );
        if index % 100 == 0 {
            polite.borrow_mut().arrive(b"Ada\n", false);
            rig.settle();
            assert!(polite.borrow().written.ends_with(b"Hello, Ada!\n"));
            polite.borrow_mut().written.clear();
        }
    }
    assert!(rig.closed(Cause::BufferedTooMuch) > 800);
    // All at once: one is closed a turn, the largest, until the rest fits.
    let mut rig = Rig::new(Settings {
        max_buffered: CAP,
        ..lines()
    });
    let silent: Vec<_> = (0..1_000)
        .map(|_| rig.client(Scripted::with_room(0)))
        .collect();
    for (index, wire) in silent.iter().enumerate() {
        wire.borrow_mut()
            .arrive(&b"\n".repeat(1_000 + index), false);
    }
    for _ in 0..1_000 {
        let before = rig.closed(Cause::BufferedTooMuch);
        let largest = rig.peers().map(|(_, peer)| peer.buffered()).max();
        rig.step();
        assert!(
            rig.closed(Cause::BufferedTooMuch) <= before + 1,
            "one a turn"
        );
        if rig.closed(Cause::BufferedTooMuch) > before.max(1) {
            let left = rig.peers().map(|(_, peer)| peer.buffered()).max();
            assert!(left <= largest, "the largest first");
        }
    }
    assert!(rig.stats().buffered <= CAP);
    assert!(
        rig.closed(Cause::BufferedTooMuch) < 1_000,
        "and nobody without need"
    );
}

/// The client's end of input is not its end: what it is owed is sent.
#[test]
fn p08_half_close_fin_is_not_gone() {
    for flags in [
        &["--framing", "line"][..],
        &["--framing", "line", "--delay", "100ms"],
    ] {
        let server = Server::start(flags);
        let mut stream = server.connect();
        stream.write_all(b"Michael\nTracy\nSarah").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        expect_last(
            &mut stream,
            b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n",
        );
    }
}

/// HUP and ERR may come together with input and room: whoever closes on sight loses both.
#[test]
fn p09_hup_and_err_mean_ask_the_socket() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"Michael", false);
    let token = wire.borrow().token.unwrap();
    let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED;
    rig.step_with(&[(token, all)]);
    assert_eq!(wire.borrow().written, b"Welcome!Hello, Michael!");
    assert_eq!(
        rig.stats().open(),
        1,
        "the socket did not say that it is over"
    );
    wire.borrow_mut().break_off();
    rig.settle();
    assert_eq!(rig.closed(Cause::Reset), 1, "and then it said why");
}

/// The last bytes arrive, and then the end: never a reset, whatever was still on its way to us.
#[test]
fn p10_closing_with_unread_input_lingers() {
    let server = Server::start(&["--framing", "line", "--max-clients", "1"]);
    let rest = vec![b'x'; 500_000];
    let mut stream = server.connect();
    // Busy, with input that nobody reads, while the first client is still there.
    let mut refused = connect(server.tcp_address());
    refused.write_all(b"Tracy\n").unwrap();
    refused.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut refused, b"Busy: 1 of 1 clients connected\n");
    let mut writer = stream.try_clone().unwrap();
    let pusher = std::thread::spawn(move || {
        writer.write_all(b"Michael\nexit\n").unwrap();
        writer.write_all(&rest).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    expect_last(&mut stream, b"Hello, Michael!\n");
    pusher.join().unwrap();

    let mut stream = loop {
        let mut stream = connect(server.tcp_address());
        if read_exactly(&mut stream, 4) == b"Welc" {
            expect(&mut stream, b"ome!\n");
            break stream;
        }
    };
    let too_long = vec![b'x'; 300_000];
    stream.write_all(&too_long).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    expect_last(&mut stream, b"Error: line longer than 65536 bytes\n");
}

/// A client that stays after our end of output is not waited for for ever.
#[test]
fn p10_lingering_has_a_limit() {
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    wire.borrow_mut().arrive(b"exit", false);
    rig.settle();
    assert!(wire.borrow().shut);
    for _ in 0..10 {
        wire.borrow_mut().arrive(b"still here", false);
        rig.settle();
        assert_eq!(rig.stats().open(), 1);
    }
    rig.pass(LINGER);
    rig.settle();
    assert_eq!(rig.closed(Cause::Exit), 1);
}

/// Signals cut every wait short: the deadline stays where it was, and nobody is answered early.
#[test]
fn p11_eintr_is_retried_to_the_deadline() {
    let delay = Duration::from_millis(600);
    let server = Server::start(&["--delay", "600ms"]);
    let mut stream = server.connect();
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let sent = Instant::now();
    stream.write_all(b"Michael").unwrap();
    let mut reply = [0; 15];
    let mut signals = 0;
    // A signal every 20 ms: each interrupts the wait for the delay.
    while let Err(error) = stream.read_exact(&mut reply) {
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
        server.signal(Signal::SIGUSR1);
        signals += 1;
        assert!(sent.elapsed() < LIMIT, "signals put the deadline off");
    }
    assert!(sent.elapsed() >= delay, "answered early");
    assert!(signals > 5);
    assert_eq!(&reply, b"Hello, Michael!");

    // And within reads and writes.
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::roomy());
    wire.borrow_mut()
        .faults
        .extend([Some(Fault::Interrupted), None, Some(Fault::Interrupted)]);
    wire.borrow_mut().arrive(b"Ada", false);
    rig.settle();
    assert_eq!(wire.borrow().written, b"Welcome!Hello, Ada!");
}

/// A deadline costs no call, moves as often as it likes, and never fires once it is taken back.
#[test]
fn p12_timers_without_system_calls_and_a_cancelled_one_never_fires() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    for _ in 0..10 {
        rig.pass(Duration::from_secs(4));
        wire.borrow_mut().arrive(b"Ada", false);
        rig.settle();
    }
    assert_eq!(rig.stats().open(), 1, "each message puts it off");
    rig.pass(Duration::from_secs(5));
    rig.settle();
    assert_eq!(rig.closed(Cause::IdleTimeout), 1);

    // The write timeout is taken back when all is sent: it must not end an idle client later.
    let mut rig = Rig::new(Settings::default());
    let wire = rig.client(Scripted::with_room(0));
    rig.settle();
    wire.borrow_mut().make_room(100);
    rig.settle();
    rig.pass(Duration::from_secs(3_600));
    let before = rig.calls();
    rig.settle();
    assert_eq!(rig.calls(), before, "nobody is called");
    assert_eq!(rig.stats().open(), 1);
}

/// No datagram and no error ends the loop, and a full send buffer loses nothing.
#[test]
fn p14_udp_no_datagram_and_no_error_ends_the_loop() {
    let mut rig = Rig::new(Settings::default());
    let (token, post) = rig.datagrams();
    let from = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let name = |text: &str, port| Ok((text.as_bytes().to_vec(), from(port)));
    let ready = [(token, Readiness::READABLE | Readiness::WRITABLE)];
    post.borrow_mut().arrived.extend([
        Err(Errno::ECONNREFUSED.into()),
        name("Michael", 5_000),
        Err(Errno::EHOSTUNREACH.into()),
        Err(Errno::EINTR.into()),
        Err(Errno::ENOMEM.into()),
        name("", 5_001),
        name("Hello, Michael!", 5_002),
        name("Tracy", 53),
        name("Tracy", 0),
        Ok((vec![b'x'; 2_000], from(5_003))),
        name("exit", 5_004),
    ]);
    rig.step_with(&ready);
    rig.settle();
    let sent = std::mem::take(&mut post.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, Michael!".to_vec(), from(5_000)),
            (b"Hello, !".to_vec(), from(5_001)),
            (b"Hello, exit!".to_vec(), from(5_004)),
        ]
    );
    let dropped = |rig: &Rig, drop: Drop| rig.stats().dropped[drop as usize];
    assert_eq!(dropped(&rig, Drop::Greeting), 1);
    assert_eq!(dropped(&rig, Drop::LowPort), 2);
    assert_eq!(dropped(&rig, Drop::TooLong), 1);
    assert_eq!(rig.stats().datagram_errors, 3);

    // A hard error of sending costs that one reply; a full buffer costs none.
    post.borrow_mut()
        .arrived
        .extend([name("a", 5_000), name("b", 5_000), name("c", 5_000)]);
    post.borrow_mut().send_errors.extend([
        Errno::EMSGSIZE.into(),
        Errno::EINTR.into(),
        Errno::EAGAIN.into(),
    ]);
    rig.step_with(&ready);
    rig.settle();
    assert!(post.borrow().sent.is_empty(), "the buffer is full");
    rig.step_with(&[(token, Readiness::WRITABLE)]);
    rig.settle();
    let sent = std::mem::take(&mut post.borrow_mut().sent);
    assert_eq!(
        sent,
        [
            (b"Hello, b!".to_vec(), from(5_000)),
            (b"Hello, c!".to_vec(), from(5_000))
        ]
    );
    assert_eq!(dropped(&rig, Drop::Unsent), 1);

    // Errors without end are work like any other: bounded in a turn.
    let errors = (0..1_000).map(|_| Err(Errno::ECONNREFUSED.into()));
    post.borrow_mut().arrived.extend(errors);
    let before = post.borrow().receives;
    rig.step_with(&ready);
    assert!(post.borrow().receives - before <= 64);
}

/// The poll says what is not so: nobody is the worse for it.
#[test]
fn p15_spurious_wake_ups_do_no_harm() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(5)),
        ..Settings::default()
    });
    let (listener, _waiting) = rig.listener();
    let (datagrams, _post) = rig.datagrams();
    let wire = rig.client(Scripted::roomy());
    rig.settle();
    let token = wire.borrow().token.unwrap();
    let nobody = Token {
        key: 99,
        generation: 0,
    };
    let all = Readiness::READABLE | Readiness::WRITABLE | Readiness::CLOSED;
    for _ in 0..4 {
        rig.pass(Duration::from_secs(1));
        rig.step_with(&[
            (token, all),
            (listener, all),
            (datagrams, all),
            (nobody, all),
        ]);
        rig.settle();
    }
    assert_eq!(wire.borrow().written, b"Welcome!");
    assert_eq!((rig.stats().open(), rig.server.reactor.len()), (1, 3));
    rig.pass(Duration::from_secs(1));
    rig.settle();
    assert_eq!(
        rig.closed(Cause::IdleTimeout),
        1,
        "nor do they put the deadline off"
    );
}

/// More sockets are ready at once than one wait returns.
#[test]
fn p16_more_events_ready_than_one_batch_holds() {
    let clients = clients_at_most(2_500);
    let server = Server::start(&[]);
    let mut clients: Vec<TcpStream> = (0..clients).map(|_| server.connect()).collect();
    server.signal(Signal::SIGSTOP);
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.signal(Signal::SIGCONT);
    for stream in &mut clients {
        expect(stream, b"Hello, Ada!");
    }
    let counters = server.counters();
    let most = figure(&counters, " most-events ");
    assert!(most < clients.len() as u64 && most > 500, "{counters}");
}

/// SIGTERM: of a thousand clients with a message in flight, each gets its delayed reply.
#[test]
fn p17_graceful_drain_sends_what_is_owed_delayed_replies_too() {
    let server = Server::start(&["--delay", "500ms"]);
    let mut clients: Vec<TcpStream> = (0..clients_at_most(1_000))
        .map(|_| server.connect())
        .collect();
    let idle = clients.split_off(clients.len() - 10);
    for stream in &mut clients {
        stream.write_all(b"Ada").unwrap();
    }
    server.signal(Signal::SIGTERM);
    for mut stream in idle {
        expect_last(&mut stream, b"");
    }
    for stream in &mut clients {
        expect_last(stream, b"Hello, Ada!");
    }
    drop(clients);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Nobody who waits to be accepted is dropped by a drain, and nobody is read twice.
#[test]
fn p17_a_drain_accepts_what_waits_and_reads_everybody_once() {
    let mut rig = Rig::new(Settings::default());
    let (_, waiting) = rig.listener();
    let (stream, newcomer) = Scripted::roomy();
    rig.watch(&newcomer);
    newcomer.borrow_mut().arrive(b"Tracy", false);
    let talker = rig.client(Scripted::roomy());
    rig.settle();
    waiting.borrow_mut().streams.push_back(stream);
    talker.borrow_mut().arrive(b"Michael", false);
    rig.server.world.stage = Stage::Stopping;
    rig.settle();
    assert_eq!(newcomer.borrow().written, b"Welcome!Hello, Tracy!");
    assert_eq!(talker.borrow().written, b"Welcome!Hello, Michael!");
    talker.borrow_mut().arrive(b"Sarah", true);
    newcomer.borrow_mut().arrive(b"Sarah", true);
    rig.settle();
    assert_eq!(
        talker.borrow().written,
        b"Welcome!Hello, Michael!",
        "never again"
    );
    assert_eq!(rig.outcome, Some(Outcome::Drained));
}

/// Resets and broken pipes of some are nothing to the others.
#[test]
fn p18_one_clients_error_never_touches_another() {
    let server = Server::start(&[]);
    let mut polite: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
    for _ in 0..5 {
        for _ in 0..50 {
            let mut rude = server.connect();
            rude.write_all(b"Mallory").unwrap();
            SockRef::from(&rude)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(rude);
        }
        for stream in &mut polite {
            ask(stream, b"Ada", b"Hello, Ada!");
        }
    }
    let counters = server.counters();
    assert_eq!(figure(&counters, " clients ").max(50), 50);
    assert!(figure(&counters, "closed, reset: ") > 0, "{counters}");
}

/// A burst of connects fits into the backlog while the server is busy elsewhere.
#[test]
fn p19_a_listen_backlog_that_bursts_fit_into() {
    let server = Server::start(&[]);
    let address = server.tcp_address();
    server.signal(Signal::SIGSTOP);
    // With std's 128 the later ones would wait for as long as the server is stopped.
    let mut clients: Vec<TcpStream> = (0..clients_at_most(1_500))
        .map(|_| connect(address))
        .collect();
    server.signal(Signal::SIGCONT);
    for stream in &mut clients {
        expect(stream, b"Welcome!");
    }
}

/// At most sixteen refused clients linger at once; the listener waits, and then goes on.
#[test]
fn refusals_that_linger_do_not_eat_up_the_descriptors() {
    let mut rig = Rig::new(Settings {
        max_clients: 1,
        ..Settings::default()
    });
    let (listener, waiting) = rig.listener();
    let (streams, mut far_ends): (Vec<_>, Vec<_>) = (0..101).map(|_| Scripted::roomy()).unzip();
    waiting.borrow_mut().streams.extend(streams);
    rig.step_with(&[(listener, Readiness::READABLE)]);
    rig.settle();
    assert_eq!(
        (rig.stats().clients(), rig.stats().refusing()),
        (1, REFUSALS_AT_ONCE)
    );
    // One leaves, the next is told.
    for left in far_ends.drain(1..) {
        rig.watch(&left);
        left.borrow_mut().arrive(b"", true);
        rig.settle();
        assert_eq!(left.borrow().written, b"Busy: 1 of 1 clients connected\n");
        assert!(rig.stats().refusing() <= REFUSALS_AT_ONCE);
    }
    assert_eq!((rig.stats().refused, rig.stats().clients()), (100, 1));
}

/// The same on real sockets, many at once.
#[test]
fn refusals_at_once_are_bounded_and_all_are_told() {
    let server = Server::start(&["--max-clients", "10"]);
    let _clients: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
    let mut refused: Vec<TcpStream> = (0..100).map(|_| connect(server.tcp_address())).collect();
    for stream in &mut refused {
        let words = read_to_end(stream);
        assert_eq!(words, b"Busy: 10 of 10 clients connected\n");
        stream.shutdown(Shutdown::Write).unwrap();
    }
    let counters = server.counters();
    assert_eq!(figure(&counters, " refused "), 100, "{counters}");
    assert!(
        server
            .stderr()
            .wait_for("refused")
            .contains("--max-clients")
    );
}
