//! Observers and recordings at full size, on real sockets: pitfalls 23 and 24. In virtual time they
//! are in `tests/pitfalls/observers.rs` and `tests/saving.rs`.

// They count descriptors and measure memory in /proc.
#![cfg(target_os = "linux")]

mod http;
mod util;

use helloop::net::bind::{self, Options};
use helloop::server::{ObserveOptions, RecordingFile, Server, Settings};
use nix::time::ClockId;
use std::fs;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use util::{HELLOOP, SetOnDrop, TIMEOUT, ask, clients_within_descriptor_limit, connect, expect};

/// The most CPU time that the loop may take from one wait to the next.
const MAX_TURN: Duration = Duration::from_millis(10);

/// The most memory that saving takes.
const MAX_SAVING_BYTES: u64 = 8 * 1_024 * 1_024;

/// What the README promises.
const OBSERVER_DESCRIPTORS: usize = 129;

const OTHER_OBSERVERS: usize = 1_000;

/// One at a time: each measures what the server does beside a load.
static ALONE: Mutex<()> = Mutex::new(());

/// What a client experienced: it asks until `work` is done.
fn latencies_beside<T>(address: SocketAddr, work: impl FnOnce() -> T) -> (T, String) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut client = connect(address);
            expect(&mut client, b"Welcome!");
            let mut latencies = Vec::new();
            while !is_over.load(Relaxed) {
                let sent = Instant::now();
                ask(&mut client, b"Ada", b"Hello, Ada!");
                latencies.push(sent.elapsed());
            }
            latencies.sort();
            let count = latencies.len();
            let at = |share: f64| latencies[(count as f64 * share) as usize];
            let max = latencies[count - 1];
            format!("p50 {:?}, p99 {:?}, max {max:?}", at(0.5), at(0.99))
        });
        let end = SetOnDrop(&is_over);
        let result = work();
        drop(end);
        (result, client.join().unwrap())
    })
}

/// What the others do, and how often each connects anew.
const BEHAVIOURS: [(&str, &str, bool); 7] = [
    ("send nothing", "", false),
    ("send half a request", "GET /healthz HTTP/1.1\r\nHo", false),
    (
        "ask for the page and do not read",
        "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        false,
    ),
    (
        "ask for a stream and do not read",
        "GET /events HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        false,
    ),
    ("connect again as soon as they are closed", "", true),
    (
        "ask for the page again and again",
        "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        true,
    ),
    (
        "ask for metrics again and again",
        "GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        true,
    ),
];

/// A connection that does not block, after its request. The kernel may still be connecting it.
fn other(address: SocketAddr, request: &str) -> io::Result<mio::net::TcpStream> {
    let mut stream = mio::net::TcpStream::connect(address)?;
    // On loopback the handshake is over, unless the backlog is full.
    let _ = stream.write(request.as_bytes());
    Ok(stream)
}

/// Whether the server has closed the connection; what it sent is discarded.
fn is_closed(stream: &mut mio::net::TcpStream) -> bool {
    use std::io::Read;
    let mut discarded = [0; 16 * 1_024];
    loop {
        match stream.read(&mut discarded) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// The failed checks in a row after which a balancer takes a server out by default: HAProxy's `fall`,
/// and Kubernetes' `failureThreshold`.
const CHECK_TRIES: usize = 3;

/// Checks as a health checker does: it retries, and fails after [`CHECK_TRIES`] failures in a row. A
/// check is closed unanswered if over a hundred others connect between its connect and its request.
/// That needs others that `reconnect`; beside all others the first check must succeed.
fn check_health(
    address: SocketAddr,
    path: &str,
    reconnect: bool,
    retries: &mut usize,
) -> http::Response {
    let tries = if reconnect { CHECK_TRIES } else { 1 };
    for _ in 1..tries {
        if let Some(response) = http::try_get(address, path) {
            return response;
        }
        *retries += 1;
    }
    http::get(address, path)
}

#[test]
#[ignore = "takes 1,000 descriptors and some seconds"]
fn health_and_metrics_answer_correctly_beside_a_thousand_other_observers() {
    let _alone = ALONE.lock();
    let server = util::Server::start(&["--observe", "127.0.0.1:0"]);
    let address = http::observe_address(&server);
    let before = server.open_descriptors();
    let count = clients_within_descriptor_limit(OTHER_OBSERVERS + 100) - 100;
    for (name, request, again) in BEHAVIOURS {
        let is_over = AtomicBool::new(false);
        let mut others: Vec<_> = (0..count)
            .map(|_| other(address, request).unwrap())
            .collect();
        thread::scope(|scope| {
            let is_over = &is_over;
            let _end = SetOnDrop(is_over);
            scope.spawn(move || {
                while again && !is_over.load(Relaxed) {
                    for stream in &mut others {
                        if is_closed(stream) {
                            *stream = other(address, request).unwrap();
                        } else {
                            let _ = stream.write(request.as_bytes());
                        }
                    }
                }
                while !is_over.load(Relaxed) {
                    thread::yield_now();
                }
            });
            let check = || {
                let (mut longest, started) = (Duration::ZERO, Instant::now());
                let mut retries = 0;
                for round in 0.. {
                    for path in ["/healthz", "/metrics"] {
                        let asked = Instant::now();
                        let response = check_health(address, path, again, &mut retries);
                        assert_eq!(response.status, 200, "{name}, round {round}");
                        longest = longest.max(asked.elapsed());
                    }
                    let observers = server.open_descriptors() - before;
                    // `before` has the listener; the client of this test, no observer, takes its place.
                    assert!(observers <= OBSERVER_DESCRIPTORS, "{observers} descriptors");
                    if started.elapsed() > Duration::from_secs(1) {
                        return (round, longest, retries);
                    }
                }
                unreachable!("the rounds end");
            };
            let ((rounds, longest, retries), client) =
                latencies_beside(server.tcp_address(), check);
            println!(
                "{count} {name}: {rounds} rounds, {retries} checks retried, the slowest \
                 {longest:?}; a client: {client}"
            );
        });
    }
    server.assert_serves();
}

/// A server in this process that records 10,000 turns, and the longest turn of its loop by CPU time
/// once [`measure`](Self::measure) was called.
struct LoopThread<'a> {
    client_address: SocketAddr,
    observer_address: SocketAddr,
    is_measuring: &'a AtomicBool,
    is_saving: &'a AtomicBool,
}

/// Ends the loop when it is dropped, so also when the load fails.
struct EndLoop<'a> {
    is_over: &'a AtomicBool,
    address: SocketAddr,
}

impl Drop for EndLoop<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        // The last event: it ends the wait.
        drop(TcpStream::connect(self.address));
    }
}

fn longest_turn(path: &Path, load: impl FnOnce(&LoopThread<'_>)) -> Duration {
    let options = Options {
        listen: vec!["127.0.0.1:0".to_owned()],
        udp: false,
        backlog: 4_096,
        reuse_port: false,
        keepalive: None,
    };
    let bound = bind::bind(&options).unwrap();
    let observers = TcpListener::bind("127.0.0.1:0").unwrap();
    let [is_measuring, is_saving, is_over] = [(); 3].map(|()| AtomicBool::new(false));
    let handle = LoopThread {
        client_address: bound[0].address,
        observer_address: observers.local_addr().unwrap(),
        is_measuring: &is_measuring,
        is_saving: &is_saving,
    };
    let observe = ObserveOptions {
        recording: Some(RecordingFile::new(path).unwrap()),
        turns: 10_000,
        listener: Some(observers),
        ..ObserveOptions::default()
    };
    thread::scope(|scope| {
        let (started, is_started) = mpsc::channel();
        let server = scope.spawn(|| {
            let started = started;
            let mut server = Server::new(bound, Settings::default(), observe).unwrap();
            started.send(()).unwrap();
            let cpu = || Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap());
            let mut longest = Duration::ZERO;
            while !is_over.load(Relaxed) {
                let before = cpu();
                server.reactor.turn(&mut server.shared).unwrap();
                server.shared.requested.recording |= is_saving.swap(false, Relaxed);
                assert_eq!(server.between_turns(), None);
                if is_measuring.load(Relaxed) {
                    longest = longest.max(cpu() - before);
                }
            }
            longest
        });
        is_started.recv().unwrap();
        let end = EndLoop {
            is_over: &is_over,
            address: handle.client_address,
        };
        load(&handle);
        drop(end);
        server.join().unwrap()
    })
}

/// A load that fills the recording: 300 clients.
fn fill(address: SocketAddr) {
    let load = Command::new(HELLOOP)
        .args(["stress", "--clients", "300", "--duration", "4s", "--to"])
        .arg(address.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    load.unwrap();
}

/// The most resident memory so far (VmHWM); `None` if the process has ended.
fn peak_bytes(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    Some(1_024 * kibibytes)
}

#[test]
#[ignore = "fills a recording of 10,000 turns"]
fn saving_a_full_recording_takes_little_memory() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let server = util::Server::start(&["--record", path.to_str().unwrap()]);
    let id = server.id();
    fill(server.tcp_address());
    let before = peak_bytes(id).unwrap();
    server.signal(nix::sys::signal::Signal::SIGUSR2);
    server.stderr().wait_for("helloop show");
    let on_request = peak_bytes(id).unwrap() - before;
    let file = fs::metadata(&path).unwrap().len();
    // At the end everything is saved at once, while this thread looks on.
    let watch = thread::spawn(move || {
        let mut peak = 0;
        while let Some(bytes) = peak_bytes(id) {
            peak = peak.max(bytes);
        }
        peak
    });
    assert_eq!(server.stop().code, Some(0));
    let at_end = watch.join().unwrap().saturating_sub(before);
    println!("{file} bytes saved: {on_request} bytes of memory on request, {at_end} at the end");
    assert!(file > 30_000_000, "{file}");
    assert!(on_request <= MAX_SAVING_BYTES && at_end <= MAX_SAVING_BYTES);
}

#[test]
#[ignore = "fills a recording of 10,000 turns"]
fn no_turn_is_long_while_a_full_recording_is_saved() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let longest = longest_turn(&path, |server| {
        fill(server.client_address);
        let save = || {
            server.is_measuring.store(true, Relaxed);
            server.is_saving.store(true, Relaxed);
            let started = Instant::now();
            while !path.exists() {
                assert!(started.elapsed() < TIMEOUT);
                thread::yield_now();
            }
            started.elapsed()
        };
        let (saved, client) = latencies_beside(server.client_address, save);
        println!("saved in {saved:?}; a client beside it: {client}");
    });
    println!("longest turn while saving: {longest:?} of CPU time");
    assert!(longest <= MAX_TURN, "{longest:?}");
}

/// Each of the observers asks for the history of a slot of its own, again and again, and each answer
/// needs a search of the whole recording.
#[test]
#[ignore = "fills a recording of 10,000 turns"]
fn no_turn_is_long_while_observers_ask_for_histories() {
    const OBSERVERS: usize = 16;
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loop.json");
    let longest = longest_turn(&path, |server| {
        fill(server.client_address);
        server.is_measuring.store(true, Relaxed);
        let ask_histories = || {
            let started = Instant::now();
            let mut answers = 0;
            thread::scope(|scope| {
                let observer = |slot| {
                    let mut observer = connect(server.observer_address);
                    let mut answers = 0;
                    while started.elapsed() < Duration::from_secs(3) {
                        let request = format!("GET /slots/{slot} HTTP/1.1\r\nHost: [::1]\r\n\r\n");
                        observer.write_all(request.as_bytes()).unwrap();
                        assert_eq!(http::read_response(&mut observer).status, 200);
                        answers += 1;
                    }
                    answers
                };
                let observers: Vec<_> = (0..OBSERVERS)
                    .map(|slot| scope.spawn(move || observer(4_000 + slot)))
                    .collect();
                for observer in observers {
                    answers += observer.join().unwrap();
                }
            });
            answers
        };
        let (answers, client) = latencies_beside(server.client_address, ask_histories);
        println!("{answers} histories; a client beside it: {client}");
    });
    println!("longest turn: {longest:?} of CPU time");
    assert!(longest <= MAX_TURN, "{longest:?}");
}
