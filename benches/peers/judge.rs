//! Rounds, medians and verdicts.
//!
//! **Invariant**: only figures of one and the same slice are ever divided by each other. What a
//! message costs differs from minute to minute on a shared machine; what it costs in turn with
//! another server, in the same second, differs little.

use crate::cases::{Case, Goal, Peer};
use crate::process::{Load, Server};
use std::time::Duration;

/// Slices of one round.
const SLICES: usize = 10;

/// One server with its clients.
#[derive(Debug)]
pub(crate) struct Contender {
    server: Server,
    load: Load,
    /// Bursts of one slice.
    bursts: usize,
    /// CPU time a message, in nanoseconds, by slice.
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

    /// Has the load of one slice served, and returns what a message cost, in nanoseconds.
    fn slice(&mut self, bursts: usize) -> f64 {
        let before = self.server.cpu_time();
        let messages = self.load.send(bursts);
        let cost: Duration = self.server.cpu_time() - before;
        cost.as_nanos() as f64 / messages as f64
    }
}

/// The costs of all contenders, slice by slice, of one round.
type Round = Vec<(Peer, Vec<f64>)>;

/// Measures `case` and prints what came of it.
pub(crate) fn judge(case: &Case, rounds: usize) {
    let rounds: Vec<Round> = (0..rounds).map(|_| play(case)).collect();
    print!("  CPU time a message:");
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
            "holds"
        } else {
            "does not hold"
        };
        println!(
            "  helloop / {peer:<7} {ratio:.3}  (rounds {:.3} to {:.3}; A against A {spread:.3}; \
             goal {at_most:.2}): {verdict}",
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
    }
}

/// Starts all contenders afresh, and has them take turns.
fn play(case: &Case) -> Round {
    let start = |peer: &Peer| {
        let server = peer.start(case);
        let load = Load::start(case, server.address);
        Contender::new(server, load, case.bursts)
    };
    let mut contenders: Vec<_> = case.peers.iter().map(start).collect();
    take_turns(&mut contenders);
    let costs = contenders.into_iter().map(|contender| contender.costs);
    case.peers.iter().copied().zip(costs).collect()
}

/// Has each contender served slice after slice, in turn. Each slice begins with another one, so
/// that none profits from its place.
pub(crate) fn take_turns(contenders: &mut [Contender]) {
    for contender in &mut *contenders {
        contender.slice(contender.bursts.div_ceil(4));
    }
    for slice in 0..SLICES {
        let first = slice % contenders.len();
        for turn in 0..contenders.len() {
            let contender = &mut contenders[(first + turn) % contenders.len()];
            let cost = contender.slice(contender.bursts);
            contender.costs.push(cost);
        }
    }
}

/// One ratio a round: the median over its slices of one peer's cost over the other's.
fn ratios(rounds: &[Round], peer: Peer, over: Peer) -> impl Iterator<Item = f64> {
    rounds.iter().map(move |round| {
        let pairs = costs(round, peer).iter().zip(costs(round, over));
        median(pairs.map(|(cost, other)| cost / other))
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
