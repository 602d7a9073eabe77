//! How this server's cost grows with the clients that are connected to it.
//!
//! What a message costs while 100 of them talk; what it costs if each message also moves a
//! deadline, the client's idle timeout; and what a whole turn costs, with its wait, for one
//! client that talks alone. Those who talk sit far apart in the slab.

use crate::cases::{Case, Peer, chunks};
use crate::judge::{Contender, median, take_turns};
use crate::process::Load;

pub(crate) const NAME: &str = "growth";

const ABOUT: &str = "this server alone, with more and more clients connected";

/// A deadline that moves at each message, and never comes.
const FAR_DEADLINE: [&str; 2] = ["--idle-timeout", "1h"];

const fn case(name: &'static str, clients: usize, active: usize, bursts: usize) -> Case {
    Case {
        name,
        about: ABOUT,
        traffic: chunks(clients, active),
        bursts,
        peers: &[Peer::Helloop],
        goals: &[],
    }
}

pub(crate) const CASES: [Case; 6] = [
    case("growth-100", 100, 100, 60),
    case("growth-5000", 5_000, 100, 60),
    case("growth-19000", 19_000, 100, 60),
    case("growth-100-one", 100, 1, 2_000),
    case("growth-5000-one", 5_000, 1, 2_000),
    case("growth-19000-one", 19_000, 1, 2_000),
];

/// What is measured at each size: its name, the cases, and the flags of the server.
const ROWS: [(&str, &[Case], &[&str]); 3] = [
    (
        "a message, 100 talk",
        CASES.first_chunk::<3>().unwrap(),
        &[],
    ),
    (
        "the same, and a deadline moved",
        CASES.first_chunk::<3>().unwrap(),
        &FAR_DEADLINE,
    ),
    ("a turn, one talks", CASES.last_chunk::<3>().unwrap(), &[]),
];

/// Measures, and prints a row for each kind of work.
pub(crate) fn run(rounds: usize) {
    println!("\n{NAME}: {ABOUT}");
    println!("  CPU time                        100 clients      5,000     19,000   19,000 / 100");
    for (name, cases, flags) in ROWS {
        let rounds: Vec<Vec<Vec<f64>>> = (0..rounds).map(|_| play(cases, flags)).collect();
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

/// One round: a server of each size, in turn, and their costs by slice.
fn play(cases: &[Case], flags: &[&str]) -> Vec<Vec<f64>> {
    let start = |case: &Case| {
        let server = Peer::Helloop.start_with(case, flags);
        let load = Load::start(case, server.address);
        Contender::new(server, load, case.bursts)
    };
    let mut contenders: Vec<Contender> = cases.iter().map(start).collect();
    take_turns(&mut contenders);
    contenders
        .into_iter()
        .map(|contender| contender.costs)
        .collect()
}
