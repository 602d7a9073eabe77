//! How helloop's cost grows with the number of connected clients.
//!
//! Three costs: per message with 100 active clients; the same when each message also moves a
//! deadline (the client's idle timeout); and a whole turn, its wait included, for one active
//! client. Active clients sit far apart in the slab.

use crate::cases::{Case, GROWTH, Peer};
use crate::compare::{Contender, interleave, median};
use crate::process::{Load, Server};

pub(crate) const NAME: &str = "growth";

/// A deadline that moves with each message and never fires.
const FAR_DEADLINE: [&str; 2] = ["--idle-timeout", "1h"];

/// What is measured at each size: its name, the cases, and the server's flags.
const ROWS: [(&str, &[Case], &[&str]); 3] = [
    (
        "message, 100 active",
        GROWTH.first_chunk::<3>().unwrap(),
        &[],
    ),
    (
        "message that moves a deadline",
        GROWTH.first_chunk::<3>().unwrap(),
        &FAR_DEADLINE,
    ),
    ("turn, 1 active", GROWTH.last_chunk::<3>().unwrap(), &[]),
];

/// Measures, and prints one row for each cost.
pub(crate) fn run(rounds: usize) {
    println!("  CPU time per                    100 clients      5,000     19,000   19,000 / 100");
    for (name, cases, flags) in ROWS {
        let rounds: Vec<Vec<Vec<f64>>> = (0..rounds).map(|_| round(cases, flags)).collect();
        let cost =
            |size: usize| median(rounds.iter().flat_map(|round| round[size].iter().copied()));
        let ratios = rounds.iter().map(|round| {
            let pairs = round[2].iter().zip(&round[0]);
            median(pairs.map(|(many, few)| many / few))
        });
        println!(
            "  {name:<30} {:>9.0} ns {:>7.0} ns {:>7.0} ns {:>14.3}",
            cost(0),
            cost(1),
            cost(2),
            median(ratios),
        );
    }
}

/// One round: a server for each size, interleaved. Returns their costs by slice.
fn round(cases: &[Case], flags: &[&str]) -> Vec<Vec<f64>> {
    let start = |case: &Case| {
        let server = Server::start(Peer::Helloop, case, flags);
        let load = Load::start(case, server.address);
        Contender::new(server, load, case.bursts)
    };
    let mut contenders: Vec<Contender> = cases.iter().map(start).collect();
    interleave(&mut contenders);
    contenders
        .into_iter()
        .map(|contender| contender.costs)
        .collect()
}
