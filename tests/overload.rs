//! A late loop, and bounded turns, at full size on real sockets: pitfalls 20 and 23. The same in
//! virtual time is in `tests/pitfalls/overload.rs`.

mod util;

use helloop::net::bind::{self, Options};
use helloop::protocol::greeting::Framing;
use helloop::server::{ObserveOptions, Server, Settings};
use nix::time::ClockId;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use util::{HELLOOP, clients_within_descriptor_limit, expect, read_exactly};

/// The most CPU time that the loop may take from one wait to the next.
const MAX_TURN: Duration = Duration::from_millis(10);

const MAX_FLOOD_CLIENTS: usize = 1_500;
const FLOOD_LENGTH: Duration = Duration::from_secs(3);

/// One at a time: each takes all descriptors of the process, and its CPUs.
static ALONE: Mutex<()> = Mutex::new(());

/// The longest turn of a server in this process, by the CPU time of its thread, while `load` runs.
fn longest_turn(settings: Settings, load: impl FnOnce(SocketAddr)) -> Duration {
    let options = Options {
        listen: vec!["127.0.0.1:0".to_owned()],
        udp: false,
        backlog: 4_096,
        reuse_port: false,
        keepalive: None,
    };
    let bound = bind::bind(&options).unwrap();
    let address = bound[0].address;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (started, is_started) = mpsc::channel();
        let server = scope.spawn(|| {
            let started = started;
            let mut server = Server::new(bound, settings, ObserveOptions::default()).unwrap();
            started.send(()).unwrap();
            let cpu = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
            let mut longest = Duration::ZERO;
            while !is_over.load(Relaxed) {
                let before = cpu();
                server.reactor.turn(&mut server.shared).unwrap();
                assert_eq!(server.between_turns(), None);
                longest = longest.max(cpu() - before);
            }
            longest
        });
        is_started.recv().unwrap();
        load(address);
        is_over.store(true, Relaxed);
        // The last event: it ends the wait.
        drop(TcpStream::connect(address));
        server.join().unwrap()
    })
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

/// Each flooding client sends as fast as the socket allows, and reads everything.
#[test]
#[ignore = "1,500 floods for three seconds"]
fn no_turn_is_long_beside_fifteen_hundred_floods_of_empty_lines() {
    let _alone = ALONE.lock();
    let settings = Settings {
        framing: Framing::Line,
        ..Settings::default()
    };
    let longest = longest_turn(settings, |address| {
        let mut floods: Vec<_> = (0..clients_within_descriptor_limit(2 * MAX_FLOOD_CLIENTS) / 2)
            .map(|_| {
                let mut flood = TcpStream::connect(address).unwrap();
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
    println!("longest turn: {longest:?} of CPU time");
    assert!(longest <= MAX_TURN, "{longest:?}");
}

/// The load connects 15,000 clients, which all send at once, again and again, and leave at once:
/// their delays end together, and so do their connections.
#[test]
#[ignore = "15,000 clients for some seconds"]
fn no_turn_is_long_when_fifteen_thousand_replies_fall_due_together() {
    let _alone = ALONE.lock();
    let settings = Settings {
        delay: Duration::from_secs(1),
        idle_timeout: Some(Duration::from_secs(60)),
        ..Settings::default()
    };
    let longest = longest_turn(settings, |address| {
        let load = Command::new(HELLOOP)
            .args(["stress", "--clients", "15000", "--duration", "3s", "--to"])
            .arg(address.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let report = String::from_utf8(load.stdout).unwrap();
        println!("{report}");
        assert!(report.contains("15000 connected"), "{report}");
    });
    println!("longest turn: {longest:?} of CPU time");
    assert!(longest <= MAX_TURN, "{longest:?}");
}
