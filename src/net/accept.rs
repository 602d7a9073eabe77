//! Accepting connections.
//!
//! **Owns** the trait of a listening socket, and the meaning of every error of `accept`. **Must
//! never touch** a connection that it has accepted. **Invariant**: an error of one
//! connection does not stop the listener (pitfalls 4 and 18).

use super::system;
use mio::event;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a listener waits before it retries an accept that failed for lack of descriptors or
/// memory: ten turns per second cost nothing, and a person hardly notices the wait.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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

    /// Begins no further handshake, so that the listener can close without a reset, and returns how
    /// long those that are half done may take to complete. `None`: new connections keep coming.
    fn drop_new_handshakes(&self) -> Option<Duration> {
        None
    }
}

impl Accept for mio::net::TcpListener {
    type Stream = mio::net::TcpStream;

    fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, address) = Self::accept(self)?;
        system::inherit_options(self, &stream);
        Ok((stream, address))
    }

    fn drop_new_handshakes(&self) -> Option<Duration> {
        system::drop_new_handshakes(self)
    }
}

/// What an error of accept(2) concerns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AcceptFailure {
    /// The backlog is empty.
    Blocked,
    /// A signal arrived: retry.
    Interrupted,
    /// That one connection failed while it waited: try the next.
    Connection,
    /// No descriptor or memory is left, or something unknown is wrong: the next try would fail in
    /// the same way.
    Resources,
}

impl AcceptFailure {
    /// The meaning of this error.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => Self::Blocked,
            io::ErrorKind::Interrupted => Self::Interrupted,
            _ if system::concerns_one_connection(error) => Self::Connection,
            _ => Self::Resources,
        }
    }
}
