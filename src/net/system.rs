//! The operating system: limits, processes, and what only Linux has.
//!
//! **Owns** the system calls that concern a process or the machine, and the socket options that
//! only Linux has. **Must never touch** the data of a socket. **Invariant**: what the system does
//! not provide is `None` or has no effect, and what it does not allow stays unchanged. Only
//! [`limit_unacknowledged`] can fail: it applies a limit that the user has asked for.
//!
//! # Portability
//!
//! The program requires a Unix with epoll or kqueue. The Linux-only code is here and in
//! [`net::udp`](crate::net::udp), each time a pair of files behind one `cfg`:
//!
//! | Linux | other systems |
//! | --- | --- |
//! | `recvmmsg(2)` and `sendmmsg(2)`: batches of datagrams | one datagram per call |
//! | an accepted socket inherits the options of its listener | they are copied: three to ten calls per client |
//! | clients of `stress` use all of 127.0.0.0/8 | one source address, or those of `--source` |
//! | `TCP_USER_TIMEOUT` limits how long sent data stays unacknowledged | the kernel's own limit, some ten minutes |
//! | a timerfd sends the messages of `stress --rate` on time | the poll's timeout, of whole milliseconds on some systems |
//! | `IP_BIND_ADDRESS_NO_PORT`: `connect(2)` chooses the port | `bind(2)` chooses it, which is slow |
//! | a listener that is about to close drops new SYNs, and half-done handshakes complete | a handshake that completes between the last `accept(2)` and `close(2)` is reset |
//! | SIGHUP drains, unless it was ignored at start | SIGHUP keeps the action that it had at start |
//! | the resource usage of a process, the process of a listener, the model of the CPU | `n/a` in a report, `null` in JSON |
//! | the open descriptors of this process | not in `/metrics` |
//! | the ephemeral port range, from `/proc` | assumed to be 49152 to 65535 (RFC 6335) |
//! | stderr is opened a second time with `O_NONBLOCK` | poll(2) before each write to it |
//! | the limit of the accept backlog, from `/proc` | no warning if a backlog is cut |
//!
//! The feature `portable` selects the right column on Linux too, for the tests. Linux is tested;
//! FreeBSD and macOS are only type-checked.

#[cfg_attr(
    all(target_os = "linux", not(feature = "portable")),
    path = "system/linux.rs"
)]
#[cfg_attr(
    not(all(target_os = "linux", not(feature = "portable"))),
    path = "system/other.rs"
)]
mod platform;

use platform::ignored_signals;
pub(crate) use platform::{
    HAS_LOOPBACK_NETWORK, PreciseTimer, backlog_limit, bind_address_no_port, cpu_model,
    drop_new_handshakes, ephemeral_ports, inherit_options, limit_unacknowledged, listening_process,
    open_descriptors, open_nonblocking, process_usage,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::ffi::c_int;
use std::time::Duration;

/// Whether a read that returns less than was asked for proves that a socket is drained, so that an
/// event announces what arrives later (pitfall 25).
///
/// mio promises an event only after a call that returned `WouldBlock` ([`mio::Poll`], "Draining
/// readiness"). epoll and kqueue promise more: a new segment is a new edge, whatever the last call
/// returned (epoll(7), question 9; kqueue(2), `EV_CLEAR`). mio's other back ends, such as the one on
/// poll(2), arm a socket again on `WouldBlock` alone. That one can be built on Linux too, for the
/// tests: `RUSTFLAGS='--cfg mio_unsupported_force_poll_poll'`.
///
/// The same goes for a batch of datagrams that is not full, and for a timer that is set again and not
/// read. A short write proves nothing on any back end: [`stream::send`](super::stream::send) writes
/// until `WouldBlock`.
///
/// `false` is right everywhere, and slower. On epoll it costs one read more per message. On mio's
/// poll(2) a message then takes 8 system calls instead of 3: 2 reads, 1 write, 3 with which mio
/// interrupts its own poll to arm the socket, and 2 waits, because a blocked read arms both
/// directions, and room to write is an event at once. It is no loop: that event finds its bit set,
/// calls no source, and disarms its direction.
pub(crate) const SHORT_READ_DRAINS: bool = cfg!(all(
    not(mio_unsupported_force_poll_poll),
    any(
        target_os = "android",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "illumos",
        target_os = "linux",
        target_os = "netbsd",
        target_os = "openbsd",
        target_vendor = "apple",
    )
));

/// Raises the soft limit on file descriptors to the hard one, which needs no privilege, and returns
/// the limit that then holds. Many systems start with 1,024, the most that `select(2)` can handle.
/// macOS refuses if the hard limit is "unlimited": the soft one stays as it was.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return u64::MAX;
    };
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    // FreeBSD's type is signed, but a limit is never negative.
    limit as u64
}

/// The soft limit on file descriptors.
#[must_use]
#[allow(clippy::unnecessary_cast)] // FreeBSD's type is signed
pub(crate) fn descriptor_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(soft as u64)
}

/// The signals that ask the program to stop: SIGINT, SIGTERM, and SIGHUP, which a closed terminal
/// sends, unless SIGHUP is ignored: nohup(1) does that for programs that are to survive their
/// terminal. Where it is unknown whether SIGHUP is ignored, it is left alone.
pub(crate) fn stop_signals() -> impl Iterator<Item = c_int> {
    let is_left_alone = ignored_signals().is_none_or(|mask| mask & signal_bit(SIGHUP) != 0);
    let hangup = (!is_left_alone).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup)
}

/// The bit of a signal in a mask of signals (proc(5), `SigIgn`).
fn signal_bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

/// The resource usage of a process: CPU time and context switches so far, memory and threads now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessUsage {
    /// CPU time of all its threads, in user space and in the kernel.
    pub cpu: Duration,
    /// Resident memory (RSS). The kernel's memory for its sockets is not included.
    pub resident_bytes: u64,
    /// Its threads.
    pub threads: u64,
    /// Context switches of its current threads, voluntary and involuntary.
    pub context_switches: u64,
}
