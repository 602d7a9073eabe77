//! A listening socket as an event source.
//!
//! **Owns** one listener and when it accepts. **Must never touch** a connection that it has
//! accepted. **Invariant**: as long as connections may wait in the backlog, the listener keeps
//! its readiness, or has a deadline, or is noted in [`Shared::starved`]: no wake-up is lost.
//!
//! Pitfalls answered here: descriptors or memory run out (4): the edge that announced the
//! waiting connections does not come again, so the readiness is kept, and accepting is tried
//! again by a deadline and whenever a client closes; accepts are bounded in a turn (5); a
//! connection that died in the backlog is its own error (18).

use super::datagrams::DatagramSocket;
use super::peer::Peer;
use crate::net::stream::Stream;
use crate::net::system;
use crate::reactor::{Context, Readiness, Source, Token, Verdict};
use crate::server::{ServerSource, Shared};
use crate::warn_limited;
use log::debug;
use mio::event;
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Accepts in one turn. A storm of connects must not keep those waiting who are connected; nor
/// they the storm, since the listener is one source among them.
pub const ACCEPTS_PER_TURN: usize = 64;

/// How soon a listener without descriptors or memory tries again on its own: ten turns a second
/// cost nothing, and a person hardly notices the wait.
const RETRY: Duration = Duration::from_millis(100);

/// Refused clients that may linger at once. Beyond that the backlog holds the others: a storm of
/// refusals must not take the descriptors that the clients are promised.
pub const REFUSALS_AT_ONCE: u64 = 16;

/// Accepts in a drain: far more than wait when the server is told to stop (Linux cuts a backlog
/// at 4,096 unless told otherwise). Clients may come as fast as they are accepted, and a drain
/// must end all the same.
pub const ACCEPTS_PER_DRAIN: u32 = 65_536;

/// What a listener accepts from: mio's, or a script in a test.
pub trait Accept: event::Source + fmt::Debug {
    /// The accepted connection.
    type Stream: Stream + event::Source + fmt::Debug;

    /// Accepts one connection, or says that it would block.
    ///
    /// # Errors
    ///
    /// `accept(2)`'s.
    fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;
}

impl Accept for mio::net::TcpListener {
    type Stream = mio::net::TcpStream;

    fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, address) = Self::accept(self)?;
        system::pass_on_options(self, &stream);
        Ok((stream, address))
    }
}

/// One listening socket.
#[derive(Debug)]
pub struct Listener<A> {
    socket: A,
    /// Accepts left once the server drains.
    left: u32,
}

impl<A: Accept> Listener<A> {
    /// Listens on `socket`.
    pub fn new(socket: A) -> Self {
        Self {
            socket,
            left: ACCEPTS_PER_DRAIN,
        }
    }

    /// The socket, to register it.
    pub fn socket_mut(&mut self) -> &mut A {
        &mut self.socket
    }

    /// Accepts what waits, within the budget.
    pub fn drive<U: DatagramSocket>(
        &mut self,
        cx: &mut Context<'_, ServerSource<A, U>>,
    ) -> Verdict {
        for _ in 0..ACCEPTS_PER_TURN {
            if !cx.readiness.contains(Readiness::READABLE) {
                break;
            }
            let over = cx.shared.stats.clients() >= cx.shared.settings.max_clients;
            if over && cx.shared.stats.refusing() >= REFUSALS_AT_ONCE {
                // Who would be refused later than the server stops is refused by its end.
                if cx.shared.is_draining() {
                    return Verdict::Close;
                }
                cx.shared.wait_for_descriptor(cx.token);
                return Verdict::Park;
            }
            if cx.shared.is_draining() {
                self.left = self.left.saturating_sub(1);
            }
            match self.socket.accept() {
                Ok((stream, address)) => self.admit(stream, address, over, cx),
                Err(error) => match Trouble::of(&error) {
                    Trouble::Blocked => cx.readiness.clear(Readiness::READABLE),
                    Trouble::Interrupted => {}
                    Trouble::Connection => cx.shared.stats.aborted += 1,
                    Trouble::Resources => return self.starve(&error, cx),
                },
            }
        }
        if cx.readiness.contains(Readiness::READABLE) && self.left > 0 {
            return Verdict::Again;
        }
        // While the server drains, what the backlog held has now been accepted.
        if cx.shared.is_draining() {
            return Verdict::Close;
        }
        Verdict::Park
    }

    /// The deadline after a failure has passed.
    pub fn expire<S: Source<Shared = Shared>>(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        if cx.readiness.is_none() {
            Verdict::Park
        } else {
            Verdict::Again
        }
    }

    fn admit<U: DatagramSocket>(
        &self,
        stream: A::Stream,
        address: SocketAddr,
        over: bool,
        cx: &mut Context<'_, ServerSource<A, U>>,
    ) {
        cx.shared.stats.accepted += 1;
        // A fresh socket takes a welcome. Whether it holds a message already its own first event
        // tells, except that a draining server reads everybody once, event or not.
        let readiness = if cx.shared.is_draining() {
            Readiness::WRITABLE | Readiness::READABLE
        } else {
            Readiness::WRITABLE
        };
        if over {
            cx.shared.stats.refused += 1;
            let limit = cx.shared.settings.max_clients;
            warn_limited!(
                cx.shared.limiters.refused,
                cx.turn_start,
                "refused {address}: {limit} clients are connected, as many as --max-clients allows"
            );
        }
        cx.spawn(readiness, |token: Token| {
            // The only place that knows: an address is 32 bytes that no peer needs to carry, and gone
            // from the kernel after a reset.
            debug!("accepted {address} as {token}");
            ServerSource::Peer(if over {
                Peer::refused(stream)
            } else {
                Peer::new(stream)
            })
        });
    }

    fn starve<S: Source<Shared = Shared>>(
        &self,
        error: &io::Error,
        cx: &mut Context<'_, S>,
    ) -> Verdict {
        cx.shared.stats.starved += 1;
        warn_limited!(
            cx.shared.limiters.starved,
            cx.turn_start,
            "cannot accept ({error}): clients wait in the backlog until one leaves; \
             raise the limit (ulimit -n), or refuse them with a lower --max-clients"
        );
        cx.shared.wait_for_descriptor(cx.token);
        cx.set_deadline(RETRY);
        Verdict::Park
    }
}

/// What an error of `accept(2)` is about.
enum Trouble {
    /// The backlog is empty.
    Blocked,
    /// A signal came: once more.
    Interrupted,
    /// That one connection died while it waited: on to the next. Linux passes on errors that
    /// are pending on the new socket, and asks to treat them as a retry (accept(2), "Error
    /// handling").
    Connection,
    /// No descriptor or no memory is left, or something unknown is wrong: the next try would
    /// fail the same way.
    Resources,
}

impl Trouble {
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
