//! What all sources of the server share.
//!
//! **Owns** the settings, the counters, the server's lifecycle, and scratch memory. **Must never
//! touch** a source. **Invariant**: a source is done with the scratch memory before the next one
//! is driven.

use super::limiter::Limiter;
use super::pending::PendingPool;
use super::stats::Stats;
use crate::observe::requests::ObserverRequests;
use crate::protocol::greeting::{Framing, MAX_LINE_BYTES};
use crate::reactor::Token;
use std::time::Duration;

/// The most bytes of one client that a drain reads, in both models. A client is read until its socket
/// is empty; the bound is for one that sends faster than it is read. It is what Linux sets aside for
/// a socket's input at first (`net.ipv4.tcp_rmem`), and holds two of the longest lines.
pub const DRAIN_BYTES_PER_CLIENT: usize = 128 * 1_024;
const _: () = assert!(DRAIN_BYTES_PER_CLIENT >= 2 * MAX_LINE_BYTES);

/// The limits and the protocol variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a message is on TCP.
    pub framing: Framing,
    /// How long the replies of one read are held back.
    pub delay: Duration,
    /// The longest datagram that is answered, in bytes.
    pub max_datagram: usize,
    /// Concurrent clients; one more is refused.
    pub max_clients: u64,
    /// Memory for all clients together, in bytes.
    pub max_buffered: usize,
    /// How long a client that is owed nothing may send nothing; `None`: forever.
    pub idle_timeout: Option<Duration>,
    /// How long a client that is owed replies may read none of them.
    pub write_timeout: Duration,
    /// How long a drain may take.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            framing: Framing::Chunk,
            delay: Duration::ZERO,
            max_datagram: 1_024,
            max_clients: u64::MAX,
            max_buffered: 64 * 1_024 * 1_024,
            idle_timeout: None,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The server's lifecycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Asked to stop during this turn; every source is woken when it ends.
    Stopping,
    /// Listeners close; each client is read until its socket is empty and sent what it is owed.
    Draining,
    /// The drain has run out of time.
    OutOfTime,
}

/// The rate limiters of log messages that clients can cause, one per kind.
#[derive(Debug, Default)]
pub struct Limiters {
    /// Clients beyond `--max-clients`.
    pub refused: Limiter,
    /// Clients that wait, or are closed, because no descriptor or memory is left.
    pub starved: Limiter,
    /// Unanswered datagrams.
    pub dropped: Limiter,
    /// Errors of receiving datagrams.
    pub receive_failed: Limiter,
    /// Clients closed by a timeout.
    pub timed_out: Limiter,
    /// Clients closed because of `--max-buffered`.
    pub buffered: Limiter,
}

/// Memory for the source that is driven, shared by all sources.
#[derive(Debug)]
pub struct Scratch {
    /// What one read returned. Its length is the size of a read.
    pub input: Box<[u8]>,
    /// The replies to it.
    pub replies: Vec<u8>,
    /// Buffers for clients that need one for a while.
    pub pool: PendingPool,
}

/// What a signal asked the program to do after this turn.
#[derive(Debug, Default)]
pub struct Requested {
    /// Log all counters.
    pub report: bool,
    /// Save the recording.
    pub recording: bool,
}

/// What all sources of the server share.
#[derive(Debug)]
pub struct Shared {
    /// The limits and the protocol variant.
    pub settings: Settings,
    /// The counters.
    pub stats: Stats,
    /// The server's lifecycle.
    pub lifecycle: Lifecycle,
    /// What observers ask for.
    pub observers: ObserverRequests,
    /// Listeners that cannot accept until a connection closes. The server wakes them then.
    pub waiting_listeners: Vec<Token>,
    /// The rate limiters of the log.
    pub limiters: Limiters,
    /// Memory for the source that is driven, shared by all sources.
    pub scratch: Scratch,
    /// What is to be done after this turn.
    pub requested: Requested,
}

impl Shared {
    /// The state of a server with these settings before its first turn.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let input = vec![0; settings.framing.read_bytes()].into_boxed_slice();
        Self {
            settings,
            stats: Stats::default(),
            lifecycle: Lifecycle::default(),
            observers: ObserverRequests::default(),
            waiting_listeners: Vec::new(),
            limiters: Limiters::default(),
            scratch: Scratch {
                input,
                replies: Vec::new(),
                pool: PendingPool::default(),
            },
            requested: Requested::default(),
        }
    }

    /// Registers a listener to be woken when a connection closes: it is out of descriptors or
    /// memory, or too many refused clients linger.
    pub fn wait_for_close(&mut self, listener: Token) {
        // It may be registered already: its deadline and new connections make it retry.
        if !self.waiting_listeners.contains(&listener) {
            self.waiting_listeners.push(listener);
        }
    }

    /// Whether the server was asked to stop: a source that has nothing left to do closes.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lifecycle != Lifecycle::Serving
    }
}
