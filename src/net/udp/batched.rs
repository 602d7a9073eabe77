//! Many datagrams by one system call: `recvmmsg(2)` and `sendmmsg(2)`, which Linux has.
//!
//! **Owns** the headers that the two calls are given. **Must never touch** what the datagrams
//! mean. **Invariant**: each direction has headers of its own, since sending overwrites the
//! names in them and receiving does not put them back.

use crate::net::udp::batch::{BATCH, RecvBatch, SendBatch};
use crate::server::sources::datagrams::DatagramSocket;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// What UDP is served by here.
pub type Datagram = Batched;

/// A UDP socket that receives and sends in batches.
#[derive(Debug)]
pub struct Batched {
    socket: UdpSocket,
    incoming: MultiHeaders<SockaddrStorage>,
    outgoing: MultiHeaders<SockaddrStorage>,
    /// Where the replies of a batch go, as the call wants it; kept for its memory.
    names: Vec<Option<SockaddrStorage>>,
}

impl Batched {
    /// Takes over a socket, which must not block.
    #[must_use]
    pub fn from_std(socket: std::net::UdpSocket) -> Self {
        Self {
            socket: UdpSocket::from_std(socket),
            incoming: MultiHeaders::preallocate(BATCH, None),
            outgoing: MultiHeaders::preallocate(BATCH, None),
            names: Vec::with_capacity(BATCH),
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

    /// A batch that is not full has emptied the socket. An error behind the first datagram would
    /// cut a batch short too, but a socket that is not connected has none (udp(7)).
    fn receive(&mut self, incoming: &mut RecvBatch) -> io::Result<bool> {
        let (mut rooms, arrived) = incoming.rooms();
        let mut slices: [_; BATCH] =
            array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let received = recvmmsg(
            self.socket.as_raw_fd(),
            &mut self.incoming,
            &mut slices,
            MsgFlags::MSG_DONTWAIT,
            None,
        )?;
        for message in received {
            let from = message.address.as_ref().and_then(address);
            // Only a socket of another family would have no address that is one.
            arrived.push((message.bytes, from.ok_or(io::ErrorKind::InvalidData)?));
        }
        Ok(arrived.len() == BATCH)
    }

    fn send(&mut self, outgoing: &SendBatch) -> io::Result<usize> {
        self.names.clear();
        let names = outgoing.iter().take(BATCH).map(|(_, to)| Some(to.into()));
        self.names.extend(names);
        let mut replies = outgoing.iter();
        let slices: [_; BATCH] =
            array::from_fn(|_| [IoSlice::new(replies.next().map_or(&[], |(reply, _)| reply))]);
        let sent = sendmmsg(
            self.socket.as_raw_fd(),
            &mut self.outgoing,
            &slices[..self.names.len()],
            &self.names,
            [],
            MsgFlags::MSG_DONTWAIT,
        )?;
        Ok(sent.count())
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

fn address(name: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        name.as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}
