//! The UDP socket as an event source: each datagram NAME is answered to its sender.
//!
//! **Owns** one socket and the replies that it has not taken. **Must never touch** a connection.
//! **Invariant**: no datagram and no error ends the loop (pitfall 14); a reply is sent, dropped and
//! counted because of its own error, or kept until the send buffer has room.
//!
//! Two kinds of datagrams are not answered, so that the server can be tricked neither into an
//! endless exchange nor into talking to a third party: those that are greetings themselves, and
//! those from a port below 1024 (CVE-2024-2169).

use crate::net::udp::DatagramSocket;
use crate::net::udp::batch::{BATCH_DATAGRAMS, RecvBatch, SendBatch};
use crate::protocol::greeting;
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::server::stats::DropReason;
use crate::warn_limited;
use log::debug;
use std::io;
use std::net::SocketAddr;

/// Datagrams received per turn: one batch (pitfall 5).
pub const DATAGRAMS_PER_TURN: usize = BATCH_DATAGRAMS;

/// Datagrams received per drain: far more than can be queued when it begins (by default Linux queues
/// some 280 short ones). There is a limit because they may arrive as fast as they are received.
pub const DATAGRAMS_PER_DRAIN: usize = 4_096;

/// Ports below this belong to services (RFC 6335, system ports), some of which answer anything.
const FIRST_USER_PORT: u16 = 1_024;

/// Appends the reply to one datagram to `reply`.
///
/// # Errors
///
/// Why the datagram is not answered.
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
    received: RecvBatch,
    /// Empty between turns, unless the send buffer is full; nothing is received until it has room.
    replies: SendBatch,
    /// Datagrams that a drain may still receive.
    drain_budget: usize,
}

impl<U: DatagramSocket> Datagrams<U> {
    /// Serves `socket`.
    pub fn new(socket: U) -> Self {
        Self {
            socket,
            received: RecvBatch::default(),
            replies: SendBatch::default(),
            drain_budget: DATAGRAMS_PER_DRAIN,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut U {
        &mut self.socket
    }

    /// Answers received datagrams within the budget. A drain goes on until none is queued, because
    /// their event may be handled before the signal or after it.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.flush(cx);
        let mut count = 0;
        while count < DATAGRAMS_PER_TURN
            && self.replies.is_empty()
            && cx.readiness.contains(Readiness::READABLE)
        {
            self.receive(cx);
            self.answer_all(cx);
            self.flush(cx);
            // An error counts as a datagram; otherwise a socket full of errors would block the
            // loop.
            count += self.received.len().max(1);
        }
        let is_draining = cx.shared.is_draining();
        if is_draining {
            self.drain_budget = self.drain_budget.saturating_sub(count);
        }
        if !self.replies.is_empty() {
            Verdict::Hold
        } else if cx.readiness.contains(Readiness::READABLE) && self.drain_budget > 0 {
            Verdict::Again
        } else if is_draining {
            Verdict::Close
        } else {
            Verdict::Park
        }
    }

    fn receive(&mut self, cx: &mut Context<'_, Shared>) {
        // One byte more than the limit, so that a datagram over it is recognised.
        self.received.clear(cx.shared.settings.max_datagram + 1);
        match self.socket.receive(&mut self.received) {
            Ok(true) => {}
            Ok(false) => cx.readiness.remove(Readiness::READABLE),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                cx.readiness.remove(Readiness::READABLE);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                cx.shared.stats.datagram_errors += 1;
                warn_limited!(
                    cx.shared.limiters.receive_failed,
                    cx.turn_start,
                    "cannot receive a datagram: {error}"
                );
            }
        }
    }

    fn answer_all(&mut self, cx: &mut Context<'_, Shared>) {
        let shared = &mut *cx.shared;
        let limit = shared.settings.max_datagram;
        for (datagram, from) in self.received.iter() {
            let length = datagram.len();
            shared.stats.datagrams += 1;
            debug!("received a {length}-byte datagram from {from}");
            match answer(datagram, from, limit, self.replies.begin()) {
                Ok(()) => self.replies.commit(from),
                Err(reason) => {
                    shared.stats.dropped[reason] += 1;
                    warn_limited!(
                        shared.limiters.dropped,
                        cx.turn_start,
                        "dropped a {length}-byte datagram from {from}: {}",
                        reason.name()
                    );
                }
            }
        }
    }

    /// Sends replies as far as the socket takes them. A reply that fails is dropped and counted.
    fn flush(&mut self, cx: &mut Context<'_, Shared>) {
        while let Some((reply, to)) = self.replies.first() {
            match self.socket.send(&self.replies) {
                Ok(count) => {
                    cx.shared.stats.datagrams_answered += count as u64;
                    self.replies.remove(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    cx.readiness.remove(Readiness::WRITABLE);
                    return;
                }
                Err(error) => {
                    cx.shared.stats.dropped[DropReason::Unsent] += 1;
                    warn_limited!(
                        cx.shared.limiters.dropped,
                        cx.turn_start,
                        "cannot send a {}-byte reply to {to}: {error}",
                        reply.len()
                    );
                    self.replies.remove(1);
                }
            }
        }
    }
}
