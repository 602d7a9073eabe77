//! Instructions that the server executes per message, counted by callgrind.
//!
//! ```text
//! cargo bench --bench instructions                        all cases
//! cargo bench --bench instructions -- chunk udp           these cases
//! cargo bench --bench instructions -- --server A --server B
//!                                                         other binaries, side by side
//! ```
//!
//! `helloop serve` runs under `valgrind --tool=callgrind`; the clients are in this process and
//! are not counted. Each case runs twice, with few bursts and with many. The difference of the
//! two totals, divided by the difference in messages, is the figure: startup, connecting and
//! shutdown cancel out. It counts user space only, libraries and libc included, and no kernel code.
//!
//! **Invariant**: the schedule is always the same. The next burst starts only when the server
//! sleeps in its wait, and a burst arrives as a whole: the server is stopped while it is sent.
//! So one binary gives one figure, on a busy machine too. A stop interrupts the server's wait
//! with `EINTR`; a burst with more than one client includes that one extra wait.
//!
//! callgrind's output files stay in `target/tmp`; read them with `callgrind_annotate FILE`.

use clap::Parser;
use clap::builder::PossibleValuesParser;
use helloop::protocol::greeting::Framing;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the clients of a case do. Each variant is one burst.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// Connected clients send `lines` messages each, in one write.
    Tcp {
        framing: Framing,
        clients: usize,
        lines: usize,
    },
    /// Clients send one datagram each.
    Udp { clients: usize },
    /// Clients connect, read the welcome, half-close, and read EOF.
    Visits { at_once: usize },
}

#[derive(Debug)]
struct Case {
    name: &'static str,
    about: &'static str,
    traffic: Traffic,
    /// Bursts of the first run. The second run has three times as many.
    bursts: usize,
}

/// The same traffic as in `benches/peers`, and a client that is alone in its turn.
const CASES: &[Case] = &[
    Case {
        name: "chunk",
        about: "chunk framing, 100 clients send 1 message each",
        traffic: Traffic::Tcp {
            framing: Framing::Chunk,
            clients: 100,
            lines: 1,
        },
        bursts: 50,
    },
    Case {
        name: "chunk-alone",
        about: "chunk framing, 1 client sends 1 message: includes the whole turn",
        traffic: Traffic::Tcp {
            framing: Framing::Chunk,
            clients: 1,
            lines: 1,
        },
        bursts: 2_000,
    },
    Case {
        name: "lines",
        about: "line framing, 50 clients send 64 lines each",
        traffic: Traffic::Tcp {
            framing: Framing::Line,
            clients: 50,
            lines: 64,
        },
        bursts: 20,
    },
    Case {
        name: "udp",
        about: "200 clients send 1 datagram each",
        traffic: Traffic::Udp { clients: 200 },
        bursts: 50,
    },
    Case {
        name: "accept",
        about: "64 clients connect, read the welcome and leave: per client",
        traffic: Traffic::Visits { at_once: 64 },
        bursts: 50,
    },
];

/// Counts the instructions of `helloop serve` per message.
#[derive(Debug, Parser)]
struct Options {
    /// Run only these cases. [default: all]
    #[arg(value_parser = PossibleValuesParser::new(CASES.iter().map(|case| case.name)))]
    cases: Vec<String>,
    /// The server's binary; given several times, all are measured. [default: this package's]
    #[arg(long = "server", value_name = "PATH")]
    servers: Vec<PathBuf>,
    /// What cargo passes to each bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("valgrind is missing; install it (on Debian: apt-get install valgrind)");
        return ExitCode::FAILURE;
    }
    let mut servers = options.servers;
    if servers.is_empty() {
        servers.push(env!("CARGO_BIN_EXE_helloop").into());
    }
    println!("instructions per message");
    for (column, server) in servers.iter().enumerate() {
        println!("  [{column}] {}", server.display());
    }
    let chosen = |case: &&Case| {
        options.cases.is_empty() || options.cases.iter().any(|name| name == case.name)
    };
    for case in CASES.iter().filter(chosen) {
        print!("{:<12}", case.name);
        for (column, server) in servers.iter().enumerate() {
            print!(" {:>9.1}", case.instructions_per_message(server, column));
        }
        println!("   {}", case.about);
    }
    ExitCode::SUCCESS
}

impl Case {
    fn instructions_per_message(&self, server: &Path, column: usize) -> f64 {
        let (few, many) = (self.bursts, 3 * self.bursts);
        let profile = |run: &str| {
            Path::new(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("callgrind.{}.{column}.{run}.out", self.name))
        };
        let more =
            self.run(server, many, &profile("many")) - self.run(server, few, &profile("few"));
        more as f64 / ((many - few) * self.messages_per_burst()) as f64
    }

    const fn messages_per_burst(&self) -> usize {
        match self.traffic {
            Traffic::Tcp { clients, lines, .. } => clients * lines,
            Traffic::Udp { clients } => clients,
            Traffic::Visits { at_once } => at_once,
        }
    }

    /// Serves `bursts` under callgrind. Returns the instructions of the server from start to exit.
    fn run(&self, program: &Path, bursts: usize, profile: &Path) -> u64 {
        let framing = match self.traffic {
            Traffic::Tcp { framing, .. } => framing,
            Traffic::Udp { .. } | Traffic::Visits { .. } => Framing::Chunk,
        };
        let server = Server::start(program, framing, profile);
        match self.traffic {
            Traffic::Tcp { clients, lines, .. } => {
                let mut clients: Vec<_> = (0..clients)
                    .map(|number| TcpClient::connect(&server, number, framing, lines))
                    .collect();
                (0..bursts).for_each(|_| tcp_burst(&server, &mut clients));
                for client in clients {
                    client.leave(&server);
                }
            }
            Traffic::Udp { clients } => {
                let mut clients: Vec<_> = (0..clients)
                    .map(|number| UdpClient::new(server.address, number))
                    .collect();
                (0..bursts).for_each(|_| udp_burst(&server, &mut clients));
            }
            Traffic::Visits { at_once } => (0..bursts).for_each(|_| visit(&server, at_once)),
        }
        server.end(profile)
    }
}

/// `helloop serve` under callgrind.
#[derive(Debug)]
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `program`, and waits until it listens and sleeps.
    fn start(program: &Path, framing: Framing, profile: &Path) -> Self {
        let framing = match framing {
            Framing::Chunk => "chunk",
            Framing::Line => "line",
        };
        let mut output = OsStr::new("--callgrind-out-file=").to_owned();
        output.push(profile);
        let mut child = Command::new("valgrind")
            .args(["--quiet", "--tool=callgrind"])
            .arg(output)
            .arg(program)
            .args([
                "serve",
                "--quiet",
                "--listen",
                "127.0.0.1:0",
                "--framing",
                framing,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("valgrind starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("a pipe");
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("the server's first line");
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        let server = Self {
            child,
            address: address.expect("an address in the server's first line"),
        };
        server.wait_until_asleep();
        server
    }

    /// Waits until the server sleeps in its wait for events: nothing else in it can block.
    fn wait_until_asleep(&self) {
        self.wait_for_state('S');
    }

    /// Waits for a state of the process, one of the letters of proc(5).
    fn wait_for_state(&self, wanted: char) {
        const TIMEOUT: Duration = Duration::from_secs(60);
        const POLL_INTERVAL: Duration = Duration::from_micros(20);
        let path = format!("/proc/{}/stat", self.child.id());
        let started = Instant::now();
        loop {
            let stat = fs::read_to_string(&path).expect("the state of a child");
            // The state follows the program's name, which may contain anything, in parentheses.
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            if state == Some(wanted) {
                return;
            }
            assert_ne!(state, Some('Z'), "the server has ended");
            assert!(
                started.elapsed() < TIMEOUT,
                "the server stays in state {state:?}"
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Stops the server while `send` runs, so that all of it arrives in one wait.
    fn deliver_at_once(&self, send: impl FnOnce()) {
        self.signal(Signal::SIGSTOP);
        self.wait_for_state('T');
        send();
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().try_into().expect("process ids are 31 bits");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    /// Shuts the server down, and returns the instructions that callgrind counted.
    fn end(mut self, profile: &Path) -> u64 {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().expect("a child can be waited for");
        assert!(status.success(), "the server ended with {status}");
        let profile = fs::read_to_string(profile).expect("callgrind's output");
        let total = profile
            .lines()
            .find_map(|line| line.strip_prefix("totals: "));
        total
            .and_then(|total| total.trim().parse().ok())
            .expect("callgrind's total")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request, and the reply that it must get.
#[derive(Debug)]
struct Script {
    request: Vec<u8>,
    reply: Vec<u8>,
    received: Vec<u8>,
}

impl Script {
    fn new(number: usize, framing: Framing, lines: usize) -> Self {
        let ending = match framing {
            Framing::Chunk => "",
            Framing::Line => "\n",
        };
        let text = |line: String| line.repeat(lines).into_bytes();
        let reply = text(format!("Hello, client {number:05} a!{ending}"));
        Self {
            request: text(format!("client {number:05} a{ending}")),
            received: vec![0; reply.len()],
            reply,
        }
    }
}

#[derive(Debug)]
struct TcpClient {
    stream: TcpStream,
    script: Script,
}

impl TcpClient {
    /// Connects and reads the welcome.
    fn connect(server: &Server, number: usize, framing: Framing, lines: usize) -> Self {
        let mut stream = TcpStream::connect(server.address).expect("a connection");
        stream.set_nodelay(true).expect("a socket takes options");
        read_exactly(&mut stream, framing.welcome());
        server.wait_until_asleep();
        let script = Script::new(number, framing, lines);
        Self { stream, script }
    }

    fn leave(mut self, server: &Server) {
        half_close(&self.stream);
        read_eof(&mut self.stream);
        server.wait_until_asleep();
    }
}

fn tcp_burst(server: &Server, clients: &mut [TcpClient]) {
    let send = |client: &mut TcpClient| {
        let written = client.stream.write_all(&client.script.request);
        written.expect("the server reads");
    };
    match &mut *clients {
        [alone] => send(alone),
        all => server.deliver_at_once(|| all.iter_mut().for_each(send)),
    }
    for TcpClient { stream, script } in clients {
        let read = stream.read_exact(&mut script.received);
        read.expect("a reply");
        assert_eq!(script.received, script.reply);
    }
    server.wait_until_asleep();
}

#[derive(Debug)]
struct UdpClient {
    socket: UdpSocket,
    script: Script,
}

impl UdpClient {
    fn new(server: SocketAddr, number: usize) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.connect(server).expect("a known address");
        let script = Script::new(number, Framing::Chunk, 1);
        Self { socket, script }
    }
}

fn udp_burst(server: &Server, clients: &mut [UdpClient]) {
    server.deliver_at_once(|| {
        for UdpClient { socket, script } in &*clients {
            socket.send(&script.request).expect("a datagram goes out");
        }
    });
    for UdpClient { socket, script } in clients {
        socket.recv(&mut script.received).expect("a reply");
        assert_eq!(script.received, script.reply);
    }
    server.wait_until_asleep();
}

fn visit(server: &Server, at_once: usize) {
    let mut clients = Vec::new();
    server.deliver_at_once(|| {
        let connect = |_| TcpStream::connect(server.address).expect("a connection");
        clients.extend((0..at_once).map(connect));
    });
    for client in &mut clients {
        read_exactly(client, Framing::Chunk.welcome());
    }
    server.wait_until_asleep();
    server.deliver_at_once(|| clients.iter().for_each(half_close));
    clients.iter_mut().for_each(read_eof);
    server.wait_until_asleep();
}

fn read_exactly(stream: &mut TcpStream, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).expect("a welcome");
    assert_eq!(received, expected);
}

fn half_close(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).expect("half a close");
}

fn read_eof(stream: &mut TcpStream) {
    let rest = stream.read(&mut [0; 64]).expect("EOF");
    assert_eq!(rest, 0, "nothing follows the last reply");
}
