//! What all sources of the server share.
//!
//! **Owns** the settings, the counters, how far the server is, and scratch memory. **Must never
//! touch** a source. **Invariant**: a source is done with the scratch memory before the next one
//! is driven.

use super::limiter::Limiter;
use super::pending::PendingPool;
use super::sources::peer::READ_BYTES;
use super::stats::Stats;
use crate::observe::requests::ObserverRequests;
use crate::protocol::greeting::Framing;
use crate::reactor::Token;
use std::time::Duration;

/// What the server allows, and how it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a message is on TCP.
    pub framing: Framing,
    /// How long the replies of one read are held.
    pub delay: Duration,
    /// The longest datagram answered, in bytes.
    pub max_datagram: usize,
    /// Clients at once; one more is refused.
    pub max_clients: u64,
    /// Bytes kept for all clients together.
    pub max_buffered: usize,
    /// How long a client may say nothing while it is owed nothing; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client that is owed replies may take none of them.
    pub write_timeout: Duration,
    /// How long clients may take, when the server stops, to be sent what they are owed.
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

/// How far the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifecycle {
    /// Accepting and answering.
    #[default]
    Serving,
    /// Asked to stop in this turn; at its end everybody is told.
    Stopping,
    /// Listeners close, each client is read once more and sent what it is owed.
    Draining,
    /// Draining took longer than allowed.
    OutOfTime,
}

/// The limiters of log lines that clients can cause, one for each kind.
#[derive(Debug, Default)]
pub struct Limiters {
    /// Clients over `--max-clients`.
    pub refused: Limiter,
    /// Accepts without descriptors or memory.
    pub starved: Limiter,
    /// Datagrams without an answer.
    pub dropped: Limiter,
    /// Errors of receiving datagrams.
    pub receive_failed: Limiter,
    /// Clients closed by a timeout.
    pub timed_out: Limiter,
    /// Clients closed for what they made the server keep.
    pub buffered: Limiter,
}

/// What all sources of the server share.
#[derive(Debug)]
pub struct Shared {
    /// What is allowed.
    pub settings: Settings,
    /// What is counted.
    pub stats: Stats,
    /// How far the server is.
    pub stage: Lifecycle,
    /// Whether the counters are to be logged.
    pub report_wanted: bool,
    /// Whether the recording of the last turns is to be saved.
    pub recording_wanted: bool,
    /// Where observers ask.
    pub board: ObserverRequests,
    /// Listeners that wait for a connection to end.
    pub starved: Vec<Token>,
    /// What keeps the log short.
    pub limiters: Limiters,
    /// What one read returned. Shared, since a source is done with it before the next is driven.
    pub input: Box<[u8]>,
    /// What it is answered with.
    pub replies: Vec<u8>,
    /// Where clients have the memory from that they need for a while.
    pub pool: PendingPool,
}

impl Shared {
    /// A shared for `settings`, in which nothing has happened yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            stats: Stats::default(),
            stage: Lifecycle::default(),
            report_wanted: false,
            recording_wanted: false,
            board: ObserverRequests::default(),
            starved: Vec::new(),
            limiters: Limiters::default(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            replies: Vec::new(),
            pool: PendingPool::default(),
        }
    }

    /// Notes a listener that can only go on once a connection has ended.
    pub fn wait_for_descriptor(&mut self, listener: Token) {
        // Once: its deadline and new connections make it try, and fail, again and again.
        if !self.starved.contains(&listener) {
            self.starved.push(listener);
        }
    }

    /// Whether sources that find nothing more to do should end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.stage != Lifecycle::Serving
    }
}
