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
use crate::protocol::buffer::MAPPING_BYTES;
use crate::protocol::greeting::{self, Answered, Framing, LINE_READ_BYTES};
use crate::protocol::refusal::Refusal;
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::Shared;
use crate::server::pending::{PendingKey, PendingTable};
use crate::server::stats::CloseCause;
use crate::warn_limited;
use state::{Deadline, LineStart, Moved, deadline};
use std::io;
use std::mem;
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
const _: () =
    assert!(MAX_OWED_BYTES + (greeting::MAX_LINE_BYTES + 1 + LINE_READ_BYTES) <= MAX_PEER_BYTES);

/// The part of it that is replies.
const MAX_OWED_BYTES: usize = HIGH_WATER_BYTES
    + LINE_READ_BYTES * greeting::REPLY_OVERHEAD_BYTES
    + (greeting::MAX_LINE_BYTES + greeting::REPLY_OVERHEAD_BYTES);
const _: () = assert!(MAX_OWED_BYTES <= MAPPING_BYTES);
const _: () = assert!(LINE_READ_BYTES >= greeting::MAX_CHUNK_BYTES);

/// One client. When idle it is a descriptor and a state.
#[derive(Debug)]
pub struct Peer<T> {
    stream: T,
    /// What is kept for the client, if anything is.
    pending: Option<PendingKey>,
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

    /// A client beyond a limit: it is sent the refusal and then FIN.
    pub fn refused(stream: T, refusal: Refusal) -> Self {
        Self {
            state: PeerState::Refusing(refusal),
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

    /// Whether anything is kept for this client.
    #[inline]
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The memory kept for this client, in bytes: unsent replies, and an incomplete line.
    #[inline]
    pub fn buffered(&self, table: &PendingTable) -> usize {
        table
            .get(self.pending)
            .map_or(0, |pending| pending.memory())
    }

    /// The replies that the client is owed, in bytes.
    #[inline]
    pub fn owed(&self, table: &PendingTable) -> usize {
        let pending = table.get(self.pending);
        pending.map_or(0, |pending| pending.outbox.len())
    }

    /// Does what the socket's readiness allows.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.step(Some(self.state), cx, Self::work)
    }

    /// The peer's one deadline has passed; the state says what that means.
    pub fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let line_timeout = cx.shared.settings.line_timeout.unwrap_or(Duration::MAX);
        self.step(None, cx, |peer, cx| {
            let (cause, reason) = match peer.state {
                PeerState::Held(end) => {
                    peer.state = end.map_or(PeerState::Owed, PeerState::Ending);
                    cx.readiness.insert(Readiness::WRITABLE); // see `held`
                    return peer.work(cx);
                }
                PeerState::Lingering(cause) => return Err(cause),
                // The age is in whole milliseconds.
                PeerState::Partial(begun)
                    if begun.age(cx.turn_start).as_millis() >= line_timeout.as_millis() =>
                {
                    (
                        CloseCause::LineTimeout,
                        "did not end its line within --line-timeout",
                    )
                }
                // It has sent something that could not be read yet.
                PeerState::Waiting | PeerState::Partial(_) if peer.may_read(cx) => {
                    return Ok(Moved::default());
                }
                PeerState::Waiting | PeerState::Partial(_) => {
                    (CloseCause::IdleTimeout, "sent nothing for --idle-timeout")
                }
                _ => (
                    CloseCause::WriteTimeout,
                    "read none of its replies for --write-timeout",
                ),
            };
            let limiter = &mut cx.shared.limiters.timed_out;
            warn_limited!(limiter, cx.turn_start, "ending {}: it {reason}", cx.token);
            match cause {
                CloseCause::WriteTimeout => Err(cause),
                _ => peer.finish(cause, cx),
            }
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
        let buffered_before = self.buffered(&cx.shared.pending);
        let verdict = match work(self, cx) {
            Ok(moved) => {
                let pending = &mut cx.shared.pending;
                let is_held = matches!(self.state, PeerState::Held(_));
                pending.settle(&mut self.pending, moved.sent, moved.messages, is_held);
                cx.charge(moved.sent + moved.received);
                let settings = &cx.shared.settings;
                match deadline(before, self.state, moved, settings, cx.turn_start) {
                    Deadline::Keep => {}
                    Deadline::Clear => cx.clear_deadline(),
                    Deadline::Set(timeout) => cx.set_deadline(timeout),
                }
                self.verdict(cx)
            }
            Err(cause) => {
                self.count_closed(cause, cx);
                cx.shared.pending.remove(&mut self.pending);
                Verdict::Close
            }
        };
        let buffered = self.buffered(&cx.shared.pending);
        let total = &mut cx.shared.stats.buffered;
        *total = *total - buffered_before + buffered;
        verdict
    }

    #[inline]
    fn verdict(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        if !cx.readiness.contains(Readiness::READABLE) {
            return Verdict::Park;
        }
        match self.state {
            PeerState::Lingering(_) => Verdict::Again,
            PeerState::Waiting | PeerState::Partial(_) | PeerState::Owed if self.may_read(cx) => {
                if cx.shared.has_room(self.has_pending()) {
                    return Verdict::Again;
                }
                cx.shared.waiting_for_room.push_back(cx.token);
                Verdict::Hold
            }
            _ => Verdict::Hold,
        }
    }

    fn work(&mut self, cx: &mut Context<'_, Shared>) -> Result<Moved, CloseCause> {
        match self.state {
            PeerState::Refusing(refusal) => {
                let text = refusal.text(cx.shared.settings.limit(refusal));
                self.send(text.as_bytes(), cx)?;
                self.state = PeerState::Ending(CloseCause::Busy);
                self.finish(CloseCause::Busy, cx)
            }
            PeerState::Greeting | PeerState::Waiting | PeerState::Partial(_) | PeerState::Owed => {
                self.converse(cx)
            }
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
        let mut moved = Moved {
            sent,
            ..Moved::default()
        };
        let (mut end, mut last_read) = (None, 0);
        for _ in 0..READS_PER_TURN {
            let may_read = self.may_read(cx) && cx.shared.has_room(self.has_pending());
            if !may_read || moved.received >= BYTES_PER_TURN || end.is_some() {
                break;
            }
            let answered = match self.receive(cx) {
                Received::Bytes(count) => {
                    last_read = count;
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
            moved.messages += u64::from(answered.messages);
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
            end = end.or_else(|| self.drained(last_read, cx));
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
            (_, None) => {
                self.state = match cx.shared.pending.get(self.pending) {
                    Some(pending) if !pending.outbox.is_empty() => PeerState::Owed,
                    Some(pending) if !pending.partial.is_empty() => match self.state {
                        PeerState::Partial(_) if moved.messages == 0 => self.state,
                        _ => PeerState::Partial(LineStart::at(cx.turn_start)),
                    },
                    _ => PeerState::Waiting,
                }
            }
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
        self.owed(&cx.shared.pending) <= high_water_bytes
    }

    fn receive(&mut self, cx: &mut Context<'_, Shared>) -> Received {
        let input = &mut cx.shared.scratch.input;
        let traffic = &mut cx.shared.stats.traffic;
        stream::receive(&mut self.stream, cx.readiness, input, traffic)
    }

    /// Answers the first `count` bytes of the scratch input into the scratch replies.
    fn answer(&mut self, count: usize, cx: &mut Context<'_, Shared>) -> Answered {
        let Shared {
            settings,
            scratch,
            pending,
            ..
        } = &mut *cx.shared;
        let (input, replies) = (&scratch.input[..count], &mut scratch.replies);
        replies.clear();
        if settings.framing == Framing::Chunk {
            return greeting::answer_chunk(input, replies);
        }
        if let Some(pending) = pending.get_mut(self.pending) {
            return greeting::answer_lines(&mut pending.partial, input, replies);
        }
        let answered = greeting::answer_lines(&mut scratch.partial, input, replies);
        if !scratch.partial.is_empty() {
            let pending = pending.entry(&mut self.pending, cx.token);
            mem::swap(&mut pending.partial, &mut scratch.partial);
        }
        answered
    }

    /// Answers a last line that EOF completes.
    fn answer_last_line(&self, cx: &mut Context<'_, Shared>) -> Answered {
        let replies = &mut cx.shared.scratch.replies;
        replies.clear();
        let pending = cx.shared.pending.get_mut(self.pending);
        pending.map_or_else(Answered::default, |pending| {
            greeting::answer_last_line(&mut pending.partial, replies)
        })
    }

    /// Keeps the scratch replies until the delay has passed.
    fn hold_replies(&mut self, cx: &mut Context<'_, Shared>) {
        let replies = &cx.shared.scratch.replies;
        if !replies.is_empty() {
            let pending = cx.shared.pending.entry(&mut self.pending, cx.token);
            pending.outbox.push(replies);
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
        let replies = &cx.shared.scratch.replies;
        let traffic = &mut cx.shared.stats.traffic;
        if let Some(pending) = cx.shared.pending.get_mut(self.pending) {
            let outbox = &mut pending.outbox;
            return outbox.send(replies, &mut self.stream, cx.readiness, traffic);
        }
        let sent = stream::send(&mut self.stream, cx.readiness, replies, traffic)?;
        if sent < replies.len() {
            let pending = cx.shared.pending.entry(&mut self.pending, cx.token);
            pending.outbox.push(&replies[sent..]);
        }
        Ok(sent)
    }

    /// Sends what is owed as far as the socket takes it, and returns how many bytes it took.
    fn flush(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let Some(pending) = cx.shared.pending.get_mut(self.pending) else {
            return Ok(0);
        };
        let traffic = &mut cx.shared.stats.traffic;
        let outbox = &mut pending.outbox;
        outbox.flush(&mut self.stream, cx.readiness, traffic)
    }
}
