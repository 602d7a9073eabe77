//! System calls per message, counted by strace.
//!
//! strace is attached once all clients are connected, so only messages are counted. It slows the
//! servers down, so more events are ready per wait: reads and writes per message are exact, waits
//! per message are too low.

use crate::cases::{Case, Peer};
use crate::process::{Load, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};

/// Bursts that are counted.
const BURSTS: usize = 10;

/// Prints the system calls per message of each peer of `case`.
pub(crate) fn count(case: &Case) {
    for peer in case.peers.iter().filter(|peer| **peer != Peer::EpollAgain) {
        let server = Server::start(*peer, case, &[]);
        let mut load = Load::start(case, server.address);
        load.send(1);
        let Some(strace) = Strace::attach(server.pid()) else {
            println!("  strace is missing, or may not attach (install it; see ptrace_scope)");
            return;
        };
        let messages = load.send(BURSTS);
        let calls = strace.detach();
        print!("  {peer:<8}");
        for (name, count) in calls {
            print!(" {name} {:.3}", count as f64 / messages as f64);
        }
        println!("  ({messages} messages)");
    }
}

/// strace, attached to another process.
struct Strace {
    child: Child,
    report: BufReader<ChildStderr>,
}

impl Strace {
    fn attach(server: Pid) -> Option<Self> {
        let mut child = Command::new("strace")
            .args(["-c", "-f", "-U", "name,calls", "-p", &server.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        let mut report = BufReader::new(child.stderr.take()?);
        let mut line = String::new();
        report.read_line(&mut line).ok()?;
        line.contains("attached").then_some(Self { child, report })
    }

    /// Ends strace. Returns its counts by system call.
    fn detach(mut self) -> Vec<(String, u64)> {
        let strace = Pid::from_raw(self.child.id().try_into().expect("process ids are 31 bits"));
        kill(strace, Signal::SIGINT).expect("strace still runs");
        let mut report = String::new();
        let read = self.report.read_to_string(&mut report);
        read.expect("strace's summary");
        let _ = self.child.wait();
        let rows = report.lines().filter_map(|line| {
            let (name, calls) = line.trim().split_once(char::is_whitespace)?;
            Some((name.to_owned(), calls.trim().parse().ok()?))
        });
        rows.filter(|(name, _)| name != "total").collect()
    }
}
