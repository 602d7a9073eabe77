//! Many datagrams per system call: recvmmsg(2) and sendmmsg(2), which only Linux has.
//!
//! **Owns** the headers that the two calls take. **Must never touch** what a datagram means.
//! **Invariant**: each direction has its own headers, because sending overwrites the addresses in
//! them and receiving does not restore them.

use super::super::SHORT_READ_DRAINS;
use crate::net::udp::DatagramSocket;
use crate::net::udp::batch::{BATCH_DATAGRAMS, RecvBatch, SendBatch};
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// A UDP socket that receives and sends in batches.
#[derive(Debug)]
pub struct Batched {
    socket: UdpSocket,
    recv_headers: MultiHeaders<SockaddrStorage>,
    send_headers: MultiHeaders<SockaddrStorage>,
    /// The destinations of a batch in the form that sendmmsg takes; kept for its memory.
    destinations: Vec<Option<SockaddrStorage>>,
}

impl Batched {
    /// Takes over a nonblocking socket.
    #[must_use]
    pub fn from_std(socket: std::net::UdpSocket) -> Self {
        Self {
            socket: UdpSocket::from_std(socket),
            recv_headers: MultiHeaders::preallocate(BATCH_DATAGRAMS, None),
            send_headers: MultiHeaders::preallocate(BATCH_DATAGRAMS, None),
            destinations: Vec::with_capacity(BATCH_DATAGRAMS),
        }
    }
}

impl DatagramSocket for Batched {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.send_to(datagram, to)
    }

    /// A batch that is not full proves that the socket is drained, where a short read does (pitfall
    /// 25). recvmmsg also stops early at an error, but an unconnected socket has none: Linux drops ICMP
    /// errors unless IP_RECVERR is set (`__udp4_lib_err` in net/ipv4/udp.c; udp(7) says otherwise).
    fn receive(&mut self, batch: &mut RecvBatch) -> io::Result<bool> {
        let (mut buffers, received) = batch.buffers();
        let mut slices: [_; BATCH_DATAGRAMS] =
            array::from_fn(|_| [IoSliceMut::new(buffers.next().unwrap_or_default())]);
        let descriptor = self.socket.as_raw_fd();
        // `try_io` lets mio see a `WouldBlock`, as its own calls do (pitfall 25).
        let messages = self.socket.try_io(|| {
            let flags = MsgFlags::MSG_DONTWAIT;
            Ok(recvmmsg(
                descriptor,
                &mut self.recv_headers,
                &mut slices,
                flags,
                None,
            )?)
        })?;
        for message in messages {
            let from = message.address.as_ref().and_then(socket_address);
            // Only a socket of another address family yields an address that is neither.
            received.push((message.bytes, from.ok_or(io::ErrorKind::InvalidData)?));
        }
        Ok(received.len() == BATCH_DATAGRAMS || !SHORT_READ_DRAINS)
    }

    fn send(&mut self, batch: &SendBatch) -> io::Result<usize> {
        self.destinations.clear();
        let datagrams = batch.iter().take(BATCH_DATAGRAMS);
        self.destinations
            .extend(datagrams.map(|(_, to)| Some(to.into())));
        let mut datagrams = batch.iter();
        let slices: [_; BATCH_DATAGRAMS] = array::from_fn(|_| {
            let next = datagrams.next();
            [IoSlice::new(next.map_or(&[], |(datagram, _)| datagram))]
        });
        self.socket.try_io(|| {
            let sent = sendmmsg(
                self.socket.as_raw_fd(),
                &mut self.send_headers,
                &slices[..self.destinations.len()],
                &self.destinations,
                [],
                MsgFlags::MSG_DONTWAIT,
            )?;
            Ok(sent.count())
        })
    }
}

impl event::Source for Batched {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.register(registry, token, interest)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        self.socket.reregister(registry, token, interest)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket.deregister(registry)
    }
}

fn socket_address(name: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        name.as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}
