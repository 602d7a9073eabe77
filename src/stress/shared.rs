//! State shared by all sources of a run.
//!
//! **Owns** the plan, the counters, the stage of the run, and scratch buffers. **Must never
//! touch** a source. **Invariant**: a source leaves nothing in the scratch buffers that a later
//! call relies on.

use super::counters::{Counters, LossCause, MAX_EXCERPT_BYTES, NoReply, Reached};
use super::pace::Schedule;
use super::plan::{Length, Plan, Script};
use crate::net::stream::Traffic;
use crate::reactor::{Time, Token};
use std::io;
use std::time::Duration;

/// Bytes per read: many replies of a pipeline. The buffer is shared by all clients.
const READ_BYTES: usize = 16 * 1_024;

/// The stage of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Clients connect and are welcomed. No messages are sent.
    #[default]
    Connecting,
    /// Active clients send, but nothing is measured until the given time: caches fill, and the
    /// initial burst passes.
    WarmingUp(Time),
    /// Messages that begin now are measured.
    Running,
    /// No more messages begin. Replies to those in flight may come until the given time.
    Finishing(Time),
    /// The run has ended.
    Over,
}

/// State shared by all sources of a run.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The plan.
    pub plan: Plan,
    /// The bytes that all clients send and expect.
    pub script: Script,
    /// The stage of the run.
    pub stage: Stage,
    /// The counters.
    pub counters: Counters,
    /// When each message is due; `None` in the closed loop, and before the warm-up.
    pub schedule: Option<Schedule>,
    /// Messages that may still begin (closed loop); `u64::MAX`: no limit.
    pub remaining: u64,
    /// When the run began.
    pub began: Time,
    /// Messages that begin from then on are measured. Until this is known, none are.
    pub measured_from: Time,
    /// When the last measured message has begun; later ones are not sent.
    pub measured_until: Time,
    /// When the measured window ends: replies received from `measured_from` until then make the
    /// rate. Until the run has ended, this is when it ends at the latest.
    pub window_until: Time,
    /// Bytes and system calls before the measured part.
    pub traffic_before: Traffic,
    /// The active clients, those that send messages. A client's index in this list is its
    /// number in the schedule.
    pub active: Vec<Token>,
    /// Scratch: the bytes of one read.
    pub input: Box<[u8]>,
    /// Scratch: the next datagram.
    pub datagram: Vec<u8>,
    /// Whether the run was interrupted by a signal.
    pub interrupted: bool,
}

impl Shared {
    /// The state before a run of `plan`.
    #[must_use]
    pub(crate) fn new(plan: Plan) -> Self {
        let never = Time::ZERO.after(Duration::MAX);
        let script = Script::new(&plan);
        // One byte more than the reply to a datagram, so that a longer reply is noticed.
        let input_bytes = READ_BYTES.max(script.reply.len() + 1);
        Self {
            stage: Stage::default(),
            counters: Counters::default(),
            schedule: None,
            remaining: u64::MAX,
            began: Time::ZERO,
            measured_from: never,
            measured_until: never,
            window_until: never,
            traffic_before: Traffic::default(),
            active: Vec::with_capacity(plan.active as usize),
            input: vec![0; input_bytes].into_boxed_slice(),
            datagram: script.message.clone(),
            interrupted: false,
            script,
            plan,
        }
    }

    /// Whether a message that began at `begun` is measured.
    #[must_use]
    pub(crate) fn is_measured(&self, begun: Time) -> bool {
        begun >= self.measured_from
    }

    /// Whether a reply received at `now` is in the measured window.
    #[must_use]
    pub(crate) fn is_in_window(&self, now: Time) -> bool {
        self.measured_from <= now && now < self.window_until
    }

    /// Whether the measured window has ended at `now`.
    #[must_use]
    pub(crate) fn is_window_over(&self, now: Time) -> bool {
        now >= self.window_until
    }

    /// The length of the measured window; zero if nothing was measured.
    #[must_use]
    pub(crate) fn window(&self) -> Duration {
        self.window_until.since(self.measured_from)
    }

    /// Ends the measured window of a run that ends at `now`: with the last reply where a number of
    /// messages was asked for and all have begun, otherwise as planned or now.
    pub(crate) fn end_window(&mut self, now: Time) {
        let all_begun = matches!(self.stage, Stage::Finishing(_)) && !self.interrupted;
        let by_messages = matches!(self.plan.length, Length::Messages(_));
        if all_begun && by_messages && self.counters.answered > 0 {
            // In the open loop the window is not shorter than the schedule.
            let scheduled = self.schedule.map_or(Time::ZERO, |_| self.measured_until);
            self.window_until = self.counters.last_reply.max(scheduled);
            let counters = &mut self.counters;
            // What came after the last reply to a measured message answers the warm-up.
            counters.warmup_replies -= counters.replies - counters.replies_at_last;
            counters.replies = counters.replies_at_last;
        } else {
            self.window_until = self.window_until.min(now);
        }
    }

    /// Messages of the schedule that were due `earlier` than the measured window, or in it if that
    /// is zero; `None` in the closed loop.
    #[must_use]
    pub(crate) fn due_before_window(&self, earlier: Duration) -> Option<u64> {
        let schedule = self.schedule?;
        let due_before = |time: Time| {
            // Times are counted from the start of the run.
            let time = Time::ZERO.after(time.since(Time::ZERO).saturating_sub(earlier));
            schedule.pace.count_before(time).min(schedule.end)
        };
        Some(due_before(self.window_until).saturating_sub(due_before(self.measured_from)))
    }

    /// Measured messages that were due; `None` in the closed loop.
    #[must_use]
    pub(crate) fn due(&self) -> Option<u64> {
        let due = self.due_before_window(Duration::ZERO)?;
        // One that is due as the run ends may have been sent.
        Some(due.max(self.counters.sent))
    }

    /// Of these, never sent: their clients waited for a reply or were lost.
    #[must_use]
    pub(crate) fn not_sent(&self) -> u64 {
        self.due().map_or(0, |due| due - self.counters.sent)
    }

    /// Why a message has no reply at the end of the run: unless it is interrupted, the run waits
    /// for each reply until its timeout.
    #[must_use]
    pub(crate) fn no_reply_at_end(&self) -> NoReply {
        if self.interrupted {
            NoReply::Interrupted
        } else {
            NoReply::TimedOut
        }
    }

    /// Whether events that belong to no message are measured now.
    #[must_use]
    pub(crate) fn is_measuring(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Finishing(_))
    }

    /// How many messages the active client `index` may send now: it has sent `sent`, of which
    /// `in_flight` are unanswered. Closed loop: a full pipeline once the last one is answered.
    /// Open loop: those that are due at `now`, up to `max_in_flight`.
    pub(crate) fn sendable(
        &self,
        index: u32,
        sent: u64,
        in_flight: u32,
        max_in_flight: u32,
        now: impl FnOnce() -> Time,
    ) -> u32 {
        if let Some(schedule) = &self.schedule {
            let due = schedule.due_count(index, now());
            let room = max_in_flight - in_flight;
            return u32::try_from(due.saturating_sub(sent)).map_or(room, |due| due.min(room));
        }
        match self.stage {
            Stage::WarmingUp(_) | Stage::Running if in_flight == 0 => {
                let pipeline = self.plan.pipeline;
                u32::try_from(self.remaining).map_or(pipeline, |remaining| pipeline.min(remaining))
            }
            _ => 0,
        }
    }

    /// When message `number` of the active client `index` began: in the closed loop when it was
    /// sent, in the open loop when it was due.
    #[must_use]
    pub(crate) fn begun_at(&self, index: u32, number: u64, sent_at: Time) -> Time {
        self.schedule
            .as_ref()
            .map_or(sent_at, |schedule| schedule.due_time(index, number))
    }

    /// Counts a message that was sent.
    pub(crate) fn note_begun(&mut self, begun: Time) {
        self.counters.in_flight += 1;
        self.counters.sent += u64::from(self.is_measured(begun));
        if self.remaining != u64::MAX {
            self.remaining -= 1;
        }
    }

    /// Adds a client to the active ones and returns its index, unless there are enough already.
    pub(crate) fn activate(&mut self, token: Token) -> Option<u32> {
        let index = self.active.len() as u32;
        (index < self.plan.active).then(|| {
            self.active.push(token);
            index
        })
    }

    /// The cause that `error` stands for. The first error without a cause of its own is kept for
    /// the report.
    pub(crate) fn cause_of(&mut self, error: &io::Error) -> LossCause {
        let cause = LossCause::from(error);
        if cause == LossCause::Failed {
            let first = &mut self.counters.first_error;
            first.get_or_insert_with(|| error.to_string());
        }
        cause
    }

    /// Counts a client whose socket could not be opened or registered.
    pub(crate) fn note_not_opened(&mut self, error: &io::Error) {
        let cause = self.cause_of(error);
        self.counters.note_lost(cause, Reached::Nothing);
    }

    /// Keeps the first wrong reply for the report: the scratch input from `start` to `end`.
    pub(crate) fn note_wrong_bytes(&mut self, start: usize, end: usize) {
        let excerpt = &self.input[start..end.min(start + MAX_EXCERPT_BYTES)];
        let first = &mut self.counters.wrong_bytes;
        first.get_or_insert_with(|| excerpt.to_vec());
    }
}
