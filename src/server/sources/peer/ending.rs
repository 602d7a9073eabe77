//! How a conversation ends.
//!
//! **Owns** the way from the last message to the closed connection: unsent replies, FIN, remaining
//! input. **Must never touch** a message. **Invariant**: exactly one cause is counted per
//! connection, and a client has [`LINGER`](super::LINGER) to read its last replies before the close
//! can reset the connection (pitfall 10).

use super::{BYTES_PER_TURN, Moved, Peer, PeerState, READS_PER_TURN};
use crate::net::stream::{Received, Stream};
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::shared::{DRAIN_BYTES_PER_CLIENT, Shared};
use crate::server::stats::CloseCause;
use log::debug;

/// Turns of a drain in which one client may be read.
const DRAIN_TURNS: usize = DRAIN_BYTES_PER_CLIENT / BYTES_PER_TURN;
const _: () = assert!(DRAIN_TURNS <= u8::MAX as usize);

impl<T: Stream> Peer<T> {
    /// Whether a drain has read this client to the end: what had arrived, or as much as a drain
    /// reads. A client that is owed nothing ends too: it lingers, because its last reply may still
    /// be in flight. A short read has read what had arrived, even where it does not drain the socket
    /// (pitfall 25): a client that answers each reply at once would never be read to `WouldBlock`.
    pub(super) fn drained(
        &mut self,
        last_read: usize,
        cx: &Context<'_, Shared>,
    ) -> Option<CloseCause> {
        let is_short = (1..cx.shared.scratch.input.len()).contains(&last_read);
        let is_read = is_short && !cx.readiness.contains(Readiness::CLOSED);
        if is_read || !cx.readiness.contains(Readiness::READABLE) {
            return Some(CloseCause::Drained);
        }
        self.turns_drained += u8::from(last_read > 0);
        (usize::from(self.turns_drained) >= DRAIN_TURNS).then_some(CloseCause::CutOff)
    }

    /// Closes the connection if it is broken: while replies are held it is neither read nor
    /// written, so no call would show that. After a FIN only a reset can follow, and its event must
    /// set a bit that is not set, or the loop ignores it: that is WRITABLE.
    pub(super) fn held(&self, cx: &mut Context<'_, Shared>) -> Result<Moved, CloseCause> {
        if cx.readiness.contains(Readiness::CLOSED) {
            if let Some(error) = self.stream.take_error()? {
                return Err(error.into());
            }
            cx.readiness.remove(Readiness::WRITABLE);
        }
        Ok(Moved::default())
    }

    /// Closes the connection at once, from outside, between turns.
    pub fn abort(&mut self, cause: CloseCause, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(Some(self.state), cx, |_, _| Err(cause))
    }

    /// Closes the connection because the drain has run out of time. A client that has not been read
    /// to the end is owed replies if it has sent anything.
    pub fn cut_off(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let is_owed = match self.state {
            PeerState::Greeting => true,
            PeerState::Waiting | PeerState::Partial(_) => {
                matches!(self.receive(cx), Received::Bytes(_))
            }
            _ => self.owed(&cx.shared.pending) > 0,
        };
        let cause = if is_owed {
            CloseCause::CutOff
        } else {
            CloseCause::Drained
        };
        self.abort(cause, cx)
    }

    /// Counts a connection that could not be registered with the poll.
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
    /// refused, however its connection ends, and a limit that ends a client in a drain cuts it off
    /// if it is owed replies.
    fn leave(&self, cause: CloseCause, shared: &mut Shared) -> CloseCause {
        use CloseCause::{BufferedTooMuch, Busy, CutOff, WriteTimeout};
        let is_owed = self.owed(&shared.pending) > 0;
        let counted = match (self.state, cause) {
            (PeerState::Refusing(_) | PeerState::Ending(Busy) | PeerState::Lingering(Busy), _) => {
                Busy
            }
            (_, WriteTimeout | BufferedTooMuch) if shared.is_draining() && is_owed => CutOff,
            _ => cause,
        };
        shared.leave(self.stream.descriptor(), cause, counted);
        counted
    }
}
