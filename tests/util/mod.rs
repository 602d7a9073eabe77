//! What the integration tests share: the real binary as a child process, and the other ends of
//! its sockets.
//!
//! Nothing here sleeps where an event can be awaited, and every wait ends by a limit that only
//! a broken server reaches. Ports are always the system's choice. A child is killed when its
//! handle goes out of scope, so a test that fails leaves nothing behind.

// Each test file is a crate of its own, and uses what it needs.
#![allow(dead_code, unused_macros, unreachable_pub)]

use nix::sys::signal::{self, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest that anything may take before a test fails. Not what it should take: the
/// machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The program under test.
pub const HELLOOP: &str = env!("CARGO_BIN_EXE_helloop");

/// Which server: each speaks the same protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Reactor,
    Threads,
}

impl Model {
    pub fn name(self) -> &'static str {
        match self {
            Self::Reactor => "reactor",
            Self::Threads => "threads",
        }
    }

    /// A server of this model: `--listen 127.0.0.1:0` and these flags.
    pub fn start(self, flags: &[&str]) -> Server {
        self.setup(flags).start()
    }

    /// The same, for more to be said about it.
    pub fn setup(self, flags: &[&str]) -> Setup {
        Setup::new(&["--model", self.name()]).flags(flags)
    }
}

/// Makes a test for each model out of functions that take a [`Model`].
macro_rules! both_models {
    ($($(#[$attribute:meta])* $name:ident),+ $(,)?) => {
        mod reactor {
            $(#[test] $(#[$attribute])* fn $name() { super::$name($crate::util::Model::Reactor); })+
        }
        mod threads {
            $(#[test] $(#[$attribute])* fn $name() { super::$name($crate::util::Model::Threads); })+
        }
    };
}

/// `helloop ARGUMENTS`, with none of our own environment that it would listen to.
pub fn helloop(arguments: &[&str]) -> Command {
    let mut command = Command::new(HELLOOP);
    command.args(arguments);
    clear_environment(&mut command);
    command
}

fn clear_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name == "RUST_LOG" || name.to_string_lossy().starts_with("HELLOOP_") {
            command.env_remove(name);
        }
    }
}

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

/// What a child wrote to one of its streams so far, line by line.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    shared: Arc<(Mutex<Collected>, Condvar)>,
}

#[derive(Debug, Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(stream.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line);
                let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
                writer.lock().lines.push(text);
                writer.shared.1.notify_all();
                line.clear();
            }
            writer.lock().ended = true;
            writer.shared.1.notify_all();
        });
        lines
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `done` has an answer; `None` when the stream ended, or time ran out, without.
    fn wait_until<T>(&self, done: impl Fn(&Collected) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + LIMIT;
        let mut collected = self.lock();
        loop {
            let answer = done(&collected);
            let left = deadline.saturating_duration_since(Instant::now());
            if answer.is_some() || collected.ended || left.is_zero() {
                return answer;
            }
            collected = self
                .shared
                .1
                .wait_timeout(collected, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether a line with this in it comes, before the end and the limit.
    pub fn comes(&self, text: &str) -> bool {
        self.find_after(0, text).is_some()
    }

    /// How many lines there are at present: where [`wait_after`](Self::wait_after) may begin.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// The first line that has all of this in it, now or as soon as it comes.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_after(0, text)
    }

    /// The same, from line number `start` on.
    #[track_caller]
    pub fn wait_after(&self, start: usize, text: &str) -> String {
        self.find_after(start, text)
            .unwrap_or_else(|| panic!("no line with {text:?} in {:#?}", self.all()))
    }

    fn find_after(&self, start: usize, text: &str) -> Option<String> {
        self.wait_until(|collected| {
            let mut lines = collected.lines.iter().skip(start);
            lines.find(|line| line.contains(text)).cloned()
        })
    }

    /// Waits until there are so many lines.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) {
        let there = self.wait_until(|collected| (collected.lines.len() >= count).then_some(()));
        assert!(there.is_some(), "under {count} lines: {:#?}", self.all());
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// All lines so far, as they were written.
    pub fn text(&self) -> String {
        self.lock()
            .lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect()
    }

    /// Waits until the stream ends.
    #[track_caller]
    pub fn wait_for_end(&self) {
        let ended = self.wait_until(|collected| collected.ended.then_some(()));
        assert!(ended.is_some(), "the stream did not end: {:#?}", self.all());
    }
}

/// A child process, its output collected by threads. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Lines,
    pub stderr: Lines,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self {
            stdin: child.stdin.take(),
            stdout: Lines::collect(child.stdout.take().unwrap()),
            stderr: Lines::collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, which: Signal) {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        signal::kill(id, which).unwrap();
    }

    /// Waits until it ends by itself. Its standard input is closed first.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        self.stdin = None;
        // Both streams end when the process does.
        self.stdout.wait_for_end();
        self.stderr.wait_for_end();
        let status = self.child.wait().unwrap();
        Ended {
            code: status.code(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The handle still owns the process id, ended or not: nobody else can have it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: Command) -> Ended {
    Process::start(command).wait()
}

/// Runs `helloop ARGUMENTS` to its end.
#[track_caller]
pub fn run_helloop(arguments: &[&str]) -> Ended {
    run(helloop(arguments))
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

/// A connection whose reads and writes fail after [`LIMIT`].
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT)
        .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// A UDP socket of the loopback that sends to `server`, and hears nobody else.
#[track_caller]
pub fn udp(server: SocketAddr) -> UdpSocket {
    let here: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let socket = UdpSocket::bind(here).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// Reads so many bytes.
#[track_caller]
pub fn read_exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => panic!(
                "the connection ended after {:?}",
                String::from_utf8_lossy(&bytes[..filled])
            ),
            Ok(more) => filled += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!(
                "{error} after {:?}",
                String::from_utf8_lossy(&bytes[..filled])
            ),
        }
    }
    bytes
}

/// Reads up to the end; a reset is a failure.
#[track_caller]
pub fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
    }
    bytes
}

/// Reads exactly this.
#[track_caller]
pub fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let got = read_exactly(stream, wanted.len());
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(wanted)
    );
    assert_eq!(got, wanted);
}

/// Reads exactly this and then the end; a reset is a failure.
#[track_caller]
pub fn expect_last(stream: &mut TcpStream, wanted: &[u8]) {
    let got = read_to_end(stream);
    assert_eq!(
        String::from_utf8_lossy(&got),
        String::from_utf8_lossy(wanted)
    );
    assert_eq!(got, wanted);
}

/// Sends a message, and reads its reply.
#[track_caller]
pub fn ask(stream: &mut TcpStream, message: &[u8], reply: &[u8]) {
    stream.write_all(message).unwrap();
    expect(stream, reply);
}

/// Sends a datagram, and receives its reply.
#[track_caller]
pub fn ask_udp(socket: &UdpSocket, message: &[u8], reply: &[u8]) {
    socket.send(message).unwrap();
    assert_eq!(receive_udp(socket), reply, "to {message:?}");
}

/// Receives one datagram.
#[track_caller]
pub fn receive_udp(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 65_536];
    let length = loop {
        match socket.recv(&mut datagram) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.expect("no datagram came"),
        }
    };
    datagram.truncate(length);
    datagram
}

/// So many clients, or as many as this process may have descriptors for: fewer are told of, and
/// never silent.
pub fn clients_at_most(wanted: usize) -> usize {
    const SPARE: u64 = 200; // what tests that run beside this one may have open
    let limit = helloop::system::raise_descriptor_limit().saturating_sub(SPARE);
    let clients = wanted.min(usize::try_from(limit).unwrap_or(wanted));
    if clients < wanted {
        println!("note: {clients} clients in place of {wanted}: the descriptor limit is {limit}");
    }
    clients
}
