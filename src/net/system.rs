//! The operating system: sockets, limits and the figures of a process.
//!
//! **Owns** the socket options and the errors that differ between systems, and what a system reports
//! about a process or the machine. **Must never touch** the data of a socket, except that of a datagram
//! socket. **Invariant**: what the system does not provide is `None` or has no effect, and what it does
//! not allow stays unchanged. Only what a listener needs or the user has asked for can fail:
//! [`allow_rebinding`], [`share_port`] and [`limit_unacknowledged`].
//!
//! # Portability
//!
//! The program requires Unix or Windows, and a back end of mio there. All code that differs is here and
//! in [`system`](crate::system), in one file per system. No other module names a system.
//!
//! | Linux | other Unix systems |
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
//! For sockets and processes, Windows follows the right column. It differs from Unix in this:
//!
//! | Unix | Windows |
//! | --- | --- |
//! | a short read proves that a socket is drained | only `WouldBlock` does (pitfall 25) |
//! | SO_REUSEADDR lets a restart bind at once | not set: a restart can bind without it, and with it two servers could |
//! | SO_REUSEPORT: `--reuse-port` | refused |
//! | a limit on descriptors, which can be raised | no limit but 16,777,216 handles |
//! | a datagram to a closed port is an error on a connected socket only | also on the server's: its next receive fails with WSAECONNRESET, which ends nothing (pitfall 14) |
//! | a datagram longer than its buffer is truncated | the receive fails with WSAEMSGSIZE; the datagram counts as too long |
//! | the number of keepalive probes can be set | always ten: a vanished client is closed after 11 s at the earliest |
//!
//! The feature `portable` selects the code for other Unix systems on Linux, for the tests. Linux is
//! tested; Windows is tested under Wine; FreeBSD and macOS are only type-checked.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(all(unix, not(all(target_os = "linux", not(feature = "portable")))))]
mod other;
mod single;
#[cfg(unix)]
mod unix;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod unknown;
#[cfg(windows)]
mod windows;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
use linux as platform;
#[cfg(all(unix, not(all(target_os = "linux", not(feature = "portable")))))]
use other as platform;
#[cfg(windows)]
use windows as platform;

pub use platform::UdpSocket;
#[cfg(test)]
pub(crate) use platform::out_of_descriptors;
pub use platform::raise_descriptor_limit;
pub(crate) use platform::{
    CAN_SHARE_PORTS, FIXED_KEEPALIVE_PROBES, HAS_LOOPBACK_NETWORK, HOW_TO_ADD_PORTS,
    MORE_DESCRIPTORS, PreciseTimer, allow_rebinding, backlog_limit, bind_address_no_port,
    concerns_one_connection, cpu_model, descriptor_limit, drop_new_handshakes, ephemeral_ports,
    how_to_add_address, how_to_raise_descriptor_limit, inherit_options, is_connecting,
    is_out_of_descriptors, keepalive, kernel, limit_unacknowledged, listening_process,
    open_descriptors, process_usage, share_port,
};

use std::time::Duration;

/// A socket's place in the process's table of descriptors.
pub trait Descriptor {
    /// A small number that no other socket has while this one is open.
    fn descriptor(&self) -> usize;
}

/// Whether a read shorter than its buffer proves that a socket is drained: an event will report what
/// arrives later (pitfall 25).
///
/// mio promises a further event only after a call that returned `WouldBlock` ([`mio::Poll`], "Draining
/// readiness"). epoll and kqueue promise more. A short read of a stream has exhausted it (epoll(7), the
/// last of its questions), and each new segment is a new edge, whatever the last call returned
/// (epoll(7); `EV_CLEAR` in kqueue(2)). mio's other back ends, such as those on Windows and on poll(2),
/// re-arm a socket only on `WouldBlock`. The one on poll(2) can be built on Linux too, for the tests:
/// `RUSTFLAGS='--cfg mio_unsupported_force_poll_poll'`.
///
/// The constant also covers a batch of datagrams that is not full, and a timer that is set again
/// without being read. It does not cover writes, although epoll(7) says the same of a short write:
/// [`stream::send`](super::stream::send) writes until `WouldBlock` on every back end.
///
/// `false` is right everywhere, but slower. On epoll it costs one more read per message. On poll(2) a
/// message takes 8 system calls instead of 3: 2 reads, 1 write, 3 calls with which mio interrupts its
/// own poll to re-arm the socket, and 2 waits. The second wait returns at once, because a blocked read
/// re-arms both directions and there is room to write. That is no busy loop: the socket is marked
/// writable already, so the event calls no source, and it disarms its direction.
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
