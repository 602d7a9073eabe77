//! Rounds, medians, and whether the goals are met.
//!
//! **Invariant**: a ratio compares two peers within the same slice only. On a shared machine the
//! cost per message drifts from minute to minute; within a second two servers drift together.

use crate::cases::{Case, Goal, Peer};
use crate::process::{Load, Server};
use std::time::Duration;

/// Slices per round.
const SLICES: usize = 10;

/// One server with its clients.
#[derive(Debug)]
pub(crate) struct Contender {
    server: Server,
    load: Load,
    /// Bursts per slice.
    bursts: usize,
    /// CPU time per message in nanoseconds, by slice.
    pub(crate) costs: Vec<f64>,
}

impl Contender {
    pub(crate) fn new(server: Server, load: Load, bursts: usize) -> Self {
        Self {
            server,
            load,
            bursts,
            costs: Vec::new(),
        }
    }

    /// Serves the load of one slice. Returns the cost per message in nanoseconds.
    fn slice(&mut self, bursts: usize) -> f64 {
        let before = self.server.cpu_time();
        let messages = self.load.send(bursts);
        let cost: Duration = self.server.cpu_time() - before;
        cost.as_nanos() as f64 / messages as f64
    }
}

/// The costs of all peers in one round, by slice.
type Round = Vec<(Peer, Vec<f64>)>;

/// Measures `case`, and prints costs, ratios and goals.
pub(crate) fn run(case: &Case, rounds: usize) {
    let rounds: Vec<Round> = (0..rounds).map(|_| round(case)).collect();
    print!("  CPU time per message:");
    for peer in case.peers.iter().filter(|peer| **peer != Peer::EpollAgain) {
        let costs = rounds.iter().flat_map(|round| costs(round, *peer));
        print!("  {peer} {:.0} ns", median(costs.copied()));
    }
    println!();
    let spread =
        median(ratios(&rounds, Peer::EpollAgain, Peer::Epoll).map(|ratio| (ratio - 1.0).abs()));
    for Goal { peer, at_most } in case.goals {
        let ratios: Vec<f64> = ratios(&rounds, Peer::Helloop, *peer).collect();
        let ratio = median(ratios.iter().copied());
        let verdict = if ratio - spread <= *at_most {
            "met"
        } else {
            "MISSED"
        };
        println!(
            "  helloop / {peer:<7} {ratio:.3}  (rounds {:.3} to {:.3}; A/A spread {spread:.3}; \
             goal {at_most:.2}): {verdict}",
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
    }
}

/// One round: all peers of `case`, started afresh and interleaved.
fn round(case: &Case) -> Round {
    let start = |peer: &Peer| {
        let server = Server::start(*peer, case, &[]);
        let load = Load::start(case, server.address);
        Contender::new(server, load, case.bursts)
    };
    let mut contenders: Vec<_> = case.peers.iter().map(start).collect();
    interleave(&mut contenders);
    let costs = contenders.into_iter().map(|contender| contender.costs);
    case.peers.iter().copied().zip(costs).collect()
}

/// Runs the contenders' slices in turn, after a short warm-up. Each slice starts with a different
/// contender, so that none benefits from its position.
pub(crate) fn interleave(contenders: &mut [Contender]) {
    for contender in &mut *contenders {
        contender.slice(contender.bursts.div_ceil(4));
    }
    for slice in 0..SLICES {
        let first = slice % contenders.len();
        for position in 0..contenders.len() {
            let contender = &mut contenders[(first + position) % contenders.len()];
            let cost = contender.slice(contender.bursts);
            contender.costs.push(cost);
        }
    }
}

/// One ratio per round: the median over its slices of `peer`'s cost divided by `base`'s.
fn ratios(rounds: &[Round], peer: Peer, base: Peer) -> impl Iterator<Item = f64> {
    rounds.iter().map(move |round| {
        let pairs = costs(round, peer).iter().zip(costs(round, base));
        median(pairs.map(|(cost, base)| cost / base))
    })
}

fn costs(round: &Round, wanted: Peer) -> &[f64] {
    let found = round.iter().find(|(peer, _)| *peer == wanted);
    &found.expect("a peer of this case").1
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}
