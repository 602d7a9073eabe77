//! The clients: a process of its own that sends bursts, and checks every reply.
//!
//! In a burst every client sends, and then every client reads, *the last first*. A server answers
//! in the order of arrival, so by then the others have their replies too, and the load is woken
//! once a burst. Were it woken by each reply, a good part of the server's CPU time would be
//! the price of waking the load, and say nothing of the server.

use crate::cases::{Case, Traffic};
use crate::storm;
use helloop::protocol::greeting::Framing;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// A reply that takes longer than this is lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// Addresses that the clients connect from in turn, 127.0.0.1 and those after it: the ports of
/// one do not suffice for so many clients.
const SOURCES: usize = 16;

/// Connects the clients of `case`, and then obeys: each line of standard input is a number of
/// bursts; each line of standard output tells how many messages they were.
pub(crate) fn run(case: &Case, server: SocketAddr) {
    let _ = helloop::net::system::raise_descriptor_limit();
    match case.traffic {
        Traffic::Tcp {
            framing,
            clients,
            active,
            lines,
        } => {
            let apart = clients / active;
            let (mut talking, mut silent) = (Vec::new(), Vec::new());
            for number in 0..clients {
                let client = Client::connect(number, server, framing, lines);
                if number % apart == 0 && talking.len() < active {
                    talking.push(client);
                } else {
                    silent.push(client.stream);
                }
            }
            obey(|| burst(&mut talking, lines));
        }
        Traffic::Visits { at_once } => obey(|| visit(server, at_once)),
        Traffic::Storm { clients } => obey(|| storm::connect_all(server, clients)),
        Traffic::Guests => {
            let mut guests = Vec::new();
            obey(|| {
                let mut guest = connect(guests.len(), server).expect("a connection");
                read_welcome(&mut guest, Framing::Chunk);
                guests.push(guest);
                1
            });
        }
        Traffic::Udp { clients } => {
            let mut clients: Vec<_> = (0..clients)
                .map(|number| Correspondent::new(number, server))
                .collect();
            obey(|| correspond(&mut clients));
        }
    }
}

fn obey(mut burst: impl FnMut() -> usize) {
    println!("0");
    for order in io::stdin().lock().lines() {
        let bursts = order.expect("orders").parse().expect("a number of bursts");
        let messages: usize = (0..bursts).map(|_: usize| burst()).sum();
        println!("{messages}");
    }
}

/// What is said and what must come back. The name's last byte changes with each burst, so that
/// a reply that is late, or comes twice, is found.
#[derive(Debug)]
struct Script {
    request: Vec<u8>,
    expected: Vec<u8>,
    received: Vec<u8>,
    burst: u8,
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
            burst: b'a',
        }
    }

    fn next(&mut self) {
        let last = self.burst;
        self.burst = if last == b'a' { b'b' } else { b'a' };
        // The only places where these letters stand alone behind a blank.
        for text in [&mut self.request, &mut self.expected] {
            for at in 1..text.len() {
                if text[at] == last && text[at - 1] == b' ' {
                    text[at] = self.burst;
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
struct Client {
    stream: TcpStream,
    script: Script,
}

impl Client {
    fn connect(number: usize, server: SocketAddr, framing: Framing, lines: usize) -> Self {
        let mut stream = connect(number, server).expect("a connection");
        read_welcome(&mut stream, framing);
        Self {
            stream,
            script: Script::new(number, framing, lines),
        }
    }
}

fn burst(clients: &mut [Client], lines: usize) -> usize {
    for Client { stream, script } in &mut *clients {
        script.next();
        stream.write_all(&script.request).expect("the server reads");
    }
    for Client { stream, script } in clients.iter_mut().rev() {
        stream.read_exact(&mut script.received).expect("a reply");
        script.check();
    }
    clients.len() * lines
}

/// Clients that come, are welcomed, and leave as the tutorial's do: by closing their half first.
fn visit(server: SocketAddr, at_once: usize) -> usize {
    let mut clients: Vec<_> = (0..at_once)
        .map(|number| connect(number, server).expect("a connection"))
        .collect();
    for client in clients.iter_mut().rev() {
        read_welcome(client, Framing::Chunk);
    }
    for client in &clients {
        client.shutdown(Shutdown::Write).expect("half a close");
    }
    for client in clients.iter_mut().rev() {
        let rest = client.read(&mut [0; 64]).expect("the end of output");
        assert_eq!(rest, 0, "nothing comes after the welcome");
    }
    at_once
}

/// A client of its own source address: see [`SOURCES`].
pub(crate) fn open(number: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // The port is chosen when the other side is known, and can be shared between servers.
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    let last = u8::try_from(1 + number % SOURCES).expect("a small number");
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn connect(number: usize, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(number)?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

pub(crate) fn read_welcome(stream: &mut TcpStream, framing: Framing) {
    let mut welcome = [0; 16];
    let welcome = &mut welcome[..framing.welcome().len()];
    stream.read_exact(welcome).expect("a welcome");
    assert_eq!(welcome, framing.welcome());
}

/// One UDP client.
#[derive(Debug)]
struct Correspondent {
    socket: UdpSocket,
    script: Script,
}

impl Correspondent {
    fn new(number: usize, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.connect(server).expect("a known address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self {
            socket,
            script: Script::new(number, Framing::Chunk, 1),
        }
    }
}

fn correspond(clients: &mut [Correspondent]) -> usize {
    for Correspondent { socket, script } in &mut *clients {
        script.next();
        socket.send(&script.request).expect("a datagram goes out");
    }
    for Correspondent { socket, script } in clients.iter_mut().rev() {
        socket.recv(&mut script.received).expect("a reply");
        script.check();
    }
    clients.len()
}
