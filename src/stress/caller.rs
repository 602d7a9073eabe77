//! One TCP client: it connects, is welcomed, talks, and checks every byte of every reply.
//!
//! **Owns** one stream and how far its client is in the shared script. **Must never touch**
//! another client. **Invariant**: replies are matched to messages in order, and no client has
//! more messages in flight than the plan allows; a byte that is not the script's ends it.
//!
//! Pitfalls answered here, as in the server's peer: connect, writable, then SO_ERROR (13), drain
//! or remember (1), budgets (2), short writes (6), one client's error is its own (18). A caller
//! waits for at most one thing at a time, and its one deadline is the limit on that.

use super::World;
use super::connect::Connecting;
use super::tally::{Cause, Reached, WORDS_BYTES};
use crate::greeting::BUSY;
use crate::reactor::{Context, Readiness, Source, Time, Verdict};
use crate::stream::{self, Received};
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
    pub fn drive<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let worked = match self.phase {
            Phase::Connecting => self.connect(cx),
            Phase::Welcoming | Phase::Refused | Phase::Idle | Phase::Talking => self.talk(cx),
        };
        worked.unwrap_or_else(|cause| self.lose(cause, cx))
    }

    /// What was awaited has not come in time.
    pub fn expire<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let cause = match self.phase {
            Phase::Refused => Cause::Busy,
            Phase::Connecting | Phase::Welcoming | Phase::Idle | Phase::Talking => Cause::TimedOut,
        };
        cx.world.tally.unended += u32::from(self.lacks_ending_alone(cx.world));
        self.lose(cause, cx)
    }

    /// Whether all of the awaited line has come but its ending.
    fn lacks_ending_alone(&self, world: &World) -> bool {
        let awaited = match self.phase {
            Phase::Welcoming => world.script.welcome,
            Phase::Talking => &world.script.reply[..],
            Phase::Connecting | Phase::Refused | Phase::Idle => return false,
        };
        awaited.get(self.matched as usize..) == Some(b"\n")
    }

    /// The run is over: what is in flight, or due and not sent, is unanswered.
    pub fn finish<S: Source<World = World>>(&self, cx: &mut Context<'_, S>) -> Verdict {
        self.account(cx);
        Verdict::Close
    }

    /// The poll did not take the connection.
    pub fn unregistered(&self, error: &io::Error, world: &mut World) {
        world.note_error(error);
        world.tally.note_lost(Cause::Failed, Reached::Nothing);
    }

    /// The socket became writable, or failed, or neither: it is asked (pitfall 13).
    fn connect<S: Source<World = World>>(
        &mut self,
        cx: &mut Context<'_, S>,
    ) -> Result<Verdict, Cause> {
        let connected = self.stream.is_connected();
        if !connected.map_err(|error| failed(&error, cx.world))? {
            cx.readiness.clear(Readiness::WRITABLE);
            // From the connect's beginning: a spurious event does not put it off.
            let waited = cx.now.since(self.begun);
            let timeout = cx.world.plan.timeout;
            if waited >= timeout {
                return Err(Cause::TimedOut);
            }
            cx.deadline(timeout - waited);
            return Ok(Verdict::Park);
        }
        let now = cx.time();
        cx.world.tally.note_connected(now.since(self.begun), now);
        self.phase = Phase::Welcoming;
        cx.deadline(cx.world.plan.timeout);
        self.talk(cx)
    }

    /// Sends what may be sent and reads what has come, within the budget.
    fn talk<S: Source<World = World>>(
        &mut self,
        cx: &mut Context<'_, S>,
    ) -> Result<Verdict, Cause> {
        for _ in 0..READS_PER_TURN {
            if self.phase == Phase::Talking {
                let spoken = self.speak(cx);
                spoken.map_err(|error| failed(&error, cx.world))?;
            }
            if !cx.readiness.contains(Readiness::READABLE) {
                return Ok(Verdict::Park);
            }
            let world = &mut *cx.world;
            match stream::receive(
                &mut self.stream,
                &mut cx.readiness,
                &mut world.input,
                &mut world.tally.traffic,
            ) {
                Received::Bytes(count) => self.listen(count, cx)?,
                Received::Blocked => return Ok(Verdict::Park),
                Received::End if self.phase == Phase::Refused => return Err(Cause::Busy),
                Received::End => return Err(Cause::Closed),
                Received::Failed(error) => return Err(failed(&error, world)),
            }
        }
        Ok(Verdict::Again)
    }

    /// Begins the next batch if it may, and sends what the socket takes of the present one.
    fn speak<S: Source<World = World>>(&mut self, cx: &mut Context<'_, S>) -> io::Result<()> {
        if self.unsent == 0 {
            match self.allowance(cx) {
                0 if self.sent == self.answered => cx.no_deadline(),
                0 => {}
                messages => self.begin(messages, cx),
            }
        }
        if self.unsent == 0 || !cx.readiness.contains(Readiness::WRITABLE) {
            return Ok(());
        }
        let world = &mut *cx.world;
        // Every message is the same, so what is left of any batch is the end of the longest.
        let start = world.script.batch.len() - self.unsent as usize;
        let sent = stream::send(
            &mut self.stream,
            &mut cx.readiness,
            &world.script.batch[start..],
            &mut world.tally.traffic,
        )?;
        self.unsent -= sent as u32;
        Ok(())
    }

    /// How many messages may begin now. In the closed loop a batch, once all of the last one is
    /// answered; in the open loop those that are due, as far as the pipeline has room.
    fn allowance<S: Source<World = World>>(&self, cx: &Context<'_, S>) -> u32 {
        let (in_flight, pipeline) = (self.sent - self.answered, cx.world.plan.pipeline);
        match &cx.world.schedule {
            None if in_flight > 0 => 0,
            None => cx.world.may_begin(pipeline),
            Some(schedule) => {
                let due = schedule.due_for(self.seat, cx.time());
                due.saturating_sub(self.sent).min(pipeline - in_flight)
            }
        }
    }

    fn begin<S: Source<World = World>>(&mut self, messages: u32, cx: &mut Context<'_, S>) {
        self.begun = cx.time();
        if self.sent == self.answered {
            cx.deadline(cx.world.plan.timeout);
        }
        for number in self.sent..self.sent + messages {
            let begun = self.begun_at(number, cx.world);
            cx.world.note_begun(begun);
        }
        self.sent += messages;
        self.unsent = messages * cx.world.script.message.len() as u32;
    }

    /// When message `number` began: when it was sent in the closed loop, in the open loop when
    /// it was due, whether it could be sent then or not.
    fn begun_at(&self, number: u32, world: &World) -> Time {
        match &world.schedule {
            None => self.begun,
            Some(schedule) => schedule.due(self.seat, number),
        }
    }

    /// Checks the first `count` bytes of the shared input.
    fn listen<S: Source<World = World>>(
        &mut self,
        count: usize,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Cause> {
        match self.phase {
            Phase::Connecting | Phase::Welcoming => self.hear_welcome(count, cx),
            Phase::Refused => {
                self.hear_refusal(count, cx);
                Ok(())
            }
            Phase::Idle => {
                cx.world.note_wrong_bytes(0, count);
                Err(Cause::WrongBytes)
            }
            Phase::Talking => self.hear_replies(count, cx),
        }
    }

    fn hear_welcome<S: Source<World = World>>(
        &mut self,
        count: usize,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Cause> {
        let world = &mut *cx.world;
        let heard = &world.input[..count];
        if self.matched == 0 && heard[0] == BUSY[0] {
            self.phase = Phase::Refused;
            self.hear_refusal(count, cx);
            return Ok(());
        }
        let expected = &world.script.welcome[self.matched as usize..];
        if !expected.starts_with(heard) {
            let words = &heard[..heard.len().min(WORDS_BYTES)];
            world
                .tally
                .wrong_welcome
                .get_or_insert_with(|| words.to_vec());
            return Err(Cause::WrongWelcome);
        }
        self.matched += count as u32;
        if count == expected.len() {
            self.matched = 0;
            cx.no_deadline();
            cx.world.tally.note_greeted();
            self.phase = match cx.world.take_seat(cx.token) {
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
    fn hear_refusal<S: Source<World = World>>(&self, count: usize, cx: &mut Context<'_, S>) {
        let World { tally, input, .. } = &mut *cx.world;
        if *tally.busy_client.get_or_insert(cx.token) == cx.token {
            let room = WORDS_BYTES.saturating_sub(tally.busy_words.len());
            let heard = &input[..count.min(room)];
            tally.busy_words.extend_from_slice(heard);
        }
    }

    fn hear_replies<S: Source<World = World>>(
        &mut self,
        count: usize,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Cause> {
        let now = cx.time();
        let mut heard = 0;
        while heard < count {
            let world = &mut *cx.world;
            let expected = &world.script.reply[self.matched as usize..];
            let length = expected.len().min(count - heard);
            let right = world.input[heard..heard + length] == expected[..length];
            if !right || self.sent == self.answered {
                world.note_wrong_bytes(heard, count);
                return Err(Cause::WrongBytes);
            }
            heard += length;
            self.matched += length as u32;
            if length == expected.len() {
                self.matched = 0;
                self.note_reply(now, world);
            }
        }
        // Whoever waits for more has just seen progress.
        if self.sent > self.answered {
            cx.deadline(cx.world.plan.timeout);
        }
        Ok(())
    }

    fn note_reply(&mut self, now: Time, world: &mut World) {
        let begun = self.begun_at(self.answered, world);
        let measured = world.is_measured(begun);
        world.tally.note_reply(begun, now, measured);
        world.tally.answered_once += u32::from(self.answered == 0);
        self.answered += 1;
        self.measured += u32::from(measured);
    }

    fn lose<S: Source<World = World>>(&self, cause: Cause, cx: &mut Context<'_, S>) -> Verdict {
        debug!("lost {}: {}", cx.token, cause.name());
        let reached = match self.phase {
            Phase::Connecting => Reached::Nothing,
            Phase::Welcoming | Phase::Refused => Reached::Connected,
            Phase::Idle | Phase::Talking => Reached::Greeted,
        };
        cx.world.tally.note_lost(cause, reached);
        self.account(cx);
        Verdict::Close
    }

    /// Counts what the client leaves behind. A message that was due and could not be sent,
    /// because the one before was not answered, has waited as well.
    fn account<S: Source<World = World>>(&self, cx: &mut Context<'_, S>) {
        if self.phase != Phase::Talking {
            return;
        }
        let now = cx.time();
        let world = &mut *cx.world;
        let owed = match &world.schedule {
            None => self.sent,
            Some(schedule) => schedule.due_for(self.seat, now).max(self.sent),
        };
        for number in self.answered..owed {
            let begun = self.begun_at(number, world);
            if world.is_measured(begun) {
                world.tally.note_unanswered(begun, now);
            }
        }
        world.tally.in_flight -= u64::from(self.sent - self.answered);
        world.tally.note_served(self.measured);
    }
}

/// The cause of an error of the system, which is kept if it has no cause of its own.
fn failed(error: &io::Error, world: &mut World) -> Cause {
    world.note_error(error);
    Cause::from(error)
}
