//! What the system allows this process, and says of it and of others.
//!
//! **Owns** the calls to the system that concern a process or the machine as a whole, and the
//! one place where Linux differs from the rest. **Must never touch** what travels through a
//! socket. **Invariant**: asking never fails a program: what cannot be had is `None`, or as it
//! was.

#[cfg_attr(target_os = "linux", path = "system/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "system/other.rs")]
mod platform;

pub use platform::{
    HAS_LOOPBACK_NETWORK, backlog_limit, bind_without_port, figures, listening_process, local_ports,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Raises the soft limit on file descriptors to the hard one, which every process may, and
/// returns the limit that then holds. The soft limit is 1,024 on many systems for the sake of
/// programs that still use `select(2)`.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
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
