//! Sockets that connect without blocking, and the addresses that they connect from.
//!
//! **Owns** source addresses and socket options. **Must never touch** what is then said.
//! **Invariant**: nothing here blocks; whether a connection came about is asked later, of the
//! socket itself (pitfall 13).
//!
//! A connection is named by two addresses and two ports, three of which are fixed for one
//! client machine and one server: some 28,000 ports are then the most clients, and finding a
//! free one among many taken is slow. Spread over the addresses of a loopback network, ports
//! are plentiful.

use crate::net::stream::Stream;
use crate::net::system;
use mio::net::{TcpStream, UdpSocket};
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Clients of one source address. Measured: 19,900 connects from one address run at 1,639 a
/// second, and spread over ten and more at 21,820.
pub const CLIENTS_PER_SOURCE: u32 = 1_000;

/// Where clients connect from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sources {
    /// From wherever the system chooses: one address.
    #[default]
    System,
    /// From `count` addresses in a row, `first` and those behind it.
    Row {
        /// The first address.
        first: IpAddr,
        /// How many there are, at least one.
        count: u32,
    },
}

impl Sources {
    /// What suits a server at `to`: all of 127.0.0.0/8, where it is a loopback network and the
    /// server is on it; one address else.
    #[must_use]
    pub fn suited_to(to: SocketAddr) -> Self {
        match to.ip() {
            IpAddr::V4(ip) if ip.is_loopback() && system::HAS_LOOPBACK_NETWORK => Self::Row {
                first: Ipv4Addr::LOCALHOST.into(),
                count: (1 << 24) - 2,
            },
            _ => Self::System,
        }
    }

    /// The address that client number `client` connects from; `None`: the system's choice.
    #[must_use]
    pub fn of(&self, client: u32) -> Option<IpAddr> {
        let Self::Row { first, count } = *self else {
            return None;
        };
        let step = (client / CLIENTS_PER_SOURCE) % count;
        Some(match first {
            IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits().wrapping_add(step)).into(),
            IpAddr::V6(first) => {
                Ipv6Addr::from_bits(first.to_bits().wrapping_add(step.into())).into()
            }
        })
    }

    /// How many addresses so many clients use.
    #[must_use]
    pub fn used_by(&self, clients: u32) -> u32 {
        match self {
            Self::System => 1,
            Self::Row { count, .. } => clients.div_ceil(CLIENTS_PER_SOURCE).clamp(1, *count),
        }
    }
}

/// `10.0.0.16/28`: from the address named on to the network's last that a host may have.
impl FromStr for Sources {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "a source is written as ADDRESS or ADDRESS/PREFIX, as in 10.0.0.16/28 or fd00::1/120"
                .to_owned()
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u32 = prefix.map_or(Ok(bits), str::parse).map_err(|_| wrong())?;
        let host_bits = bits.checked_sub(prefix).ok_or_else(wrong)?;
        // More addresses than a row can count are as good as a row's most.
        let hosts = 1u128 << host_bits.min(31);
        let host_mask = hosts - 1;
        let (first, last_host) = match address {
            IpAddr::V4(ip) => (
                u128::from(ip.to_bits()) & host_mask,
                host_mask - u128::from(host_bits > 1),
            ),
            IpAddr::V6(ip) => (ip.to_bits() & host_mask, host_mask),
        };
        // A network's own number and its broadcast address are no hosts' (RFC 1122, 3.2.1.3).
        let skipped = u128::from(address.is_ipv4() && host_bits > 1 && first == 0);
        let count = (last_host + 1).saturating_sub(first + skipped).max(1);
        let skipped = skipped as u32;
        let first = match address {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() + skipped).into(),
            ip @ IpAddr::V6(_) => ip,
        };
        Ok(Self::Row {
            first,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        })
    }
}

/// A stream that may still be connecting: mio's, or a script in a test.
pub trait Connecting: Stream {
    /// Whether the connection has come about.
    ///
    /// # Errors
    ///
    /// It never will; the reason is SO_ERROR's.
    fn is_connected(&self) -> io::Result<bool>;
}

impl Connecting for TcpStream {
    fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        // A spurious event may come before either: then there is no peer yet (pitfall 15).
        match self.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Starts to connect to `to`, from address `source` if one is given.
///
/// # Errors
///
/// No descriptor, no port, or a refusal that the system tells at once.
pub fn start_tcp(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = open(to, source, Type::STREAM, Protocol::TCP)?;
    // A message is one segment, and waits for no other.
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// A UDP socket that sends to `to` alone and hears nobody else, errors included.
///
/// # Errors
///
/// No descriptor, or no port.
pub fn open_udp(to: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let socket = open(to, source, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&to.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

fn open(
    to: SocketAddr,
    source: Option<IpAddr>,
    kind: Type,
    protocol: Protocol,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source {
        system::bind_address_no_port(&socket);
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> (String, u32) {
        match text.parse().expect(text) {
            Sources::Row { first, count } => (first.to_string(), count),
            Sources::System => unreachable!("a text names a row"),
        }
    }

    #[test]
    fn a_network_is_a_row_of_hosts() {
        for (text, first, count) in [
            ("10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1/32", "10.0.0.1", 1),
            ("10.0.0.0/31", "10.0.0.0", 2),
            ("10.0.0.0/29", "10.0.0.1", 6),
            ("10.0.0.4/29", "10.0.0.4", 3),
            ("127.0.0.0/8", "127.0.0.1", (1 << 24) - 2),
            ("fd00::/126", "fd00::", 4),
            ("fd00::1/128", "fd00::1", 1),
        ] {
            assert_eq!(row(text), (first.to_owned(), count), "{text}");
        }
        for text in [
            "",
            "x",
            "10.0.0.1/33",
            "10.0.0/8",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/-1",
        ] {
            assert!(text.parse::<Sources>().is_err(), "{text}");
        }
    }

    #[test]
    fn clients_are_spread_a_thousand_an_address() {
        let sources: Sources = "127.0.0.1/8".parse().expect("a network");
        let of = |client| sources.of(client).expect("a row").to_string();
        assert_eq!((of(0), of(999)), ("127.0.0.1".into(), "127.0.0.1".into()));
        assert_eq!(
            (of(1_000), of(255_000)),
            ("127.0.0.2".into(), "127.0.1.0".into())
        );
        assert_eq!((sources.used_by(1), sources.used_by(19_001)), (1, 20));
        assert_eq!(
            (Sources::System.of(5), Sources::System.used_by(9)),
            (None, 1)
        );
    }
}
