//! One TCP client: connects, reads the welcome, sends messages and checks every byte of every
//! reply.
//!
//! **Owns** one stream and its position in the shared script. **Must never touch** another
//! client. **Invariant**: replies are matched to messages in order, and at most a pipeline of
//! messages is in flight; a byte that does not match the script ends the client.
//!
//! Pitfalls handled here, as in the server's peer: connect, writable, then SO_ERROR (13), drain or
//! remember (1), budgets (2), short writes (6), one client's error is its own (18). A client waits
//! for one thing at a time, and its deadline limits that wait.

use super::Shared;
use super::connect::Connecting;
use super::counters::{LossCause, MAX_EXCERPT_BYTES, NoReply, Reached};
use super::plan::MAX_PIPELINED_MESSAGES;
use crate::net::stream::{self, Received};
use crate::protocol::refusal::BUSY;
use crate::reactor::{Context, Readiness, Time, Verdict};
use log::debug;
use std::io;

/// The budget of one client per turn. Four reads hold the replies to a full pipeline of short names.
/// A server that floods one client must not delay the others.
const READS_PER_TURN: usize = 4;

/// The most histogram entries in which a client's messages that were never sent are counted: a
/// thousandth of the run is as exact as the histogram.
const MAX_ENTRIES: u64 = 1_000;

// A pipeline fits the counter of messages in flight.
const _: () = assert!(MAX_PIPELINED_MESSAGES <= u16::MAX as u32);

/// The state of a client. The deadline, where there is one, is the plan's timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallerState {
    /// `connect(2)` is in progress. Deadline.
    Connecting,
    /// Connected, and waiting for the welcome. Deadline.
    Welcoming,
    /// The server replied `Busy` instead of the welcome: reads to EOF. Deadline.
    Refused,
    /// Welcomed, and not one of the active clients. No deadline.
    Idle,
    /// Sends messages and checks replies. Deadline while messages are in flight.
    Active,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Caller<T> {
    stream: T,
    state: CallerState,
    /// Its index among the active clients.
    index: u32,
    /// Messages sent and not yet answered: at most a pipeline.
    in_flight: u16,
    /// Messages answered: replies come in order, so these are the first of those sent. At 23 million
    /// messages per second, 32 bits would overflow after three minutes.
    answered: u64,
    /// Measured messages answered.
    measured: u64,
    /// Bytes of the current welcome or reply that have matched.
    matched: u32,
    /// Bytes of the last batch still to be written.
    unsent: u32,
    /// When the connect began; once connected, when the last batch began.
    begun: Time,
}

impl<T: Connecting> Caller<T> {
    /// A client whose connect began at `now`.
    pub(crate) fn new(stream: T, now: Time) -> Self {
        Self {
            stream,
            state: CallerState::Connecting,
            index: 0,
            in_flight: 0,
            answered: 0,
            measured: 0,
            matched: 0,
            unsent: 0,
            begun: now,
        }
    }

    /// The same after many messages.
    #[cfg(test)]
    pub(crate) fn having_answered(self, messages: u64) -> Self {
        Self {
            answered: messages,
            measured: messages,
            ..self
        }
    }

    /// The stream, for registration with the poll.
    pub(crate) fn stream_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Does what the socket's readiness, the script and the schedule allow.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        let result = match self.state {
            CallerState::Connecting => self.connect(cx),
            _ => self.send_and_receive(cx),
        };
        result.unwrap_or_else(|cause| self.lose(cause, cx))
    }

    /// The timeout has passed.
    pub(crate) fn expire(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        let cause = match self.state {
            CallerState::Refused => LossCause::Busy,
            _ => LossCause::TimedOut,
        };
        cx.shared.counters.missing_line_ending += u32::from(self.is_line_ending_missing(cx.shared));
        self.lose(cause, cx)
    }

    /// Whether only the line ending of the current welcome or reply is missing.
    fn is_line_ending_missing(&self, shared: &Shared) -> bool {
        let expected = match self.state {
            CallerState::Welcoming => shared.script.welcome,
            CallerState::Active => &shared.script.reply[..],
            CallerState::Connecting | CallerState::Refused | CallerState::Idle => return false,
        };
        expected.get(self.matched as usize..) == Some(b"\n")
    }

    /// The run has ended: messages in flight get no reply any more.
    pub(crate) fn finish(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        self.leave_messages(cx.shared.no_reply_at_end(), cx.clock_now(), cx.shared);
        Verdict::Close
    }

    /// The socket may be connected, may have failed, or the wakeup was spurious: the socket says
    /// which (pitfall 13).
    fn connect(&mut self, cx: &mut Context<'_, Shared>) -> Result<Verdict, LossCause> {
        let connected = self.stream.is_connected();
        if !connected.map_err(|error| cx.shared.cause_of(&error))? {
            cx.readiness.remove(Readiness::WRITABLE);
            // Counted from the start of the connect, so that spurious wakeups do not extend it.
            let waited = cx.turn_start.since(self.begun);
            let timeout = cx.shared.plan.timeout;
            if waited >= timeout {
                return Err(LossCause::TimedOut);
            }
            cx.set_deadline(timeout - waited);
            return Ok(Verdict::Hold);
        }
        let now = cx.clock_now();
        let latency = now.since(self.begun);
        cx.shared.counters.note_connected(latency, now);
        self.state = CallerState::Welcoming;
        cx.set_deadline(cx.shared.plan.timeout);
        self.send_and_receive(cx)
    }

    /// Sends what may be sent and checks what was received, within the budget.
    fn send_and_receive(&mut self, cx: &mut Context<'_, Shared>) -> Result<Verdict, LossCause> {
        for _ in 0..READS_PER_TURN {
            if self.state == CallerState::Active {
                let sent = self.send_messages(cx);
                sent.map_err(|error| cx.shared.cause_of(&error))?;
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
                Received::Bytes(count) => self.check_input(count, cx)?,
                Received::Blocked => return Ok(Verdict::Park),
                Received::Eof if self.state == CallerState::Refused => return Err(LossCause::Busy),
                Received::Eof => return Err(LossCause::Closed),
                Received::Failed(error) => return Err(shared.cause_of(&error)),
            }
        }
        Ok(Verdict::Again)
    }

    /// Begins the next batch if it may, and writes as much of the current one as the socket
    /// takes.
    fn send_messages(&mut self, cx: &mut Context<'_, Shared>) -> io::Result<()> {
        if self.unsent == 0 {
            let (in_flight, pipeline) = (self.in_flight.into(), cx.shared.plan.pipeline);
            let now = || cx.clock_now();
            match cx
                .shared
                .sendable(self.index, self.sent(), in_flight, pipeline, now)
            {
                0 if in_flight == 0 => cx.clear_deadline(),
                0 => {}
                messages => self.begin_batch(messages, cx),
            }
        }
        let shared = &mut *cx.shared;
        // All messages are the same, so the rest of any batch is the end of the longest batch: a
        // position in these shared bytes is the whole outbound queue, and no `Outbox` is needed.
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

    /// Messages sent, which is the number of the next one.
    fn sent(&self) -> u64 {
        self.answered + u64::from(self.in_flight)
    }

    fn begin_batch(&mut self, messages: u32, cx: &mut Context<'_, Shared>) {
        self.begun = cx.clock_now();
        if self.in_flight == 0 {
            cx.set_deadline(cx.shared.plan.timeout);
        }
        cx.shared.counters.sent_once += u32::from(self.sent() == 0);
        for number in self.sent()..self.sent() + u64::from(messages) {
            let begun = cx.shared.begun_at(self.index, number, self.begun);
            cx.shared.note_begun(begun);
        }
        self.in_flight += messages as u16;
        self.unsent = messages * cx.shared.script.message.len() as u32;
    }

    /// Checks the first `count` bytes of the scratch input.
    fn check_input(&mut self, count: usize, cx: &mut Context<'_, Shared>) -> Result<(), LossCause> {
        match self.state {
            CallerState::Connecting | CallerState::Welcoming => self.check_welcome(count, cx),
            CallerState::Refused => {
                self.keep_busy_reply(count, cx);
                Ok(())
            }
            CallerState::Idle => {
                cx.shared.note_wrong_bytes(0, count);
                Err(LossCause::WrongBytes)
            }
            CallerState::Active => self.check_replies(count, cx),
        }
    }

    fn check_welcome(
        &mut self,
        count: usize,
        cx: &mut Context<'_, Shared>,
    ) -> Result<(), LossCause> {
        let shared = &mut *cx.shared;
        let input = &shared.input[..count];
        if self.matched == 0 && input[0] == BUSY[0] {
            self.state = CallerState::Refused;
            self.keep_busy_reply(count, cx);
            return Ok(());
        }
        let expected = &shared.script.welcome[self.matched as usize..];
        if !expected.starts_with(input) {
            let excerpt = &input[..count.min(MAX_EXCERPT_BYTES)];
            let first = &mut shared.counters.wrong_welcome;
            first.get_or_insert_with(|| excerpt.to_vec());
            return Err(LossCause::WrongWelcome);
        }
        self.matched += count as u32;
        if count == expected.len() {
            self.matched = 0;
            shared.counters.note_welcomed();
            self.state = match shared.activate(cx.token) {
                Some(index) => {
                    self.index = index;
                    CallerState::Active
                }
                None => CallerState::Idle,
            };
            cx.clear_deadline();
        }
        Ok(())
    }

    /// Keeps the reply to the first client that is refused: all get the same one.
    fn keep_busy_reply(&self, count: usize, cx: &mut Context<'_, Shared>) {
        let Shared {
            counters, input, ..
        } = &mut *cx.shared;
        if *counters.busy_client.get_or_insert(cx.token) == cx.token {
            let room = MAX_EXCERPT_BYTES.saturating_sub(counters.busy_reply.len());
            let excerpt = &input[..count.min(room)];
            counters.busy_reply.extend_from_slice(excerpt);
        }
    }

    fn check_replies(
        &mut self,
        count: usize,
        cx: &mut Context<'_, Shared>,
    ) -> Result<(), LossCause> {
        let now = cx.clock_now();
        let shared = &mut *cx.shared;
        let mut checked = 0;
        while checked < count {
            let expected = &shared.script.reply[self.matched as usize..];
            let length = expected.len().min(count - checked);
            let matches = shared.input[checked..checked + length] == expected[..length];
            if !matches || self.in_flight == 0 {
                shared.note_wrong_bytes(checked, count);
                return Err(LossCause::WrongBytes);
            }
            checked += length;
            self.matched += length as u32;
            if length == expected.len() {
                self.matched = 0;
                self.note_reply(now, shared);
            }
        }
        // Any part of a reply is progress, which restarts the timeout.
        if self.in_flight > 0 {
            cx.set_deadline(cx.shared.plan.timeout);
        }
        Ok(())
    }

    fn note_reply(&mut self, now: Time, shared: &mut Shared) {
        let begun = shared.begun_at(self.index, self.answered, self.begun);
        let measured = shared.is_measured(begun);
        let in_window = shared.is_in_window(now);
        shared.counters.note_reply(begun, now, measured, in_window);
        shared.counters.answered_once += u32::from(self.answered == 0);
        self.in_flight -= 1;
        self.answered += 1;
        self.measured += u64::from(measured);
    }

    fn lose(&self, cause: LossCause, cx: &mut Context<'_, Shared>) -> Verdict {
        debug!("lost {}: {}", cx.token, cause.name());
        let reached = match self.state {
            CallerState::Connecting => Reached::Nothing,
            CallerState::Welcoming | CallerState::Refused => Reached::Connected,
            CallerState::Idle | CallerState::Active => Reached::Welcomed,
        };
        cx.shared.counters.note_lost(cause, reached);
        let why = match cause {
            LossCause::TimedOut => NoReply::TimedOut,
            _ => NoReply::ClientLost,
        };
        let now = cx.clock_now();
        self.leave_messages(why, now, cx.shared);
        if why == NoReply::TimedOut {
            self.note_stalled(now, cx.shared);
        }
        Verdict::Close
    }

    /// Counts the messages that this client leaves without a reply. Those that were due and are not
    /// sent are counted as the rest of the schedule, see [`Shared::not_sent`].
    fn leave_messages(&self, why: NoReply, now: Time, shared: &mut Shared) {
        if self.state != CallerState::Active {
            return;
        }
        for number in self.answered..self.sent() {
            let begun = shared.begun_at(self.index, number, self.begun);
            if shared.is_measured(begun) {
                let waited = now.since(begun).max(shared.plan.timeout);
                shared.counters.note_no_reply(why, waited, 1);
            }
        }
        shared.counters.in_flight -= u64::from(self.in_flight);
        shared.counters.note_served(self.measured);
    }

    /// Samples the measured messages that waited to be sent while this client timed out: they would
    /// have waited for the same reply.
    fn note_stalled(&self, now: Time, shared: &mut Shared) {
        let Some(schedule) = shared
            .schedule
            .filter(|_| self.state == CallerState::Active)
        else {
            return;
        };
        let first = schedule.count_before(self.index, shared.measured_from);
        let first = first.max(self.sent());
        let due = schedule.due_count(self.index, now).max(first);
        // At a rate that no server reaches, billions of messages are due: they are counted in
        // groups that began at nearly the same time.
        let group = (due - first).div_ceil(MAX_ENTRIES).max(1);
        for first in (first..due).step_by(group as usize) {
            let count = group.min(due - first);
            let begun = schedule.due_time(self.index, first + count / 2);
            let waited = now.since(begun).max(shared.plan.timeout);
            shared.counters.note_stalled(waited, count);
        }
    }
}
