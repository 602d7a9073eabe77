//! The listening socket of observers as an event source.
//!
//! **Owns** one listener and the limit on observers. **Must never touch** the clients' listeners,
//! nor another observer: the program closes the one that makes room.
//! **Invariant**: while connections may wait in the accept backlog, the listener keeps its
//! readiness and has a deadline or is woken: no wakeup is lost (pitfall 4).

use super::observer::Observer;
use super::requests::{MAX_OBSERVERS, OBSERVER_ACCEPTS_PER_TURN, ObserverRequests};
use crate::net::{ACCEPT_RETRY, Accept, AcceptFailure};
use crate::reactor::{Context, Readiness, Verdict};
use log::debug;

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
        for _ in 0..OBSERVER_ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                return Verdict::Park;
            }
            if cx.shared.observers >= MAX_OBSERVERS {
                break;
            }
            match self.socket.accept() {
                Ok((stream, address)) => {
                    debug!("accepted observer {address}");
                    admit(Observer::new(stream, cx.shared));
                }
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::Blocked => cx.readiness.remove(Readiness::READABLE),
                    AcceptFailure::Interrupted | AcceptFailure::Connection => {}
                    // The clients' listeners log it.
                    AcceptFailure::Resources => {
                        cx.set_deadline(ACCEPT_RETRY);
                        return Verdict::Hold;
                    }
                },
            }
        }
        if cx.shared.observers < MAX_OBSERVERS {
            return Verdict::Again;
        }
        // More may wait in the backlog, and only accept(2) shows it: the next turn has room for them.
        cx.shared.wait_for_place(cx.token);
        Verdict::Hold
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
