//! The network: everything that makes a socket call, and what each system offers.
//!
//! **Owns** the traits of the sockets, and the meaning of each result of a call. **Must never
//! touch** what the bytes mean, nor when a source is driven. **Invariant**: a result is interpreted
//! here, once, for all programs.
//!
//! A program is generic over [`Net`]: the system's sockets, or scripted ones in a test.

mod accept;
pub mod bind;
mod keepalive;
pub mod outbox;
pub mod stream;
pub(crate) mod system;
pub mod udp;

pub use accept::Accept;
pub(crate) use accept::{ACCEPT_RETRY, AcceptFailure};
pub use system::{Descriptor, UdpSocket};

use mio::event;
use std::fmt;
use stream::Stream;
use udp::DatagramSocket;

/// The socket types of one network.
pub trait Net: fmt::Debug {
    /// A listening socket.
    type Listener: Accept<Stream = Self::Stream>;
    /// A connection.
    type Stream: Stream + event::Source + fmt::Debug;
    /// A UDP socket.
    type UdpSocket: DatagramSocket;
}

/// The sockets of the operating system, by way of mio.
#[derive(Debug)]
pub enum SystemNet {}

impl Net for SystemNet {
    type Listener = mio::net::TcpListener;
    type Stream = mio::net::TcpStream;
    type UdpSocket = UdpSocket;
}
