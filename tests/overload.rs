//! A late loop, and bounded turns, at full size on real sockets: pitfalls 20 and 23. The same in
//! virtual time is in `tests/pitfalls/overload.rs`.

// Signals suspend processes.
#![cfg(unix)]

mod util;

use helloop::net::bind::{self, Options};
use helloop::protocol::greeting::Framing;
use helloop::server::stats::{CloseCause, Stats};
use helloop::server::{Lifecycle, ObserveOptions, Server, Settings};
use nix::sys::signal::Signal;
use nix::time::ClockId;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use util::{Process, TIMEOUT, clients_within_descriptor_limit, expect, read_exactly};

/// The most CPU time that the loop may take from one wait to the next.
const MAX_TURN: Duration = Duration::from_millis(10);

const TRIES_PER_LOAD: usize = 3;

/// As many clients as are promised to be served.
const MANY_CLIENTS: u64 = 15_000;

const MAX_FLOOD_CLIENTS: usize = 1_500;
const FLOOD_LENGTH: Duration = Duration::from_secs(3);

/// One at a time: each takes all descriptors of the process, and its CPUs.
static ALONE: Mutex<()> = Mutex::new(());

/// What a test asks of the server's thread, between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    /// The machine pauses.
    Pause(Duration),
    /// Begin a drain.
    Drain,
    /// The drain's time is over.
    CutOff,
    /// Serve no longer.
    End,
}

/// What a test can see of the server, and what it asks of it.
#[derive(Debug)]
struct Control {
    address: SocketAddr,
    /// The server's counters after its last turn, and the commands that it has not taken.
    state: Mutex<(Stats, VecDeque<Command>)>,
    changed: Condvar,
}

impl Control {
    /// The server takes each command when it has nothing left to do, but a drain at once.
    fn order(&self, commands: &[Command]) {
        self.state.lock().unwrap().1.extend(commands);
        // An event: it ends the wait.
        drop(TcpStream::connect(self.address));
    }

    fn wait_until(&self, is_so: impl Fn(&Stats) -> bool) {
        let state = self.state.lock().unwrap();
        let is_not = |state: &mut (Stats, _)| !is_so(&state.0);
        let waited = self.changed.wait_timeout_while(state, TIMEOUT, is_not);
        let (state, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "{}", state.0);
    }
}

/// No turn of a server takes longer than it may while `load` runs.
///
/// The system charges a thread for interrupts and packets of others that it handles in between:
/// one turn of thousands may look three times as long as it is. A turn that is not bounded is too
/// long each time.
#[track_caller]
fn assert_turns_are_short(settings: &Settings, load: impl Fn(&Control)) {
    let mut longest = (0..TRIES_PER_LOAD).map(|_| longest_turn(settings.clone(), &load));
    assert!(longest.any(|longest| longest <= MAX_TURN));
}

/// The longest turn of a server in this process, by the CPU time of its thread, while `load` runs.
fn longest_turn(settings: Settings, load: impl FnOnce(&Control)) -> Duration {
    let _ = helloop::testing::raise_descriptor_limit();
    let options = Options {
        listen: vec!["127.0.0.1:0".to_owned()],
        udp: false,
        backlog: 4_096,
        reuse_port: false,
        keepalive: None,
    };
    let bound = bind::bind(&options).unwrap();
    let control = Control {
        address: bound[0].address,
        state: Mutex::default(),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        let (started, is_started) = mpsc::channel();
        let control = &control;
        let server = scope.spawn(move || {
            let mut server = Server::new(bound, settings, ObserveOptions::default()).unwrap();
            started.send(()).unwrap();
            let cpu = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
            let (mut longest, mut calls) = (Duration::ZERO, 0);
            loop {
                let (before, calls_before) = (cpu(), server.reactor.stats().calls);
                server.reactor.turn(&mut server.shared).unwrap();
                let outcome = server.between_turns();
                let (took, called) = (cpu() - before, server.reactor.stats().calls - calls_before);
                (longest, calls) = (longest, calls).max((took, called));
                let mut state = control.state.lock().unwrap();
                state.0 = server.shared.stats;
                control.changed.notify_all();
                if outcome.is_some() {
                    return (longest, calls);
                }
                // A load that never pauses leaves always something to do: a drain does not wait for it.
                let now = server.reactor.now();
                let is_busy = server.reactor.poll_timeout(now) == Some(Duration::ZERO);
                if is_busy && state.1.front() != Some(&Command::Drain) {
                    continue;
                }
                let command = state.1.pop_front();
                drop(state);
                match command {
                    None => continue,
                    Some(Command::Pause(time)) => thread::sleep(time),
                    Some(Command::Drain) => server.shared.lifecycle = Lifecycle::Stopping,
                    Some(Command::CutOff) => server.shared.lifecycle = Lifecycle::OutOfTime,
                    Some(Command::End) => return (longest, calls),
                }
                server.reactor.skip_next_wait();
            }
        });
        is_started.recv().unwrap();
        load(control);
        control.order(&[Command::End]);
        let (longest, calls) = server.join().unwrap();
        println!("longest turn: {longest:?} of CPU time, {calls} calls");
        longest
    })
}

/// Fifteen thousand clients in a process of their own, connected and welcomed.
fn fifteen_thousand(control: &Control, flags: &[&str]) -> Process {
    let mut command = util::helloop(&["stress", "--clients", "15000", "--duration", "60s", "--to"]);
    command.arg(control.address.to_string()).args(flags);
    let load = Process::start(command);
    control.wait_until(|stats| stats.clients() >= MANY_CLIENTS);
    load
}

#[test]
#[ignore = "takes 5,000 descriptors, and a pause of three seconds"]
fn five_thousand_clients_that_sent_during_a_pause_are_answered() {
    let _alone = ALONE.lock();
    let flags = ["--idle-timeout", "2s", "--write-timeout", "2s"];
    let server = util::Server::start(&flags);
    let mut clients: Vec<_> = (0..clients_within_descriptor_limit(5_000))
        .map(|_| server.connect())
        .collect();
    server.pause();
    for client in &mut clients {
        client.write_all(b"Ada").unwrap();
    }
    // The pause itself: longer than both timeouts.
    thread::sleep(Duration::from_secs(3));
    server.resume();
    for client in &mut clients {
        expect(client, b"Hello, Ada!");
    }
}

/// The load has timeouts too: replies that arrived while it paused are in time.
#[test]
#[ignore = "takes 5,000 descriptors, and a pause of three seconds"]
fn five_thousand_replies_that_arrived_during_a_pause_of_the_load_are_counted() {
    let _alone = ALONE.lock();
    let server = util::Server::start(&[]);
    let flags = ["--clients", "5000", "--duration", "2s", "--timeout", "2s"];
    let mut command = util::helloop(&["stress", "--to"]);
    command.arg(server.tcp_address().to_string()).args(flags);
    let load = Process::start(command);
    server.wait_for_messages(5_000);
    load.signal(Signal::SIGSTOP);
    // The pause itself: longer than the timeout.
    thread::sleep(Duration::from_secs(3));
    load.signal(Signal::SIGCONT);
    let report = load.wait().stdout;
    assert!(report.contains(", 0 lost"), "{report}");
}

/// Each flooding client sends as fast as the socket allows, and reads everything.
#[test]
#[ignore = "1,500 floods for three seconds"]
fn no_turn_is_long_beside_fifteen_hundred_floods_of_empty_lines() {
    let _alone = ALONE.lock();
    let settings = Settings {
        framing: Framing::Line,
        ..Settings::default()
    };
    assert_turns_are_short(&settings, |control| {
        let mut floods: Vec<_> = (0..clients_within_descriptor_limit(2 * MAX_FLOOD_CLIENTS) / 2)
            .map(|_| {
                let mut flood = TcpStream::connect(control.address).unwrap();
                assert_eq!(read_exactly(&mut flood, 9), b"Welcome!\n");
                flood.set_nonblocking(true).unwrap();
                flood
            })
            .collect();
        let (lines, mut replies) = ([b'\n'; 4_095], vec![0; 64 * 1_024]);
        let started = Instant::now();
        while started.elapsed() < FLOOD_LENGTH {
            for flood in &mut floods {
                let _ = flood.write(&lines);
                let _ = flood.read(&mut replies);
            }
        }
    });
}

/// All send at once, again and again, and leave at once: their delays end together.
#[test]
#[ignore = "15,000 clients for some seconds"]
fn no_turn_is_long_when_fifteen_thousand_replies_fall_due_together() {
    let _alone = ALONE.lock();
    let settings = Settings {
        delay: Duration::from_secs(1),
        idle_timeout: Some(Duration::from_secs(60)),
        ..Settings::default()
    };
    assert_turns_are_short(&settings, |control| {
        let load = fifteen_thousand(control, &[]);
        control.wait_until(|stats| stats.messages >= 2 * MANY_CLIENTS);
        load.signal(Signal::SIGINT);
        assert_eq!(load.wait().code, Some(130));
    });
}

/// The process of the clients is killed. Connections whose clients have read everything are
/// closed, those that hold a reply unread are reset.
#[test]
#[ignore = "15,000 clients for some seconds, twice"]
fn no_turn_is_long_when_fifteen_thousand_clients_close_or_are_reset() {
    let _alone = ALONE.lock();
    assert_turns_are_short(&Settings::default(), |control| {
        let load = fifteen_thousand(control, &["--active", "1"]);
        control.wait_until(|stats| stats.messages > 0);
        drop(load);
        control.wait_until(|stats| stats.closed[CloseCause::Eof] >= MANY_CLIENTS - 1);
    });
    let settings = Settings {
        delay: Duration::from_secs(2),
        ..Settings::default()
    };
    assert_turns_are_short(&settings, |control| {
        let load = fifteen_thousand(control, &[]);
        control.wait_until(|stats| stats.messages >= MANY_CLIENTS);
        load.signal(Signal::SIGSTOP);
        control.wait_until(|stats| stats.traffic.writes >= 2 * MANY_CLIENTS);
        drop(load);
        control.wait_until(|stats| stats.closed[CloseCause::Reset] >= MANY_CLIENTS - 1);
    });
}

/// After a pause all clients have been silent for longer than the idle timeout. They do not close
/// their ends, so their time to linger ends together too.
#[test]
#[ignore = "15,000 clients for some seconds"]
fn no_turn_is_long_when_fifteen_thousand_idle_timeouts_fall_due_together() {
    let _alone = ALONE.lock();
    let settings = Settings {
        idle_timeout: Some(Duration::from_secs(4)),
        ..Settings::default()
    };
    assert_turns_are_short(&settings, |control| {
        let load = fifteen_thousand(control, &[]);
        control.wait_until(|stats| stats.messages >= 2 * MANY_CLIENTS);
        load.signal(Signal::SIGSTOP);
        control.order(&[Command::Pause(Duration::from_secs(5))]);
        let is_over = |stats: &Stats| stats.closed[CloseCause::IdleTimeout] >= MANY_CLIENTS;
        control.wait_until(is_over);
    });
}

/// A drain of clients that talk, and one that runs out of time while all are owed replies.
#[test]
#[ignore = "15,000 clients for some seconds, twice"]
fn no_turn_is_long_when_fifteen_thousand_clients_are_drained_or_cut_off() {
    let _alone = ALONE.lock();
    assert_turns_are_short(&Settings::default(), |control| {
        let load = fifteen_thousand(control, &[]);
        control.wait_until(|stats| stats.messages >= 2 * MANY_CLIENTS);
        control.order(&[Command::Drain]);
        control.wait_until(|stats| stats.clients() == 0);
        drop(load);
    });
    let settings = Settings {
        delay: Duration::from_secs(60),
        ..Settings::default()
    };
    assert_turns_are_short(&settings, |control| {
        let load = fifteen_thousand(control, &[]);
        control.wait_until(|stats| stats.messages >= MANY_CLIENTS);
        control.order(&[Command::Drain, Command::CutOff]);
        control.wait_until(|stats| stats.closed[CloseCause::CutOff] >= MANY_CLIENTS);
        drop(load);
    });
}
