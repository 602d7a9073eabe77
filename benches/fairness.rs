//! How long fifty polite clients wait while somebody else does not behave: one client that
//! floods as fast as it can, in both framings, and a burst of 5,000 connects.
//!
//! Each round measures every case in turn, so that what else the machine does meets them all.
//! The server has a processor of its own; the polite ones share theirs with the flood. The
//! yardstick is a thread that only spins, in the flood's place: what the sharing costs is the
//! machine's doing, and what is over that the server's. Goal: the 99th percentile is at most
//! three times the spinner's.

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
/// Messages measured in one case of one round: enough for a 99th percentile.
const MESSAGES: usize = 2_000;
const BURST: usize = 5_000;
const GOAL: f64 = 3.0;

/// Who is there beside the polite ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Nobody,
    Spinner,
    FloodOfChunks,
    FloodOfLines,
    FloodOfEmptyLines,
    Burst,
}

const ALL: [Company; 6] = [
    Company::Nobody,
    Company::Spinner,
    Company::FloodOfChunks,
    Company::FloodOfLines,
    Company::FloodOfEmptyLines,
    Company::Burst,
];

const SERVER_CPU: usize = 0;
const CLIENTS_CPU: usize = 1;

fn main() {
    pin(Pid::from_raw(0), CLIENTS_CPU);
    let _ = helloop::net::system::raise_descriptor_limit();
    let mut waits: Vec<Vec<Duration>> = vec![Vec::new(); ALL.len()];
    for _ in 0..ROUNDS {
        for (company, waits) in ALL.iter().zip(&mut waits) {
            waits.push(percentile_99(*company));
        }
    }
    for waits in &mut waits {
        waits.sort_unstable();
    }
    let median = |company: Company| {
        let index = ALL.iter().position(|other| *other == company);
        waits[index.expect("all are measured")][ROUNDS / 2]
    };
    let spinner = median(Company::Spinner);
    println!("p99 of {CLIENTS} polite clients, median of {ROUNDS} rounds of {MESSAGES} messages");
    for (company, waits) in ALL.iter().zip(&waits) {
        let ratio = median(*company).as_secs_f64() / spinner.as_secs_f64();
        println!(
            "{:18} {:>9.3?} ({:.3?} to {:.3?})  {ratio:.2} of the spinner's{}",
            format!("{company:?}"),
            median(*company),
            waits[0],
            waits[ROUNDS - 1],
            if ratio <= GOAL { "" } else { "  GOAL MISSED" }
        );
    }
}

/// The 99th percentile of a polite client's wait, in this company.
fn percentile_99(company: Company) -> Duration {
    let framing = match company {
        Company::FloodOfLines | Company::FloodOfEmptyLines => "line",
        _ => "chunk",
    };
    let (mut server, address) = start(framing);
    let over = AtomicBool::new(false);
    let mut waits = thread::scope(|scope| {
        scope.spawn(|| keep_company(company, address, &over));
        let waits = ask_politely(address, framing);
        over.store(true, Relaxed);
        waits
    });
    server.kill().expect("the server is ours");
    server.wait().expect("and has ended");
    waits.sort_unstable();
    waits[waits.len() * 99 / 100]
}

/// Keeps a process, 0 for this thread and those it starts, on one processor.
fn pin(process: Pid, cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).expect("a small number");
    if let Err(error) = sched_setaffinity(process, &set) {
        println!("note: not pinned to processor {cpu} ({error}): the figures mean less");
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
    let stdout = server.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut line)
        .expect("the server says where it listens");
    let address = line.split(' ').nth(2).and_then(|word| word.parse().ok());
    (server, address.expect("an address"))
}

/// One message a millisecond, each from the next client, each reply checked.
fn ask_politely(address: SocketAddr, framing: &str) -> Vec<Duration> {
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
    let mut waits = Vec::with_capacity(MESSAGES);
    for turn in 0..MESSAGES {
        thread::sleep(Duration::from_millis(1)); // the pace of polite people, not a wait for anything
        let stream = &mut clients[turn % CLIENTS];
        let asked = Instant::now();
        stream.write_all(b"Ada\n").expect("the server reads");
        stream.read_exact(&mut reply).expect("a reply");
        waits.push(asked.elapsed());
        assert_eq!(&reply, b"Hello, Ada!\n");
    }
    waits
}

fn keep_company(company: Company, address: SocketAddr, over: &AtomicBool) {
    match company {
        Company::Nobody => {}
        Company::Spinner => {
            while !over.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
        Company::FloodOfChunks => flood(address, &[b'x'; 1_024], over),
        Company::FloodOfLines => flood(address, &b"a name\n".repeat(2_000), over),
        Company::FloodOfEmptyLines => flood(address, &b"\n".repeat(16_384), over),
        Company::Burst => {
            while !over.load(Relaxed) {
                let clients: Vec<_> = (0..BURST).map(|_| TcpStream::connect(address)).collect();
                drop(clients);
            }
        }
    }
}

/// Sends as fast as the socket takes it, and reads what comes, so that nothing but the server
/// itself slows it down.
fn flood(address: SocketAddr, words: &[u8], over: &AtomicBool) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nonblocking(true).expect("a socket can be that");
    let mut input = vec![0; 256 * 1_024];
    while !over.load(Relaxed) {
        let _ = stream.write(words);
        let _ = stream.read(&mut input);
    }
}
