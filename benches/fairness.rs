//! Latency of 50 well-behaved clients beside background load: 1, 200 or 1,000 connections that
//! flood the server or send bursts, or bursts of 5,000 connects.
//!
//! Each round measures every case once, in turn forwards and backwards, so other activity on the
//! machine affects all of them. The server has one CPU; the clients share the other with the
//! background load. Two comparisons, each with a goal of at most three times:
//!
//! - p50 and p90 beside 200 and 1,000 connections, with those beside one connection that does the
//!   same: how long a client waits must not depend on how many flood.
//! - p99 with that beside a thread that only spins, which shows what sharing a CPU costs the
//!   clients: anything above it is the server's cost.
//!
//! `-- Chunks Bursts` measures only these, beside the baseline.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::env;
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
    /// Connections that never wait.
    Chunks,
    /// The same, with short lines.
    Lines,
    /// The same, with empty lines: the most replies per byte.
    EmptyLines,
    /// Connections that send 4,095 empty lines, wait for the replies, and send again.
    Bursts,
    /// Connections that are closed as soon as all are open.
    ConnectBursts,
}

use Background::{Bursts, Chunks, ConnectBursts, EmptyLines, Idle, Lines, Spinner};

/// What runs beside the clients, and on how many connections.
type Case = (Background, usize);

fn cases() -> Vec<Case> {
    let floods = [Chunks, Lines, EmptyLines, Bursts];
    let floods = floods.map(|background| CONNECTIONS.map(|count| (background, count)));
    let mut cases = vec![(Idle, 0), (Spinner, 0)];
    cases.extend(floods.concat());
    cases.push((ConnectBursts, CONNECTS_PER_BURST));
    let wanted: Vec<_> = env::args().skip(1).collect();
    let wanted =
        |name: &String| wanted.iter().all(|flag| flag == "--bench") || wanted.contains(name);
    cases.retain(|(background, _)| *background == Spinner || wanted(&format!("{background:?}")));
    cases
}

const CONNECTIONS: [usize; 3] = [1, 200, 1_000];

const SERVER_CPU: usize = 0;
const CLIENTS_CPU: usize = 1;

/// The p50, p90 and p99 of one case.
type Latencies = [Duration; 3];

fn main() {
    pin(Pid::from_raw(0), CLIENTS_CPU);
    let _ = helloop::testing::raise_descriptor_limit();
    let cases = cases();
    let mut results: Vec<Vec<Latencies>> = vec![Vec::new(); cases.len()];
    for round in 0..ROUNDS {
        let mut order: Vec<_> = (0..cases.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for case in order {
            results[case].push(latencies(cases[case]));
        }
    }
    println!("{CLIENTS} clients, {ROUNDS} rounds of {MESSAGES} messages: the median of the rounds");
    println!("Ratios: p50 and p90 to those beside one connection, p99 to that beside the spinner");
    println!("{:21} {:>8} {:>8} {:>8}", "", "p50", "p90", "p99");
    report("median", &cases, &results, ROUNDS / 2);
    println!("The lowest of the rounds, which other activity on the machine has disturbed least");
    report("lowest", &cases, &results, 0);
}

/// Prints each percentile of the rounds that rank `rank` in it, and its ratios.
fn report(name: &str, cases: &[Case], results: &[Vec<Latencies>], rank: usize) {
    let ranked: Vec<_> = results.iter().map(|rounds| ranked(rounds, rank)).collect();
    let of = |case: Case| {
        let index = cases.iter().position(|other| *other == case);
        ranked[index.expect("it is measured")]
    };
    for (case, latencies) in cases.iter().zip(&ranked) {
        let one = match case {
            (background @ (Chunks | Lines | EmptyLines | Bursts), _) => of((*background, 1)),
            _ => *latencies,
        };
        print!("{:21}", format!("{:?} {}", case.0, case.1));
        for latency in latencies {
            print!(" {latency:>8.0?}");
        }
        let baselines = [one[0], one[1], of((Spinner, 0))[2]];
        for (latency, baseline) in latencies.iter().zip(baselines) {
            let ratio = latency.as_secs_f64() / baseline.as_secs_f64();
            let missed = if ratio > GOAL_RATIO { "!" } else { " " };
            print!(" {ratio:>6.2}{missed}");
        }
        println!();
    }
    println!("({name}; ! is over the goal of {GOAL_RATIO})");
}

/// Each percentile by itself, of the round that ranks `rank` in it.
fn ranked(rounds: &[Latencies], rank: usize) -> Latencies {
    std::array::from_fn(|percentile| {
        let mut all: Vec<_> = rounds.iter().map(|round| round[percentile]).collect();
        all.sort_unstable();
        all[rank]
    })
}

/// The clients' latencies in one run.
fn latencies((background, connections): Case) -> Latencies {
    let framing = match background {
        Lines | EmptyLines | Bursts => "line",
        _ => "chunk",
    };
    let (mut server, address) = start(framing);
    let done = AtomicBool::new(false);
    let mut latencies = thread::scope(|scope| {
        scope.spawn(|| run_background(background, connections, address, &done));
        let latencies = measure_clients(address, framing);
        done.store(true, Relaxed);
        latencies
    });
    server.kill().expect("a child can be killed");
    server.wait().expect("a child can be waited for");
    latencies.sort_unstable();
    [50, 90, 99].map(|percent| latencies[latencies.len() * percent / 100])
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

fn run_background(
    background: Background,
    connections: usize,
    address: SocketAddr,
    done: &AtomicBool,
) {
    let flood = |data: &[u8]| flood(address, connections, data, done);
    match background {
        Idle => {}
        Spinner => {
            while !done.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
        Chunks => flood(&[b'x'; 1_024]),
        Lines => flood(&b"a name\n".repeat(2_000)),
        EmptyLines => flood(&b"\n".repeat(16_384)),
        Bursts => bursts(address, connections, done),
        ConnectBursts => {
            while !done.load(Relaxed) {
                let clients: Vec<_> = (0..connections)
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
