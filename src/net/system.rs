//! What the system allows this process, and says of it and of others.
//!
//! **Owns** the calls to the system that concern a process or the machine as a whole, and what
//! Linux has alone. **Must never touch** what travels through a socket. **Invariant**: asking
//! never fails a program: what cannot be had is `None`, or as it was.
//!
//! # Portability
//!
//! The program needs a Unix: file descriptors, signals, and a poll that mio knows (epoll or
//! kqueue). What is Linux's alone is here and in [`net::udp`](crate::net::udp), each a pair
//! of files behind one `cfg`:
//!
//! | on Linux | elsewhere |
//! | --- | --- |
//! | datagrams in batches, `recvmmsg(2)` and `sendmmsg(2)` | one a call, the same answers |
//! | an accepted socket has its listener's options | they are set once more, up to four calls a client |
//! | clients of `stress` come from all of 127.0.0.0/8 | from one address, or those of `--source` |
//! | `IP_BIND_ADDRESS_NO_PORT`: a source address binds no port | the port is chosen at once, slowly |
//! | a process's figures and a listener's process, from `/proc` | `n/a` in a report, `null` in JSON |
//! | the port range of connects, from `/proc` | taken as 49152 to 65535 (RFC 6335) |
//! | the limit of a backlog, from `/proc` | nothing warns of one that is cut |
//!
//! The feature `portable` takes the right column on Linux too, where the tests can run it.
//! Linux is tested; FreeBSD and macOS are type-checked, and nobody has run them.

#[cfg_attr(
    all(target_os = "linux", not(feature = "portable")),
    path = "system/linux.rs"
)]
#[cfg_attr(
    not(all(target_os = "linux", not(feature = "portable"))),
    path = "system/other.rs"
)]
mod platform;

pub use platform::{
    HAS_LOOPBACK_NETWORK, backlog_limit, bind_without_port, figures, listening_process,
    local_ports, pass_on_options,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Raises the soft limit on file descriptors to the hard one, which every process may, and
/// returns the limit that then holds. The soft limit is 1,024 on many systems for the sake of
/// programs that still use `select(2)`. macOS refuses where the hard limit is "unlimited": then
/// it stays as it was.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    // Signed on FreeBSD, and never negative.
    limit as u64
}

/// What a process has used up to a moment, and has at that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Time on a processor, of all its threads, in the program and in the kernel.
    pub cpu: Duration,
    /// Memory of the process itself that is in RAM. What the kernel keeps for its sockets is
    /// not in it.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// How often its present threads were taken off a processor, by waiting or by force.
    pub context_switches: u64,
}
