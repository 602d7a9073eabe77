//! The threads that accept.
//!
//! **Owns** a listener each, and the way it ends in a drain. **Must never touch** a client: it is
//! handed to the server. **Invariant**: a connection that is complete when the drain begins is
//! accepted (pitfall 22).

use super::{ThreadedServer, admit, spawn};
use crate::net::{ACCEPT_RETRY, AcceptFailure, system};
use crate::reactor::Time;
use crate::server::limiter::Limiter;
use crate::server::sources::listener::ACCEPTS_PER_DRAIN;
use crate::warn_limited;
use log::warn;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that accepts, and the socket that ends it: only a connection wakes a thread blocked in
/// `accept`, so one is made from an address that the thread recognises.
pub(super) struct AcceptThread {
    /// Returns the waker's connection: closed before `connect` has returned, it would count as failed on
    /// Windows.
    thread: JoinHandle<Option<TcpStream>>,
    waker: Socket,
    /// Where the waker connects to.
    address: SocketAddr,
}

impl AcceptThread {
    pub(super) fn start(
        mut address: SocketAddr,
        listener: TcpListener,
        server: &Arc<ThreadedServer>,
    ) -> io::Result<Self> {
        // A listener on all addresses is reached through loopback.
        match &mut address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => v4.set_ip(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => v6.set_ip(Ipv6Addr::LOCALHOST),
            _ => {}
        }
        // Opened now: when the server stops there may be no descriptor left.
        let waker = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        let mut local = address;
        local.set_port(0);
        waker.bind(&local.into())?;
        let waker_address = waker.local_addr()?.as_socket();
        let server = Arc::clone(server);
        let accept = move || accept_until(waker_address, &listener, &server);
        Ok(Self {
            thread: spawn("accept", accept)?,
            waker,
            address,
        })
    }

    /// Lets the thread accept what is under way, and then end.
    pub(super) fn wake(&self, timeout: Duration) {
        if let Err(error) = self.waker.connect_timeout(&self.address.into(), timeout) {
            warn!("still accepting on {}: {error}", self.address);
        }
    }

    /// Waits for the end of the thread, if it was woken.
    pub(super) fn join(self) {
        if self.waker.peer_addr().is_ok() {
            // A panic of the thread is on stderr already.
            drop(self.thread.join());
        }
    }
}

/// Accepts clients until the waker connects, and then those that are under way. Returns the waker's
/// connection.
fn accept_until(
    waker: Option<SocketAddr>,
    listener: &TcpListener,
    server: &Arc<ThreadedServer>,
) -> Option<TcpStream> {
    let started = Instant::now();
    let (mut failed, mut refused) = (Limiter::default(), Limiter::default());
    let now = || Time::ZERO.after(started.elapsed());
    let wake = loop {
        match listener.accept() {
            Ok((stream, address)) if Some(address) == waker => break stream,
            Ok((stream, address)) => {
                system::inherit_options(listener, &stream);
                admit(stream, address, server, &mut refused, now());
            }
            Err(error) => match AcceptFailure::of(&error) {
                AcceptFailure::Interrupted | AcceptFailure::Connection => {}
                AcceptFailure::Blocked | AcceptFailure::Resources => {
                    warn_limited!(failed, now(), "cannot accept: {error}");
                    if server.is_draining.load(Relaxed) {
                        return None;
                    }
                    thread::sleep(ACCEPT_RETRY);
                }
            },
        }
    };
    // As in a drain of the reactor (pitfall 22).
    let handshake = system::drop_new_handshakes(listener);
    let mut admit = |stream, address| admit(stream, address, server, &mut refused, now());
    accept_backlog(listener, &mut admit);
    if let Some(handshake) = handshake {
        thread::sleep(handshake.min(server.settings.drain_timeout));
        accept_backlog(listener, &mut admit);
    }
    Some(wake)
}

/// Accepts the connections that wait.
fn accept_backlog(listener: &TcpListener, mut admit: impl FnMut(TcpStream, SocketAddr)) {
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    for _ in 0..ACCEPTS_PER_DRAIN {
        match listener.accept() {
            Ok((stream, address)) => {
                system::inherit_options(listener, &stream);
                // Some systems let it inherit this from the listener.
                if stream.set_nonblocking(false).is_ok() {
                    admit(stream, address);
                }
            }
            Err(error) => match AcceptFailure::of(&error) {
                AcceptFailure::Interrupted | AcceptFailure::Connection => {}
                AcceptFailure::Blocked | AcceptFailure::Resources => return,
            },
        }
    }
}
