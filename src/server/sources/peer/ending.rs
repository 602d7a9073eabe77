//! How a conversation ends.
//!
//! **Owns** the way from the last message to the closed connection: unsent replies, FIN, remaining
//! input. **Must never touch** a message. **Invariant**: exactly one cause is counted per
//! connection, and a client has [`LINGER`](super::LINGER) to read its last replies before the close
//! can reset the connection (pitfall 10).

use super::{BYTES_PER_TURN, Moved, Peer, PeerState, READS_PER_TURN};
use crate::net::stream::{Received, Stream};
use crate::protocol::greeting::End;
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::server::stats::CloseCause;
use log::debug;
use std::os::fd::AsRawFd;

impl<T: Stream + AsRawFd> Peer<T> {
    /// Closes the connection at once, from outside, between turns.
    pub fn abort(&mut self, cause: CloseCause, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(Some(self.state), cx, |_, _| Err(cause))
    }

    /// The connection could not be registered with the poll.
    pub fn unregistered(&mut self, shared: &mut Shared) {
        self.leave(CloseCause::Failed, shared);
    }

    /// Sends what is owed, then FIN. Then remaining input is read and discarded, unless the connection
    /// need not or may not linger: it is closed.
    pub(super) fn finish(
        &mut self,
        cause: CloseCause,
        cx: &mut Context<'_, Shared>,
    ) -> Result<Moved, CloseCause> {
        let moved = Moved {
            sent: self.flush(cx)?,
            ..Moved::default()
        };
        if self.owed(&cx.shared.pending) > 0 {
            return Ok(moved);
        }
        if let Some(pending) = cx.shared.pending.get_mut(self.pending) {
            pending.partial.clear(); // an incomplete line is not answered any more
        }
        if !cx.shared.may_linger(cause) || self.stream.shutdown_write().is_err() {
            return Err(cause);
        }
        self.state = PeerState::Lingering(cause);
        Ok(moved.and(self.discard(cause, cx)?))
    }

    /// Reads and discards input within the budget, until EOF.
    pub(super) fn discard(
        &mut self,
        cause: CloseCause,
        cx: &mut Context<'_, Shared>,
    ) -> Result<Moved, CloseCause> {
        let mut moved = Moved::default();
        for _ in 0..READS_PER_TURN {
            let is_readable = cx.readiness.contains(Readiness::READABLE);
            if !is_readable || moved.received >= BYTES_PER_TURN {
                break;
            }
            match self.receive(cx) {
                Received::Bytes(count) => moved.received += count,
                Received::Blocked => {}
                Received::Eof | Received::Failed(_) => return Err(cause),
            }
        }
        Ok(moved)
    }

    pub(super) fn count_closed(&self, cause: CloseCause, cx: &mut Context<'_, Shared>) {
        let cause = self.leave(cause, cx.shared);
        debug!("closed {}: {}", cx.token, cause.name());
    }

    /// Counts the client as closed, and returns the cause that is counted: a refused client was
    /// refused, however its connection ends.
    fn leave(&self, cause: CloseCause, shared: &mut Shared) -> CloseCause {
        let cause = match self.state {
            PeerState::Refusing(_)
            | PeerState::Ending(CloseCause::Busy)
            | PeerState::Lingering(CloseCause::Busy) => CloseCause::Busy,
            _ => cause,
        };
        shared.leave(self.stream.as_raw_fd(), cause);
        cause
    }
}

impl From<End> for CloseCause {
    fn from(end: End) -> Self {
        match end {
            End::Exit => Self::Exit,
            End::LineTooLong => Self::LineTooLong,
        }
    }
}
