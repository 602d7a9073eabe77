//! One client's connection: from its welcome to its end.
//!
//! **Owns** one stream, what is kept for its client, and the state of the conversation. **Must
//! never touch** another client, nor interpret the bytes (that is [`greeting`]).
//! **Invariant**: replies are sent in the order of their messages, none twice, and none is lost
//! while the client can still receive it; the memory kept for one client is bounded by
//! [`MAX_PEER_BYTES`].
//!
//! A call of a peer goes one way: `drive` or `expire` do the work of the current [`PeerState`],
//! which moves bytes and may change the state; [`deadline`] and the verdict then follow from the
//! state and the bytes moved, in one place (`step`).
//!
//! Pitfalls answered here: drain or remember (1), budgets (2), short writes (6), the client that
//! never reads (7), half-close (8), HUP and ERR (9), lingering (10), isolation of errors (18).

mod ending;

use crate::net::stream::{self, Received, Stream};
use crate::protocol::greeting::{self, Answered, Framing};
use crate::reactor::{Context, Readiness, Verdict};
use crate::server::pending::{Pending, PendingPool};
use crate::server::shared::Scratch;
use crate::server::stats::CloseCause;
use crate::server::{Settings, Shared};
use crate::warn_limited;
use std::io;
use std::time::Duration;

/// Bytes per read in line framing: large enough that a flood of lines costs few system calls,
/// small enough that a read of nothing but empty lines, 4,096 messages, neither delays the other
/// clients for long nor produces too many replies.
pub const READ_BYTES: usize = 4 * 1_024;

/// The high-water mark: while a client is owed more than this it is not read, so a client that does
/// not read its replies stalls itself and no one else (pitfall 7).
pub const HIGH_WATER_BYTES: usize = 32 * 1_024;

/// Reads of one client per turn. A short read usually ends the work after one; the bound is for a
/// client that sends as fast as it is read (pitfall 2).
pub const READS_PER_TURN: usize = 4;

/// Bytes of one client per turn: one full read of lines, or four full chunks.
pub const BYTES_PER_TURN: usize = READ_BYTES;

/// How long remaining input is discarded after the last byte was sent. Closing a socket with
/// unread input makes the kernel send a reset, which can destroy those last bytes on their way
/// (pitfall 10).
pub const LINGER: Duration = Duration::from_secs(2);

/// The most memory kept for one client: replies up to the high-water mark, those to one more read
/// of empty lines, the reply to the long line that the read completed, and an incomplete line with
/// the piece that makes it too long.
pub const MAX_PEER_BYTES: usize = 256 * 1_024;
const _: () = assert!(
    HIGH_WATER_BYTES
        + READ_BYTES * greeting::REPLY_OVERHEAD_BYTES
        + (greeting::MAX_LINE_BYTES + greeting::REPLY_OVERHEAD_BYTES)
        + (greeting::MAX_LINE_BYTES + 1 + READ_BYTES)
        <= MAX_PEER_BYTES
);
const _: () = assert!(READ_BYTES >= greeting::MAX_CHUNK_BYTES);

/// The state of the conversation. It alone determines which deadline the peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Accepted; the welcome is still to be sent. Lasts until the first drive; no deadline.
    Greeting,
    /// Accepted beyond `--max-clients`; the refusal is still to be sent. Lasts until the first
    /// drive; no deadline.
    Refusing,
    /// Owed nothing: the client speaks next. Deadline: the idle timeout, from the last byte.
    Waiting,
    /// Replies wait for the socket to take them; below the high-water mark the client is still
    /// read. Deadline: the write timeout, from the last byte sent.
    Owed,
    /// Replies wait for `--delay`; nothing is read or sent. Deadline: the delay. After it the
    /// conversation continues, or ends for the cause.
    Held(Option<CloseCause>),
    /// No further message is answered; what is owed is being sent. Deadline: the write timeout,
    /// from the last byte sent.
    Ending(CloseCause),
    /// Everything is sent, FIN included; further input is discarded. Deadline: [`LINGER`].
    Lingering(CloseCause),
}

/// The bytes that one call moved.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    sent: usize,
    received: usize,
}

impl Moved {
    fn and(self, next: Self) -> Self {
        Self {
            sent: self.sent + next.sent,
            received: self.received + next.received,
        }
    }
}

/// What becomes of the one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadline {
    /// It stands, or there is none.
    Keep,
    /// It is cancelled.
    Clear,
    /// It fires this long after the turn began.
    Set(Duration),
}

/// The deadline after a call that moved these bytes and took the peer from state `before` (`None`
/// if the deadline has just fired) to `after`. A call that moved nothing, such as a spurious
/// wakeup, changes no deadline.
fn deadline(
    before: Option<PeerState>,
    after: PeerState,
    moved: Moved,
    settings: &Settings,
) -> Deadline {
    let (timeout, has_progressed) = match after {
        PeerState::Greeting | PeerState::Refusing => (None, false),
        PeerState::Waiting => (settings.idle_timeout, moved.sent + moved.received > 0),
        PeerState::Owed | PeerState::Ending(_) => (Some(settings.write_timeout), moved.sent > 0),
        PeerState::Held(_) => (Some(settings.delay), false),
        PeerState::Lingering(_) => (Some(LINGER), false),
    };
    let has_entered = before != Some(after);
    match timeout {
        Some(timeout) if has_entered || has_progressed => Deadline::Set(timeout),
        None if has_entered => Deadline::Clear,
        _ => Deadline::Keep,
    }
}

/// One client. When idle it is a descriptor, a state and a null pointer.
#[derive(Debug)]
pub struct Peer<T> {
    stream: T,
    pending: Option<Box<Pending>>,
    state: PeerState,
}

impl<T: Stream> Peer<T> {
    /// A client to be welcomed.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            pending: None,
            state: PeerState::Greeting,
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
            PeerState::Greeting => {
                let sent = self.send(cx.shared.settings.framing.welcome(), cx)?;
                let welcomed = Moved { sent, received: 0 };
                Ok(welcomed.and(self.converse(cx)?))
            }
            PeerState::Refusing => {
                let refusal = greeting::refusal(cx.shared.settings.max_clients);
                self.send(refusal.as_bytes(), cx)?;
                self.state = PeerState::Ending(CloseCause::Busy);
                self.finish(CloseCause::Busy, cx)
            }
            PeerState::Waiting | PeerState::Owed => self.converse(cx),
            PeerState::Held(_) => Ok(Moved::default()),
            PeerState::Ending(cause) => self.finish(cause, cx),
            PeerState::Lingering(cause) => self.discard(cause, cx),
        }
    }

    /// Sends what is owed, then reads and answers within the budget, and decides how the
    /// conversation continues.
    fn converse(&mut self, cx: &mut Context<'_, Shared>) -> Result<Moved, CloseCause> {
        let mut moved = Moved {
            sent: self.flush(cx)?,
            received: 0,
        };
        let mut end = None;
        for _ in 0..READS_PER_TURN {
            if end.is_some() || moved.received >= BYTES_PER_TURN || !self.may_read(cx) {
                break;
            }
            let answered = match self.receive(cx) {
                Received::Bytes(count) => {
                    moved.received += count;
                    self.answer(count, cx)
                }
                Received::End => {
                    end = Some(CloseCause::Eof);
                    self.answer_last_line(cx)
                }
                Received::Blocked => break,
                Received::Failed(error) => return Err(error.into()),
            };
            cx.shared.stats.messages += u64::from(answered.messages);
            end = answered.end.map(CloseCause::from).or(end);
            if !answered.is_empty() && !cx.shared.settings.delay.is_zero() {
                self.hold_replies(cx);
            } else {
                moved.sent += self.send_replies(cx)?;
            }
        }
        // In a drain that was the last read. A client that is owed nothing is also ended with
        // care: its last reply may still be on its way.
        if cx.shared.is_draining() {
            end = end.or(Some(CloseCause::Drained));
        }
        match (self.state, end) {
            (PeerState::Held(_), end) => self.state = PeerState::Held(end),
            (_, Some(cause)) => {
                self.state = PeerState::Ending(cause);
                moved = moved.and(self.finish(cause, cx)?);
            }
            (_, None) if self.owed() > 0 => self.state = PeerState::Owed,
            (_, None) => self.state = PeerState::Waiting,
        }
        Ok(moved)
    }

    /// Whether the client may be readable, and its input may be read. Replies that a delay
    /// released are sent before more is read, so that none is held twice; a drain holds all that
    /// its last read finds together.
    fn may_read(&self, cx: &Context<'_, Shared>) -> bool {
        let is_delayed = !cx.shared.settings.delay.is_zero();
        let high_water_bytes = match self.state {
            PeerState::Held(_) if cx.shared.is_draining() => HIGH_WATER_BYTES,
            PeerState::Held(_) => return false,
            _ if is_delayed => 0,
            _ => HIGH_WATER_BYTES,
        };
        cx.readiness.contains(Readiness::READABLE) && self.owed() <= high_water_bytes
    }

    fn receive(&mut self, cx: &mut Context<'_, Shared>) -> Received {
        let limit = match cx.shared.settings.framing {
            Framing::Chunk => greeting::MAX_CHUNK_BYTES,
            Framing::Line => READ_BYTES,
        };
        let input = &mut cx.shared.scratch.input[..limit];
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

    /// Sends the scratch replies after what is owed already, keeps what the socket does not take
    /// (pitfall 6), and returns how many bytes it took.
    fn send_replies(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let replies = std::mem::take(&mut cx.shared.scratch.replies);
        let sent = self.send(&replies, cx);
        cx.shared.scratch.replies = replies;
        sent
    }

    #[inline]
    fn send(&mut self, bytes: &[u8], cx: &mut Context<'_, Shared>) -> io::Result<usize> {
        let (readiness, traffic) = (&mut *cx.readiness, &mut cx.shared.stats.traffic);
        if let Some(pending) = &mut self.pending {
            return pending
                .outbox
                .send(bytes, &mut self.stream, readiness, traffic);
        }
        let sent = stream::send(&mut self.stream, readiness, bytes, traffic)?;
        if sent < bytes.len() {
            let pending = self.pending_mut(&mut cx.shared.scratch.pool);
            pending.outbox.push(&bytes[sent..]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use CloseCause::{Exit, Reset};
    use PeerState::{Ending, Greeting, Held, Lingering, Owed, Waiting};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_deadline_follows_from_the_state_and_the_bytes_moved() {
        let settings = |idle_timeout| Settings {
            idle_timeout,
            write_timeout: 30 * SECOND,
            delay: SECOND,
            ..Settings::default()
        };
        let (idle, never) = (settings(Some(60 * SECOND)), settings(None));
        let moved = |sent, received| Moved { sent, received };
        let [none, sent, received] = [moved(0, 0), moved(1, 0), moved(0, 1)];
        let set = |seconds| Deadline::Set(seconds * SECOND);
        for (before, after, moved, settings, expected) in [
            // A client that is owed nothing: any byte restarts the idle timeout.
            (Some(Greeting), Waiting, none, &idle, set(60)),
            (Some(Waiting), Waiting, none, &idle, Deadline::Keep),
            (Some(Waiting), Waiting, sent, &idle, set(60)),
            (Some(Waiting), Waiting, received, &idle, set(60)),
            (Some(Owed), Waiting, sent, &idle, set(60)),
            (Some(Waiting), Waiting, received, &never, Deadline::Keep),
            (Some(Owed), Waiting, sent, &never, Deadline::Clear),
            // A client that is owed replies: only a byte that it takes restarts the write timeout.
            (Some(Waiting), Owed, received, &idle, set(30)),
            (Some(Owed), Owed, received, &idle, Deadline::Keep),
            (Some(Owed), Owed, sent, &idle, set(30)),
            (
                Some(Ending(Exit)),
                Ending(Exit),
                none,
                &idle,
                Deadline::Keep,
            ),
            (Some(Ending(Exit)), Ending(Exit), sent, &idle, set(30)),
            // A delay and lingering have a fixed length.
            (Some(Waiting), Held(None), received, &idle, set(1)),
            (Some(Held(None)), Held(None), none, &idle, Deadline::Keep),
            (None, Held(None), none, &idle, set(1)),
            (None, Owed, none, &idle, set(30)),
            (
                Some(Ending(Exit)),
                Lingering(Exit),
                sent,
                &idle,
                Deadline::Set(LINGER),
            ),
            (
                Some(Lingering(Reset)),
                Lingering(Reset),
                received,
                &idle,
                Deadline::Keep,
            ),
        ] {
            let found = deadline(before, after, moved, settings);
            assert_eq!(found, expected, "{before:?} -> {after:?}, {moved:?}");
        }
    }
}
