//! The load's event sources in one plain `enum`.
//!
//! **Owns** which source is registered for what and who is called. **Must never touch** what a
//! source does then. **Invariant**: a client costs at most [`MAX_CLIENT_BYTES`].

use super::Shared;
use super::caller::Caller;
use super::conductor::Conductor;
use super::signals::Signals;
use super::udp_caller::Datagrams;
use crate::reactor::{Births, Context, INTEREST, Source, Time, Token, Verdict};
use mio::event::Source as _;
use mio::net::{TcpStream, UdpSocket};
use mio::{Interest, Registry};
use std::io;

/// One event source of the load.
#[derive(Debug)]
pub enum LoadSource {
    /// A TCP client.
    Caller(Caller<TcpStream>),
    /// A UDP client.
    Datagrams(Datagrams<UdpSocket>),
    /// What leads the run.
    Conductor(Box<Conductor>),
    /// The signals.
    Signals(Box<Signals>),
}

/// What a client may cost here, beyond what the kernel keeps for it.
pub const MAX_CLIENT_BYTES: usize = 128;

// Its slot; the generation, the readiness and the place in the list of marked sources; a
// deadline, and its entry in the heap; its seat. mio's sockets carry a check of their own in
// debug builds.
#[cfg(not(debug_assertions))]
const _: () = assert!(
    size_of::<Option<LoadSource>>() + (4 + 1 + 4) + (16 + 16) + size_of::<Token>()
        <= MAX_CLIENT_BYTES
);

impl From<Caller<TcpStream>> for LoadSource {
    fn from(caller: Caller<TcpStream>) -> Self {
        Self::Caller(caller)
    }
}

impl From<Datagrams<UdpSocket>> for LoadSource {
    fn from(datagrams: Datagrams<UdpSocket>) -> Self {
        Self::Datagrams(datagrams)
    }
}

impl Source for LoadSource {
    type Shared = Shared;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let token = token.into();
        match self {
            Self::Caller(caller) => caller.stream_mut().register(registry, token, INTEREST),
            Self::Datagrams(client) => client.socket_mut().register(registry, token, INTEREST),
            Self::Signals(signals) => {
                signals
                    .pipe_mut()
                    .register(registry, token, Interest::READABLE)
            }
            Self::Conductor(_) => Ok(()),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Shared>, _: &mut Births<Self>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.drive(cx),
            Self::Datagrams(client) => client.drive(cx),
            Self::Signals(signals) => signals.drive(cx),
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.expire(cx),
            Self::Datagrams(client) => client.expire(cx),
            // The deadline has ended the wait; the call comes between the turns.
            Self::Conductor(_) | Self::Signals(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, error: &io::Error, _: Time, shared: &mut Shared) {
        match self {
            Self::Caller(caller) => caller.unregistered(error, shared),
            Self::Datagrams(client) => client.unregistered(error, shared),
            Self::Conductor(_) | Self::Signals(_) => {}
        }
    }
}
