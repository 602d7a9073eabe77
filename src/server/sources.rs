//! The server's event sources in one plain `enum`.
//!
//! **Owns** which source is registered for what and who is called. **Must never touch** what a
//! source does then. **Invariant**: an idle client's slot is at most 48 bytes.

pub mod datagrams;
pub mod listener;
pub mod peer;
pub mod signals;
pub mod stdin;

use super::Shared;
use crate::net::udp::Datagram;
use crate::observe::listener::ObserverListener;
use crate::observe::observer::Observer;
use crate::reactor::{Context, INTEREST, Source, Time, Token, Verdict};
use crate::warn_limited;
use datagrams::{DatagramSocket, Datagrams};
use listener::{Accept, Listener};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, event};
use peer::Peer;
use signals::Signals;
use std::io;
use stdin::StdinWatch;

/// One event source of the server. Those that there are few of are boxed, so that a client's
/// slot is as small as a client. Generic over its sockets, so that tests script them and have
/// the whole server in virtual time.
#[derive(Debug)]
pub enum ServerSource<A: Accept = TcpListener, U: DatagramSocket = Datagram> {
    /// A client's connection.
    Peer(Peer<A::Stream>),
    /// A listening socket.
    Listener(Box<Listener<A>>),
    /// A UDP socket.
    Datagrams(Box<Datagrams<U>>),
    /// The signals.
    Signals(Box<Signals>),
    /// The listening socket of those who watch.
    ObserverListener(Box<ObserverListener>),
    /// The connection of one who watches.
    Observer(Box<Observer<TcpStream>>),
    /// The parent process, where the server is to end with it.
    StdinWatch(Box<StdinWatch>),
}

// An idle client must cost little: 19,000 of them at 48 bytes are less than a megabyte. mio's
// sockets carry a check of their own in debug builds.
#[cfg(not(debug_assertions))]
const _: () = assert!(size_of::<Option<ServerSource>>() + size_of::<u32>() <= 48);

impl<A: Accept, U: DatagramSocket> Source for ServerSource<A, U> {
    type Shared = Shared;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let (socket, interest): (&mut dyn event::Source, _) = match self {
            Self::Peer(peer) => (peer.stream_mut(), INTEREST),
            Self::Listener(listener) => (listener.socket_mut(), Interest::READABLE),
            Self::Datagrams(datagrams) => (datagrams.socket_mut(), INTEREST),
            Self::Signals(signals) => (signals.pipe_mut(), Interest::READABLE),
            Self::ObserverListener(gate) => (gate.socket_mut(), Interest::READABLE),
            Self::Observer(observer) => (observer.stream_mut(), INTEREST),
            Self::StdinWatch(parent) => (parent.pipe_mut(), Interest::READABLE),
        };
        socket.register(registry, token.into(), interest)
    }

    fn drive(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.drive(cx),
            Self::Listener(listener) => listener.drive(cx),
            Self::Datagrams(datagrams) => datagrams.drive(cx),
            Self::Signals(signals) => signals.drive(cx),
            Self::ObserverListener(gate) => gate.drive(cx),
            Self::Observer(observer) => observer.drive(cx),
            Self::StdinWatch(parent) => parent.drive(cx),
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Self>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.expire(cx),
            Self::Listener(listener) => listener.expire(cx),
            Self::Datagrams(_) | Self::StdinWatch(_) => Verdict::Park,
            Self::Signals(signals) => signals.expire(cx),
            Self::ObserverListener(gate) => gate.expire(cx),
            Self::Observer(observer) => observer.expire(cx),
        }
    }

    fn unregistered(&mut self, error: &io::Error, now: Time, shared: &mut Shared) {
        match self {
            Self::Peer(peer) => {
                peer.unregistered(shared);
                warn_limited!(
                    shared.limiters.starved,
                    now,
                    "a client could not be registered with the poll: {error}"
                );
            }
            Self::Observer(observer) => observer.leave(&mut shared.board),
            Self::Listener(_)
            | Self::Datagrams(_)
            | Self::Signals(_)
            | Self::ObserverListener(_)
            | Self::StdinWatch(_) => {}
        }
    }
}
