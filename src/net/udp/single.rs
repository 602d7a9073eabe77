//! One datagram per system call: recvfrom(2) and sendto(2), which every system has.
//!
//! **Owns** nothing: mio's socket is all that is needed. **Must never touch** what a datagram
//! means. **Invariant**: the socket is drained until `WouldBlock`, one datagram at a time.

use super::DatagramSocket;
use mio::net::UdpSocket;
use std::io;
use std::net::SocketAddr;

/// The UDP socket of this system.
pub type Socket = UdpSocket;

impl DatagramSocket for UdpSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Self::recv_from(self, buffer)
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to)
    }
}
