//! UDP sockets: datagrams one by one, or in batches where the system has a call for it.
//!
//! **Owns** the trait of a UDP socket. **Must never touch** what a datagram means. **Invariant**: an
//! error belongs to one datagram and is returned once; no datagram received before it is lost.

pub mod batch;

use batch::{RecvBatch, SendBatch};
use mio::event;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The error of a receive on a connected socket: whether the port is closed. Windows reports the ICMP
/// error as a reset, other systems as a refusal.
#[must_use]
pub fn closed_port(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset => io::ErrorKind::ConnectionRefused.into(),
        _ => error,
    }
}

/// A UDP socket: that of the [system](super::UdpSocket), or a script in a test.
pub trait DatagramSocket: event::Source + fmt::Debug {
    /// Receives one datagram, truncated to the buffer.
    ///
    /// # Errors
    ///
    /// Those of recvfrom(2), which may concern datagrams sent earlier.
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// Those of sendto(2).
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Receives a batch, and returns whether there may be more. Receives one datagram by default;
    /// Linux overrides this with recvmmsg(2).
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from); nothing was received then.
    fn receive(&mut self, batch: &mut RecvBatch) -> io::Result<bool> {
        let (mut buffers, received) = batch.buffers();
        received.push(self.recv_from(buffers.next().unwrap_or_default())?);
        Ok(true)
    }

    /// Sends datagrams from the front of the batch, and returns how many, at least one. Sends one
    /// by default; Linux overrides this with sendmmsg(2).
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), for the first datagram.
    fn send(&mut self, batch: &SendBatch) -> io::Result<usize> {
        let (datagram, to) = batch.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.send_to(datagram, to).map(|_| 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_port_is_refused_on_each_system() {
        for (reported, kind) in [
            (
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::ConnectionRefused,
            ),
            (
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::ConnectionRefused,
            ),
            (
                io::ErrorKind::HostUnreachable,
                io::ErrorKind::HostUnreachable,
            ),
        ] {
            assert_eq!(closed_port(reported.into()).kind(), kind);
        }
    }
}
