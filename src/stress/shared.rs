//! What all sources of a run share.
//!
//! **Owns** the plan, the counters, how far the run is, and scratch memory. **Must never touch**
//! a source. **Invariant**: a source is done with the scratch memory before the next one is
//! driven.

use super::counters::{self, Counters, LossCause};
use super::pace::Schedule;
use super::plan::{Plan, Script};
use crate::net::stream::Traffic;
use crate::reactor::{Time, Token};
use std::io;
use std::time::Duration;

/// Bytes of one read: many replies of a pipeline, and shared by all clients.
const READ_BYTES: usize = 16 * 1_024;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Clients connect and are welcomed; nobody talks.
    #[default]
    Connecting,
    /// They talk, and nothing counts: caches fill, and the first rush passes.
    WarmingUp,
    /// What begins now counts.
    Running,
    /// Nothing begins any more; what is in flight is awaited.
    Finishing,
    /// Through.
    Over,
}

/// What all sources of a run share.
#[derive(Debug)]
pub struct Shared {
    /// What was asked for.
    pub plan: Plan,
    /// The bytes that all clients say and hear.
    pub script: Script,
    /// How far the run is.
    pub stage: Stage,
    /// What is counted.
    pub counters: Counters,
    /// When which message is due (open loop, once there is talking).
    pub schedule: Option<Schedule>,
    /// Messages that may still begin (closed loop); no limit unless one was asked for.
    pub left: u64,
    /// When the run began.
    pub began: Time,
    /// When the warm-up ends.
    pub warm_at: Time,
    /// What begins from then on counts; never, until that is known.
    pub measured_from: Time,
    /// Until when messages begin.
    pub measured_until: Time,
    /// Until when replies are awaited.
    pub finish_by: Time,
    /// What had gone through the connections when measuring began.
    pub traffic_before: Traffic,
    /// Those who talk, by their seats.
    pub talkers: Vec<Token>,
    /// Whom the program's own loop is to wake.
    pub wake: Vec<Token>,
    /// What one read returned. Shared, since a source is done with it before the next is driven.
    pub input: Box<[u8]>,
    /// The next datagram.
    pub datagram: Vec<u8>,
    /// Whether the run was told to stop.
    pub interrupted: bool,
}

impl Shared {
    /// A shared for `plan`, in which nothing has happened yet.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let never = Time::ZERO.after(Duration::MAX);
        let script = Script::new(&plan);
        // One byte more than a datagram's reply, so that a longer one is seen to be.
        let input_bytes = READ_BYTES.max(script.reply.len() + 1);
        Self {
            stage: Stage::default(),
            counters: Counters::default(),
            schedule: None,
            left: u64::MAX,
            began: Time::ZERO,
            warm_at: never,
            measured_from: never,
            measured_until: never,
            finish_by: never,
            traffic_before: Traffic::default(),
            talkers: Vec::with_capacity(plan.active as usize),
            wake: Vec::with_capacity(plan.active as usize),
            input: vec![0; input_bytes].into_boxed_slice(),
            datagram: script.message.clone(),
            interrupted: false,
            script,
            plan,
        }
    }

    /// Whether a message counts that began then.
    #[must_use]
    pub fn is_measured(&self, begun: Time) -> bool {
        begun >= self.measured_from
    }

    /// Whether what happens now counts.
    #[must_use]
    pub fn is_measuring(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Finishing)
    }

    /// How many of `wanted` messages a client may begin in the closed loop.
    #[must_use]
    pub fn may_begin(&self, wanted: u32) -> u32 {
        match self.stage {
            Stage::WarmingUp | Stage::Running => {
                u32::try_from(self.left).map_or(wanted, |left| wanted.min(left))
            }
            Stage::Connecting | Stage::Finishing | Stage::Over => 0,
        }
    }

    /// A message began.
    pub fn note_begun(&mut self, begun: Time) {
        self.counters.in_flight += 1;
        self.counters.sent += u64::from(self.is_measured(begun));
        if self.left != u64::MAX {
            self.left -= 1;
        }
    }

    /// A place among those who talk, while there is one.
    pub fn take_seat(&mut self, token: Token) -> Option<u32> {
        let seat = self.talkers.len() as u32;
        (seat < self.plan.active).then(|| {
            self.talkers.push(token);
            seat
        })
    }

    /// Keeps the first error of the system that the causes do not name.
    pub fn note_error(&mut self, error: &io::Error) {
        if LossCause::from(error) == LossCause::Failed {
            let first = &mut self.counters.first_error;
            first.get_or_insert_with(|| error.to_string());
        }
    }

    /// Keeps what the first wrong reply was: these bytes of the shared input, cut to a line's.
    pub fn note_wrong_bytes(&mut self, from: usize, to: usize) {
        let words = &self.input[from..to.min(from + counters::WORDS_BYTES)];
        let first = &mut self.counters.wrong_bytes;
        first.get_or_insert_with(|| words.to_vec());
    }
}
