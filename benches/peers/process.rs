//! Servers and loads as processes: started on their CPU, asked for their CPU time, ended.

use crate::cases::Case;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

const SERVER_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// Says where the figures come from, and what is wrong with them if something is.
pub(crate) fn announce_machine() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |line| line.trim_start_matches(['\t', ':', ' ']));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("{cpus} CPUs, {model}, Linux {}", kernel.trim());
    if cpus < 2 {
        println!("warning: server and load share one CPU, and each other's caches");
    }
}

/// Binds this process, and whatever it starts from here on, to one CPU. With one CPU only there
/// is nothing to choose.
fn run_on(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu).expect("a small number of a CPU");
    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
}

fn spawn(program: impl AsRef<OsStr>, arguments: &[&str], cpu: usize) -> Child {
    run_on(cpu);
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process can be started");
    run_on(LOAD_CPU);
    child
}

/// A server, listening.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    clock: ClockId,
}

impl Server {
    /// Starts `program`, and waits for the line in which it tells its address.
    pub(crate) fn start(program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        let mut child = spawn(program, arguments, SERVER_CPU);
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

    /// User and system time of all its threads so far.
    pub(crate) fn cpu_time(&self) -> Duration {
        self.clock.now().expect("the server is alive").into()
    }

    /// Bytes of its own that are resident: neither the program's text nor the kernel's memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path).expect("what the kernel tells of the server");
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

/// The clients of a case, connected.
#[derive(Debug)]
pub(crate) struct Load {
    child: Child,
    orders: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Load {
    /// Starts the clients, and waits until all are connected and welcomed.
    pub(crate) fn start(case: &Case, address: SocketAddr) -> Self {
        let bench = std::env::current_exe().expect("the path of this bench");
        let address = address.to_string();
        let mut child = spawn(bench, &["as-load", case.name, &address], LOAD_CPU);
        let mut load = Self {
            orders: child.stdin.take().expect("a pipe"),
            results: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        };
        load.result();
        load
    }

    /// Has `bursts` sent and answered, and returns how many messages they were.
    pub(crate) fn send(&mut self, bursts: usize) -> u64 {
        writeln!(self.orders, "{bursts}").expect("the load listens");
        self.result()
    }

    fn result(&mut self) -> u64 {
        let mut line = String::new();
        let read = self.results.read_line(&mut line);
        read.expect("the load answers");
        line.trim()
            .parse()
            .expect("the load has failed, and said why")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().expect("process ids are 31 bits"))
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
