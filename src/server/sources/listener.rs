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
//! - Closing a listener resets the connections in its backlog, and the handshakes that are half
//!   done (22). In a drain it begins no further ones where the system can do that, accepts until
//!   those under way have had the time to complete, and closes in the same call in which the
//!   backlog is found empty.

use super::ServerSource;
use super::peer::Peer;
use crate::net::system::MORE_DESCRIPTORS;
use crate::net::{ACCEPT_RETRY, Accept, AcceptFailure, Descriptor, Net};
use crate::reactor::{Births, Context, Readiness, Time, Verdict};
use crate::server::Shared;
use crate::server::shared::REFUSALS_AT_ONCE;
use crate::warn_limited;
use std::io;
use std::net::SocketAddr;

/// Accepts per turn. Connected clients must not wait for a storm of connects, nor new clients for
/// connected ones: the listener is one source among others.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Accepts per drain: far more than wait when the server is asked to stop (by default Linux cuts
/// the backlog at 4,096). Clients may arrive as fast as they are accepted, and a drain must end.
pub const ACCEPTS_PER_DRAIN: u32 = 65_536;

/// One listening socket.
#[derive(Debug)]
pub struct Listener<N: Net> {
    /// `None` once a drain has closed it.
    socket: Option<N::Listener>,
    /// Accepts left in a drain.
    left: u32,
    /// In a drain: when all handshakes that had begun are complete.
    closes_at: Option<Time>,
}

impl<N: Net> Listener<N> {
    /// Listens on `socket`.
    pub fn new(socket: N::Listener) -> Self {
        Self {
            socket: Some(socket),
            left: ACCEPTS_PER_DRAIN,
            closes_at: None,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> Option<&mut N::Listener> {
        self.socket.as_mut()
    }

    /// Accepts waiting connections within the budget. In a drain, closes the socket once no further
    /// connection can follow.
    pub fn drive(
        &mut self,
        cx: &mut Context<'_, Shared>,
        births: &mut Births<ServerSource<N>>,
    ) -> Verdict {
        let Some(socket) = &self.socket else {
            return Verdict::Close;
        };
        let is_draining = cx.shared.is_draining();
        if is_draining && self.closes_at.is_none() {
            let handshake = socket.drop_new_handshakes().unwrap_or_default();
            self.closes_at = Some(cx.turn_start.after(handshake));
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                break;
            }
            let is_over = cx.shared.stats.clients() >= cx.shared.settings.max_clients;
            if is_over && !is_draining && cx.shared.stats.refusing() >= REFUSALS_AT_ONCE {
                cx.shared.wait_for_close(cx.token);
                return Verdict::Hold;
            }
            if is_draining {
                self.left = self.left.saturating_sub(1);
            }
            match socket.accept() {
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
        let Some(closes_at) = self.closes_at else {
            return Verdict::Park;
        };
        if closes_at > cx.turn_start && self.left > 0 {
            cx.set_deadline(closes_at.since(cx.turn_start));
            return Verdict::Park;
        }
        // Now, and not when the turn ends: what completes between the last accept and the close is
        // reset.
        self.socket = None;
        Verdict::Close
    }

    /// It is time to retry, or to accept for the last time. Only accept shows whether a connection
    /// waits.
    pub fn expire(&self, cx: &mut Context<'_, Shared>) -> Verdict {
        cx.readiness.insert(Readiness::READABLE);
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
    let descriptor = stream.descriptor();
    let peer = match cx.shared.admit(descriptor, address, is_over, cx.turn_start) {
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
         {MORE_DESCRIPTORS}, or refuse them with a lower --max-clients"
    );
    cx.shared.wait_for_close(cx.token);
    cx.set_deadline(ACCEPT_RETRY);
    Verdict::Hold
}
