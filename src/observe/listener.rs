//! The listening socket of observers as an event source.
//!
//! **Owns** one listener and the limit on observers. **Must never touch** the clients' listeners.
//! **Invariant**: while connections may wait in the accept backlog, the listener keeps its
//! readiness and has a deadline: no wakeup is lost (pitfall 4).

use super::observer::Observer;
use super::requests::{MAX_OBSERVERS, MAX_REFUSED_OBSERVERS, ObserverRequests};
use crate::net::{ACCEPT_RETRY, Accept};
use crate::reactor::{Context, Readiness, Verdict};
use log::debug;
use std::io;

/// Accepts per turn: observers are few, and the loop exists for clients.
const ACCEPTS_PER_TURN: usize = 4;

/// A listening socket for observers.
#[derive(Debug)]
pub struct ObserverListener<A> {
    socket: A,
}

impl<A: Accept> ObserverListener<A> {
    /// Accepts observers from `socket`.
    #[must_use]
    pub fn new(socket: A) -> Self {
        Self { socket }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut A {
        &mut self.socket
    }

    /// Accepts waiting observers within the budget and the limit, and gives them to `admit`.
    pub fn drive(
        &self,
        cx: &mut Context<'_, ObserverRequests>,
        mut admit: impl FnMut(Observer<A::Stream>),
    ) -> Verdict {
        for _ in 0..ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                return Verdict::Park;
            }
            let is_full = cx.shared.observers >= MAX_OBSERVERS;
            if is_full && cx.shared.refusing >= MAX_REFUSED_OBSERVERS {
                // Nothing wakes this listener when an observer leaves.
                cx.set_deadline(ACCEPT_RETRY);
                return Verdict::Hold;
            }
            match self.socket.accept() {
                Ok((stream, address)) => {
                    debug!("accepted observer {address}");
                    admit(Observer::new(stream, is_full, cx.shared));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => cx.readiness.remove(Readiness::READABLE),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // For example no free descriptor, which the clients' listeners log.
                    _ => {
                        cx.set_deadline(ACCEPT_RETRY);
                        return Verdict::Hold;
                    }
                },
            }
        }
        Verdict::Again
    }

    /// The retry deadline has passed.
    pub fn expire(&self, cx: &Context<'_, ObserverRequests>) -> Verdict {
        if cx.readiness.is_empty() {
            Verdict::Park
        } else {
            Verdict::Again
        }
    }
}
