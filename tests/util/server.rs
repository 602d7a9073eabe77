//! A server: how it is started, and what it says of itself.

use super::process::{Ended, Lines, Process, clear_environment};
use super::sockets::{ask, connect, expect, udp};
use super::{HELLOOP, LIMIT};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::Instant;

/// A server to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    descriptors: Option<u32>,
    listen: Vec<String>,
}

impl Setup {
    pub fn new(flags: &[&str]) -> Self {
        let setup = Self {
            flags: Vec::new(),
            environment: Vec::new(),
            descriptors: None,
            listen: vec!["127.0.0.1:0".to_owned()],
        };
        setup.flags(flags)
    }

    /// Further flags of `serve`.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The most descriptors that the server may have: `ulimit -n`, soft and hard.
    pub fn descriptors(mut self, limit: u32) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Where to listen instead of 127.0.0.1:0; nowhere: no `--listen` is given.
    pub fn listen(mut self, addresses: &[&str]) -> Self {
        self.listen = addresses
            .iter()
            .map(|&address| address.to_owned())
            .collect();
        self
    }

    /// The command that starts the server.
    pub fn command(&self) -> Command {
        let mut command = match self.descriptors {
            None => Command::new(HELLOOP),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {limit}; exec \"$@\""), "sh"]);
                shell.arg(HELLOOP);
                shell
            }
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

    /// Starts it, and waits until it says that it listens.
    #[track_caller]
    pub fn start(&self) -> Server {
        let process = Process::start(self.command());
        if !process.stdout.comes("listening on ") {
            panic!("{self:?} does not listen: {:#?}", process.stderr.all());
        }
        let flag = self.flags.iter().position(|flag| flag == "--framing");
        let framing = match flag {
            Some(place) => &self.flags[place + 1],
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
    /// The reactor with `--listen 127.0.0.1:0` and these flags.
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

    /// Each `listening on` line, as soon as there are so many: the address, and whether it serves UDP too.
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

    /// The first address, which is that of TCP and of UDP.
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

    /// A UDP socket that sends to the server, and hears nobody else.
    #[track_caller]
    pub fn udp(&self) -> UdpSocket {
        udp(self.tcp_address())
    }

    pub fn signal(&self, which: Signal) {
        self.process.signal(which);
    }

    /// Stops the server in its tracks, so that all that is sent meanwhile is there at once when
    /// it goes on.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let id = Pid::from_raw(i32::try_from(self.id()).unwrap());
        let status = waitpid(id, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(status, WaitStatus::Stopped(id, Signal::SIGSTOP));
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Waits until the server ends by itself.
    #[track_caller]
    pub fn wait(self) -> Ended {
        self.process.wait()
    }

    /// Stops it as Ctrl-C does, and waits until it has ended.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// The counters, as the server logs them on SIGUSR1.
    #[track_caller]
    pub fn counters(&self) -> String {
        let start = self.stderr().len();
        self.signal(Signal::SIGUSR1);
        self.stderr().wait_after(start, "; messages ")
    }

    /// Waits until so many messages have been read, and returns all counters.
    #[track_caller]
    pub fn wait_for_messages(&self, count: u64) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let counters = self.counters();
            if figure(&counters, "messages ") >= count {
                return counters;
            }
            assert!(Instant::now() < deadline, "{counters}");
            // The answer to the signal was the event; the scheduler may have others to run.
            thread::yield_now();
        }
    }

    /// How many threads the server has.
    #[cfg(target_os = "linux")]
    pub fn threads(&self) -> usize {
        self.entries_of("task")
    }

    /// How many descriptors the server has open.
    #[cfg(target_os = "linux")]
    pub fn open_descriptors(&self) -> usize {
        self.entries_of("fd")
    }

    #[cfg(target_os = "linux")]
    fn entries_of(&self, folder: &str) -> usize {
        let path = format!("/proc/{}/{folder}", self.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// Shows that the server serves: a new client is greeted.
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

/// The number that stands behind `name` in a line of counters; 0 if there is none.
pub fn figure(counters: &str, name: &str) -> u64 {
    let rest = counters.split(name).nth(1).unwrap_or_default();
    let digits = rest.find(|letter: char| !letter.is_ascii_digit());
    let digits = &rest[..digits.unwrap_or(rest.len())];
    digits.parse().unwrap_or_default()
}
