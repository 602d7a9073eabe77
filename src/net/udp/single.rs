//! One datagram by one system call: `recvfrom(2)` and `sendto(2)`, which every Unix has.
//!
//! **Owns** nothing: mio's socket is what is needed. **Must never touch** what the datagrams
//! mean. **Invariant**: the socket is drained until it would block, a batch of one at a time.

use crate::server::sources::datagrams::DatagramSocket;
use mio::net::UdpSocket;
use std::io;
use std::net::SocketAddr;

/// What UDP is served by here.
pub type Datagram = UdpSocket;

impl DatagramSocket for UdpSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Self::recv_from(self, buffer)
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to)
    }
}
