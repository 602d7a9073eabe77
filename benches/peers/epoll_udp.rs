//! The lower bound for UDP: one system call receives a batch of datagrams, one sends the replies.
//!
//! Missing are IPv6, limits, the checks against reply loops between servers, and the handling of
//! replies that cannot be sent. Each name is received into its place in the reply.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};
use std::array;
use std::io::{IoSlice, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Datagrams per call.
const DATAGRAMS_PER_CALL: usize = 64;
const HELLO: &[u8] = b"Hello, ";
const DATAGRAM_BYTES: usize = 1_024;

/// Space for one reply.
type Reply = [u8; HELLO.len() + DATAGRAM_BYTES + 1];

/// Serves forever.
pub(crate) fn serve(socket: &UdpSocket) {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor");
    let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
    epoll.add(socket, event).expect("the only registration");
    let mut replies: Box<[Reply; DATAGRAMS_PER_CALL]> = Box::new([[0; _]; DATAGRAMS_PER_CALL]);
    for reply in replies.iter_mut() {
        reply[..HELLO.len()].copy_from_slice(HELLO);
    }
    // One per direction: a send overwrites the addresses, and a receive does not restore them.
    let mut incoming = MultiHeaders::preallocate(DATAGRAMS_PER_CALL, None);
    let mut outgoing = MultiHeaders::preallocate(DATAGRAMS_PER_CALL, None);
    loop {
        let _ = epoll.wait(&mut [EpollEvent::empty()], EpollTimeout::NONE);
        // A batch that is not full has drained the socket.
        while answer(socket, &mut replies, &mut incoming, &mut outgoing) == DATAGRAMS_PER_CALL {}
    }
}

/// Answers one batch. Returns its number of datagrams.
fn answer(
    socket: &UdpSocket,
    replies: &mut [Reply; DATAGRAMS_PER_CALL],
    incoming: &mut MultiHeaders<SockaddrIn>,
    outgoing: &mut MultiHeaders<SockaddrIn>,
) -> usize {
    let mut ends = [0; DATAGRAMS_PER_CALL];
    let mut senders = [None; DATAGRAMS_PER_CALL];
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
    let slices: [_; DATAGRAMS_PER_CALL] =
        array::from_fn(|at| [IoSlice::new(&replies[at][..ends[at]])]);
    let (slices, senders) = (&slices[..count], &senders[..count]);
    let sent = sendmmsg(socket.as_raw_fd(), outgoing, slices, senders, [], flags);
    assert!(sent.is_ok(), "sending a batch: {:?}", sent.err());
    count
}
