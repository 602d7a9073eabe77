//! The load generator: a process that sends bursts of messages and checks every reply.
//!
//! In a burst all clients send, then all clients read, *the last one first*. The server answers in
//! order of arrival, so once the last reply is there, all others are too, and the load generator
//! wakes up once per burst. If each reply woke it, much of the server's CPU time would be the
//! cost of those wakeups.

use crate::cases::{Case, Traffic};
use helloop::protocol::greeting::Framing;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// A reply that takes longer is lost. A storm with dropped SYNs takes half a minute.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// Source addresses that the clients connect from in turn, from 127.0.0.1 on: one address does
/// not have enough ports for 19,000 clients of several servers.
const SOURCE_ADDRESSES: usize = 16;

/// Connects the clients of `case`, then reads commands: each line on stdin is a number of bursts to
/// run, and gets a line on stdout with the number of messages (for a storm: milliseconds).
pub(crate) fn run(case: &Case, server: SocketAddr) {
    let _ = helloop::testing::raise_descriptor_limit();
    match case.traffic {
        Traffic::Tcp {
            framing,
            clients,
            active,
            lines,
        } => {
            let distance = clients / active;
            let (mut active_clients, mut idle_clients) = (Vec::new(), Vec::new());
            for number in 0..clients {
                let client = TcpClient::connect(number, server, framing, lines);
                if number % distance == 0 && active_clients.len() < active {
                    active_clients.push(client);
                } else {
                    idle_clients.push(client.stream);
                }
            }
            run_commands(|| tcp_burst(&mut active_clients, lines));
        }
        Traffic::Visits { at_once } => run_commands(|| visit(server, at_once)),
        Traffic::Storm { clients } => run_commands(|| storm(server, clients)),
        Traffic::Idle => {
            let mut clients = Vec::new();
            run_commands(|| {
                let mut client = connect(clients.len(), server).expect("a connection");
                read_welcome(&mut client, Framing::Chunk);
                clients.push(client);
                1
            });
        }
        Traffic::Udp { clients } => {
            let mut clients: Vec<_> = (0..clients)
                .map(|number| UdpClient::new(number, server))
                .collect();
            run_commands(|| udp_burst(&mut clients));
        }
    }
}

fn run_commands(mut burst: impl FnMut() -> usize) {
    println!("0");
    for command in io::stdin().lock().lines() {
        let bursts = command
            .expect("a command")
            .parse()
            .expect("a number of bursts");
        let messages: usize = (0..bursts).map(|_: usize| burst()).sum();
        println!("{messages}");
    }
}

/// A request and the reply that it must get. The name's last byte changes with each burst, so a
/// late or duplicate reply is detected.
#[derive(Debug)]
struct Script {
    request: Vec<u8>,
    expected: Vec<u8>,
    received: Vec<u8>,
    last_byte: u8,
}

impl Script {
    fn new(number: usize, framing: Framing, lines: usize) -> Self {
        let ending = match framing {
            Framing::Chunk => "",
            Framing::Line => "\n",
        };
        let request = format!("client {number:05} a{ending}")
            .repeat(lines)
            .into_bytes();
        let expected = format!("Hello, client {number:05} a!{ending}")
            .repeat(lines)
            .into_bytes();
        Self {
            received: vec![0; expected.len()],
            request,
            expected,
            last_byte: b'a',
        }
    }

    fn next(&mut self) {
        let last = self.last_byte;
        self.last_byte = if last == b'a' { b'b' } else { b'a' };
        // The only byte after a space that is `a` or `b` is the one to change.
        for text in [&mut self.request, &mut self.expected] {
            for at in 1..text.len() {
                if text[at] == last && text[at - 1] == b' ' {
                    text[at] = self.last_byte;
                }
            }
        }
    }

    fn check(&self) {
        assert!(
            self.received == self.expected,
            "expected {} and read {}",
            self.expected.escape_ascii(),
            self.received.escape_ascii()
        );
    }
}

/// One TCP client.
#[derive(Debug)]
struct TcpClient {
    stream: TcpStream,
    script: Script,
}

impl TcpClient {
    fn connect(number: usize, server: SocketAddr, framing: Framing, lines: usize) -> Self {
        let mut stream = connect(number, server).expect("a connection");
        read_welcome(&mut stream, framing);
        Self {
            stream,
            script: Script::new(number, framing, lines),
        }
    }
}

fn tcp_burst(clients: &mut [TcpClient], lines: usize) -> usize {
    for TcpClient { stream, script } in &mut *clients {
        script.next();
        stream.write_all(&script.request).expect("the server reads");
    }
    for TcpClient { stream, script } in clients.iter_mut().rev() {
        stream.read_exact(&mut script.received).expect("a reply");
        script.check();
    }
    clients.len() * lines
}

/// Clients connect, read the welcome, and leave as the tutorial's do: they half-close first.
fn visit(server: SocketAddr, at_once: usize) -> usize {
    let mut clients: Vec<_> = (0..at_once)
        .map(|number| connect(number, server).expect("a connection"))
        .collect();
    for client in clients.iter_mut().rev() {
        read_welcome(client, Framing::Chunk);
    }
    for client in &clients {
        client.shutdown(Shutdown::Write).expect("a half-close");
    }
    for client in clients.iter_mut().rev() {
        let rest = client.read(&mut [0; 64]).expect("EOF");
        assert_eq!(rest, 0, "nothing follows the welcome");
    }
    at_once
}

/// A socket with one of the [`SOURCE_ADDRESSES`].
fn open(number: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Defers the choice of the port to connect(), so that connections to different servers can
    // share it.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    let last = u8::try_from(1 + number % SOURCE_ADDRESSES).expect("a small number");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
    Ok(socket)
}

fn connect(number: usize, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(number)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

fn read_welcome(stream: &mut TcpStream, framing: Framing) {
    let mut welcome = [0; 16];
    let welcome = &mut welcome[..framing.welcome().len()];
    stream.read_exact(welcome).expect("a welcome");
    assert_eq!(welcome, framing.welcome());
}

/// One UDP client.
#[derive(Debug)]
struct UdpClient {
    socket: UdpSocket,
    script: Script,
}

impl UdpClient {
    fn new(number: usize, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.connect(server).expect("a known address");
        socket
            .set_read_timeout(Some(REPLY_TIMEOUT))
            .expect("a timeout");
        Self {
            socket,
            script: Script::new(number, Framing::Chunk, 1),
        }
    }
}

fn udp_burst(clients: &mut [UdpClient]) -> usize {
    for UdpClient { socket, script } in &mut *clients {
        script.next();
        socket.send(&script.request).expect("a datagram goes out");
    }
    for UdpClient { socket, script } in clients.iter_mut().rev() {
        socket.recv(&mut script.received).expect("a reply");
        script.check();
    }
    clients.len()
}

/// All clients connect at the same moment, then all read their welcome. Returns the milliseconds
/// until the last one has it.
fn storm(server: SocketAddr, clients: usize) -> usize {
    let started = Instant::now();
    let streams: Vec<TcpStream> = (0..clients)
        .map(|number| start_connect(number, server).expect("a connection in progress"))
        .collect();
    for mut stream in streams {
        stream.set_nonblocking(false).expect("a blocking socket");
        read_welcome(&mut stream, Framing::Chunk);
    }
    started.elapsed().as_millis() as usize
}

/// Starts a nonblocking connect.
fn start_connect(number: usize, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(number)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}
