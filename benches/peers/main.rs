//! CPU time per message of servers that speak the same protocol, side by side.
//!
//! ```text
//! cargo bench --bench peers                         all cases
//! cargo bench --bench peers -- lines --rounds 15    one case, more rounds
//! cargo bench --bench peers -- --syscalls           system calls per message, by strace
//! ```
//!
//! The peers are helloop; a hand-written epoll loop with the fewest system calls and no safety,
//! which is the lower bound; the same loop again, which gives the spread of the measurement
//! (A/A); tokio as its guide writes it; and one thread per client, as in the tutorial.
//!
//! Each server and each load generator is its own process, servers on one CPU and load
//! generators on the other. Each round starts all peers afresh, and interleaves short slices of
//! the same load. The figure is the CPU time of the server's process per message, which the
//! kernel accounts to the nanosecond. On a shared machine CPU time is steady; throughput is not.
//!
//! Imports run one way:
//!
//! ```text
//! main ─┬─> growth ──> compare ─┐
//!       ├─> memory, storm       ├─> process ──> cases      the measurements
//!       ├─> syscalls ───────────┘
//!       ├─> serve ──> epoll, epoll_udp, tokio_tasks        the child process as a server
//!       └─> load ──────────────────────────────> cases     the child process as clients
//! ```

mod cases;
mod compare;
mod epoll;
mod epoll_udp;
mod growth;
mod load;
mod memory;
mod process;
mod serve;
mod storm;
mod syscalls;
mod tokio_tasks;

use cases::{CASES, Case, GROWTH, MEMORY, Peer, STORM};
use clap::Parser;
use std::env;

/// Compares helloop with its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Run only these cases. [default: all]
    cases: Vec<String>,
    /// Rounds per case: more rounds give steadier medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Count system calls with strace instead of measuring CPU time.
    #[arg(long)]
    syscalls: bool,
    /// What cargo passes to each bench; without it (`cargo test --benches`) one round is run.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["as-server", peer, case] => serve::run(Peer::named(peer), Case::named(case)),
        ["as-load", case, address] => load::run(
            Case::named(case),
            address
                .parse()
                .expect("the address that the server printed"),
        ),
        _ => measure(&Options::parse()),
    }
}

fn measure(options: &Options) {
    let rounds = if options.bench { options.rounds } else { 1 };
    let _ = helloop::testing::raise_descriptor_limit();
    process::print_machine();
    let chosen =
        |name: &str| options.cases.is_empty() || options.cases.iter().any(|case| case == name);
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        println!("\n{}: {}", case.name, case.about);
        if options.syscalls {
            syscalls::count(case);
        } else {
            compare::run(case, rounds);
        }
    }
    if options.syscalls {
        return;
    }
    if chosen(growth::NAME) {
        println!("\n{}: {}", growth::NAME, GROWTH[0].about);
        growth::run(rounds);
    }
    if chosen(STORM.name) {
        println!("\n{}: {}", STORM.name, STORM.about);
        storm::run(rounds.min(storm::MAX_ROUNDS));
    }
    if chosen(MEMORY.name) {
        println!("\n{}: {}", MEMORY.name, MEMORY.about);
        memory::run();
    }
}
