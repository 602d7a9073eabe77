//! What is unknown on systems other than Linux.
//!
//! **Owns** the functions that only Linux has an answer for. **Must never touch** the system.
//! **Invariant**: each is `None`.

use super::ProcessUsage;
use mio::{Registry, Token};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// None: more ports would be of no use, as [`ephemeral_ports`] are unknown here.
pub(crate) const HOW_TO_ADD_PORTS: Option<&str> = None;

/// Unknown.
#[must_use]
pub(crate) fn process_usage(_pid: u32) -> Option<ProcessUsage> {
    None
}

/// Unknown.
#[must_use]
pub(crate) fn open_descriptors() -> Option<u64> {
    None
}

/// Unknown.
#[must_use]
pub(crate) fn ephemeral_ports() -> Option<(u16, u16)> {
    None
}

/// Not said: the command differs between systems, and needs the name of an interface.
#[must_use]
pub(crate) fn how_to_add_address(_address: IpAddr) -> Option<String> {
    None
}

/// Unknown.
#[must_use]
pub(crate) fn cpu_model() -> Option<String> {
    None
}

/// Unknown.
#[must_use]
pub(crate) fn backlog_limit() -> Option<u32> {
    None
}

/// Unknown.
#[must_use]
pub(crate) fn listening_process(_address: SocketAddr) -> Option<u32> {
    None
}

/// None: the poll's timeout has to do. kqueue's has nanoseconds.
#[derive(Debug)]
pub(crate) enum PreciseTimer {}

impl PreciseTimer {
    /// None.
    pub(crate) fn new() -> Option<Self> {
        None
    }

    /// Not called: there is none.
    pub(crate) fn register(&self, _: &Registry, _: Token) -> io::Result<()> {
        match *self {}
    }

    /// Not called: there is none.
    pub(crate) fn set(&self, _: Duration) {
        match *self {}
    }
}
