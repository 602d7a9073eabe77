//! One client's connection: from its welcome to its end.
//!
//! **Owns** one stream, what is owed to its client, and the phase of the conversation. **Must
//! never touch** another client, nor what its bytes mean (that is [`greeting`]).
//! **Invariant**: replies are sent in the order of their messages, none twice, and none is lost
//! while the client can still take it; what one client makes the server keep is bounded by
//! [`MAX_PEER_BYTES`].
//!
//! Pitfalls answered here: drain or remember (1), budgets (2), short writes (6), the reader that
//! never reads (7), half-close (8), ask the socket (9), linger (10), one client's error is its
//! own (18). A peer has at most one deadline, and its phase says which.

mod ending;

use crate::net::stream::{self, Received, Stream};
use crate::protocol::greeting::{self, Answered, Framing};
use crate::reactor::{Context, Readiness, Source, Verdict};
use crate::server::Shared;
use crate::server::pending::{Pending, PendingPool};
use crate::server::stats::CloseCause;
use crate::warn_limited;
use std::io;
use std::time::Duration;

/// Bytes of one read in line framing: large enough that a flood of lines costs few calls, small
/// enough that a read of nothing but empty lines, 4,096 messages, does not keep the others
/// waiting for long nor owe too much.
pub const READ_BYTES: usize = 4 * 1_024;

/// While more than this is owed to a client, nothing is read from it: a client that does not
/// read stalls itself and nobody else (pitfall 7).
pub const HIGH_WATER_BYTES: usize = 32 * 1_024;

/// Reads of one client in one turn. Short reads mostly end the work after one; the bounds are for
/// a client that sends as fast as it is read (pitfall 2).
pub const READS_PER_TURN: usize = 4;

/// Bytes of one client after which it has had its turn: one full read of lines, or four full
/// chunks.
pub const BYTES_PER_TURN: usize = READ_BYTES;

/// How long the rest of the input is thrown away after the last byte was sent. Closing with
/// input unread makes the kernel send a reset, which can destroy those last bytes on their way
/// (pitfall 10).
pub const LINGER: Duration = Duration::from_secs(2);

/// The most that one client makes the server keep: replies up to the high-water mark, those of one
/// more read of empty lines, that of the long line which the read completed; and a line begun, with
/// the piece that makes it too long.
pub const MAX_PEER_BYTES: usize = 256 * 1_024;
const _: () = assert!(
    HIGH_WATER_BYTES
        + READ_BYTES * greeting::MAX_REPLY_GROWTH
        + (greeting::MAX_LINE_BYTES + greeting::MAX_REPLY_GROWTH)
        + (greeting::MAX_LINE_BYTES + 1 + READ_BYTES)
        <= MAX_PEER_BYTES
);
const _: () = assert!(READ_BYTES >= greeting::MAX_CHUNK_BYTES);

/// Where the conversation is. The variant says which deadline, if any, the peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Just born; the welcome is still to be sent.
    Greeting,
    /// Just born over `--max-clients`; the refusal is still to be sent.
    Refusing,
    /// Messages are read and answered. Deadline: the write timeout while replies are owed, the
    /// idle timeout else.
    Talking,
    /// Replies wait for `--delay`; nothing is read or sent meanwhile. Deadline: the delay.
    /// Behind it the conversation goes on, or ends for the cause.
    Held(Option<CloseCause>),
    /// No further message is taken; what is owed is being sent. Deadline: the write timeout.
    Ending(CloseCause),
    /// All is sent, our end of output included; what still comes in is thrown away.
    /// Deadline: [`LINGER`].
    Lingering(CloseCause),
}

/// What one turn's reads came to.
#[derive(Debug, Default)]
struct Heard {
    /// Replies wait for the delay.
    held: bool,
    /// The conversation ends, for this cause, once they are sent.
    end: Option<CloseCause>,
}

/// One client. Idle, it is a descriptor, a phase and a null pointer.
#[derive(Debug)]
pub struct Peer<T> {
    stream: T,
    backlog: Option<Box<Pending>>,
    phase: PeerState,
}

impl<T: Stream> Peer<T> {
    /// A client to be welcomed.
    pub fn new(stream: T) -> Self {
        Self {
            stream,
            backlog: None,
            phase: PeerState::Greeting,
        }
    }

    /// A client over the limit: it is told so, and then the end of output.
    pub fn refused(stream: T) -> Self {
        Self {
            phase: PeerState::Refusing,
            ..Self::new(stream)
        }
    }

    /// Where the conversation is.
    pub fn phase(&self) -> PeerState {
        self.phase
    }

    /// The stream, to register it.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Memory kept for this client, in bytes: for replies owed, and the line begun.
    pub fn buffered(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.memory())
    }

    /// Replies kept for this client, in bytes.
    pub fn owed(&self) -> usize {
        self.backlog
            .as_ref()
            .map_or(0, |backlog| backlog.owed.len())
    }

    /// Does what the socket's readiness allows.
    pub fn drive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        self.accounted(cx, Self::work)
    }

    /// The peer's one deadline has passed: the phase says what that means.
    pub fn expire<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        self.accounted(cx, |peer, cx| match peer.phase {
            PeerState::Held(then) => {
                // From here on the socket is what the replies wait for.
                cx.set_deadline(cx.shared.settings.write_timeout);
                peer.phase = then.map_or(PeerState::Talking, PeerState::Ending);
                peer.work(cx)
            }
            PeerState::Lingering(cause) => peer.close(cause, cx),
            PeerState::Talking if peer.owed() == 0 => {
                warn_limited!(
                    cx.shared.limiters.timed_out,
                    cx.turn_start,
                    "ending {}: it has said nothing for --idle-timeout",
                    cx.token
                );
                peer.finish(CloseCause::IdleTimeout, cx)
            }
            PeerState::Greeting
            | PeerState::Refusing
            | PeerState::Talking
            | PeerState::Ending(_) => {
                warn_limited!(
                    cx.shared.limiters.timed_out,
                    cx.turn_start,
                    "closing {}: it has taken nothing of what it is owed for --write-timeout",
                    cx.token
                );
                peer.close(CloseCause::WriteTimeout, cx)
            }
        })
    }

    /// Gives back the memory that is kept for this client and that no byte of it needs.
    pub fn trim<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        self.accounted(cx, |peer, _| {
            if let Some(backlog) = &mut peer.backlog {
                backlog.trim();
            }
            Verdict::Park
        })
    }

    /// Keeps the sum of all buffered bytes true, whatever `work` does.
    fn accounted<S: Source<Shared = Shared>>(
        &mut self,
        cx: &mut Context<'_, S>,
        work: impl FnOnce(&mut Self, &mut Context<'_, S>) -> Verdict,
    ) -> Verdict {
        let before = self.buffered();
        let verdict = work(self, cx);
        let after = match verdict {
            Verdict::Close => 0,
            Verdict::Park | Verdict::Again => self.buffered(),
        };
        cx.shared.stats.buffered = cx.shared.stats.buffered - before + after;
        verdict
    }

    fn work<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        match self.phase {
            PeerState::Greeting => {
                self.phase = PeerState::Talking;
                cx.shared.replies.clear();
                let welcome = cx.shared.settings.framing.welcome();
                cx.shared.replies.extend_from_slice(welcome);
                match self.deliver(cx) {
                    Ok(()) => self.talk(true, cx),
                    Err(error) => self.close(CloseCause::from(&error), cx),
                }
            }
            PeerState::Refusing => {
                self.phase = PeerState::Ending(CloseCause::Busy);
                cx.set_deadline(cx.shared.settings.write_timeout);
                let words = greeting::refusal(cx.shared.settings.max_clients);
                self.pending_mut(&mut cx.shared.pool)
                    .owed
                    .push(words.as_bytes());
                self.finish(CloseCause::Busy, cx)
            }
            PeerState::Talking => self.talk(false, cx),
            PeerState::Held(_) => Verdict::Park,
            PeerState::Ending(cause) => self.finish(cause, cx),
            PeerState::Lingering(cause) => self.discard(cause, cx),
        }
    }

    /// Talks for one turn, and decides what comes of it: held, ended, or the next turn.
    fn talk<S: Source<Shared = Shared>>(
        &mut self,
        newborn: bool,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        let before = cx.shared.stats.traffic;
        let was_owing = self.owed() > 0;
        let Heard { held, end } = match self.hear(cx) {
            Ok(heard) => heard,
            Err(error) => return self.close(CloseCause::from(&error), cx),
        };
        if held {
            self.phase = PeerState::Held(end);
            cx.set_deadline(cx.shared.settings.delay);
            return Verdict::Park;
        }
        if let Some(cause) = end {
            self.phase = PeerState::Ending(cause);
            cx.set_deadline(cx.shared.settings.write_timeout);
            return self.finish(cause, cx);
        }
        let sent = newborn || cx.shared.stats.traffic.bytes_out > before.bytes_out;
        let received = cx.shared.stats.traffic.bytes_in > before.bytes_in;
        self.watch(was_owing, sent, received, cx);
        if self.may_read(false, cx) {
            Verdict::Again
        } else {
            Verdict::Park
        }
    }

    /// Sends what is owed, then reads and answers, within the budget.
    fn hear<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<Heard> {
        if self.owed() > 0 {
            self.flush(cx)?;
        }
        let mut heard = Heard::default();
        let before = cx.shared.stats.traffic.bytes_in;
        for _ in 0..READS_PER_TURN {
            let read = cx.shared.stats.traffic.bytes_in - before;
            let spent = read >= BYTES_PER_TURN as u64 || heard.end.is_some();
            if spent || !self.may_read(heard.held, cx) {
                break;
            }
            let answered = match self.receive(cx) {
                Received::Bytes(count) => self.answer(count, cx),
                Received::End => {
                    heard.end = Some(CloseCause::EndOfInput);
                    self.answer_rest(cx)
                }
                Received::Blocked => break,
                Received::Failed(error) => return Err(error),
            };
            cx.shared.stats.messages += u64::from(answered.messages);
            heard.end = answered.end.map(CloseCause::from).or(heard.end);
            if !answered.is_any() || cx.shared.settings.delay.is_zero() {
                self.deliver(cx)?;
                continue;
            }
            heard.held = true;
            let Shared { pool, replies, .. } = &mut *cx.shared;
            if !replies.is_empty() {
                self.pending_mut(pool).owed.push(replies);
            }
            // The last read of a drain goes on, and all that it finds is held together.
            if !cx.shared.is_draining() {
                break;
            }
        }
        // In a drain that was the last read. Even who is owed nothing more is ended with care:
        // what was sent last may still be on its way.
        if cx.shared.is_draining() {
            heard.end = heard.end.or(Some(CloseCause::Drained));
        }
        Ok(heard)
    }

    /// Sets the deadline that fits: the write timeout from the last progress on while replies
    /// are owed, the idle timeout from the last byte on else. A spurious event moves neither.
    fn watch<S: Source<Shared = Shared>>(
        &self,
        was_owing: bool,
        sent: bool,
        received: bool,
        cx: &mut Context<'_, S>,
    ) {
        if self.owed() > 0 {
            if sent || !was_owing {
                cx.set_deadline(cx.shared.settings.write_timeout);
            }
        } else if let Some(idle_timeout) = cx.shared.settings.idle_timeout {
            if sent || received {
                cx.set_deadline(idle_timeout);
            }
        } else if was_owing {
            cx.clear_deadline();
        }
    }

    /// Whether there may be input, and it may be read. Replies that the delay released are sent
    /// before more is read, so that none is held twice.
    fn may_read<S: Source<Shared = Shared>>(&self, held: bool, cx: &Context<'_, S>) -> bool {
        if !cx.readiness.contains(Readiness::READABLE) {
            return false;
        }
        let high_water = if cx.shared.settings.delay.is_zero() || held {
            HIGH_WATER_BYTES
        } else {
            0
        };
        self.owed() <= high_water
    }

    fn receive<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Received {
        let shared = &mut *cx.shared;
        let limit = match shared.settings.framing {
            Framing::Chunk => greeting::MAX_CHUNK_BYTES,
            Framing::Line => READ_BYTES,
        };
        stream::receive(
            &mut self.stream,
            &mut cx.readiness,
            &mut shared.input[..limit],
            &mut shared.stats.traffic,
        )
    }

    /// Answers the first `count` bytes of the shared input into the shared replies.
    fn answer<S: Source<Shared = Shared>>(
        &mut self,
        count: usize,
        cx: &mut Context<'_, S>,
    ) -> Answered {
        let Shared {
            input,
            replies,
            settings,
            pool,
            ..
        } = &mut *cx.shared;
        let input = &input[..count];
        replies.clear();
        match settings.framing {
            Framing::Chunk => greeting::answer_chunk(input, replies),
            Framing::Line => {
                let partial = &mut self.pending_mut(pool).partial;
                let answered = greeting::answer_lines(partial, input, replies);
                self.release(pool);
                answered
            }
        }
    }

    /// Answers what the end of input completes.
    fn answer_rest<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Answered {
        let Shared { replies, pool, .. } = &mut *cx.shared;
        replies.clear();
        // Chunks leave nothing behind: every one was a whole message.
        let Some(backlog) = &mut self.backlog else {
            return Answered::default();
        };
        let answered = greeting::answer_last_line(&mut backlog.partial, replies);
        self.release(pool);
        answered
    }

    /// Sends the shared replies behind what is owed already, and keeps only what the socket
    /// does not take (pitfall 6).
    #[inline]
    fn deliver<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<()> {
        let sent = if self.owed() == 0 && cx.readiness.contains(Readiness::WRITABLE) {
            stream::send(
                &mut self.stream,
                &mut cx.readiness,
                &cx.shared.replies,
                &mut cx.shared.stats.traffic,
            )?
        } else {
            0
        };
        if sent < cx.shared.replies.len() {
            let Shared { pool, replies, .. } = &mut *cx.shared;
            self.pending_mut(pool).owed.push(&replies[sent..]);
        }
        Ok(())
    }

    /// Sends what is owed as far as the socket takes it, and returns how many bytes it took.
    fn flush<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<usize> {
        let Some(backlog) = &mut self.backlog else {
            return Ok(0);
        };
        if backlog.owed.is_empty() || !cx.readiness.contains(Readiness::WRITABLE) {
            return Ok(0);
        }
        let sent = stream::send(
            &mut self.stream,
            &mut cx.readiness,
            backlog.owed.as_slice(),
            &mut cx.shared.stats.traffic,
        )?;
        backlog.owed.consume(sent);
        self.release(&mut cx.shared.pool);
        Ok(sent)
    }

    fn pending_mut(&mut self, pool: &mut PendingPool) -> &mut Pending {
        self.backlog.get_or_insert_with(|| pool.take())
    }

    /// Lets go of a backlog that has become empty: an idle client keeps none.
    fn release(&mut self, pool: &mut PendingPool) {
        if let Some(backlog) = self.backlog.take_if(|backlog| backlog.is_empty()) {
            pool.put(backlog);
        }
    }
}
