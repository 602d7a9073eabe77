//! A connection storm: does every client get its welcome at once?
//!
//! A listener whose accept queue is full drops a client's SYN. The client's kernel retransmits
//! it after one second, then two, four, and so on, and counts the retransmissions.

use crate::cases::{Peer, STORM, STORM_CLIENTS};
use crate::process::{Load, Server};
use std::fs;

/// The most storms per peer. Each takes a second or two, or half a minute if SYNs are dropped.
pub(crate) const MAX_ROUNDS: usize = 3;

/// Runs the storms of [`STORM`], and prints what the clients saw.
pub(crate) fn run(rounds: usize) {
    for peer in STORM.peers {
        let (mut retransmits, mut slowest, mut cost) = (Vec::new(), 0, Vec::new());
        for _ in 0..rounds {
            let server = Server::start(*peer, &STORM, &[]);
            let mut load = Load::start(&STORM, server.address);
            let (before, cpu) = (syn_retransmits(), server.cpu_time());
            slowest = load.send(1).max(slowest);
            retransmits.push(syn_retransmits() - before);
            let nanoseconds = (server.cpu_time() - cpu).as_nanos() as f64;
            cost.push(format!(
                "{:.1}",
                nanoseconds / 1_000.0 / STORM_CLIENTS as f64
            ));
        }
        let goal = match (peer, retransmits.iter().sum()) {
            (Peer::Helloop, 0_u64) => "; goal none: met",
            (Peer::Helloop, _) => "; goal none: MISSED",
            _ => "",
        };
        println!(
            "  {peer:<8} SYN retransmits {retransmits:?}, slowest storm {slowest} ms, \
             CPU time per client {} us{goal}",
            cost.join(", ")
        );
    }
}

/// SYNs that this system has retransmitted so far.
fn syn_retransmits() -> u64 {
    let netstat = fs::read_to_string("/proc/net/netstat").expect("the kernel's counters");
    let mut rows = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "TCPSynRetrans");
    found
        .and_then(|(_, value)| value.parse().ok())
        .expect("a count")
}
