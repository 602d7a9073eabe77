//! What a run counts.
//!
//! **Owns** the counters, one set for the whole run. **Must never
//! touch** a socket or a clock. **Invariant**: recording allocates nothing, so that the
//! millionth message costs what the first did.

use super::latency::{Latencies, Lateness};
use crate::net::stream::Traffic;
use crate::reactor::{Time, Token};
use std::io;
use std::time::Duration;

/// The most of a server's unexpected words that is kept, in bytes: a line on a screen.
pub const WORDS_BYTES: usize = 80;

/// Why a client was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LossCause {
    /// Nothing listens, or the system says no for the server.
    Refused,
    /// The connection was reset.
    Reset,
    /// The server ended the connection.
    Closed,
    /// Connecting, the welcome or a reply took longer than allowed.
    TimedOut,
    /// The server said that it is full.
    Busy,
    /// The server's first words were not its welcome.
    WrongWelcome,
    /// A reply was not the message's.
    WrongBytes,
    /// No port, or no such source address, was left.
    NoPort,
    /// No descriptor was left.
    NoDescriptor,
    /// So many had timed out before it that it was not tried any more.
    NotTried,
    /// Anything else that the system says.
    Failed,
}

impl LossCause {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Reset,
        Self::Closed,
        Self::TimedOut,
        Self::Busy,
        Self::WrongWelcome,
        Self::WrongBytes,
        Self::NoPort,
        Self::NoDescriptor,
        Self::NotTried,
        Self::Failed,
    ];

    /// The cause as the report tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Closed => "closed by the server",
            Self::TimedOut => "timed out",
            Self::Busy => "busy",
            Self::WrongWelcome => "wrong welcome",
            Self::WrongBytes => "wrong bytes",
            Self::NoPort => "no port",
            Self::NoDescriptor => "no descriptor",
            Self::NotTried => "not tried",
            Self::Failed => "failed",
        }
    }
}

impl From<&io::Error> for LossCause {
    fn from(error: &io::Error) -> Self {
        use nix::errno::Errno;
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ECONNREFUSED) => Self::Refused,
            Some(Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE) => Self::Reset,
            Some(Errno::ETIMEDOUT) => Self::TimedOut,
            Some(Errno::EADDRNOTAVAIL | Errno::EADDRINUSE) => Self::NoPort,
            Some(Errno::EMFILE | Errno::ENFILE) => Self::NoDescriptor,
            _ => Self::Failed,
        }
    }
}

/// One second of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    /// When it ended, since the run began.
    pub at: Duration,
    /// How long it was: the last one may be shorter.
    pub length: Duration,
    /// Whether it lies in the measured part.
    pub measured: bool,
    /// Replies that came in it.
    pub replies: u64,
    /// Their p99, where they suffice.
    pub p99: Option<Duration>,
    /// Clients connected at its end.
    pub connected: u32,
}

/// What happened to datagrams. Each one sent is answered, late, lost, or still waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// No reply came in time, nor later.
    pub lost: u64,
    /// The reply came after it had been given up.
    pub late: u64,
    /// Further replies to a datagram that had one.
    pub doubled: u64,
    /// Replies to nothing that was asked.
    pub wrong: u64,
}

/// How far a client had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It was connecting.
    Nothing,
    /// It was connected, and waited for its welcome.
    Connected,
    /// It was welcomed.
    Greeted,
}

/// The counters of one run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Clients that were started.
    pub launched: u32,
    /// Of these, neither greeted nor lost yet.
    pub pending: u32,
    /// Of these, connected.
    pub connected: u32,
    /// Of these, welcomed.
    pub greeted: u32,
    /// Of these, answered at least once.
    pub answered_once: u32,
    /// Clients connected at present.
    pub open: u32,
    /// The most at once.
    pub peak: u32,
    /// Clients lost, by [`LossCause`].
    pub lost: [u32; LossCause::ALL.len()],
    /// The first client that the server had no room for.
    pub busy_client: Option<Token>,
    /// What the server said to it.
    pub busy_words: Vec<u8>,
    /// What the first wrong welcome was.
    pub wrong_welcome: Option<Vec<u8>>,
    /// What stood where the first wrong reply went wrong.
    pub wrong_bytes: Option<Vec<u8>>,
    /// Clients that timed out with all of a line but its ending: the server does not speak in lines.
    pub unended: u32,
    /// The first error of the system that has no cause of its own.
    pub first_error: Option<String>,
    /// From the start of a connect to its end.
    pub connect: Latencies<u32>,
    /// When the last connection came about.
    pub last_connect: Time,
    /// Messages sent and not answered yet, of all clients.
    pub in_flight: u64,
    /// Measured messages that were sent.
    pub sent: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, never answered: their client was lost, or the run ended first.
    pub unanswered: u64,
    /// When the last measured reply came.
    pub last_reply: Time,
    /// From when a measured message was sent (closed loop) or due (open loop) to its reply.
    pub latency: Latencies<u64>,
    /// The same of all messages of the present second.
    pub recent: Latencies<u32>,
    /// The seconds so far.
    pub seconds: Vec<Second>,
    /// What went through the connections.
    pub traffic: Traffic,
    /// Measured messages that the best-served client had answered.
    pub best_served: u32,
    /// And the worst-served; `None` while no client is through.
    pub worst_served: Option<u32>,
    /// What happened to datagrams.
    pub datagrams: Datagrams,
    /// How late the loop came to its own ticks.
    pub loop_lag: Lateness,
    /// How late the schedule was carried out (open loop).
    pub behind: Lateness,
}

impl Counters {
    /// A client is started.
    pub fn note_launched(&mut self) {
        self.launched += 1;
        self.pending += 1;
    }

    /// A client's connection has come about after `latency`.
    pub fn note_connected(&mut self, latency: Duration, now: Time) {
        self.connected += 1;
        self.open += 1;
        self.peak = self.peak.max(self.open);
        self.connect.record(latency);
        self.last_connect = now;
    }

    /// A client was welcomed.
    pub fn note_greeted(&mut self) {
        self.greeted += 1;
        self.pending -= 1;
    }

    /// A client is lost that had come so far.
    pub fn note_lost(&mut self, cause: LossCause, reached: Reached) {
        self.lost[cause as usize] += 1;
        match reached {
            Reached::Nothing => self.pending -= 1,
            Reached::Connected => {
                self.pending -= 1;
                self.open -= 1;
            }
            Reached::Greeted => self.open -= 1,
        }
    }

    /// The reply to a message begun at `begun` has come; `measured`: the message counts.
    pub fn note_reply(&mut self, begun: Time, now: Time, measured: bool) {
        let latency = now.since(begun);
        self.in_flight -= 1;
        self.recent.record(latency);
        if measured {
            self.answered += 1;
            self.last_reply = now;
            self.latency.record(latency);
        }
    }

    /// A message begun at `begun` is given up: its latency is at least what was waited.
    pub fn note_unanswered(&mut self, begun: Time, now: Time) {
        self.unanswered += 1;
        self.latency.record(now.since(begun));
    }

    /// A client is through, with so many measured messages answered.
    pub fn note_served(&mut self, messages: u32) {
        self.best_served = self.best_served.max(messages);
        self.worst_served = Some(
            self.worst_served
                .map_or(messages, |worst| worst.min(messages)),
        );
    }

    /// Clients lost, whatever the cause.
    #[must_use]
    pub fn all_lost(&self) -> u32 {
        self.lost.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_counter() {
        for (index, cause) in LossCause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, index);
        }
    }

    #[test]
    fn the_systems_errors_have_their_causes() {
        use nix::errno::Errno;
        for (errno, cause) in [
            (Errno::ECONNREFUSED, LossCause::Refused),
            (Errno::ECONNRESET, LossCause::Reset),
            (Errno::EPIPE, LossCause::Reset),
            (Errno::ETIMEDOUT, LossCause::TimedOut),
            (Errno::EADDRNOTAVAIL, LossCause::NoPort),
            (Errno::EMFILE, LossCause::NoDescriptor),
            (Errno::ENETUNREACH, LossCause::Failed),
        ] {
            assert_eq!(LossCause::from(&io::Error::from(errno)), cause);
        }
    }
}
