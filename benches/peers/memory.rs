//! Resident memory per idle client: the slope between few and many clients.

use crate::cases::{MEMORY, Peer};
use crate::process::{Load, Server};

const FEW_CLIENTS: usize = 1_000;
const MANY_CLIENTS: usize = 19_000;

/// The most that an idle client may cost in the server's process.
const GOAL_BYTES: f64 = 64.0;

/// Connects the clients of [`MEMORY`], and prints what they cost.
pub(crate) fn run() {
    for peer in MEMORY.peers {
        let server = Server::start(*peer, &MEMORY, &[]);
        let at_start = server.resident_bytes();
        let mut load = Load::start(&MEMORY, server.address);
        load.send(FEW_CLIENTS);
        let few = server.resident_bytes();
        load.send(MANY_CLIENTS - FEW_CLIENTS);
        let many = server.resident_bytes();
        let slope = many.saturating_sub(few) as f64 / (MANY_CLIENTS - FEW_CLIENTS) as f64;
        let verdict = match (peer, slope <= GOAL_BYTES) {
            (Peer::Helloop, true) => "; goal 64: met",
            (Peer::Helloop, false) => "; goal 64: MISSED",
            _ => "",
        };
        let at_start = at_start as f64 / f64::from(1 << 20);
        println!("  {peer:<8} {slope:.1} bytes per client, {at_start:.1} MiB at start{verdict}");
    }
}
