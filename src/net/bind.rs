//! From `--listen` to bound sockets.
//!
//! **Owns** host names, addresses, ports and socket options. **Must never touch** what the sockets
//! are used for: both models start from the same ones. **Invariant**: a bound address has TCP and,
//! unless it is turned off, UDP on the same port number.

use crate::net::{keepalive, system};
use log::warn;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::time::Duration;

/// Where to listen, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each is `HOST:PORT`; a host name stands for all its addresses.
    pub listen: Vec<String>,
    /// Whether each address gets a UDP socket too.
    pub udp: bool,
    /// The length of the accept backlog per listener. `bind` of mio and std fixes it at 128, and a
    /// client beyond that waits a second or more, until its SYN is retransmitted (pitfall 19).
    pub backlog: u32,
    /// Whether other processes may listen on the same ports and get a share of the clients.
    pub reuse_port: bool,
    /// The time after which a client that has vanished is closed: see `net/keepalive.rs`.
    pub keepalive: Option<Duration>,
}

/// The accept backlog for observers: with more connections waiting, a health check is answered a
/// second late, when its SYN is retransmitted.
const OBSERVER_BACKLOG_CONNECTIONS: i32 = 4_096;

/// The send buffer of an observer's connection. It bounds the kernel memory for observers that do
/// not read, and how long a stream that is not read seems to be: it is closed after 19 s, of which 9 s
/// fill the buffers of both sides.
const OBSERVER_SEND_BUFFER_BYTES: usize = 64 * 1_024;

/// The blocking sockets of one address.
#[derive(Debug)]
pub struct Bound {
    /// The address, with the port that was bound.
    pub address: SocketAddr,
    /// The listening socket.
    pub tcp: TcpListener,
    /// The UDP socket on the same port number.
    pub udp: Option<UdpSocket>,
}

impl Bound {
    /// Makes the sockets non-blocking, as an event loop needs them.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
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

/// Why the server cannot listen, and what to do about it, on one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Binds all addresses, or none.
///
/// # Errors
///
/// The first address that cannot be bound.
pub fn bind(options: &Options) -> Result<Vec<Bound>, Error> {
    warn_if_backlog_is_cut(options.backlog);
    let mut addresses = Vec::new();
    for name in &options.listen {
        for address in resolve(name)? {
            // Names overlap: `localhost` and 127.0.0.1. Port 0 is a new port each time.
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

fn resolve(name: &str) -> Result<BTreeSet<SocketAddr>, Error> {
    let unresolved = |error: &dyn fmt::Display| {
        Error(format!(
            "cannot listen on {}: {error}; --listen takes ADDRESS:PORT, as in 127.0.0.1:9999, \
             [::1]:9999 or localhost:9999",
            name.escape_debug()
        ))
    };
    let found = name.to_socket_addrs();
    let addresses: BTreeSet<_> = found.map_err(|error| unresolved(&error))?.collect();
    if addresses.is_empty() {
        return Err(unresolved(&"the name has no address"));
    }
    Ok(addresses)
}

/// How many free TCP ports are tried for UDP. Usually the first one is free for UDP too.
const PORT_TRIES: usize = 64;

fn bind_one(address: SocketAddr, options: &Options) -> Result<Bound, Error> {
    // Ports that are in use for UDP stay bound, so that the kernel chooses another one.
    let mut rejected = Vec::new();
    loop {
        let (bound, tcp) =
            listen(address, options).map_err(|error| explain(address, "tcp", &error, options))?;
        match options.udp.then(|| bind_udp(bound, options)).transpose() {
            Ok(udp) => {
                return Ok(Bound {
                    address: bound,
                    tcp,
                    udp,
                });
            }
            Err(error)
                if address.port() == 0
                    && error.kind() == io::ErrorKind::AddrInUse
                    && rejected.len() < PORT_TRIES =>
            {
                rejected.push(tcp);
            }
            Err(error) => return Err(explain(bound, "udp", &error, options)),
        }
    }
}

fn listen(address: SocketAddr, options: &Options) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = open(address, Type::STREAM, Protocol::TCP, options)?;
    system::allow_rebinding(&socket)?;
    // Accepted sockets inherit these, or are given them: see `inherit_options`.
    socket.set_tcp_nodelay(true)?;
    if let Some(limit) = options.keepalive {
        keepalive::close_vanished(&socket, limit)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    let listener = TcpListener::from(socket);
    Ok((listener.local_addr()?, listener))
}

/// Binds the blocking listening socket of observers, at the first address of `name` that works.
///
/// # Errors
///
/// The name has no address, or the last one cannot be bound.
pub(crate) fn bind_observers(name: &str) -> io::Result<TcpListener> {
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    for address in name.to_socket_addrs()? {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        system::allow_rebinding(&socket)?;
        // Accepted sockets inherit it.
        socket.set_send_buffer_size(OBSERVER_SEND_BUFFER_BYTES)?;
        let bound = socket
            .bind(&address.into())
            .and_then(|()| socket.listen(OBSERVER_BACKLOG_CONNECTIONS));
        match bound {
            Ok(()) => return Ok(socket.into()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn bind_udp(address: SocketAddr, options: &Options) -> io::Result<UdpSocket> {
    // Never SO_REUSEADDR: on UDP it lets two servers bind one port, and only one of them receives.
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
        // [::] is IPv6 only, so that 0.0.0.0 can be bound too.
        socket.set_only_v6(true)?;
    }
    if options.reuse_port {
        system::share_port(&socket)?;
    }
    Ok(socket)
}

fn explain(address: SocketAddr, protocol: &str, error: &io::Error, options: &Options) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse if options.reuse_port => {
            "the port is in use and not shared: start all servers on it with --reuse-port, as the \
             same user"
        }
        io::ErrorKind::AddrInUse => {
            "the port is in use: stop the program that listens there, or choose another port with \
             --listen ADDRESS:PORT (port 0 finds a free one)"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: choose a higher port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "not an address of this machine: give --listen one that is, or 0.0.0.0 or [::] for all"
        }
        _ => "choose another address with --listen",
    };
    let cause = match error.kind() {
        // The advice says it.
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable => String::new(),
        _ => format!("{error}; "),
    };
    Error(format!(
        "cannot listen on {address} ({protocol}): {cause}{advice}"
    ))
}

/// The kernel cuts a longer backlog silently. Where its limit is unknown, there is no warning.
fn warn_if_backlog_is_cut(backlog: u32) {
    if let Some(limit) = system::backlog_limit().filter(|limit| *limit < backlog) {
        warn!(
            "--backlog {backlog} is cut to {limit} by this system: raise the limit with \
             `sysctl -w net.core.somaxconn={backlog}`"
        );
    }
}
