//! What the server counts.
//!
//! **Owns** every figure that the log, the summary and the views report. **Must never touch**
//! what it counts: it is told. **Invariant**: `accepted` is the sum of all closings and of the
//! clients still connected.

use crate::net::stream::Traffic;
use std::fmt;
use std::io;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CloseCause {
    /// The client said `exit`.
    Exit,
    /// The client sent all it had to say, and was answered.
    EndOfInput,
    /// A line over the limit.
    LineTooLong,
    /// The connection was reset, or its pipe was broken.
    Reset,
    /// Keepalive probes, or data, stayed without an answer.
    Vanished,
    /// Nothing was said for `--idle-timeout`.
    IdleTimeout,
    /// Nothing of what was owed could be sent for `--write-timeout`.
    WriteTimeout,
    /// The largest holder of buffered bytes when all together were over `--max-buffered`.
    BufferedTooMuch,
    /// Refused: `--max-clients` were connected.
    Busy,
    /// The server stops.
    Drained,
    /// The server stopped, and its time ran out while replies were owed.
    CutOff,
    /// The poll did not take the connection, or the socket failed in another way.
    Failed,
}

impl CloseCause {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 12] = [
        Self::Exit,
        Self::EndOfInput,
        Self::LineTooLong,
        Self::Reset,
        Self::Vanished,
        Self::IdleTimeout,
        Self::WriteTimeout,
        Self::BufferedTooMuch,
        Self::Busy,
        Self::Drained,
        Self::CutOff,
        Self::Failed,
    ];

    /// The cause as the log tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::EndOfInput => "end of input",
            Self::LineTooLong => "line too long",
            Self::Reset => "reset",
            Self::Vanished => "vanished",
            Self::IdleTimeout => "idle timeout",
            Self::WriteTimeout => "write timeout",
            Self::BufferedTooMuch => "buffered too much",
            Self::Busy => "busy",
            Self::Drained => "drained",
            Self::CutOff => "cut off",
            Self::Failed => "failed",
        }
    }
}

impl From<io::Error> for CloseCause {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => Self::Reset,
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Self::Vanished,
            _ => Self::Failed,
        }
    }
}

/// Why a datagram got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropReason {
    /// Longer than `--max-datagram`.
    TooLong,
    /// Itself a greeting: answering could go on for ever.
    Greeting,
    /// From a port below 1024, where services live that answer whatever comes.
    LowPort,
    /// The reply could not be sent.
    Unsent,
}

impl DropReason {
    /// All causes, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::TooLong, Self::Greeting, Self::LowPort, Self::Unsent];

    /// The cause as the log tells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLong => "longer than --max-datagram",
            Self::Greeting => "itself a greeting",
            Self::LowPort => "from a port below 1024",
            Self::Unsent => "reply could not be sent",
        }
    }
}

/// The counters of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted, refused ones included.
    pub accepted: u64,
    /// Of these, clients over `--max-clients`.
    pub refused: u64,
    /// Connections ended, by [`CloseCause`].
    pub closed: [u64; CloseCause::ALL.len()],
    /// Connections that failed before they were accepted.
    pub aborted: u64,
    /// Times an accept found no descriptor or memory left.
    pub starved: u64,
    /// Messages completed, `exit` included.
    pub messages: u64,
    /// What went through the connections.
    pub traffic: Traffic,
    /// Memory kept for all clients together, in bytes: replies owed, and lines begun.
    pub buffered: usize,
    /// Datagrams received.
    pub datagrams: u64,
    /// Of these, answered.
    pub datagrams_answered: u64,
    /// Datagrams without an answer, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Errors of receiving datagrams.
    pub datagram_errors: u64,
}

impl Stats {
    /// Connections open at present, refused ones that linger included.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted - self.closed.iter().sum::<u64>()
    }

    /// Refused connections that still linger.
    #[must_use]
    pub fn refusing(&self) -> u64 {
        self.refused - self.closed[CloseCause::Busy as usize]
    }

    /// Clients connected at present.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.open() - self.refusing()
    }

    /// Counts one connection's end.
    pub fn count_closed(&mut self, cause: CloseCause) {
        self.closed[cause as usize] += 1;
    }

    /// Counts one datagram without an answer.
    pub fn count_dropped(&mut self, drop: DropReason) {
        self.dropped[drop as usize] += 1;
    }
}

/// All counters in one line, those by cause only where they are not zero.
impl fmt::Display for Stats {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "clients {} accepted {} refused {} aborted {} starved {}; messages {} bytes in {} out {} \
             reads {} writes {} buffered {}; datagrams {} answered {} errors {}",
            self.clients(),
            self.accepted,
            self.refused,
            self.aborted,
            self.starved,
            self.messages,
            self.traffic.bytes_in,
            self.traffic.bytes_out,
            self.traffic.reads,
            self.traffic.writes,
            self.buffered,
            self.datagrams,
            self.datagrams_answered,
            self.datagram_errors,
        )?;
        for (cause, count) in CloseCause::ALL.iter().zip(self.closed) {
            if count > 0 {
                write!(formatter, "; closed, {}: {count}", cause.name())?;
            }
        }
        for (drop, count) in DropReason::ALL.iter().zip(self.dropped) {
            if count > 0 {
                write!(formatter, "; dropped, {}: {count}", drop.name())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_own_counter() {
        for (index, cause) in CloseCause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, index);
        }
        for (index, drop) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*drop as usize, index);
        }
    }

    #[test]
    fn refused_clients_are_not_clients() {
        let mut stats = Stats {
            accepted: 10,
            refused: 3,
            ..Stats::default()
        };
        stats.count_closed(CloseCause::Busy);
        stats.count_closed(CloseCause::Exit);
        assert_eq!((stats.open(), stats.refusing(), stats.clients()), (8, 2, 6));
        stats.count_dropped(DropReason::Greeting);
        let line = stats.to_string();
        assert!(line.contains("closed, exit: 1") && line.contains("itself a greeting: 1"));
        assert!(!line.contains("reset"), "{line}");
    }
}
