//! Latency of 50 well-behaved clients beside background load: connections that flood the server,
//! in both framings, or bursts of 5,000 connects.
//!
//! Each round measures every case once, so other activity on the machine affects all of them. The
//! server has one CPU; the clients share the other with the background load. The baseline is a
//! thread that only spins: it shows what sharing a CPU costs the clients, and anything above it
//! is the server's cost. Goal: p99 is at most three times the baseline's.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const CLIENTS: usize = 50;
/// Messages per case and round: p99 then has 20 samples above it.
const MESSAGES: usize = 2_000;
const CONNECTS_PER_BURST: usize = 5_000;
const GOAL_RATIO: f64 = 3.0;

/// What runs beside the well-behaved clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Background {
    /// Nothing.
    Idle,
    /// The baseline: a thread that spins on the clients' CPU and sends nothing.
    Spinner,
    ChunkFlood,
    LineFlood,
    EmptyLineFlood,
    /// 200 and 1,000 connections that flood empty lines.
    EmptyLineFloods200,
    EmptyLineFloods1000,
    /// 200 connections that send 4,095 empty lines, wait for the replies, and send again.
    EmptyLineBursts200,
    /// Connections that are closed as soon as all are open.
    ConnectBursts,
}

const ALL: [Background; 9] = [
    Background::Idle,
    Background::Spinner,
    Background::ChunkFlood,
    Background::LineFlood,
    Background::EmptyLineFlood,
    Background::EmptyLineFloods200,
    Background::EmptyLineFloods1000,
    Background::EmptyLineBursts200,
    Background::ConnectBursts,
];

const SERVER_CPU: usize = 0;
const CLIENTS_CPU: usize = 1;

fn main() {
    pin(Pid::from_raw(0), CLIENTS_CPU);
    let _ = helloop::testing::raise_descriptor_limit();
    let mut results: Vec<Vec<Duration>> = vec![Vec::new(); ALL.len()];
    for _ in 0..ROUNDS {
        for (background, results) in ALL.iter().zip(&mut results) {
            results.push(p99(*background));
        }
    }
    for results in &mut results {
        results.sort_unstable();
    }
    let median = |background: Background| {
        let index = ALL.iter().position(|other| *other == background);
        results[index.expect("all are measured")][ROUNDS / 2]
    };
    let baseline = median(Background::Spinner);
    println!("p99 of {CLIENTS} clients, median of {ROUNDS} rounds of {MESSAGES} messages");
    for (background, results) in ALL.iter().zip(&results) {
        let ratio = median(*background).as_secs_f64() / baseline.as_secs_f64();
        println!(
            "{:20} {:>9.3?} ({:.3?} to {:.3?})  {ratio:.2} of the spinner's{}",
            format!("{background:?}"),
            median(*background),
            results[0],
            results[ROUNDS - 1],
            if ratio <= GOAL_RATIO {
                ""
            } else {
                "  GOAL MISSED"
            }
        );
    }
}

/// The clients' p99 latency in one run beside `background`.
fn p99(background: Background) -> Duration {
    let framing = match background {
        Background::LineFlood
        | Background::EmptyLineFlood
        | Background::EmptyLineFloods200
        | Background::EmptyLineFloods1000
        | Background::EmptyLineBursts200 => "line",
        _ => "chunk",
    };
    let (mut server, address) = start(framing);
    let done = AtomicBool::new(false);
    let mut latencies = thread::scope(|scope| {
        scope.spawn(|| run_background(background, address, &done));
        let latencies = measure_clients(address, framing);
        done.store(true, Relaxed);
        latencies
    });
    server.kill().expect("a child can be killed");
    server.wait().expect("a child can be waited for");
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

/// Pins a process to one CPU; 0 is this thread and those that it starts.
fn pin(process: Pid, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a small CPU number");
    if let Err(error) = sched_setaffinity(process, &set) {
        println!("note: not pinned to CPU {cpu} ({error}); the figures are less reliable");
    }
}

fn start(framing: &str) -> (Child, SocketAddr) {
    let mut server = Command::new(env!("CARGO_BIN_EXE_helloop"))
        .args([
            "serve",
            "-q",
            "--listen",
            "127.0.0.1:0",
            "--framing",
            framing,
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server starts");
    pin(
        Pid::from_raw(i32::try_from(server.id()).expect("process ids are 31 bits")),
        SERVER_CPU,
    );
    let mut line = String::new();
    let stdout = server.stdout.take().expect("a pipe");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the server's first line");
    let address = line.split(' ').nth(2).and_then(|word| word.parse().ok());
    (server, address.expect("an address"))
}

/// Sends one message per millisecond, each from the next client, and checks each reply. Returns the
/// latencies.
fn measure_clients(address: SocketAddr, framing: &str) -> Vec<Duration> {
    let mut clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nodelay(true).expect("a socket takes options");
            let welcome = if framing == "line" { 9 } else { 8 };
            stream.read_exact(&mut vec![0; welcome]).expect("a welcome");
            stream
        })
        .collect();
    let mut reply = [0; 12];
    let mut latencies = Vec::with_capacity(MESSAGES);
    for number in 0..MESSAGES {
        thread::sleep(Duration::from_millis(1)); // The pace of the load; it waits for nothing.
        let stream = &mut clients[number % CLIENTS];
        let sent = Instant::now();
        stream.write_all(b"Ada\n").expect("the server reads");
        stream.read_exact(&mut reply).expect("a reply");
        latencies.push(sent.elapsed());
        assert_eq!(&reply, b"Hello, Ada!\n");
    }
    latencies
}

fn run_background(background: Background, address: SocketAddr, done: &AtomicBool) {
    match background {
        Background::Idle => {}
        Background::Spinner => {
            while !done.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
        Background::ChunkFlood => flood(address, 1, &[b'x'; 1_024], done),
        Background::LineFlood => flood(address, 1, &b"a name\n".repeat(2_000), done),
        Background::EmptyLineFlood => flood(address, 1, &b"\n".repeat(16_384), done),
        Background::EmptyLineFloods200 => flood(address, 200, &b"\n".repeat(16_384), done),
        Background::EmptyLineFloods1000 => flood(address, 1_000, &b"\n".repeat(16_384), done),
        Background::EmptyLineBursts200 => bursts(address, 200, done),
        Background::ConnectBursts => {
            while !done.load(Relaxed) {
                let clients: Vec<_> = (0..CONNECTS_PER_BURST)
                    .map(|_| TcpStream::connect(address))
                    .collect();
                drop(clients);
            }
        }
    }
}

/// Sends as fast as the sockets allow. Reads all replies, so that only the server's backpressure
/// limits the rate.
fn flood(address: SocketAddr, connections: usize, data: &[u8], done: &AtomicBool) {
    let mut streams = connect_all(address, connections);
    let mut input = vec![0; 256 * 1_024];
    while !done.load(Relaxed) {
        for stream in &mut streams {
            let _ = stream.write(data);
            let _ = stream.read(&mut input);
        }
    }
}

/// Sends a burst on every connection, and the next one when all its replies have arrived.
fn bursts(address: SocketAddr, connections: usize, done: &AtomicBool) {
    const LINES: usize = 4_095;
    let burst = b"\n".repeat(LINES);
    let mut streams = connect_all(address, connections);
    let mut owed = vec![b"Welcome!\n".len(); connections];
    let mut input = vec![0; 256 * 1_024];
    while !done.load(Relaxed) {
        for (stream, owed) in streams.iter_mut().zip(&mut owed) {
            if let Ok(count) = stream.read(&mut input) {
                *owed -= count;
            }
            if *owed == 0 && stream.write(&burst).is_ok_and(|count| count == LINES) {
                *owed = LINES * b"Hello, !\n".len();
            }
        }
    }
}

fn connect_all(address: SocketAddr, connections: usize) -> Vec<TcpStream> {
    (0..connections)
        .map(|_| {
            let stream = TcpStream::connect(address).expect("the server listens");
            stream.set_nonblocking(true).expect("a nonblocking socket");
            stream
        })
        .collect()
}
