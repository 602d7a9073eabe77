//! A `helloop serve` process: how it is started, and what it reports.

use super::HELLOOP;
use super::control;
use super::process::{Ended, Lines, Process, clear_environment};
use super::sockets::{ask, connect, expect, udp};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Setup {
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    /// What a shell does before it starts the server. Unix only.
    pub(super) prelude: Vec<String>,
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
        command.args(control::SERVE_FLAGS);
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
    pub(super) process: Process,
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

    pub fn process(&self) -> &Process {
        &self.process
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

    /// Waits until the server exits.
    #[track_caller]
    pub fn wait(self) -> Ended {
        self.process.wait_with_stdin()
    }

    /// Lets the server drain, and waits until it exits.
    #[track_caller]
    pub fn stop(self) -> Ended {
        control::request_drain(&self.process);
        self.wait()
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
