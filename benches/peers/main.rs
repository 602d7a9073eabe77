//! Servers of one protocol, side by side: what does a message cost the server's process?
//!
//! ```text
//! cargo bench --bench peers                         all cases
//! cargo bench --bench peers -- lines --rounds 15    one case, more rounds
//! cargo bench --bench peers -- --syscalls           system calls a message, by strace
//! ```
//!
//! The contenders: this server; a hand-written epoll loop with the fewest system calls and no
//! safety, which is the limit; the same loop again, whose distance from itself is the spread
//! of the measurement; tokio as its guide writes it; and the tutorial's thread a client.
//!
//! Each server and each load is a process of its own, servers on one CPU and loads on the
//! other. In a round all contenders are started afresh, and take turns in short slices of the
//! same load. The figure is the CPU time of the server's process a message, as the kernel
//! accounts it to the nanosecond: rates depend on what else the machine does, CPU time hardly.

mod cases;
mod epoll;
mod epoll_udp;
mod growth;
mod judge;
mod load;
mod memory;
mod process;
mod storm;
mod syscalls;
mod tasks;

use cases::{CASES, Case, Peer};
use clap::Parser;
use std::env;

/// Compares this server with its peers.
#[derive(Debug, Parser)]
struct Options {
    /// Run only these cases. [default: all]
    cases: Vec<String>,
    /// Rounds a case: more of them make the medians steadier.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Count system calls by strace instead of measuring CPU time.
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
        ["as-server", peer, case] => Peer::named(peer).serve(Case::named(case)),
        ["as-load", case, address] => load::run(
            Case::named(case),
            address
                .parse()
                .expect("the address that the server printed"),
        ),
        _ => compare(&Options::parse()),
    }
}

fn compare(options: &Options) {
    let rounds = if options.bench { options.rounds } else { 1 };
    let _ = helloop::net::system::raise_descriptor_limit();
    process::announce_machine();
    let chosen =
        |name: &str| options.cases.is_empty() || options.cases.iter().any(|case| case == name);
    for case in CASES.iter().filter(|case| chosen(case.name)) {
        println!("\n{}: {}", case.name, case.about);
        if options.syscalls {
            syscalls::count(case);
        } else {
            judge::judge(case, rounds);
        }
    }
    if chosen(growth::NAME) && !options.syscalls {
        growth::run(rounds);
    }
    if chosen(storm::NAME) && !options.syscalls {
        storm::run(rounds.min(storm::ROUNDS));
    }
    if chosen(memory::NAME) && !options.syscalls {
        memory::run();
    }
}
