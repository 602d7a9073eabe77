//! A listener that closes under load, at full size on real sockets (pitfall 22): whoever has
//! completed the handshake is welcomed or refused, never reset. The same in virtual time is in
//! `tests/pitfalls/closing.rs`.

// Signals restart the server.
#![cfg(unix)]

#[macro_use]
mod util;

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use util::{
    IS_LINUX_CODE, Model, Server, SetOnDrop, TIMEOUT, clients_within_descriptor_limit, reset,
};

both_models! {
    #[ignore = "depends on the time of a retransmission"]
    a_handshake_half_done_at_the_signal_completes,
    #[ignore = "15,000 clients, and a storm of connects"]
    a_drain_resets_no_connect,
}

/// One at a time: each takes all descriptors of the process, and its CPUs.
static ALONE: Mutex<()> = Mutex::new(());

/// Source addresses of a storm, each with a thread. A connect from 127.0.0.1 would search for a port
/// among those of all idle clients.
const STORM_ADDRESSES: u8 = 4;

/// Connects at once from each address.
const CONNECTS_AT_ONCE: usize = 50;

/// What became of the connects of a storm.
#[derive(Debug, Default)]
struct Storm {
    welcomed: usize,
    busy: usize,
    /// Connected, and then reset or closed without a welcome.
    broken: usize,
    refused: usize,
    first_error: Option<String>,
}

impl Storm {
    fn add(&mut self, other: Self) {
        self.welcomed += other.welcomed;
        self.busy += other.busy;
        self.broken += other.broken;
        self.refused += other.refused;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Connects, and then reads the first bytes of every connection.
    fn round(&mut self, from: Ipv4Addr, address: SocketAddr) {
        let mut streams = Vec::new();
        for _ in 0..CONNECTS_AT_ONCE {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
            match socket.connect_timeout(&address.into(), TIMEOUT) {
                Ok(()) => streams.push(TcpStream::from(socket)),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.refused += 1,
                Err(error) => self.fail(format!("connect: {error}")),
            }
        }
        for mut stream in streams {
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut start = [0; 6];
            match stream.read_exact(&mut start) {
                Ok(()) if &start == b"Busy: " => self.busy += 1,
                Ok(()) if &start == b"Welcom" => self.welcomed += 1,
                outcome => self.fail(format!("{outcome:?}, {:?}", start.escape_ascii())),
            }
            // A reset leaves no TIME_WAIT, which would use up the ports.
            reset(stream);
        }
    }

    fn fail(&mut self, error: String) {
        self.broken += 1;
        self.first_error.get_or_insert(error);
    }
}

/// Rounds of connects from several threads until `is_over`, while `work` runs.
fn storm(
    address: SocketAddr,
    is_over: impl Fn(&Storm) -> bool + Sync,
    work: impl FnOnce(),
) -> Storm {
    let rounds = |number: u8| {
        let from = Ipv4Addr::new(127, 0, 1, number);
        let mut storm = Storm::default();
        while !is_over(&storm) {
            storm.round(from, address);
        }
        storm
    };
    let rounds = &rounds;
    thread::scope(|scope| {
        let threads: Vec<_> = (1..=STORM_ADDRESSES)
            .map(|number| scope.spawn(move || rounds(number)))
            .collect();
        work();
        let mut sum = Storm::default();
        for storm in threads {
            sum.add(storm.join().unwrap());
        }
        sum
    })
}

/// The client drops the first SYN-ACK, so that the handshake is half done until the server repeats it
/// after a second. The signal comes in between, and the server closes its listener after that.
fn a_handshake_half_done_at_the_signal_completes(model: Model) {
    // A busy machine may be too late for one try.
    const TRIES: usize = 5;
    if !IS_LINUX_CODE {
        return;
    }
    let welcomed = (0..TRIES).find(|_| {
        // On all addresses: for loopback alone the listener would close before the second is over.
        let server = model.setup(&[]).listen(&["0.0.0.0:0"]).start();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.tcp_address().port()));
        let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        drop_all(&client);
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&address.into());
        thread::sleep(Duration::from_millis(700));
        server.signal(Signal::SIGTERM);
        server.stderr().wait_for("stopping");
        pass_all(&client);
        client.set_nonblocking(false).unwrap();
        client.set_read_timeout(Some(TIMEOUT)).unwrap();
        // Until it is connected, or refused, and then until EOF.
        let mut received = Vec::new();
        let mut stream = TcpStream::from(client);
        let deadline = Instant::now() + TIMEOUT;
        while stream.peer_addr().is_err() && stream.take_error().unwrap().is_none() {
            assert!(Instant::now() < deadline, "neither connected nor refused");
            thread::yield_now();
        }
        let _ = stream.read_to_end(&mut received);
        drop(stream);
        assert_eq!(server.wait().code, Some(0));
        received == b"Welcome!"
    });
    assert_ne!(welcomed, None, "not welcomed in any of {TRIES} tries");
}

#[cfg(target_os = "linux")]
fn drop_all(socket: &Socket) {
    let reject = socket2::SockFilter::new(0x06, 0, 0, 0); // ret #0
    socket.attach_filter(&[reject]).unwrap();
}

#[cfg(target_os = "linux")]
fn pass_all(socket: &Socket) {
    socket.detach_filter().unwrap();
}

#[cfg(not(target_os = "linux"))]
fn drop_all(_: &Socket) {}

#[cfg(not(target_os = "linux"))]
fn pass_all(_: &Socket) {}

/// How long a storm lasts before the signal.
const WARM_UP: Duration = Duration::from_millis(300);

fn clients_of(model: Model) -> usize {
    let wanted = match model {
        Model::Reactor => 15_000,
        Model::Threads => 1_000,
    };
    let storm = 2 * usize::from(STORM_ADDRESSES) * CONNECTS_AT_ONCE;
    clients_within_descriptor_limit(wanted + storm) - storm
}

fn a_drain_resets_no_connect(model: Model) {
    let _alone = ALONE.lock();
    let server = model.start(&["--drain-timeout", "60s"]);
    let idle: Vec<_> = (0..clients_of(model)).map(|_| server.connect()).collect();
    let storm = storm_until_closed(&server);
    assert_eq!((storm.broken, storm.busy), (0, 0), "{storm:?}");
    drop(idle);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A storm of connects during which the server is asked to stop, until its listener is closed.
fn storm_until_closed(server: &Server) -> Storm {
    let storm = storm(
        server.tcp_address(),
        |storm| storm.refused > 0,
        || {
            thread::sleep(WARM_UP);
            server.signal(Signal::SIGTERM);
        },
    );
    println!("{storm:?}");
    storm
}

/// Those in the backlog of a full server are refused in words, and not by a reset.
#[test]
#[ignore = "15,000 clients, and a storm of connects"]
fn a_full_server_that_drains_refuses_or_welcomes() {
    let _alone = ALONE.lock();
    let model = Model::Reactor; // the threads have no limit
    let clients = clients_of(model);
    let flags = [
        "--max-clients",
        &clients.to_string(),
        "--drain-timeout",
        "60s",
    ];
    let server = model.start(&flags);
    let idle: Vec<_> = (0..clients).map(|_| server.connect()).collect();
    let storm = storm_until_closed(&server);
    assert_eq!(storm.broken, 0, "{storm:?}");
    drop(idle);
    let ended = server.wait();
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Another server on the same port takes over, while clients connect without a pause.
#[test]
#[ignore = "a storm of connects for some seconds"]
fn a_restart_with_reuse_port_resets_and_refuses_no_connect() {
    let _alone = ALONE.lock();
    let mut server = Model::Reactor.start(&["--reuse-port"]);
    let address = server.tcp_address();
    let is_over = AtomicBool::new(false);
    let storm = storm(
        address,
        |_| is_over.load(Relaxed),
        || {
            let _end = SetOnDrop(&is_over);
            for _ in 0..5 {
                let flags = ["--reuse-port"];
                let next = Model::Reactor.setup(&flags).listen(&[&address.to_string()]);
                let next = next.start();
                thread::sleep(WARM_UP);
                let started = Instant::now();
                let ended = std::mem::replace(&mut server, next).stop();
                println!("stopped within {:?}", started.elapsed());
                assert_eq!(ended.code, Some(0), "{ended:?}");
            }
        },
    );
    println!("{storm:?}");
    assert_eq!((storm.broken, storm.refused), (0, 0), "{storm:?}");
}
