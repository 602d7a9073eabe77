//! Where the system is not Linux: nothing is known, and programs do without.

use super::Figures;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Whether all of 127.0.0.0/8 is this machine, and not 127.0.0.1 alone.
pub const HAS_LOOPBACK_NETWORK: bool = false;

/// Not known here.
#[must_use]
pub fn figures(_pid: u32) -> Option<Figures> {
    None
}

/// Not known here.
#[must_use]
pub fn local_ports() -> Option<(u16, u16)> {
    None
}

/// Not known here.
#[must_use]
pub fn backlog_limit() -> Option<u32> {
    None
}

/// There is no such option here: the port is chosen when the address is bound.
pub fn bind_without_port(_socket: &impl AsFd) {}

/// Not known here.
#[must_use]
pub fn listening_process(_address: SocketAddr) -> Option<u32> {
    None
}
