//! One client's connection, from welcome to close.
//!
//! **Owns** one stream, what is kept for its client, and the state of the conversation. **Must
//! never touch** another client, nor interpret the bytes (that is [`greeting`]).
//! **Invariant**: replies are sent in the order of their messages, none twice, and none is lost
//! while the client can still receive it; the memory kept for one client is bounded by
//! [`MAX_PEER_BYTES`].
//!
//! A call of a peer goes one way: `drive` or `expire` do the work of the current [`PeerState`],
//! which moves bytes and may change the state. The deadline and the verdict then follow from the
//! state and the bytes moved, in one place (`step`).
//!
//! Pitfalls handled here: drain or remember (1), budgets (2), short writes (6), the client that
//! never reads (7), half-close (8), HUP and ERR (9), lingering (10), isolation of errors (18).

mod ending;
mod state;

pub use state::PeerState;

use crate::net::stream::{self, Received, Stream};
use crate::protocol::greeting::{self, Answered, Framing, LINE_READ_BYTES};
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::server::pending::{Pending, PendingPool};
use crate::server::shared::Scratch;
use crate::server::stats::CloseCause;
use crate::warn_limited;
use state::{Deadline, Moved, deadline};
use std::io;
use std::time::Duration;

/// The high-water mark: while a client is owed more than this it is not read, so a client that does
/// not read its replies stalls itself and no one else (pitfall 7).
pub const HIGH_WATER_BYTES: usize = 32 * 1_024;

/// Reads of one client per turn. Usually the first one is short and drains the socket; the bound is
/// for a client that sends as fast as it is read (pitfall 2).
pub const READS_PER_TURN: usize = 4;

/// Bytes of one client per turn: one full read of lines, or four full chunks.
pub const BYTES_PER_TURN: usize = LINE_READ_BYTES;

/// How long remaining input is discarded after the last byte was sent. Closing a socket with unread
/// input makes the kernel send a reset, which can destroy those last bytes in flight (pitfall 10).
pub const LINGER: Duration = Duration::from_secs(2);

/// The most memory kept for one client: replies up to the high-water mark, those to one more read
/// of empty lines, the reply to the long line that the read completed, and an incomplete line with
/// the piece that makes it too long.
pub const MAX_PEER_BYTES: usize = 256 * 1_024;
const _: () = assert!(
    HIGH_WATER_BYTES
        + LINE_READ_BYTES * greeting::REPLY_OVERHEAD_BYTES
        + (greeting::MAX_LINE_BYTES + greeting::REPLY_OVERHEAD_BYTES)
        + (greeting::MAX_LINE_BYTES + 1 + LINE_READ_BYTES)
        <= MAX_PEER_BYTES
);
const _: () = assert!(LINE_READ_BYTES >= greeting::MAX_CHUNK_BYTES);

/// One client. When idle it is a descriptor, a state and a null pointer.
#[derive(Debug)]
pub struct Peer<T> {
    stream: T,
    pending: Option<Box<Pending>>,
    state: PeerState,
    /// Turns of a drain in which the client was read.
    turns_drained: u8,
}

impl<T: Stream> Peer<T> {
    /// A client to be welcomed.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            pending: None,
            state: PeerState::Greeting,
            turns_drained: 0,
        }
    }

    /// A client beyond the limit: it is sent the refusal and then FIN.
    pub fn refused(stream: T) -> Self {
        Self {
            state: PeerState::Refusing,
            ..Self::new(stream)
        }
    }

    /// The state of the conversation.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// The stream, to register it.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// The memory kept for this client, in bytes: unsent replies, and an incomplete line.
    pub fn buffered(&self) -> usize {
        let pending = self.pending.as_ref();
        pending.map_or(0, |pending| pending.memory())
    }

    /// The replies that the client is owed, in bytes.
    pub fn owed(&self) -> usize {
        let pending = self.pending.as_ref();
        pending.map_or(0, |pending| pending.outbox.len())
    }

    /// Does what the socket's readiness allows.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(Some(self.state), cx, Self::work)
    }

    /// The peer's one deadline has passed; the state says what that means.
    pub fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(None, cx, |peer, cx| match peer.state {
            PeerState::Held(end) => {
                peer.state = end.map_or(PeerState::Owed, PeerState::Ending);
                cx.readiness.insert(Readiness::WRITABLE); // see `held`
                peer.work(cx)
            }
            PeerState::Lingering(cause) => Err(cause),
            PeerState::Waiting => {
                warn_limited!(
                    cx.shared.limiters.timed_out,
                    cx.turn_start,
                    "ending {}: it sent nothing for --idle-timeout",
                    cx.token
                );
                peer.finish(CloseCause::IdleTimeout, cx)
            }
            PeerState::Greeting | PeerState::Refusing | PeerState::Owed | PeerState::Ending(_) => {
                warn_limited!(
                    cx.shared.limiters.timed_out,
                    cx.turn_start,
                    "closing {}: it read none of its replies for --write-timeout",
                    cx.token
                );
                Err(CloseCause::WriteTimeout)
            }
        })
    }

    /// Frees the memory kept for this client that no byte needs.
    pub fn trim(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(Some(self.state), cx, |peer, _| {
            peer.pending.iter_mut().for_each(|pending| pending.trim());
            Ok(Moved::default())
        })
    }

    /// One call: does `work`, then derives the deadline and the verdict from the state that it
    /// left, and keeps the sum of all buffered bytes right. An error of `work` closes the
    /// connection for that cause.
    fn step(
        &mut self,
        before: Option<PeerState>,
        cx: &mut Context<'_, Shared>,
        work: impl FnOnce(&mut Self, &mut Context<'_, Shared>) -> Result<Moved, CloseCause>,
    ) -> Verdict {
        let buffered_before = self.buffered();
        let (verdict, buffered) = match work(self, cx) {
            Ok(moved) => {
                cx.charge(moved.sent + moved.received);
                match deadline(before, self.state, moved, &cx.shared.settings) {
                    Deadline::Keep => {}
                    Deadline::Clear => cx.clear_deadline(),
                    Deadline::Set(timeout) => cx.set_deadline(timeout),
                }
                (self.verdict(cx), self.buffered())
            }
            Err(cause) => {
                self.count_closed(cause, cx);
                (Verdict::Close, 0)
            }
        };
        let total = &mut cx.shared.stats.buffered;
        *total = *total - buffered_before + buffered;
        verdict
    }

    fn verdict(&self, cx: &Context<'_, Shared>) -> Verdict {
        if !cx.readiness.contains(Readiness::READABLE) {
            return Verdict::Park;
        }
        match self.state {
            PeerState::Lingering(_) => Verdict::Again,
            PeerState::Waiting | PeerState::Owed if self.may_read(cx) => Verdict::Again,
            _ => Verdict::Hold,
        }
    }

    fn work(&mut self, cx: &mut Context<'_, Shared>) -> Result<Moved, CloseCause> {
        match self.state {
            PeerState::Refusing => {
                let refusal = greeting::refusal(cx.shared.settings.max_clients);
                self.send(refusal.as_bytes(), cx)?;
                self.state = PeerState::Ending(CloseCause::Busy);
                self.finish(CloseCause::Busy, cx)
            }
            PeerState::Greeting | PeerState::Waiting | PeerState::Owed => self.converse(cx),
            PeerState::Held(_) => self.held(cx),
            PeerState::Ending(cause) => self.finish(cause, cx),
            PeerState::Lingering(cause) => self.discard(cause, cx),
        }
    }

    /// Sends the welcome or what is owed, then reads and answers within the budget, and decides
    /// how the conversation continues.
    fn converse(&mut self, cx: &mut Context<'_, Shared>) -> Result<Moved, CloseCause> {
        let sent = match self.state {
            PeerState::Greeting => self.send(cx.shared.settings.framing.welcome(), cx)?,
            _ => self.flush(cx)?,
        };
        let mut moved = Moved { sent, received: 0 };
        let mut end = None;
        for _ in 0..READS_PER_TURN {
            if !self.may_read(cx) || moved.received >= BYTES_PER_TURN || end.is_some() {
                break;
            }
            let answered = match self.receive(cx) {
                Received::Bytes(count) => {
                    moved.received += count;
                    self.answer(count, cx)
                }
                Received::Eof => {
                    end = Some(CloseCause::Eof);
                    self.answer_last_line(cx)
                }
                Received::Blocked => break,
                Received::Failed(error) => return Err(error.into()),
            };
            cx.shared.stats.messages += u64::from(answered.messages);
            end = answered.end.map(CloseCause::from).or(end);
            if answered.is_empty() {
                continue;
            }
            if cx.shared.settings.delay.is_zero() {
                moved.sent += self.send_replies(cx)?;
            } else {
                self.hold_replies(cx);
            }
        }
        if cx.shared.is_draining() {
            end = end.or_else(|| self.drained(moved.received, cx));
        }
        match (self.state, end) {
            (PeerState::Held(_), end) => {
                self.state = PeerState::Held(end);
                moved = moved.and(self.held(cx)?);
            }
            (_, Some(cause)) => {
                self.state = PeerState::Ending(cause);
                moved = moved.and(self.finish(cause, cx)?);
            }
            (_, None) if self.owed() > 0 => self.state = PeerState::Owed,
            (_, None) => self.state = PeerState::Waiting,
        }
        Ok(moved)
    }

    /// Whether there may be input, and it may be read now. Replies that a delay released are sent
    /// before more is read, so that none is held twice. A drain holds the replies to all that it
    /// reads together.
    fn may_read(&self, cx: &Context<'_, Shared>) -> bool {
        if !cx.readiness.contains(Readiness::READABLE) {
            return false;
        }
        let high_water_bytes = match self.state {
            PeerState::Held(_) if cx.shared.is_draining() => HIGH_WATER_BYTES,
            PeerState::Held(_) => return false,
            _ if cx.shared.settings.delay.is_zero() => HIGH_WATER_BYTES,
            _ => 0,
        };
        self.owed() <= high_water_bytes
    }

    fn receive(&mut self, cx: &mut Context<'_, Shared>) -> Received {
        let input = &mut cx.shared.scratch.input;
        let traffic = &mut cx.shared.stats.traffic;
        stream::receive(&mut self.stream, cx.readiness, input, traffic)
    }

    /// Answers the first `count` bytes of the scratch input into the scratch replies.
    fn answer(&mut self, count: usize, cx: &mut Context<'_, Shared>) -> Answered {
        let Scratch {
            input,
            replies,
            pool,
        } = &mut cx.shared.scratch;
        let input = &input[..count];
        replies.clear();
        match cx.shared.settings.framing {
            Framing::Chunk => greeting::answer_chunk(input, replies),
            Framing::Line => {
                let partial = &mut self.pending_mut(pool).partial;
                let answered = greeting::answer_lines(partial, input, replies);
                self.release_pending(pool);
                answered
            }
        }
    }

    /// Answers a last line that EOF completes.
    fn answer_last_line(&mut self, cx: &mut Context<'_, Shared>) -> Answered {
        let Scratch { replies, pool, .. } = &mut cx.shared.scratch;
        replies.clear();
        let Some(pending) = &mut self.pending else {
            return Answered::default();
        };
        let answered = greeting::answer_last_line(&mut pending.partial, replies);
        self.release_pending(pool);
        answered
    }

    /// Keeps the scratch replies until the delay has passed.
    fn hold_replies(&mut self, cx: &mut Context<'_, Shared>) {
        let Scratch { replies, pool, .. } = &mut cx.shared.scratch;
        if !replies.is_empty() {
            self.pending_mut(pool).outbox.push(replies);
        }
        self.state = PeerState::Held(None);
    }

    /// Sends one reply of the server's own.
    fn send(&mut self, reply: &[u8], cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let replies = &mut cx.shared.scratch.replies;
        replies.clear();
        replies.extend_from_slice(reply);
        self.send_replies(cx)
    }

    /// Sends the scratch replies after what is owed already, keeps what the socket does not take
    /// (pitfall 6), and returns how many bytes it took.
    #[inline]
    fn send_replies(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let Scratch { replies, pool, .. } = &mut cx.shared.scratch;
        let traffic = &mut cx.shared.stats.traffic;
        if let Some(pending) = &mut self.pending {
            let outbox = &mut pending.outbox;
            return outbox.send(replies, &mut self.stream, cx.readiness, traffic);
        }
        let sent = stream::send(&mut self.stream, cx.readiness, replies, traffic)?;
        if sent < replies.len() {
            self.pending_mut(pool).outbox.push(&replies[sent..]);
        }
        Ok(sent)
    }

    /// Sends what is owed as far as the socket takes it, and returns how many bytes it took.
    fn flush(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let Some(pending) = &mut self.pending else {
            return Ok(0);
        };
        let traffic = &mut cx.shared.stats.traffic;
        let sent = pending
            .outbox
            .flush(&mut self.stream, cx.readiness, traffic)?;
        self.release_pending(&mut cx.shared.scratch.pool);
        Ok(sent)
    }

    fn pending_mut(&mut self, pool: &mut PendingPool) -> &mut Pending {
        self.pending.get_or_insert_with(|| pool.take())
    }

    /// Gives an empty buffer back to the pool: an idle client keeps none.
    fn release_pending(&mut self, pool: &mut PendingPool) {
        if let Some(pending) = self.pending.take_if(|pending| pending.is_empty()) {
            pool.put(pending);
        }
    }
}
