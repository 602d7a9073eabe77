//! Sockets that connect without blocking, and the addresses they connect from.
//!
//! **Owns** source addresses and socket options. **Must never touch** the conversation that
//! follows. **Invariant**: nothing here blocks; the outcome of a connect is read later, from the
//! socket itself (pitfall 13).
//!
//! A connection is identified by two addresses and two ports. One client address and one server
//! fix three of the four, so only the ephemeral ports are left: about 28,000 on Linux, and a free
//! one is slow to find when most are taken. Clients spread over several source addresses have
//! the whole port range on each.

use crate::net::stream::Stream;
use crate::net::system;
use ipnet::{IpAdd as _, IpAddrRange, IpNet, IpSub as _, Ipv4AddrRange, Ipv4Net, Ipv6AddrRange};
use mio::net::{TcpStream, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Clients per source address. Measured with 19,900 clients: 1,639 connects per second from one
/// address, 21,820 from ten or more.
pub const CLIENTS_PER_SOURCE: u32 = 1_000;

/// The addresses that clients connect from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceAddresses {
    /// One address, chosen by the system.
    #[default]
    System,
    /// These addresses, [`CLIENTS_PER_SOURCE`] clients each; after the last, the first again.
    Range(IpAddrRange),
}

impl SourceAddresses {
    /// The default for a server at `to`: all of 127.0.0.0/8 if the server listens on IPv4
    /// loopback and this system has a loopback network, else the system's choice.
    #[must_use]
    pub fn default_for(to: SocketAddr) -> Self {
        if system::HAS_LOOPBACK_NETWORK && to.is_ipv4() && to.ip().is_loopback() {
            IpNet::from(Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8)).into()
        } else {
            Self::System
        }
    }

    /// The address that client number `client` connects from; `None`: the system's choice.
    #[must_use]
    pub fn address_for(&self, client: u32) -> Option<IpAddr> {
        let Self::Range(mut range) = *self else {
            return None;
        };
        let number = (client / CLIENTS_PER_SOURCE) as usize;
        range.nth(number.checked_rem(range.size_hint().0)?)
    }

    /// The number of source addresses that `clients` clients use.
    #[must_use]
    pub(crate) fn count_for(&self, clients: u32) -> u32 {
        let available = match self {
            Self::System => 1,
            Self::Range(range) => u32::try_from(range.size_hint().0).unwrap_or(u32::MAX),
        };
        clients.div_ceil(CLIENTS_PER_SOURCE).min(available).max(1)
    }
}

/// From the address to the last host address of its network.
impl From<IpNet> for SourceAddresses {
    fn from(net: IpNet) -> Self {
        Self::Range(match net {
            IpNet::V4(net) => {
                // The network and broadcast addresses are not hosts (RFC 1122, 3.2.1.3), except
                // on a point-to-point link (RFC 3021).
                let reserved = u32::from(net.prefix_len() < 31);
                let first = net.addr().max(net.network().saturating_add(reserved));
                let last = net.broadcast().saturating_sub(reserved).max(first);
                Ipv4AddrRange::new(first, last).into()
            }
            IpNet::V6(net) => Ipv6AddrRange::new(net.addr(), net.broadcast()).into(),
        })
    }
}

/// `10.0.0.16/28`, or one address.
impl FromStr for SourceAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `IpNet` alone would read 010.0.0.1/8 as 10.0.0.1/8; to other programs 010 is octal.
        let (address, prefix) = text.split_once('/').unzip();
        let address: Option<IpAddr> = address.unwrap_or(text).parse().ok();
        let net = address.and_then(|address| match prefix {
            Some(_) => text.parse().ok(),
            None => Some(IpNet::from(address)),
        });
        net.map(IpNet::into).ok_or_else(|| {
            "write it as ADDRESS or ADDRESS/PREFIX, as in 10.0.0.16/28 or fd00::1/120".to_owned()
        })
    }
}

/// A stream whose connect may still be in progress: mio's, or a scripted one in tests.
pub trait Connecting: Stream {
    /// Whether the connection is established.
    ///
    /// # Errors
    ///
    /// The connect failed; the error is that of `SO_ERROR`.
    fn is_connected(&self) -> io::Result<bool>;
}

impl Connecting for TcpStream {
    fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        // A spurious wakeup: neither established nor failed yet (pitfall 15). Returned to `try_io` as
        // `WouldBlock`, it makes mio report the socket again (pitfall 25).
        let peer = self.try_io(|| match self.peer_addr() {
            Err(error) if error.kind() == ErrorKind::NotConnected => {
                Err(ErrorKind::WouldBlock.into())
            }
            peer => peer,
        });
        match peer {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Starts a connect to `to`, from the address `source` if there is one.
///
/// # Errors
///
/// No descriptor or port is left, or the connect fails at once.
pub fn start_tcp(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = open(to, source, Type::STREAM, Protocol::TCP)?;
    // Send each message at once, in a segment of its own.
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if !system::is_connecting(&error) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Opens a UDP socket connected to `to`: it receives datagrams, and ICMP errors, from that peer
/// only.
///
/// # Errors
///
/// No descriptor or port is left.
pub(crate) fn open_udp(to: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
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

    fn first_and_count(text: &str) -> (String, usize) {
        match text.parse().expect(text) {
            SourceAddresses::Range(mut range) => {
                let count = range.count();
                (range.next().expect(text).to_string(), count)
            }
            SourceAddresses::System => unreachable!("a parsed text is a range"),
        }
    }

    #[test]
    fn a_network_is_the_range_of_its_hosts() {
        for (text, first, count) in [
            ("10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1/32", "10.0.0.1", 1),
            ("10.0.0.0/31", "10.0.0.0", 2),
            ("10.0.0.0/29", "10.0.0.1", 6),
            ("10.0.0.4/29", "10.0.0.4", 3),
            ("10.0.0.7/29", "10.0.0.7", 1),
            ("127.0.0.0/8", "127.0.0.1", (1 << 24) - 2),
            ("fd00::/126", "fd00::", 4),
            ("fd00::1/128", "fd00::1", 1),
        ] {
            assert_eq!(first_and_count(text), (first.to_owned(), count), "{text}");
        }
        for text in [
            "",
            "x",
            "10.0.0.1/33",
            "10.0.0/8",
            "::/129",
            "1.2.3.4/",
            "1.2.3.4/-1",
            "010.0.0.1/8",
            "010.0.0.1",
        ] {
            assert!(text.parse::<SourceAddresses>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_source_address_has_a_thousand_clients() {
        let sources: SourceAddresses = "127.0.0.1/8".parse().expect("a network");
        let address_for = |client| {
            let address = sources.address_for(client);
            address.expect("a range is not empty").to_string()
        };
        assert_eq!(
            (address_for(0), address_for(999)),
            ("127.0.0.1".into(), "127.0.0.1".into())
        );
        assert_eq!(
            (address_for(1_000), address_for(255_000)),
            ("127.0.0.2".into(), "127.0.1.0".into())
        );
        assert_eq!((sources.count_for(1), sources.count_for(19_001)), (1, 20));
        assert_eq!(
            (
                SourceAddresses::System.address_for(5),
                SourceAddresses::System.count_for(9)
            ),
            (None, 1)
        );
    }
}
