//! A listening socket as an event source.
//!
//! **Owns** one listener and when it accepts. **Must never touch** a connection that it has
//! accepted. **Invariant**: while connections may wait in the accept backlog, the listener keeps
//! its readiness, and is in the ready list, has a deadline, or is registered in
//! [`Shared::waiting_listeners`]: no wakeup is lost.
//!
//! Pitfalls handled here:
//!
//! - No descriptor or memory is left (4). The edge that announced the waiting connections was
//!   already delivered, so the readiness is kept, and the accept is retried after a deadline and
//!   whenever a connection closes.
//! - A storm of connects must not starve the clients (5): accepts per turn are bounded.
//! - A connection that failed in the backlog affects no other (18).

use super::ServerSource;
use super::peer::Peer;
use crate::net::{ACCEPT_RETRY, Accept, Net};
use crate::reactor::{Births, Context, Readiness, Verdict};
use crate::server::Shared;
use crate::server::shared::REFUSALS_AT_ONCE;
use crate::warn_limited;
use nix::errno::Errno;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// Accepts per turn. Connected clients must not wait for a storm of connects, nor new clients for
/// connected ones: the listener is one source among others.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Accepts per drain: far more than wait when the server is asked to stop (by default Linux cuts
/// the backlog at 4,096). Clients may arrive as fast as they are accepted, and a drain must end.
pub const ACCEPTS_PER_DRAIN: u32 = 65_536;

/// One listening socket.
#[derive(Debug)]
pub struct Listener<N: Net> {
    socket: N::Listener,
    /// Accepts left in a drain.
    left: u32,
}

impl<N: Net> Listener<N> {
    /// Listens on `socket`.
    pub fn new(socket: N::Listener) -> Self {
        Self {
            socket,
            left: ACCEPTS_PER_DRAIN,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut N::Listener {
        &mut self.socket
    }

    /// Accepts waiting connections within the budget.
    pub fn drive(
        &mut self,
        cx: &mut Context<'_, Shared>,
        births: &mut Births<ServerSource<N>>,
    ) -> Verdict {
        for _ in 0..ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                break;
            }
            let is_over = cx.shared.stats.clients() >= cx.shared.settings.max_clients;
            if is_over && cx.shared.stats.refusing() >= REFUSALS_AT_ONCE {
                // Clients that cannot be refused in time are refused when the listener closes.
                if cx.shared.is_draining() {
                    return Verdict::Close;
                }
                cx.shared.wait_for_close(cx.token);
                return Verdict::Hold;
            }
            if cx.shared.is_draining() {
                self.left = self.left.saturating_sub(1);
            }
            match self.socket.accept() {
                Ok((stream, address)) => admit(stream, address, is_over, cx, births),
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::Blocked => cx.readiness.remove(Readiness::READABLE),
                    AcceptFailure::Interrupted => {}
                    AcceptFailure::Connection => cx.shared.stats.aborted += 1,
                    AcceptFailure::Resources => return wait_for_resources(&error, cx),
                },
            }
        }
        if cx.readiness.contains(Readiness::READABLE) && self.left > 0 {
            return Verdict::Again;
        }
        // In a drain, the backlog has now been accepted.
        if cx.shared.is_draining() {
            return Verdict::Close;
        }
        Verdict::Park
    }

    /// The retry deadline has passed.
    pub fn expire(&self) -> Verdict {
        Verdict::Again
    }
}

fn admit<N: Net>(
    stream: N::Stream,
    address: SocketAddr,
    is_over: bool,
    cx: &mut Context<'_, Shared>,
    births: &mut Births<ServerSource<N>>,
) {
    // A new socket can take a welcome. Its first event says whether it holds a message already,
    // except that a draining server reads every client once, event or not.
    let mut readiness = Readiness::WRITABLE;
    readiness.set(Readiness::READABLE, cx.shared.is_draining());
    let descriptor = stream.as_raw_fd();
    let admitted = cx.shared.admit(descriptor, address, is_over, cx.turn_start);
    let peer = match admitted {
        Ok(()) => Peer::new(stream),
        Err(refusal) => Peer::refused(stream, refusal),
    };
    births.push(ServerSource::Peer(peer), readiness);
}

fn wait_for_resources(error: &io::Error, cx: &mut Context<'_, Shared>) -> Verdict {
    cx.shared.stats.starved += 1;
    warn_limited!(
        cx.shared.limiters.starved,
        cx.turn_start,
        "cannot accept ({error}): clients wait in the backlog until a connection closes; \
         raise the limit (ulimit -n), or refuse them with a lower --max-clients"
    );
    cx.shared.wait_for_close(cx.token);
    cx.set_deadline(ACCEPT_RETRY);
    Verdict::Hold
}

/// What an error of accept(2) concerns.
enum AcceptFailure {
    /// The backlog is empty.
    Blocked,
    /// A signal arrived: retry.
    Interrupted,
    /// That one connection failed while it waited: try the next. Linux reports errors that are
    /// pending on the new socket, and recommends to treat them as a retry (accept(2), "Error
    /// handling").
    Connection,
    /// No descriptor or memory is left, or something unknown is wrong: the next try would fail in
    /// the same way.
    Resources,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock => return Self::Blocked,
            io::ErrorKind::Interrupted => return Self::Interrupted,
            _ => {}
        }
        match error.raw_os_error().map(Errno::from_raw) {
            Some(
                Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPERM
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ETIMEDOUT,
            ) => Self::Connection,
            _ => Self::Resources,
        }
    }
}
