//! The counters of a run.
//!
//! **Owns** one set of counters for all clients. **Must never touch** a socket or a clock.
//! **Invariant**: counting allocates nothing, so the millionth message costs as much as the
//! first.

use super::latency::{Latencies, Lateness};
use crate::net::stream::Traffic;
use crate::net::system;
use crate::reactor::{Time, Token};
use enum_map::{Enum, EnumMap};
use std::io;
use std::time::Duration;

/// How much of an unexpected reply is kept for the report: one line on a terminal.
pub(crate) const MAX_EXCERPT_BYTES: usize = 80;

/// Why a client was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum LossCause {
    /// ECONNREFUSED: nothing listens on the port.
    Refused,
    /// The connection was reset, or aborted while it was set up.
    Reset,
    /// The server closed the connection.
    Closed,
    /// The connect, the welcome or a reply took longer than the timeout: [`Reached`] says which.
    TimedOut,
    /// The server replied `Busy` instead of its welcome.
    Busy,
    /// The server's first bytes were neither its welcome nor `Busy`.
    WrongWelcome,
    /// A reply did not match its message.
    WrongBytes,
    /// No local port was free, or the source address is not one of this machine's.
    NoPort,
    /// No file descriptor was free.
    NoDescriptor,
    /// Never started, because too many clients before it had timed out.
    NotTried,
    /// Any other error of the system.
    Failed,
}

impl LossCause {
    /// The cause as it appears in the report.
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
        use io::ErrorKind::{
            AddrInUse, AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused,
            ConnectionReset, TimedOut,
        };
        match error.kind() {
            ConnectionRefused => Self::Refused,
            ConnectionReset | ConnectionAborted | BrokenPipe => Self::Reset,
            TimedOut => Self::TimedOut,
            AddrNotAvailable | AddrInUse => Self::NoPort,
            _ if system::is_out_of_descriptors(error) => Self::NoDescriptor,
            _ => Self::Failed,
        }
    }
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Second {
    /// Its end, counted from the start of the run.
    pub at: Duration,
    /// Its length: the last one may be shorter than a second.
    pub length: Duration,
    /// Whether it belongs to the measured part.
    pub measured: bool,
    /// Replies received in it.
    pub replies: u64,
    /// The median of their latencies, if there are enough samples.
    pub p50: Option<Duration>,
    /// Their p99.
    pub p99: Option<Duration>,
    /// Their p99.9.
    pub p99_9: Option<Duration>,
    /// Connected clients at its end.
    pub connected: u32,
    /// How late the loop was for its own ticks.
    pub loop_lag: Lateness,
    /// CPU seconds per second of the server; `None` if unknown.
    pub server_cpu_share: Option<f64>,
    /// The same of the load generator.
    pub load_cpu_share: Option<f64>,
}

/// Datagrams that were not simply answered. Each measured datagram that was sent is either
/// [answered](Counters::answered), late or lost, so `sent == answered + late + lost` at the end
/// of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounts {
    /// No reply was received.
    pub lost: u64,
    /// The reply was received after the timeout.
    pub late: u64,
    /// Further replies to a datagram that was already counted.
    pub duplicates: u64,
    /// Replies that match no datagram sent.
    pub wrong: u64,
}

/// Why a message has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// None was received within the timeout. The latency is at least the timeout, and is a sample:
    /// without it a server that stalls would look fast (coordinated omission).
    TimedOut,
    /// The client was lost. How long the reply would have taken is unknown, so this is no sample: a
    /// connection that is reset after 3 ms is not a latency of 3 ms.
    ClientLost,
    /// The run was interrupted. The reply might have been in time, so the message is neither
    /// unanswered nor a sample.
    Interrupted,
}

/// How far a client had come when it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum Reached {
    /// It was still connecting.
    Nothing,
    /// It was connected and waited for its welcome.
    Connected,
    /// It was welcomed.
    Welcomed,
}

/// The counters of one run.
#[derive(Debug, Default)]
pub struct Counters {
    /// Clients started.
    pub started: u32,
    /// Of these, neither welcomed nor lost yet.
    pub pending: u32,
    /// Of these, connected.
    pub connected: u32,
    /// Of these, welcomed.
    pub welcomed: u32,
    /// Of these, sent at least one message.
    pub sent_once: u32,
    /// Of these, answered at least once.
    pub answered_once: u32,
    /// Clients connected now.
    pub open: u32,
    /// Peak of [`open`](Self::open).
    pub peak: u32,
    /// Clients lost, by cause.
    pub lost: EnumMap<LossCause, u32>,
    /// The same clients by how far they had come, except those that were not tried.
    pub lost_at: EnumMap<LossCause, EnumMap<Reached, u32>>,
    /// The first client that was refused with `Busy`.
    pub busy_client: Option<Token>,
    /// What the server sent to it.
    pub busy_reply: Vec<u8>,
    /// The first wrong welcome.
    pub wrong_welcome: Option<Vec<u8>>,
    /// The first wrong reply, from the first byte of the piece that did not match.
    pub wrong_bytes: Option<Vec<u8>>,
    /// Clients that timed out when only the line ending was missing: the server does not use
    /// line framing.
    pub missing_line_ending: u32,
    /// The first system error that has no cause of its own.
    pub first_error: Option<String>,
    /// Time from the start of a connect to its end.
    pub connect: Latencies<u32>,
    /// When the last client connected.
    pub last_connect: Time,
    /// Messages in flight, of all clients.
    pub in_flight: u64,
    /// Measured messages sent.
    pub sent: u64,
    /// Of these, answered within the timeout.
    pub answered: u64,
    /// Of these, not answered: timed out, or lost with their client.
    pub unanswered: u64,
    /// Of these, timed out.
    pub timed_out: u64,
    /// Measured messages sent that had no reply when the run was interrupted.
    pub left_in_flight: u64,
    /// Replies received in the measured window, whatever message they answer.
    pub replies: u64,
    /// Of these, to messages of the warm-up.
    pub warmup_replies: u64,
    /// [`replies`](Self::replies) up to the last reply to a measured message.
    pub replies_at_last: u64,
    /// When the last reply to a measured message was received.
    pub last_reply: Time,
    /// Latency of measured messages that were answered or timed out: from when a message was sent
    /// (closed loop) or due (open loop) to its reply or its timeout. A message that was due and not
    /// sent when its client timed out is a sample too.
    pub latency: Latencies<u64>,
    /// Latency of all messages answered in the current second.
    pub this_second: Latencies<u32>,
    /// How late the loop was for its own ticks in the current second.
    pub loop_lag_this_second: Lateness,
    /// The seconds so far.
    pub seconds: Vec<Second>,
    /// Bytes and system calls.
    pub traffic: Traffic,
    /// Measured messages answered for the best-served client.
    pub best_served: u64,
    /// The same for the worst-served client; `None` until the first client has finished.
    pub worst_served: Option<u64>,
    /// Datagrams that were not simply answered.
    pub datagrams: DatagramCounts,
    /// How late the loop is for its own ticks.
    pub loop_lag: Lateness,
    /// How late messages are handed to their clients (open loop).
    pub behind: Lateness,
}

impl Counters {
    /// A client was started.
    pub fn note_started(&mut self) {
        self.started += 1;
        self.pending += 1;
    }

    /// A client connected after `latency`.
    pub fn note_connected(&mut self, latency: Duration, now: Time) {
        self.connected += 1;
        self.open += 1;
        self.peak = self.peak.max(self.open);
        self.connect.record(latency);
        self.last_connect = now;
    }

    /// A client was welcomed.
    pub fn note_welcomed(&mut self) {
        self.welcomed += 1;
        self.pending -= 1;
    }

    /// A client was lost.
    pub fn note_lost(&mut self, cause: LossCause, reached: Reached) {
        self.lost[cause] += 1;
        self.lost_at[cause][reached] += 1;
        self.pending -= u32::from(reached != Reached::Welcomed);
        self.open -= u32::from(reached != Reached::Nothing);
    }

    /// A message that began at `begun` was answered. `measured`: the message is measured;
    /// `in_window`: the reply was received in the measured window.
    pub fn note_reply(&mut self, begun: Time, now: Time, measured: bool, in_window: bool) {
        let latency = now.since(begun);
        self.in_flight -= 1;
        self.this_second.record(latency);
        self.replies += u64::from(in_window);
        self.warmup_replies += u64::from(in_window && !measured);
        if measured {
            self.answered += 1;
            self.last_reply = now;
            self.replies_at_last = self.replies;
            self.latency.record(latency);
        }
    }

    /// `count` measured messages that were sent get no reply any more. Those that timed out have waited for
    /// `waited`.
    pub fn note_no_reply(&mut self, why: NoReply, waited: Duration, count: u64) {
        match why {
            NoReply::TimedOut => {
                self.unanswered += count;
                self.timed_out += count;
                self.latency.record_many(waited, count);
            }
            NoReply::ClientLost => self.unanswered += count,
            NoReply::Interrupted => self.left_in_flight += count,
        }
    }

    /// `count` measured messages were due for `waited` behind one that timed out, and are not sent any
    /// more. They are samples: the stall would otherwise hide behind one message per client.
    pub fn note_stalled(&mut self, waited: Duration, count: u64) {
        self.latency.record_many(waited, count);
    }

    /// An active client has finished with this many measured messages answered.
    pub fn note_served(&mut self, messages: u64) {
        self.best_served = self.best_served.max(messages);
        self.worst_served = Some(
            self.worst_served
                .map_or(messages, |worst| worst.min(messages)),
        );
    }

    /// Whether every connect was refused: no server listens.
    #[must_use]
    pub fn all_refused(&self) -> bool {
        let refused = self.lost[LossCause::Refused];
        self.answered_once == 0 && refused > 0 && refused == self.all_lost()
    }

    /// Clients lost after their welcome, of all causes.
    #[must_use]
    pub fn lost_welcomed(&self) -> u32 {
        self.lost_at.values().map(|at| at[Reached::Welcomed]).sum()
    }

    /// Clients lost, of all causes.
    #[must_use]
    pub fn all_lost(&self) -> u32 {
        self.lost.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_map_to_causes() {
        use io::ErrorKind;
        for (kind, cause) in [
            (ErrorKind::ConnectionRefused, LossCause::Refused),
            (ErrorKind::ConnectionReset, LossCause::Reset),
            (ErrorKind::BrokenPipe, LossCause::Reset),
            (ErrorKind::TimedOut, LossCause::TimedOut),
            (ErrorKind::AddrNotAvailable, LossCause::NoPort),
            (ErrorKind::NetworkUnreachable, LossCause::Failed),
        ] {
            assert_eq!(LossCause::from(&io::Error::from(kind)), cause);
        }
        let error = system::out_of_descriptors();
        assert_eq!(LossCause::from(&error), LossCause::NoDescriptor);
    }
}
