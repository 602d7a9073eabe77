//! Servers and load generators as child processes, each pinned to its CPU.
//!
//! **Owns** the children: they end with their handle.

use crate::cases::{Case, Peer};
use helloop::protocol::greeting::Framing;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// Prints the machine that the figures come from, with a warning if it distorts them.
pub(crate) fn print_machine() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches(['\t', ':', ' ']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cpus} CPUs, {model}, Linux {}", kernel.trim());
    if cpus < 2 {
        println!("warning: server and load generator share one CPU and its caches");
    }
}

/// Pins this process, and the processes that it starts from now on, to one CPU. Fails, and changes
/// nothing, on a machine without that CPU.
fn pin_to(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a small CPU number");
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
}

fn spawn(program: impl AsRef<OsStr>, arguments: &[&str], cpu: usize) -> Child {
    pin_to(cpu);
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process can be started");
    pin_to(LOAD_CPU);
    child
}

/// A listening server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    clock: ClockId,
}

impl Server {
    /// Starts `peer` for `case`: helloop's binary, or this bench as a server. `flags` are for
    /// helloop only.
    pub(crate) fn start(peer: Peer, case: &Case, flags: &[&str]) -> Self {
        let framing = match case.framing() {
            Framing::Chunk => "chunk",
            Framing::Line => "line",
        };
        let helloop = |flags: &[&str]| {
            let arguments = [
                "serve",
                "--quiet",
                "--listen",
                "127.0.0.1:0",
                "--framing",
                framing,
            ];
            let program = env!("CARGO_BIN_EXE_helloop");
            spawn(program, &[&arguments, flags].concat(), SERVER_CPU)
        };
        Self::listening(match peer {
            Peer::Helloop => helloop(flags),
            Peer::Threads => helloop(&["--model", "threads"]),
            Peer::Epoll | Peer::EpollAgain | Peer::Tokio => spawn(
                this_bench(),
                &["as-server", peer.name(), case.name],
                SERVER_CPU,
            ),
        })
    }

    /// Waits for the server's first line, which holds its address.
    fn listening(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("the server's first line");
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        Self {
            address: address.expect("an address in the server's first line"),
            clock: clock_getcpuclockid(pid_of(&child)).expect("the clock of a child"),
            child,
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// User and system time of all threads so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.clock.now().expect("the server is alive").into()
    }

    /// Resident memory (RSS). Socket buffers are kernel memory, and not part of it.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path).expect("the memory map of a child");
        let field = |name| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().next());
            kilobytes.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        1_024 * field("Rss:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A load generator: the connected clients of a case.
#[derive(Debug)]
pub(crate) struct Load {
    child: Child,
    commands: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Load {
    /// Starts the clients, and waits until all have their welcome.
    pub(crate) fn start(case: &Case, address: SocketAddr) -> Self {
        let address = address.to_string();
        let mut child = spawn(this_bench(), &["as-load", case.name, &address], LOAD_CPU);
        let mut load = Self {
            commands: child.stdin.take().expect("a pipe"),
            results: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        };
        load.result();
        load
    }

    /// Runs `bursts`. Returns the number of messages, all of them answered; for a storm, its
    /// duration in milliseconds.
    pub(crate) fn send(&mut self, bursts: usize) -> u64 {
        writeln!(self.commands, "{bursts}").expect("the load reads commands");
        self.result()
    }

    fn result(&mut self) -> u64 {
        let mut line = String::new();
        let read = self.results.read_line(&mut line);
        read.expect("the load answers");
        line.trim()
            .parse()
            .expect("a count: if the load failed, its message is above")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn this_bench() -> PathBuf {
    env::current_exe().expect("the path of this bench")
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("process ids are 31 bits"))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
