//! The observers' own listening socket as an event source.
//!
//! **Owns** one listener and the limit on observers. **Must never touch** the clients' listeners.
//! **Invariant**: as long as connections may wait in the backlog, the gate keeps its readiness
//! and has a deadline, so that no wake-up is lost (pitfall 4).

use super::observer::Observer;
use super::requests::{Host, MAX_OBSERVERS, MAX_REFUSED};
use crate::reactor::{Context, Readiness, Source, Verdict};
use log::debug;
use mio::net::{TcpListener, TcpStream};
use std::io;
use std::time::Duration;

/// Accepts in one turn: observers are few, and clients are what the loop is for.
const ACCEPTS_PER_TURN: usize = 4;

/// How soon a gate that could not accept tries again: nobody is woken when an observer leaves.
const RETRY: Duration = Duration::from_millis(100);

/// The observers' listener.
#[derive(Debug)]
pub struct ObserverListener {
    socket: TcpListener,
}

impl ObserverListener {
    /// Lets observers in through `socket`.
    #[must_use]
    pub fn new(socket: TcpListener) -> Self {
        Self { socket }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut TcpListener {
        &mut self.socket
    }

    /// Lets in who waits, within the budget and the limit.
    pub fn drive<S>(&mut self, cx: &mut Context<'_, S>) -> Verdict
    where
        S: Source<Shared: Host> + From<Observer<TcpStream>>,
    {
        for _ in 0..ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                return Verdict::Park;
            }
            let board = cx.shared.board();
            let is_full = board.observers >= MAX_OBSERVERS;
            if is_full && board.refusing >= MAX_REFUSED {
                cx.set_deadline(RETRY);
                return Verdict::Park;
            }
            match self.socket.accept() {
                Ok((stream, address)) => {
                    debug!("observed by {address}");
                    let observer = Observer::new(stream, is_full, cx.shared.board());
                    cx.spawn(Readiness::WRITABLE, |_| S::from(observer));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => cx.readiness.clear(Readiness::READABLE),
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    // No descriptor is left, say: the clients' listeners tell of it.
                    _ => {
                        cx.set_deadline(RETRY);
                        return Verdict::Park;
                    }
                },
            }
        }
        Verdict::Again
    }

    /// The deadline has passed: another try.
    pub fn expire<S: Source>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.readiness.is_none() {
            Verdict::Park
        } else {
            Verdict::Again
        }
    }
}
