//! The event sources of the load, in one `enum`.
//!
//! **Owns** the registration of each source and the dispatch to it. **Must never touch** what a
//! source does. **Invariant**: a client costs at most 128 bytes in release builds.

use super::Shared;
use super::caller::Caller;
use super::conductor::Conductor;
use super::udp_caller::UdpCaller;
use crate::reactor::{Births, Context, INTEREST, Readiness, Source, Time, Token, Verdict};
use mio::Registry;
use mio::event::Source as _;
use mio::net::{TcpStream, UdpSocket};
use std::io;

/// One event source of the load.
#[derive(Debug)]
pub(crate) enum LoadSource {
    /// A TCP client.
    Caller(Caller<TcpStream>),
    /// A UDP client.
    UdpCaller(UdpCaller<UdpSocket>),
    /// Takes the run from stage to stage.
    Conductor(Box<Conductor>),
}

// What the reactor keeps for a client, and its token in the list of active clients. Kernel memory is
// not included, nor are the datagrams that an active UDP client remembers. mio's sockets are larger
// in debug builds.
#[cfg(not(debug_assertions))]
const _: () = assert!(crate::reactor::bytes_per_source::<LoadSource>() + size_of::<Token>() <= 128);

impl From<Caller<TcpStream>> for LoadSource {
    fn from(caller: Caller<TcpStream>) -> Self {
        Self::Caller(caller)
    }
}

impl From<UdpCaller<UdpSocket>> for LoadSource {
    fn from(caller: UdpCaller<UdpSocket>) -> Self {
        Self::UdpCaller(caller)
    }
}

impl Source for LoadSource {
    type Shared = Shared;

    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let token = token.into();
        match self {
            Self::Caller(caller) => caller.stream_mut().register(registry, token, INTEREST),
            Self::UdpCaller(caller) => caller.socket_mut().register(registry, token, INTEREST),
            Self::Conductor(conductor) => conductor.register(registry, token),
        }
    }

    fn drive(&mut self, cx: &mut Context<'_, Shared>, _: &mut Births<Self>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.drive(cx),
            Self::UdpCaller(caller) => caller.drive(cx),
            // The timer ended the wait. The conductor works between turns.
            Self::Conductor(_) => {
                cx.readiness.remove(Readiness::READABLE);
                Verdict::Park
            }
        }
    }

    fn expire(&mut self, cx: &mut Context<'_, Shared>) -> Verdict {
        match self {
            Self::Caller(caller) => caller.expire(cx),
            Self::UdpCaller(caller) => caller.drive(cx),
            // The deadline did.
            Self::Conductor(_) => Verdict::Park,
        }
    }

    fn unregistered(&mut self, error: &io::Error, _: Time, shared: &mut Shared) {
        match self {
            Self::Caller(_) | Self::UdpCaller(_) => shared.note_not_opened(error),
            Self::Conductor(_) => {}
        }
    }
}
