//! The network: everything that makes a socket call, and what each system offers.
//!
//! **Owns** the traits of the sockets, and the meaning of each result of a call. **Must never
//! touch** what the bytes mean, nor when a source is driven. **Invariant**: a result is interpreted
//! here, once, for all programs.
//!
//! A program is generic over [`Net`]: the system's sockets, or scripted ones in a test.

pub mod bind;
mod keepalive;
pub mod outbox;
pub mod stream;
pub(crate) mod system;
pub mod udp;

use mio::event;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;
use stream::Stream;
use udp::DatagramSocket;

/// How long a listener waits before it retries an accept that failed for lack of descriptors or
/// memory: ten turns per second cost nothing, and a person hardly notices the wait.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The socket types of one network.
pub trait Net: fmt::Debug {
    /// A listening socket.
    type Listener: Accept<Stream = Self::Stream>;
    /// A connection. While it is open, no other one has its descriptor.
    type Stream: Stream + AsRawFd + event::Source + fmt::Debug;
    /// A UDP socket.
    type UdpSocket: DatagramSocket;
}

/// The sockets of the operating system, by way of mio.
#[derive(Debug)]
pub enum SystemNet {}

impl Net for SystemNet {
    type Listener = mio::net::TcpListener;
    type Stream = mio::net::TcpStream;
    type UdpSocket = udp::Socket;
}

/// A listening socket.
pub trait Accept: event::Source + fmt::Debug {
    /// An accepted connection.
    type Stream;

    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2), including `WouldBlock`.
    fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;
}

impl Accept for mio::net::TcpListener {
    type Stream = mio::net::TcpStream;

    fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, address) = Self::accept(self)?;
        system::inherit_options(self, &stream);
        Ok((stream, address))
    }
}
