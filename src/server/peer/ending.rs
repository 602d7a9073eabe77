//! How a conversation ends.
//!
//! **Owns** the way from the last message to the closed connection: what is owed, our end of
//! output, the rest of the input. **Must never touch** a message. **Invariant**: whatever the
//! cause, one is counted for each connection, and no reply that was sent is destroyed by a reset
//! of ours (pitfall 10).

use super::{BYTES_PER_TURN, LINGER, Peer, Phase, READS_PER_TURN};
use crate::buffer;
use crate::greeting::End;
use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::World;
use crate::server::stats::Cause;
use crate::stream::{Received, Stream};
use log::debug;

impl<T: Stream> Peer<T> {
    /// Ends the connection from outside, between turns.
    pub fn end<S: Source<World = World>>(
        &mut self,
        cause: Cause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        self.accounted(cx, |peer, cx| peer.close(cause, cx))
    }

    /// The poll did not take the connection.
    pub fn unregistered(&mut self, world: &mut World) {
        let refused = self.phase == Phase::Refusing;
        let cause = if refused { Cause::Busy } else { Cause::Failed };
        world.stats.count_closed(cause);
    }

    /// Sends what is owed, then our end of output. Behind the client's own end of input nothing
    /// can come any more, and the connection is closed; else the rest is read and thrown away.
    pub(super) fn finish<S: Source<World = World>>(
        &mut self,
        cause: Cause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        match self.flush(cx) {
            Err(error) => return self.close(Cause::from(&error), cx),
            Ok(0) => {}
            Ok(_) => cx.deadline(cx.world.settings.write_timeout),
        }
        if self.owed() > 0 {
            return Verdict::Park;
        }
        if let Some(backlog) = &mut self.backlog {
            // A line begun is not answered any more.
            buffer::forget(&mut backlog.partial);
            self.hand_on(&mut cx.world.spares);
        }
        if cause == Cause::EndOfInput || self.stream.shutdown_write().is_err() {
            return self.close(cause, cx);
        }
        self.phase = Phase::Lingering(cause);
        cx.deadline(LINGER);
        self.discard(cause, cx)
    }

    /// Reads what still comes and throws it away, until the client's end of input.
    pub(super) fn discard<S: Source<World = World>>(
        &mut self,
        cause: Cause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        let before = cx.world.stats.traffic.bytes_in;
        for _ in 0..READS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                return Verdict::Park;
            }
            match self.receive(cx) {
                Received::Bytes(_) | Received::Blocked => {}
                Received::End | Received::Failed(_) => return self.close(cause, cx),
            }
            if cx.world.stats.traffic.bytes_in - before >= BYTES_PER_TURN as u64 {
                break;
            }
        }
        Verdict::Again
    }

    pub(super) fn close<S: Source<World = World>>(
        &self,
        cause: Cause,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        // A refused client is counted as refused, however its connection ends.
        let counted = match self.phase {
            Phase::Refusing | Phase::Ending(Cause::Busy) | Phase::Lingering(Cause::Busy) => {
                Cause::Busy
            }
            _ => cause,
        };
        cx.world.stats.count_closed(counted);
        debug!("closed {}: {}", cx.token, cause.name());
        Verdict::Close
    }
}

impl From<End> for Cause {
    fn from(end: End) -> Self {
        match end {
            End::Exit => Self::Exit,
            End::LineTooLong => Self::LineTooLong,
        }
    }
}
