//! How a conversation ends.
//!
//! **Owns** the way from the last message to the closed connection: what is owed, our end of
//! output, the rest of the input. **Must never touch** a message. **Invariant**: whatever the
//! cause, one is counted for each connection, and no reply that was sent is destroyed by a reset
//! of ours (pitfall 10).

use super::{BYTES_PER_TURN, LINGER, Peer, PeerState, READS_PER_TURN};
use crate::net::stream::{Received, Stream};
use crate::protocol::buffer;
use crate::protocol::greeting::End;
use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::Shared;
use crate::server::stats::CloseCause;
use log::debug;

impl<T: Stream> Peer<T> {
    /// Ends the connection from outside, between turns.
    pub fn end<S: Source<Shared = Shared>>(
        &mut self,
        cause: CloseCause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        self.accounted(cx, |peer, cx| peer.close(cause, cx))
    }

    /// The poll did not take the connection.
    pub fn unregistered(&mut self, shared: &mut Shared) {
        let refused = self.phase == PeerState::Refusing;
        let cause = if refused {
            CloseCause::Busy
        } else {
            CloseCause::Failed
        };
        shared.stats.count_closed(cause);
    }

    /// Sends what is owed, then our end of output. Behind the client's own end of input nothing
    /// can come any more, and the connection is closed; else the rest is read and thrown away.
    pub(super) fn finish<S: Source<Shared = Shared>>(
        &mut self,
        cause: CloseCause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        match self.flush(cx) {
            Err(error) => return self.close(CloseCause::from(&error), cx),
            Ok(0) => {}
            Ok(_) => cx.set_deadline(cx.shared.settings.write_timeout),
        }
        if self.owed() > 0 {
            return Verdict::Park;
        }
        if let Some(backlog) = &mut self.backlog {
            // A line begun is not answered any more.
            buffer::forget(&mut backlog.partial);
            self.release(&mut cx.shared.pool);
        }
        if cause == CloseCause::EndOfInput || self.stream.shutdown_write().is_err() {
            return self.close(cause, cx);
        }
        self.phase = PeerState::Lingering(cause);
        cx.set_deadline(LINGER);
        self.discard(cause, cx)
    }

    /// Reads what still comes and throws it away, until the client's end of input.
    pub(super) fn discard<S: Source<Shared = Shared>>(
        &mut self,
        cause: CloseCause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        let before = cx.shared.stats.traffic.bytes_in;
        for _ in 0..READS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                return Verdict::Park;
            }
            match self.receive(cx) {
                Received::Bytes(_) | Received::Blocked => {}
                Received::End | Received::Failed(_) => return self.close(cause, cx),
            }
            if cx.shared.stats.traffic.bytes_in - before >= BYTES_PER_TURN as u64 {
                break;
            }
        }
        Verdict::Again
    }

    pub(super) fn close<S: Source<Shared = Shared>>(
        &self,
        cause: CloseCause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        // A refused client is counted as refused, however its connection ends.
        let counted = match self.phase {
            PeerState::Refusing
            | PeerState::Ending(CloseCause::Busy)
            | PeerState::Lingering(CloseCause::Busy) => CloseCause::Busy,
            _ => cause,
        };
        cx.shared.stats.count_closed(counted);
        debug!("closed {}: {}", cx.token, cause.name());
        Verdict::Close
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
