//! The server's event sources, in one plain `enum`.
//!
//! **Owns** what each source is registered for, and the dispatch of calls. **Must never touch**
//! what a source does in a call. **Invariant**: an idle client costs the process at most
//! [`MAX_IDLE_CLIENT_BYTES`].

pub mod datagrams;
pub mod listener;
pub mod peer;
pub mod signals;
pub mod stdin;

use super::Shared;
use crate::net::stream::Stream;
use crate::net::{Net, SystemNet};
use crate::observe::listener::ObserverListener;
use crate::observe::observer::Observer;
use crate::observe::requests::ObserverRequests;
use crate::reactor::{Births, Context, INTEREST, Readiness, Source, Time, Token, Verdict};
use crate::warn_limited;
use datagrams::Datagrams;
use listener::Listener;
use log::debug;
use mio::{Interest, Registry, event};
use peer::{Peer, PeerState};
use signals::Signals;
use std::io;
use stdin::StdinWatch;

/// One event source of the server. All but clients are boxed, so that a client's slot is as small
/// as a client. Generic over the network, so that tests run the whole server on scripted sockets
/// in virtual time.
#[derive(Debug)]
pub enum ServerSource<N: Net = SystemNet> {
    /// A client's connection.
    Peer(Peer<N::Stream>),
    /// A listening socket.
    Listener(Box<Listener<N>>),
    /// A UDP socket.
    Datagrams(Box<Datagrams<N::UdpSocket>>),
    /// The signals.
    Signals(Box<Signals>),
    /// Standard input, if the server ends with it.
    Stdin(Box<StdinWatch>),
    /// The listening socket of observers.
    ObserverListener(Box<ObserverListener<N::Listener>>),
    /// An observer's connection.
    Observer(Box<Observer<N::Stream>>),
}

/// The most that an idle client may cost in this process, everything that the reactor keeps for it
/// included: 57 on 64-bit Linux, of which 32 are for a deadline. The kernel's own memory for a socket
/// is not part of it.
pub const MAX_IDLE_CLIENT_BYTES: usize = 64;

// Slot, generation, readiness, ready-list entry, deadline and heap entry. mio's sockets are larger
// in debug builds, where they check which poll they belong to.
#[cfg(not(debug_assertions))]
const _: () = assert!(crate::reactor::bytes_per_source::<ServerSource>() <= MAX_IDLE_CLIENT_BYTES);

impl<N: Net> Source for ServerSource<N> {
    type Shared = Shared;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let (socket, interest): (&mut dyn event::Source, _) = match self {
            Self::Peer(peer) => (peer.stream_mut(), INTEREST),
            Self::Listener(listener) => match listener.socket_mut() {
                Some(socket) => (socket, Interest::READABLE),
                None => return Ok(()), // closed already
            },
            Self::Datagrams(datagrams) => (datagrams.socket_mut(), INTEREST),
            Self::Signals(signals) => (signals.source_mut(), Interest::READABLE),
            Self::Stdin(stdin) => (stdin.pipe_mut(), Interest::READABLE),
            Self::ObserverListener(listener) => (listener.socket_mut(), Interest::READABLE),
            Self::Observer(observer) => (observer.stream_mut(), INTEREST),
        };
        socket.register(registry, token.into(), interest)?;
        if let Self::Peer(peer) = self {
            // The refusal was logged when it was accepted.
            let why = match peer.state() {
                PeerState::Refusing(_) => " to refuse it",
                _ => "",
            };
            debug!("accepted {} as {token}{why}", address_of(peer));
        }
        Ok(())
    }

    fn drive(&mut self, cx: &mut Context<'_, Shared>, births: &mut Births<Self>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.drive(cx),
            Self::Listener(listener) => listener.drive(cx, births),
            Self::Datagrams(datagrams) => datagrams.drive(cx),
            Self::Signals(signals) => signals.drive(cx),
            Self::Stdin(stdin) => stdin.drive(cx),
            Self::ObserverListener(listener) => for_observers(cx, |cx| {
                listener.drive(cx, |observer| {
                    births.push(Self::Observer(Box::new(observer)), Readiness::WRITABLE);
                })
            }),
            Self::Observer(observer) => for_observers(cx, |cx| observer.drive(cx)),
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self {
            Self::Peer(peer) => peer.expire(cx),
            Self::Listener(listener) => listener.expire(cx),
            Self::Datagrams(_) | Self::Stdin(_) => Verdict::Hold, // they set no deadline
            Self::Signals(signals) => signals.expire(cx),
            Self::ObserverListener(listener) => for_observers(cx, |cx| listener.expire(cx)),
            Self::Observer(observer) => for_observers(cx, |cx| observer.expire(cx)),
        }
    }

    fn unregistered(&mut self, error: &io::Error, turn_start: Time, shared: &mut Shared) {
        match self {
            Self::Peer(peer) => {
                peer.unregistered(shared);
                warn_limited!(
                    shared.limiters.starved,
                    turn_start,
                    "cannot register a client with the poll: {error}"
                );
            }
            Self::Observer(observer) => observer.leave(&mut shared.observers),
            _ => {}
        }
    }
}

/// Calls a source of observers, and counts how long that takes.
fn for_observers(
    cx: &mut Context<'_, Shared>,
    work: impl FnOnce(&mut Context<'_, ObserverRequests>) -> Verdict,
) -> Verdict {
    let began = cx.clock_now();
    let verdict = work(&mut cx.part(|shared| &mut shared.observers));
    cx.shared.observers.worked += cx.clock_now().since(began);
    verdict
}

/// The client's address as the log shows it.
fn address_of<T: Stream>(peer: &mut Peer<T>) -> String {
    let address = peer.stream_mut().peer_address();
    address.map_or_else(
        |_| "a client that has left".to_owned(),
        |address| address.to_string(),
    )
}
