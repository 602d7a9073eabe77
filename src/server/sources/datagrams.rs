//! The UDP socket as an event source: each datagram NAME is answered to where it came from.
//!
//! **Owns** one socket and the replies that it would not take. **Must never touch** a
//! connection. **Invariant**: no datagram and no error ends the loop (pitfall 14); a reply in
//! hand is sent, dropped for an error of its own and counted, or kept until there is room.
//!
//! What is not answered, so that nothing can be made to talk for ever or to a third party: a
//! datagram that is itself a greeting, and one from a port below 1024 (CVE-2024-2169).

use crate::net::udp::batch::{BATCH, RecvBatch, SendBatch};
use crate::protocol::greeting;
use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::Shared;
use crate::server::stats::DropReason;
use crate::warn_limited;
use log::debug;
use mio::event;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Datagrams received in one turn: as many as fit a turn of other work (pitfall 5).
pub const DATAGRAMS_PER_TURN: usize = BATCH;

/// Ports below this belong to services (RFC 6335, system ports). Some answer whatever comes.
const FIRST_USER_PORT: u16 = 1_024;

/// What datagrams come from and go to: a [`Datagram`](super::udp::Datagram), or a script in a
/// test.
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

    /// Receives a batch, and tells whether there may be more. A batch of one, where the system
    /// has no call for many.
    ///
    /// # Errors
    ///
    /// As [`recv_from`](Self::recv_from): then nothing was received.
    fn receive(&mut self, incoming: &mut RecvBatch) -> io::Result<bool> {
        let (mut rooms, arrived) = incoming.rooms();
        arrived.push(self.recv_from(rooms.next().unwrap_or_default())?);
        Ok(true)
    }

    /// Sends the first replies, and returns how many; at least one.
    ///
    /// # Errors
    ///
    /// As [`send_to`](Self::send_to), and it is the first reply's.
    fn send(&mut self, outgoing: &SendBatch) -> io::Result<usize> {
        let (reply, to) = outgoing.first().ok_or(io::ErrorKind::InvalidInput)?;
        self.send_to(reply, to).map(|_| 1)
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
) -> Result<(), DropReason> {
    if datagram.len() > max_datagram {
        return Err(DropReason::TooLong);
    }
    if from.port() < FIRST_USER_PORT {
        return Err(DropReason::LowPort);
    }
    if !greeting::answer_datagram(datagram, reply) {
        return Err(DropReason::Greeting);
    }
    Ok(())
}

/// One UDP socket.
#[derive(Debug)]
pub struct Datagrams<U> {
    socket: U,
    incoming: RecvBatch,
    /// Empty between turns, unless the send buffer is full. Nothing is received until then.
    outgoing: SendBatch,
}

impl<U: DatagramSocket> Datagrams<U> {
    /// Serves `socket`.
    pub fn new(socket: U) -> Self {
        Self {
            socket,
            incoming: RecvBatch::default(),
            outgoing: SendBatch::default(),
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Answers what has come, within the budget.
    pub fn drive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        self.flush(cx);
        let mut received = 0;
        while received < DATAGRAMS_PER_TURN
            && self.outgoing.is_empty()
            && cx.readiness.contains(Readiness::READABLE)
        {
            self.receive(cx);
            self.answer_all(cx);
            self.flush(cx);
            // An error counts as one, or a socket full of them would hold the loop.
            received += self.incoming.len().max(1);
        }
        if !self.outgoing.is_empty() {
            Verdict::Park
        } else if cx.shared.is_draining() {
            // Once more, and never again: a flood of datagrams must not hold up the end.
            Verdict::Close
        } else if cx.readiness.contains(Readiness::READABLE) {
            Verdict::Again
        } else {
            Verdict::Park
        }
    }

    fn receive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) {
        // One byte more than the limit, so that a datagram over it is seen to be.
        self.incoming.clear(cx.shared.settings.max_datagram + 1);
        match self.socket.receive(&mut self.incoming) {
            Ok(true) => {}
            Ok(false) => cx.readiness.clear(Readiness::READABLE),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.clear(Readiness::READABLE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                cx.shared.stats.datagram_errors += 1;
                warn_limited!(
                    cx.shared.limiters.receive_failed,
                    cx.turn_start,
                    "receiving a datagram failed: {error}"
                );
            }
        }
    }

    fn answer_all<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) {
        let shared = &mut *cx.shared;
        let limit = shared.settings.max_datagram;
        for (datagram, from) in self.incoming.iter() {
            let length = datagram.len();
            shared.stats.datagrams += 1;
            debug!("datagram of {length} bytes from {from}");
            match answer(datagram, from, limit, self.outgoing.draft()) {
                Ok(()) => self.outgoing.post(from),
                Err(drop) => {
                    shared.stats.count_dropped(drop);
                    warn_limited!(
                        shared.limiters.dropped,
                        cx.turn_start,
                        "a datagram of {length} bytes from {from} is not answered: {}",
                        drop.name()
                    );
                }
            }
        }
    }

    /// Sends the replies as far as the socket takes them. One that it never will is given up.
    fn flush<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) {
        while let Some((reply, to)) = self.outgoing.first() {
            match self.socket.send(&self.outgoing) {
                Ok(count) => {
                    cx.shared.stats.datagrams_answered += count as u64;
                    self.outgoing.take(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cx.readiness.clear(Readiness::WRITABLE);
                    return;
                }
                Err(error) => {
                    cx.shared.stats.count_dropped(DropReason::Unsent);
                    warn_limited!(
                        cx.shared.limiters.dropped,
                        cx.turn_start,
                        "a reply of {} bytes to {to} could not be sent: {error}",
                        reply.len()
                    );
                    self.outgoing.take(1);
                }
            }
        }
    }
}
