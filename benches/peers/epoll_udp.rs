//! The limit for UDP: what has come is received by one system call, and answered by one.
//!
//! What is left out makes it short: IPv6, limits, the check for other servers' greetings and
//! ports, replies that cannot be sent. The name is received to where it stands in the reply.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Datagrams a call.
const BATCH: usize = 64;
const HELLO: &[u8] = b"Hello, ";
const DATAGRAM_BYTES: usize = 1_024;

/// Room for a reply.
type Reply = [u8; HELLO.len() + DATAGRAM_BYTES + 1];

/// Serves for ever.
pub(crate) fn serve(socket: &UdpSocket) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor");
    let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
    epoll.add(socket, event).expect("the only registration");
    let mut replies: Box<[Reply; BATCH]> = Box::new([[0; _]; BATCH]);
    for reply in replies.iter_mut() {
        reply[..HELLO.len()].copy_from_slice(HELLO);
    }
    // One for each direction: sending overwrites the names, and receiving does not reset them.
    let mut incoming = MultiHeaders::preallocate(BATCH, None);
    let mut outgoing = MultiHeaders::preallocate(BATCH, None);
    loop {
        let _ = epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE);
        // A batch that is not full has emptied the socket.
        while answer(socket, &mut replies, &mut incoming, &mut outgoing) == BATCH {}
    }
}

/// Answers one batch, and returns how many datagrams it was.
fn answer(
    socket: &UdpSocket,
    replies: &mut [Reply; BATCH],
    incoming: &mut MultiHeaders<SockaddrIn>,
    outgoing: &mut MultiHeaders<SockaddrIn>,
) -> usize {
    let mut ends = [0; BATCH];
    let mut senders = [None; BATCH];
    let mut spaces = replies
        .each_mut()
        .map(|reply| [IoSliceMut::new(&mut reply[HELLO.len()..][..DATAGRAM_BYTES])]);
    let flags = MsgFlags::MSG_DONTWAIT;
    let Ok(received) = recvmmsg(socket.as_raw_fd(), incoming, &mut spaces, flags, None) else {
        return 0;
    };
    let mut count = 0;
    for message in received {
        senders[count] = message.address;
        ends[count] = HELLO.len() + message.bytes;
        count += 1;
    }
    for (reply, end) in replies.iter_mut().zip(&mut ends[..count]) {
        let ending_bytes = match reply[..*end] {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        reply.copy_within(*end - ending_bytes..*end, *end - ending_bytes + 1);
        reply[*end - ending_bytes] = b'!';
        *end += 1;
    }
    let slices: [_; BATCH] = array::from_fn(|at| [IoSlice::new(&replies[at][..ends[at]])]);
    let (slices, senders) = (&slices[..count], &senders[..count]);
    let sent = sendmmsg(socket.as_raw_fd(), outgoing, slices, senders, [], flags);
    assert!(sent.is_ok(), "sending a batch: {:?}", sent.err());
    count
}
