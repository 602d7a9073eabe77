//! What the server counts.
//!
//! **Owns** every number that the log, the summary and the observers report. **Must never touch**
//! what is counted: the sources add to it. **Invariant**: `accepted` is the number of connections
//! closed and still open.

use super::outcome::DrainLimit;
use crate::net::stream::Traffic;
use crate::protocol::greeting::End;
use enum_map::{Enum, EnumMap};
use std::fmt;
use std::io;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum CloseCause {
    /// The client sent `exit`.
    Exit,
    /// The client sent FIN, and its messages were answered.
    Eof,
    /// The client sent a line over the limit.
    LineTooLong,
    /// The connection was reset, or writing to it failed with EPIPE.
    Reset,
    /// The client answered no keepalive probes, or did not acknowledge data.
    Unreachable,
    /// The client sent nothing for `--idle-timeout`.
    IdleTimeout,
    /// The client did not complete a line within `--line-timeout`.
    LineTimeout,
    /// The client read none of its replies for `--write-timeout`.
    WriteTimeout,
    /// All clients together exceeded `--max-buffered`, and the client had made no progress for
    /// longest.
    BufferedTooMuch,
    /// The client was refused: `--max-clients` were connected, or `--max-clients-per-address` of
    /// its address.
    Busy,
    /// The server drained, and the client was owed nothing.
    Drained,
    /// A limit ran out during a drain while the client was owed replies: the drain timeout, the
    /// write timeout, the bytes that a drain reads of one client, or the cap on buffered bytes.
    CutOff,
    /// The connection could not be registered with the poll, or failed in another way.
    Failed,
}

impl CloseCause {
    /// The cause as the log and the metrics name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Eof => "EOF",
            Self::LineTooLong => "line too long",
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
            Self::IdleTimeout => "idle timeout",
            Self::LineTimeout => "line timeout",
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
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

impl From<End> for CloseCause {
    fn from(end: End) -> Self {
        match end {
            End::Exit => Self::Exit,
            End::LineTooLong => Self::LineTooLong,
        }
    }
}

/// Why a datagram was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum DropReason {
    /// It is longer than `--max-datagram`.
    TooLong,
    /// It is itself a greeting: two servers could answer each other forever.
    Greeting,
    /// It comes from a port below 1024, where some services answer anything.
    LowPort,
    /// The reply could not be sent.
    Unsent,
}

impl DropReason {
    /// The reason as the log and the metrics name it.
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
    /// Connections accepted, including refused ones.
    pub accepted: u64,
    /// Of these, connections beyond `--max-clients` or `--max-clients-per-address`.
    pub refused: u64,
    /// Of these, connections beyond `--max-clients-per-address`.
    pub refused_per_address: u64,
    /// Connections closed.
    pub closed: EnumMap<CloseCause, u64>,
    /// Of these, cut off during a drain, by the limit that ran out.
    pub cut_off: EnumMap<DrainLimit, u64>,
    /// Connections that failed in the accept backlog.
    pub aborted: u64,
    /// Accepts that failed because no descriptor or memory was left.
    pub starved: u64,
    /// Messages received, `exit` included.
    pub messages: u64,
    /// The calls and bytes of all connections.
    pub traffic: Traffic,
    /// Memory allocated for all clients together, in bytes: unsent replies and incomplete lines.
    pub buffered: usize,
    /// Datagrams received.
    pub datagrams: u64,
    /// Of these, answered.
    pub datagrams_answered: u64,
    /// Of these, not answered.
    pub dropped: EnumMap<DropReason, u64>,
    /// Failed calls to receive datagrams.
    pub datagram_errors: u64,
}

impl Stats {
    /// Connections open now, including refused ones that linger.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.accepted - self.closed.values().sum::<u64>()
    }

    /// Refused connections that linger.
    #[must_use]
    pub fn refusing(&self) -> u64 {
        self.refused - self.closed[CloseCause::Busy]
    }

    /// Clients connected now.
    #[must_use]
    pub fn clients(&self) -> u64 {
        self.open() - self.refusing()
    }
}

/// All counters on one line; those by cause or reason only if they are not zero.
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
        if self.refused_per_address > 0 {
            let count = self.refused_per_address;
            write!(formatter, "; refused, --max-clients-per-address: {count}")?;
        }
        for (cause, count) in self.closed {
            if count > 0 {
                write!(formatter, "; closed, {}: {count}", cause.name())?;
            }
        }
        for (reason, count) in self.dropped {
            if count > 0 {
                write!(formatter, "; dropped, {}: {count}", reason.name())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_not_clients() {
        let mut stats = Stats {
            accepted: 10,
            refused: 3,
            ..Stats::default()
        };
        stats.closed[CloseCause::Busy] += 1;
        stats.closed[CloseCause::Exit] += 1;
        assert_eq!((stats.open(), stats.refusing(), stats.clients()), (8, 2, 6));
        stats.dropped[DropReason::Greeting] += 1;
        let line = stats.to_string();
        assert!(line.contains("closed, exit: 1") && line.contains("itself a greeting: 1"));
        assert!(!line.contains("reset"), "{line}");
    }
}
