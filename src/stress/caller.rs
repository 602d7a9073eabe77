//! One TCP client: it connects, is welcomed, talks, and checks every byte of every reply.
//!
//! **Owns** one stream and how far its client is in the shared script. **Must never touch**
//! another client. **Invariant**: replies are matched to messages in order, and no client has
//! more messages in flight than the plan allows; a byte that is not the script's ends it.
//!
//! Pitfalls answered here, as in the server's peer: connect, writable, then SO_ERROR (13), drain
//! or remember (1), budgets (2), short writes (6), one client's error is its own (18). A caller
//! waits for at most one thing at a time, and its one deadline is the limit on that.

use super::Shared;
use super::connect::Connecting;
use super::counters::{LossCause, Reached, WORDS_BYTES};
use crate::net::stream::{self, Received};
use crate::protocol::greeting::BUSY;
use crate::reactor::{Context, Readiness, Time, Verdict};
use log::debug;
use std::io;

/// Reads of one client in one turn: four hold the replies of any pipeline of short names, and a
/// server that floods one client must not hold up the others.
const READS_PER_TURN: usize = 4;

/// How far the client is. Each phase but the quiet ones has the plan's timeout as its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `connect(2)` is under way.
    Connecting,
    /// Connected; the welcome is awaited.
    Welcoming,
    /// The first byte was not the welcome's but that of `Busy`: the words are read to the end.
    Refused,
    /// Welcomed, and not one of those who talk. No deadline.
    Idle,
    /// Sends and checks. Deadline while messages are in flight.
    Talking,
}

/// One client.
#[derive(Debug)]
pub struct Caller<T> {
    stream: T,
    phase: Phase,
    /// Its place among those who talk.
    seat: u32,
    /// Messages sent.
    sent: u32,
    /// Messages answered: the first of those sent, for replies come in order.
    answered: u32,
    /// Messages answered that count.
    measured: u32,
    /// Bytes of the present welcome or reply that have come.
    matched: u32,
    /// Bytes of the last batch that the socket has not taken.
    unsent: u32,
    /// When the connect began; later, when the last batch did.
    begun: Time,
}

impl<T: Connecting> Caller<T> {
    /// A client whose connect began at `now`.
    pub fn new(stream: T, now: Time) -> Self {
        Self {
            stream,
            phase: Phase::Connecting,
            seat: 0,
            sent: 0,
            answered: 0,
            measured: 0,
            matched: 0,
            unsent: 0,
            begun: now,
        }
    }

    /// The stream, to register it.
    pub fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Does what the socket's readiness, the script and the schedule allow.
    pub fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let worked = match self.phase {
            Phase::Connecting => self.connect(cx),
            Phase::Welcoming | Phase::Refused | Phase::Idle | Phase::Talking => self.talk(cx),
        };
        worked.unwrap_or_else(|cause| self.lose(cause, cx))
    }

    /// What was awaited has not come in time.
    pub fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let cause = match self.phase {
            Phase::Refused => LossCause::Busy,
            Phase::Connecting | Phase::Welcoming | Phase::Idle | Phase::Talking => {
                LossCause::TimedOut
            }
        };
        cx.shared.counters.unended += u32::from(self.lacks_ending_alone(cx.shared));
        self.lose(cause, cx)
    }

    /// Whether all of the awaited line has come but its ending.
    fn lacks_ending_alone(&self, shared: &Shared) -> bool {
        let awaited = match self.phase {
            Phase::Welcoming => shared.script.welcome,
            Phase::Talking => &shared.script.reply[..],
            Phase::Connecting | Phase::Refused | Phase::Idle => return false,
        };
        awaited.get(self.matched as usize..) == Some(b"\n")
    }

    /// The run is over: what is in flight, or due and not sent, is unanswered.
    pub fn finish(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.account(cx);
        Verdict::Close
    }

    /// The poll did not take the connection.
    pub fn unregistered(&self, error: &io::Error, shared: &mut Shared) {
        shared.note_error(error);
        shared
            .counters
            .note_lost(LossCause::Failed, Reached::Nothing);
    }

    /// The socket became writable, or failed, or neither: it is asked (pitfall 13).
    fn connect(&mut self, cx: &mut Context<'_, Shared>) -> Result<Verdict, LossCause> {
        let connected = self.stream.is_connected();
        if !connected.map_err(|error| failed(&error, cx.shared))? {
            cx.readiness.remove(Readiness::WRITABLE);
            // From the connect's beginning: a spurious event does not put it off.
            let waited = cx.turn_start.since(self.begun);
            let timeout = cx.shared.plan.timeout;
            if waited >= timeout {
                return Err(LossCause::TimedOut);
            }
            cx.set_deadline(timeout - waited);
            return Ok(Verdict::Hold);
        }
        let now = cx.clock_now();
        cx.shared
            .counters
            .note_connected(now.since(self.begun), now);
        self.phase = Phase::Welcoming;
        cx.set_deadline(cx.shared.plan.timeout);
        self.talk(cx)
    }

    /// Sends what may be sent and reads what has come, within the budget.
    fn talk(&mut self, cx: &mut Context<'_, Shared>) -> Result<Verdict, LossCause> {
        for _ in 0..READS_PER_TURN {
            if self.phase == Phase::Talking {
                let spoken = self.speak(cx);
                spoken.map_err(|error| failed(&error, cx.shared))?;
            }
            if !cx.readiness.contains(Readiness::READABLE) {
                return Ok(Verdict::Park);
            }
            let shared = &mut *cx.shared;
            match stream::receive(
                &mut self.stream,
                cx.readiness,
                &mut shared.input,
                &mut shared.counters.traffic,
            ) {
                Received::Bytes(count) => self.listen(count, cx)?,
                Received::Blocked => return Ok(Verdict::Park),
                Received::End if self.phase == Phase::Refused => return Err(LossCause::Busy),
                Received::End => return Err(LossCause::Closed),
                Received::Failed(error) => return Err(failed(&error, shared)),
            }
        }
        Ok(Verdict::Again)
    }

    /// Begins the next batch if it may, and sends what the socket takes of the present one.
    fn speak(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<()> {
        if self.unsent == 0 {
            match self.allowance(cx) {
                0 if self.sent == self.answered => cx.clear_deadline(),
                0 => {}
                messages => self.begin(messages, cx),
            }
        }
        if self.unsent == 0 || !cx.readiness.contains(Readiness::WRITABLE) {
            return Ok(());
        }
        let shared = &mut *cx.shared;
        // Every message is the same, so what is left of any batch is the end of the longest.
        let start = shared.script.batch.len() - self.unsent as usize;
        let sent = stream::send(
            &mut self.stream,
            cx.readiness,
            &shared.script.batch[start..],
            &mut shared.counters.traffic,
        )?;
        self.unsent -= sent as u32;
        Ok(())
    }

    /// How many messages may begin now. In the closed loop a batch, once all of the last one is
    /// answered; in the open loop those that are due, as far as the pipeline has room.
    fn allowance(&self, cx: &Context<'_, Shared>) -> u32 {
        let (in_flight, pipeline) = (self.sent - self.answered, cx.shared.plan.pipeline);
        match &cx.shared.schedule {
            None if in_flight > 0 => 0,
            None => cx.shared.may_begin(pipeline),
            Some(schedule) => {
                let due = schedule.due_count(self.seat, cx.clock_now());
                due.saturating_sub(self.sent).min(pipeline - in_flight)
            }
        }
    }

    fn begin(&mut self, messages: u32, cx: &mut Context<'_, Shared>) {
        self.begun = cx.clock_now();
        if self.sent == self.answered {
            cx.set_deadline(cx.shared.plan.timeout);
        }
        for number in self.sent..self.sent + messages {
            let begun = self.begun_at(number, cx.shared);
            cx.shared.note_begun(begun);
        }
        self.sent += messages;
        self.unsent = messages * cx.shared.script.message.len() as u32;
    }

    /// When message `number` began: when it was sent in the closed loop, in the open loop when
    /// it was due, whether it could be sent then or not.
    fn begun_at(&self, number: u32, shared: &Shared) -> Time {
        match &shared.schedule {
            None => self.begun,
            Some(schedule) => schedule.due_time(self.seat, number),
        }
    }

    /// Checks the first `count` bytes of the shared input.
    fn listen(&mut self, count: usize, cx: &mut Context<'_, Shared>) -> Result<(), LossCause> {
        match self.phase {
            Phase::Connecting | Phase::Welcoming => self.hear_welcome(count, cx),
            Phase::Refused => {
                self.hear_refusal(count, cx);
                Ok(())
            }
            Phase::Idle => {
                cx.shared.note_wrong_bytes(0, count);
                Err(LossCause::WrongBytes)
            }
            Phase::Talking => self.hear_replies(count, cx),
        }
    }

    fn hear_welcome(
        &mut self,
        count: usize,
        cx: &mut Context<'_, Shared>,
    ) -> Result<(), LossCause> {
        let shared = &mut *cx.shared;
        let heard = &shared.input[..count];
        if self.matched == 0 && heard[0] == BUSY[0] {
            self.phase = Phase::Refused;
            self.hear_refusal(count, cx);
            return Ok(());
        }
        let expected = &shared.script.welcome[self.matched as usize..];
        if !expected.starts_with(heard) {
            let words = &heard[..heard.len().min(WORDS_BYTES)];
            shared
                .counters
                .wrong_welcome
                .get_or_insert_with(|| words.to_vec());
            return Err(LossCause::WrongWelcome);
        }
        self.matched += count as u32;
        if count == expected.len() {
            self.matched = 0;
            cx.clear_deadline();
            cx.shared.counters.note_greeted();
            self.phase = match cx.shared.take_seat(cx.token) {
                Some(seat) => {
                    self.seat = seat;
                    Phase::Talking
                }
                None => Phase::Idle,
            };
        }
        Ok(())
    }

    /// Keeps the words of the first client that is refused: the others hear the same.
    fn hear_refusal(&self, count: usize, cx: &mut Context<'_, Shared>) {
        let Shared {
            counters, input, ..
        } = &mut *cx.shared;
        if *counters.busy_client.get_or_insert(cx.token) == cx.token {
            let room = WORDS_BYTES.saturating_sub(counters.busy_words.len());
            let heard = &input[..count.min(room)];
            counters.busy_words.extend_from_slice(heard);
        }
    }

    fn hear_replies(
        &mut self,
        count: usize,
        cx: &mut Context<'_, Shared>,
    ) -> Result<(), LossCause> {
        let now = cx.clock_now();
        let mut heard = 0;
        while heard < count {
            let shared = &mut *cx.shared;
            let expected = &shared.script.reply[self.matched as usize..];
            let length = expected.len().min(count - heard);
            let right = shared.input[heard..heard + length] == expected[..length];
            if !right || self.sent == self.answered {
                shared.note_wrong_bytes(heard, count);
                return Err(LossCause::WrongBytes);
            }
            heard += length;
            self.matched += length as u32;
            if length == expected.len() {
                self.matched = 0;
                self.note_reply(now, shared);
            }
        }
        // Whoever waits for more has just seen progress.
        if self.sent > self.answered {
            cx.set_deadline(cx.shared.plan.timeout);
        }
        Ok(())
    }

    fn note_reply(&mut self, now: Time, shared: &mut Shared) {
        let begun = self.begun_at(self.answered, shared);
        let measured = shared.is_measured(begun);
        shared.counters.note_reply(begun, now, measured);
        shared.counters.answered_once += u32::from(self.answered == 0);
        self.answered += 1;
        self.measured += u32::from(measured);
    }

    fn lose(&self, cause: LossCause, cx: &mut Context<'_, Shared>) -> Verdict {
        debug!("lost {}: {}", cx.token, cause.name());
        let reached = match self.phase {
            Phase::Connecting => Reached::Nothing,
            Phase::Welcoming | Phase::Refused => Reached::Connected,
            Phase::Idle | Phase::Talking => Reached::Greeted,
        };
        cx.shared.counters.note_lost(cause, reached);
        self.account(cx);
        Verdict::Close
    }

    /// Counts what the client leaves behind. A message that was due and could not be sent,
    /// because the one before was not answered, has waited as well.
    fn account(&self, cx: &mut Context<'_, Shared>) {
        if self.phase != Phase::Talking {
            return;
        }
        let now = cx.clock_now();
        let shared = &mut *cx.shared;
        let owed = match &shared.schedule {
            None => self.sent,
            Some(schedule) => schedule.due_count(self.seat, now).max(self.sent),
        };
        for number in self.answered..owed {
            let begun = self.begun_at(number, shared);
            if shared.is_measured(begun) {
                shared.counters.note_unanswered(begun, now);
            }
        }
        shared.counters.in_flight -= u64::from(self.sent - self.answered);
        shared.counters.note_served(self.measured);
    }
}

/// The cause of an error of the system, which is kept if it has no cause of its own.
fn failed(error: &io::Error, shared: &mut Shared) -> LossCause {
    shared.note_error(error);
    LossCause::from(error)
}
