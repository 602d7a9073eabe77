//! A `helloop serve` process: how it is started, and what it reports.

use super::process::{Ended, Lines, Process, clear_environment};
use super::sockets::{ask, connect, expect, udp};
use super::{HELLOOP, TIMEOUT};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Instant;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// What a shell does before it starts the server.
    prelude: Vec<String>,
    listen: Vec<String>,
}

impl Setup {
    pub fn new(flags: &[&str]) -> Self {
        let setup = Self {
            flags: Vec::new(),
            environment: Vec::new(),
            prelude: Vec::new(),
            listen: vec!["127.0.0.1:0".to_owned()],
        };
        setup.flags(flags)
    }

    /// Adds flags of `serve`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Limits the server's descriptors: `ulimit -n`, soft and hard.
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.prelude.push(format!("ulimit -n {limit}"));
        self
    }

    /// Lets no write to a file succeed, as on a full disk: the error is EFBIG in place of ENOSPC.
    pub fn full_disk(mut self) -> Self {
        self.prelude.push("trap '' XFSZ; ulimit -f 0".to_owned());
        self
    }

    /// Starts the server with SIGHUP ignored, as nohup(1) does.
    pub fn ignoring_hangup(mut self) -> Self {
        self.prelude.push("trap '' HUP".to_owned());
        self
    }

    /// Replaces 127.0.0.1:0 by these addresses; without any, `--listen` is not given.
    pub fn listen(mut self, addresses: &[&str]) -> Self {
        self.listen = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self
    }

    /// The command that starts the server.
    pub fn command(&self) -> Command {
        let mut command = if self.prelude.is_empty() {
            Command::new(HELLOOP)
        } else {
            let script = format!("{}; exec \"$@\"", self.prelude.join("; "));
            let mut shell = Command::new("sh");
            shell.args(["-c", &script, "sh", HELLOOP]);
            shell
        };
        clear_environment(&mut command);
        command.arg("serve");
        for address in &self.listen {
            command.args(["--listen", address]);
        }
        command.args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the server, and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Server {
        let process = Process::start(self.command());
        if !process.stdout.appears("listening on ") {
            panic!("{self:?} does not listen: {:#?}", process.stderr.all());
        }
        let flag = self.flags.iter().position(|flag| flag == "--framing");
        let framing = match flag {
            Some(index) => &self.flags[index + 1],
            None => self
                .environment
                .iter()
                .find(|(name, _)| name == "HELLOOP_FRAMING")
                .map_or("chunk", |(_, value)| value),
        };
        Server {
            process,
            welcome: if framing == "line" {
                b"Welcome!\n"
            } else {
                b"Welcome!"
            },
        }
    }
}

/// A running `helloop serve`.
#[derive(Debug)]
pub struct Server {
    process: Process,
    welcome: &'static [u8],
}

impl Server {
    /// Starts the default model with `--listen 127.0.0.1:0` and these flags.
    pub fn start(flags: &[&str]) -> Self {
        Setup::new(flags).start()
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn stdout(&self) -> &Lines {
        &self.process.stdout
    }

    pub fn stderr(&self) -> &Lines {
        &self.process.stderr
    }

    /// Waits for `count` `listening on` lines, and returns each address and whether it also serves
    /// UDP.
    #[track_caller]
    pub fn addresses(&self, count: usize) -> Vec<(SocketAddr, bool)> {
        self.stdout().wait_for_count(count);
        self.stdout()
            .all()
            .iter()
            .filter_map(|line| line.strip_prefix("listening on "))
            .map(|line| {
                let (address, protocols) = line.split_once(' ').unwrap();
                assert!(["tcp", "tcp+udp"].contains(&protocols), "{line}");
                (address.parse().unwrap(), protocols == "tcp+udp")
            })
            .collect()
    }

    /// The first address, of both TCP and UDP.
    pub fn tcp_address(&self) -> SocketAddr {
        self.addresses(1)[0].0
    }

    /// Connects, and reads the welcome.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let mut stream = connect(self.tcp_address());
        expect(&mut stream, self.welcome);
        stream
    }

    /// A UDP socket connected to the server.
    #[track_caller]
    pub fn udp(&self) -> UdpSocket {
        udp(self.tcp_address())
    }

    pub fn signal(&self, which: Signal) {
        self.process.signal(which);
    }

    /// Suspends the server (SIGSTOP) and waits until it is suspended: all that is sent meanwhile
    /// is ready at once when it continues.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let id = Pid::from_raw(i32::try_from(self.id()).unwrap());
        let status = waitpid(id, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(id, Signal::SIGSTOP));
    }

    /// Continues a suspended server.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until the server exits.
    #[track_caller]
    pub fn wait(self) -> Ended {
        self.process.wait()
    }

    /// Sends SIGTERM, and waits until the server exits.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Requests the counters with SIGUSR1, and returns the line that the server logs.
    #[track_caller]
    pub fn counters(&self) -> String {
        let start = self.stderr().len();
        self.signal(Signal::SIGUSR1);
        self.stderr().wait_after(start, "; messages ")
    }

    /// Waits until the server has read `count` messages, and returns all counters.
    #[track_caller]
    pub fn wait_for_messages(&self, count: u64) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let counters = self.counters();
            if counter(&counters, "messages ") >= count {
                return counters;
            }
            assert!(Instant::now() < deadline, "{counters}");
            thread::yield_now();
        }
    }

    /// The number of the server's threads.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        self.entries_of("task")
    }

    /// The number of the server's open descriptors.
    #[cfg(target_os = "linux")]
    pub fn open_descriptors(&self) -> usize {
        self.entries_of("fd")
    }

    /// The server's resident memory (RSS). Linux only.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/smaps_rollup", self.id());
        let rollup = std::fs::read_to_string(path).unwrap();
        let rss = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kibibytes = rss.unwrap().trim().trim_end_matches(" kB");
        1_024 * kibibytes.parse::<u64>().unwrap()
    }

    #[cfg(target_os = "linux")]
    fn entries_of(&self, directory: &str) -> usize {
        let path = format!("/proc/{}/{directory}", self.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Asserts that the server answers a new client.
    #[track_caller]
    pub fn assert_serves(&self) {
        let mut stream = self.connect();
        if self.welcome.ends_with(b"\n") {
            ask(&mut stream, b"Ada\n", b"Hello, Ada!\n");
        } else {
            ask(&mut stream, b"Ada", b"Hello, Ada!");
        }
    }
}

/// The number after `name` in a line of counters; 0 if there is none.
pub fn counter(counters: &str, name: &str) -> u64 {
    let rest = counters.split(name).nth(1).unwrap_or_default();
    let digits = rest.find(|letter: char| !letter.is_ascii_digit());
    let digits = &rest[..digits.unwrap_or(rest.len())];
    digits.parse().unwrap_or_default()
}
