//! What all sources of the server share.
//!
//! **Owns** the settings, the counters, the server's lifecycle, and scratch memory. **Must never
//! touch** a source. **Invariant**: a source is done with the scratch memory before the next one
//! is driven.

use super::addresses::ClientsPerAddress;
use super::limiter::Limiter;
use super::outcome::DrainLimit;
use super::pending::PendingTable;
use super::stats::{CloseCause, Stats};
use crate::observe::requests::ObserverRequests;
use crate::protocol::buffer::Buffer;
use crate::protocol::greeting::{Framing, MAX_LINE_BYTES};
use crate::protocol::refusal::Refusal;
use crate::reactor::{Time, Token};
use crate::warn_limited;
use std::collections::VecDeque;
use std::net::SocketAddr;
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
    /// Concurrent clients of one address, or of one /64 of IPv6; one more is refused. `None`: any
    /// number.
    pub max_clients_per_address: Option<u32>,
    /// Memory for all clients together, in bytes.
    pub max_buffered: usize,
    /// How long a client that is owed nothing may send nothing; `None`: forever.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take for a line that it has begun; `None`: as long as for anything.
    pub line_timeout: Option<Duration>,
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
            max_clients_per_address: None,
            max_buffered: 64 * 1_024 * 1_024,
            idle_timeout: None,
            line_timeout: Some(Duration::from_secs(30)),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// The number of clients that a refusal names.
    #[must_use]
    pub fn limit(&self, refusal: Refusal) -> u64 {
        match refusal {
            Refusal::Server => self.max_clients,
            Refusal::Address | Refusal::Network => {
                self.max_clients_per_address.map_or(u64::MAX, u64::from)
            }
        }
    }
}

/// Refused connections that may linger at once: a storm of refusals must not use up the descriptors
/// promised to clients. While `--max-clients` are connected, the backlog holds the others.
/// Otherwise the next in the backlog may be a client of another address, so the listener goes on: a
/// client that is refused then is closed as soon as the refusal is sent.
pub const REFUSALS_AT_ONCE: u64 = 16;

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
    /// Clients beyond `--max-clients-per-address`.
    pub refused_per_address: Limiter,
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
    /// The incomplete line that it leaves, before the client has an entry of its own.
    pub partial: Buffer,
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
    /// The clients of each address, if they are limited.
    pub addresses: ClientsPerAddress,
    /// The server's lifecycle.
    pub lifecycle: Lifecycle,
    /// What observers ask for.
    pub observers: ObserverRequests,
    /// What is kept for clients, in the order of their progress.
    pub pending: PendingTable,
    /// Clients with unread input for which there is no [room](Self::has_room), in order. The server
    /// wakes them when there is.
    pub waiting_for_room: VecDeque<Token>,
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
            addresses: ClientsPerAddress::new(settings.max_clients_per_address),
            settings,
            stats: Stats::default(),
            lifecycle: Lifecycle::default(),
            observers: ObserverRequests::default(),
            pending: PendingTable::default(),
            waiting_for_room: VecDeque::new(),
            waiting_listeners: Vec::new(),
            limiters: Limiters::default(),
            scratch: Scratch {
                input,
                replies: Vec::new(),
                partial: Buffer::small(),
            },
            requested: Requested::default(),
        }
    }

    /// Counts an accepted connection.
    ///
    /// # Errors
    ///
    /// It is to be refused: the server is full, or too many clients of its address are connected.
    pub fn admit(
        &mut self,
        descriptor: usize,
        address: SocketAddr,
        is_full: bool,
        turn_start: Time,
    ) -> Result<(), Refusal> {
        self.stats.accepted += 1;
        let admitted = if is_full {
            Err(Refusal::Server)
        } else {
            self.addresses.admit(descriptor, address.ip())
        };
        let Err(refusal) = admitted else {
            return Ok(());
        };
        self.stats.refused += 1;
        let limit = self.settings.limit(refusal);
        match refusal {
            Refusal::Server => warn_limited!(
                self.limiters.refused,
                turn_start,
                "refused {address}: --max-clients {limit} is reached"
            ),
            Refusal::Address | Refusal::Network => {
                self.stats.refused_per_address += 1;
                warn_limited!(
                    self.limiters.refused_per_address,
                    turn_start,
                    "refused {address}: --max-clients-per-address {limit} is reached"
                );
            }
        }
        Err(refusal)
    }

    /// Counts a connection as closed: `cause` ended it, and it counts as `counted`. Its descriptor is
    /// still open.
    pub fn leave(&mut self, descriptor: usize, cause: CloseCause, counted: CloseCause) {
        self.stats.closed[counted] += 1;
        if counted == CloseCause::CutOff {
            let limit = match cause {
                CloseCause::WriteTimeout => DrainLimit::WriteTimeout,
                CloseCause::BufferedTooMuch => DrainLimit::MaxBuffered,
                _ if self.lifecycle == Lifecycle::OutOfTime => DrainLimit::DrainTimeout,
                _ => DrainLimit::ClientBytes,
            };
            self.stats.cut_off[limit] += 1;
        }
        self.addresses.release(descriptor);
    }

    /// Whether a connection lingers after its last byte: not after the client's FIN, when nothing
    /// more can arrive, nor if it is one refusal too many.
    #[must_use]
    pub fn may_linger(&self, cause: CloseCause) -> bool {
        match cause {
            CloseCause::Eof => false,
            CloseCause::Busy => self.stats.refusing() <= REFUSALS_AT_ONCE,
            _ => true,
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

    /// Whether `--max-buffered` allows a client to be read. Over the cap, clients that have something
    /// buffered wait until the server has made room after the turn; the others are still read, up to
    /// an eighth above the cap (pitfall 21).
    #[must_use]
    #[inline]
    pub fn has_room(&self, has_pending: bool) -> bool {
        let (buffered, cap) = (self.stats.buffered, self.settings.max_buffered);
        buffered <= cap || (!has_pending && buffered <= cap.saturating_add(cap / 8))
    }

    /// Whether the server was asked to stop: a source that has nothing left to do closes.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lifecycle != Lifecycle::Serving
    }
}
