//! Very many clients at the same moment: is anybody left waiting?
//!
//! A listener whose queue is full drops a client's SYN, and the client's system sends it again
//! after one second, then two, four, ... The kernel counts those.

use crate::cases::{Case, Peer, Traffic};
use crate::load;
use crate::process::{Load, Server};
use helloop::protocol::greeting::Framing;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

pub(crate) const NAME: &str = "storm";

/// Storms a peer: each takes a second or two, or half a minute where it goes wrong.
pub(crate) const ROUNDS: usize = 3;

const CLIENTS: usize = 19_000;

/// Not compared by CPU time, so without goals of that kind.
pub(crate) const CASE: Case = Case {
    name: NAME,
    about: "19,000 clients connect at once, and each waits for its welcome",
    traffic: Traffic::Storm { clients: CLIENTS },
    bursts: 1,
    peers: &[Peer::Helloop, Peer::Epoll, Peer::Tokio],
    goals: &[],
};

/// Runs the storms, and prints what the clients met.
pub(crate) fn run(rounds: usize) {
    println!("\n{}: {}", CASE.name, CASE.about);
    for peer in CASE.peers {
        let (mut sent_again, mut slowest, mut cost) = (Vec::new(), 0, Vec::new());
        for _ in 0..rounds {
            let server: Server = peer.start(&CASE);
            let mut load = Load::start(&CASE, server.address);
            let (before, cpu) = (syns_sent_again(), server.cpu_time());
            slowest = load.send(1).max(slowest);
            sent_again.push(syns_sent_again() - before);
            let nanoseconds = (server.cpu_time() - cpu).as_nanos() as f64;
            cost.push(format!("{:.1}", nanoseconds / 1_000.0 / CLIENTS as f64));
        }
        let goal = match (peer, sent_again.iter().sum()) {
            (Peer::Helloop, 0_u64) => "; goal none: holds",
            (Peer::Helloop, _) => "; goal none: does not hold",
            _ => "",
        };
        println!(
            "  {peer:<8} SYNs sent again {sent_again:?}, slowest storm {slowest} ms, \
             CPU time a client {} us{goal}",
            cost.join(", ")
        );
    }
}

/// The clients' side: all connect, and then all read. Returns how many milliseconds passed till
/// the last had its welcome.
pub(crate) fn connect_all(server: SocketAddr, clients: usize) -> usize {
    let started = Instant::now();
    let streams: Vec<TcpStream> = (0..clients)
        .map(|number| connect(number, server).expect("a connection under way"))
        .collect();
    for mut stream in streams.into_iter() {
        stream.set_nonblocking(false).expect("a flag");
        load::read_welcome(&mut stream, Framing::Chunk);
    }
    started.elapsed().as_millis() as usize
}

/// Starts a connection and does not wait for it.
fn connect(number: usize, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = load::open(number)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}

/// SYNs that this system has sent again so far.
fn syns_sent_again() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").expect("the kernel's counters");
    let mut rows = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "TCPSynRetrans");
    found
        .and_then(|(_, value)| value.parse().ok())
        .expect("a count")
}
