//! One datagram per system call: recvfrom(2) and sendto(2), which every system has.
//!
//! **Owns** nothing: mio's socket is all that is needed. **Must never touch** what a datagram
//! means. **Invariant**: the socket is drained until `WouldBlock`, one datagram at a time.

use super::platform::truncated;
use crate::net::udp::DatagramSocket;
use mio::net::UdpSocket;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The sender of a datagram that is too long, where the system reports nothing else about it.
const UNKNOWN_SENDER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

impl DatagramSocket for UdpSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = Self::recv_from(self, buffer);
        truncated(received, (buffer.len(), UNKNOWN_SENDER))
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to)
    }
}
