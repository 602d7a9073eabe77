//! What an idle client costs: the slope of the server's resident memory.

use crate::cases::{Case, Peer, Traffic};
use crate::process::Load;

pub(crate) const NAME: &str = "memory";

const FEW_CLIENTS: usize = 1_000;
const MANY_CLIENTS: usize = 19_000;

/// Bytes of the server's process that an idle client may cost.
const GOAL_BYTES: f64 = 64.0;

/// Not compared by CPU time, so without goals of that kind.
pub(crate) const CASE: Case = Case {
    name: NAME,
    about: "resident bytes a connected, idle client, from 1,000 to 19,000 of them",
    traffic: Traffic::Guests,
    bursts: 0,
    peers: &[Peer::Helloop, Peer::Epoll, Peer::Tokio],
    goals: &[],
};

/// Connects the clients, and prints what they cost.
pub(crate) fn run() {
    println!("\n{}: {}", CASE.name, CASE.about);
    for peer in CASE.peers {
        let server = peer.start(&CASE);
        let at_start = server.resident_bytes();
        let mut load = Load::start(&CASE, server.address);
        load.send(FEW_CLIENTS);
        let few = server.resident_bytes();
        load.send(MANY_CLIENTS - FEW_CLIENTS);
        let many = server.resident_bytes();
        let slope = many.saturating_sub(few) as f64 / (MANY_CLIENTS - FEW_CLIENTS) as f64;
        let verdict = match (peer, slope <= GOAL_BYTES) {
            (Peer::Helloop, true) => "; goal 64: holds",
            (Peer::Helloop, false) => "; goal 64: does not hold",
            _ => "",
        };
        let at_start = at_start as f64 / f64::from(1 << 20);
        println!("  {peer:<8} {slope:.1} bytes a client, {at_start:.1} MiB at start{verdict}");
    }
}
