//! From `--listen` to sockets that listen.
//!
//! **Owns** names, addresses, ports and socket options. **Must never touch** what the sockets
//! are then used for: both models start from the same ones. **Invariant**: an address that is
//! bound has TCP and, unless it is not wanted, UDP on one and the same port number.

use crate::net::system;
use log::warn;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// `HOST:PORT`, each; a host name stands for every address that it has.
    pub listen: Vec<String>,
    /// Whether each address gets a UDP socket too.
    pub udp: bool,
    /// Connections that may wait to be accepted, a listener. mio's and std's `bind` fix it at
    /// 128, and a burst over it waits a second or more for its SYN to be sent again (pitfall 19).
    pub backlog: u32,
    /// Whether further processes may listen on the same ports, and share the clients.
    pub reuse_port: bool,
    /// After how long in silence the kernel asks whether a client is still there.
    pub keepalive: Option<Duration>,
}

/// The sockets of one address, blocking ones.
#[derive(Debug)]
pub struct Bound {
    /// The address, with its real port.
    pub address: SocketAddr,
    /// The listening socket.
    pub tcp: TcpListener,
    /// The UDP socket of the same port number.
    pub udp: Option<UdpSocket>,
}

impl Bound {
    /// Makes the sockets fit for a loop that must never block.
    ///
    /// # Errors
    ///
    /// `fcntl(2)`'s.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.tcp.set_nonblocking(true)?;
        self.udp
            .as_ref()
            .map_or(Ok(()), |udp| udp.set_nonblocking(true))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols = if self.udp.is_some() { "tcp+udp" } else { "tcp" };
        write!(formatter, "{} {protocols}", self.address)
    }
}

/// Why the server cannot listen: one line for the person, with what to do.
#[derive(Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Binds every address asked for, or none.
///
/// # Errors
///
/// The first address that cannot be bound.
pub fn bind(options: &Options) -> Result<Vec<Bound>, Error> {
    warn_of_short_queue(options.backlog);
    let mut addresses = Vec::new();
    for name in &options.listen {
        for address in resolve(name)? {
            // Names overlap: `localhost` and 127.0.0.1. Port 0 is a different port each time.
            if address.port() == 0 || !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
        .into_iter()
        .map(|address| bind_one(address, options))
        .collect()
}

fn resolve(name: &str) -> Result<Vec<SocketAddr>, Error> {
    let unresolved = |error: &dyn fmt::Display| {
        Error(format!(
            "cannot listen on {}: {error}; --listen takes ADDRESS:PORT, as in 127.0.0.1:9999, \
             [::1]:9999 or localhost:9999",
            name.escape_debug()
        ))
    };
    let mut addresses: Vec<SocketAddr> = name
        .to_socket_addrs()
        .map_err(|error| unresolved(&error))?
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(unresolved(&"the name has no address"));
    }
    Ok(addresses)
}

/// How often a port that TCP was given is tried for UDP. Each try asks for another port, and
/// mostly the first is free.
const PORT_TRIES: usize = 64;

fn bind_one(address: SocketAddr, options: &Options) -> Result<Bound, Error> {
    // Kept until a port is found, or the same one would be given again.
    let mut half_free = Vec::new();
    loop {
        let tcp =
            listen(address, options).map_err(|error| explain(address, "tcp", &error, options))?;
        let found = tcp
            .local_addr()
            .map_err(|error| explain(address, "tcp", &error, options))?;
        if !options.udp {
            return Ok(bound(found, tcp, None));
        }
        match bind_udp(found, options) {
            Ok(udp) => return Ok(bound(found, tcp, Some(udp))),
            Err(error)
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && half_free.len() < PORT_TRIES =>
            {
                half_free.push(tcp);
            }
            Err(error) => return Err(explain(found, "udp", &error, options)),
        }
    }
}

fn bound(address: SocketAddr, tcp: TcpListener, udp: Option<UdpSocket>) -> Bound {
    Bound { address, tcp, udp }
}

fn listen(address: SocketAddr, options: &Options) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP, options)?;
    // A restart binds at once, although connections of the last run are in TIME_WAIT. It does
    // not let two servers listen on one port.
    socket.set_reuse_address(true)?;
    // For the accepted sockets, which inherit these or are given them: see `pass_on_options`.
    socket.set_tcp_nodelay(true)?;
    if let Some(silence) = options.keepalive {
        SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(silence))?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr, options: &Options) -> io::Result<UdpSocket> {
    // Never SO_REUSEADDR here: on UDP it lets two servers share a port in silence, and one of
    // them hears nothing.
    let socket = open(address, Type::DGRAM, Protocol::UDP, options)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn open(
    address: SocketAddr,
    kind: Type,
    protocol: Protocol,
    options: &Options,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // [::] means IPv6 alone: 0.0.0.0 can be listened on beside it.
        socket.set_only_v6(true)?;
    }
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

fn explain(address: SocketAddr, protocol: &str, error: &io::Error, options: &Options) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse if options.reuse_port => {
            "the port is in use, and not shared: all who listen there must be started with \
             --reuse-port, by one user"
        }
        io::ErrorKind::AddrInUse => {
            "the port is in use: stop the program that listens there, or choose another with \
             --listen ADDRESS:PORT (port 0 finds a free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the right to bind them: choose one above with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "that is not an address of this machine: --listen takes one that is, 0.0.0.0 or [::]"
        }
        _ => "choose another address with --listen",
    };
    Error(format!(
        "cannot listen on {address} ({protocol}): {error}; {advice}"
    ))
}

/// The system cuts a longer backlog down in silence, so it is said here. Where
/// the limit is not known, nothing is said.
fn warn_of_short_queue(backlog: u32) {
    if let Some(limit) = system::backlog_limit().filter(|limit| *limit < backlog) {
        warn!(
            "--backlog {backlog} is cut to {limit} by this system: raise it with \
             `sysctl -w net.core.somaxconn={backlog}`"
        );
    }
}
