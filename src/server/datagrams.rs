//! The UDP socket as an event source: each datagram NAME is answered to where it came from.
//!
//! **Owns** one socket and the one reply that it would not take. **Must never touch** a
//! connection. **Invariant**: no datagram and no error ends the loop (pitfall 14); a reply in
//! hand is sent, dropped for an error of its own and counted, or kept until there is room.
//!
//! What is not answered, so that nothing can be made to talk for ever or to a third party: a
//! datagram that is itself a greeting, and one from a port below 1024 (CVE-2024-2169).

use super::World;
use super::stats::Drop;
use crate::greeting;
use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::warn_limited;
use log::debug;
use mio::event;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Datagrams received in one turn: as many as fit a turn of other work (pitfall 5).
pub const DATAGRAMS_PER_TURN: usize = 64;

/// The longest name for whose reply one datagram over IPv4 has room: 65,507 bytes, less the
/// eight of `Hello, ` and `!`.
pub const MAX_DATAGRAM_BYTES: usize = 65_499;

/// Ports below this belong to services (RFC 6335, system ports). Some answer whatever comes.
const FIRST_USER_PORT: u16 = 1_024;

/// What datagrams come from and go to: mio's socket, or a script in a test.
pub trait DatagramSocket: event::Source + fmt::Debug {
    /// Receives one datagram, cut to the buffer.
    ///
    /// # Errors
    ///
    /// `recvfrom(2)`'s, among them errors of datagrams sent earlier.
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Sends one datagram.
    ///
    /// # Errors
    ///
    /// `sendto(2)`'s.
    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize>;
}

impl DatagramSocket for mio::net::UdpSocket {
    fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Self::recv_from(self, buffer)
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to)
    }
}

/// Answers one datagram of `from` into `reply`, or says why not.
///
/// # Errors
///
/// The datagram is not to be answered.
pub fn answer(
    datagram: &[u8],
    from: SocketAddr,
    max_datagram: usize,
    reply: &mut Vec<u8>,
) -> Result<(), Drop> {
    if datagram.len() > max_datagram {
        return Err(Drop::TooLong);
    }
    if from.port() < FIRST_USER_PORT {
        return Err(Drop::LowPort);
    }
    if !greeting::answer_datagram(datagram, reply) {
        return Err(Drop::Greeting);
    }
    Ok(())
}

/// One UDP socket.
#[derive(Debug)]
pub struct Datagrams<U> {
    socket: U,
    /// The reply that found the send buffer full. Nothing is received until it is gone.
    unsent: Option<(Vec<u8>, SocketAddr)>,
}

impl<U: DatagramSocket> Datagrams<U> {
    /// Serves `socket`.
    pub fn new(socket: U) -> Self {
        Self {
            socket,
            unsent: None,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Answers what has come, within the budget.
    pub fn drive<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if let Some((reply, to)) = self.unsent.take() {
            self.send(&reply, to, cx);
        }
        for _ in 0..DATAGRAMS_PER_TURN {
            if self.unsent.is_some() {
                return Verdict::Park;
            }
            if !cx.readiness.contains(Readiness::READABLE) {
                break;
            }
            self.serve_one(cx);
        }
        if self.unsent.is_some() {
            Verdict::Park
        } else if cx.world.is_draining() {
            // Once more, and never again: a flood of datagrams must not hold up the end.
            Verdict::Close
        } else if cx.readiness.contains(Readiness::READABLE) {
            Verdict::Again
        } else {
            Verdict::Park
        }
    }

    fn serve_one<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) {
        let world = &mut *cx.world;
        // One byte more than the limit, so that a datagram over it is seen to be.
        let limit = world.settings.max_datagram;
        let (length, from) = match self.socket.recv_from(&mut world.input[..=limit]) {
            Ok(received) => received,
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::WouldBlock => cx.readiness.clear(Readiness::READABLE),
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        world.stats.datagram_errors += 1;
                        warn_limited!(
                            world.limiters.receive_failed,
                            cx.now,
                            "receiving a datagram failed: {error}"
                        );
                    }
                }
                return;
            }
        };
        world.stats.datagrams += 1;
        debug!("datagram of {length} bytes from {from}");
        world.replies.clear();
        let datagram = &world.input[..length];
        if let Err(drop) = answer(datagram, from, limit, &mut world.replies) {
            world.stats.count_dropped(drop);
            warn_limited!(
                world.limiters.dropped,
                cx.now,
                "a datagram of {length} bytes from {from} is not answered: {}",
                drop.name()
            );
            return;
        }
        let replies = std::mem::take(&mut world.replies);
        self.send(&replies, from, cx);
        cx.world.replies = replies;
    }

    fn send<S: Source<World = World>>(
        &mut self,
        reply: &[u8],
        to: SocketAddr,
        cx: &mut Context<'_, S>,
    ) {
        loop {
            match self.socket.send_to(reply, to) {
                Ok(_) => cx.world.stats.datagrams_answered += 1,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cx.readiness.clear(Readiness::WRITABLE);
                    self.unsent = Some((reply.to_vec(), to));
                }
                Err(error) => {
                    cx.world.stats.count_dropped(Drop::Unsent);
                    warn_limited!(
                        cx.world.limiters.dropped,
                        cx.now,
                        "a reply of {} bytes to {to} could not be sent: {error}",
                        reply.len()
                    );
                }
            }
            return;
        }
    }
}
