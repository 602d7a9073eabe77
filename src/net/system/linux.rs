//! Linux: `/proc` and Linux's own socket options.
//!
//! **Owns** the paths and formats of `/proc` (proc(5)). **Must never touch** another process: it
//! only reads. **Invariant**: a process that ends meanwhile, or that belongs to another user, is
//! `None`.

mod datagrams;

pub use super::unix::raise_descriptor_limit;
pub(crate) use super::unix::*;
pub use datagrams::Batched as UdpSocket;

use super::{ProcessUsage, SHORT_READ_DRAINS};
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use socket2::{SockFilter, SockRef};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How to add ports to [`ephemeral_ports`].
pub(crate) const HOW_TO_ADD_PORTS: Option<&str> =
    Some("`sysctl -w net.ipv4.ip_local_port_range='1024 65535'`");

/// Whether all of 127.0.0.0/8 is local, and not only 127.0.0.1.
pub(crate) const HAS_LOOPBACK_NETWORK: bool = true;

/// The resource usage of process `pid`.
#[must_use]
pub(crate) fn process_usage(pid: u32) -> Option<ProcessUsage> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let cpu = Duration::from(clock_gettime(clock).ok()?);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut context_switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // The thread may have ended in the meantime.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        context_switches += number(&status, "voluntary_ctxt_switches:").unwrap_or(0)
            + number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Some(ProcessUsage {
        cpu,
        resident_bytes: number(&status, "VmRSS:")? * 1_024, // listed in KiB
        threads: number(&status, "Threads:")?,
        context_switches,
    })
}

/// The number after `key` on the line that starts with it.
fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The most descriptors that are counted by listing them, which takes 2 ms.
const MAX_LISTED_DESCRIPTORS: usize = 4_096;

/// The open file descriptors of this process. Since Linux 6.2 they are the size of the directory;
/// before, they have to be listed, and more than a few thousand would keep the loop from its work.
#[must_use]
pub(crate) fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let count = fs::metadata(FOLDER).ok()?.len();
    if count > 0 {
        return Some(count);
    }
    let listed = fs::read_dir(FOLDER).ok()?;
    let listed = listed.take(MAX_LISTED_DESCRIPTORS + 1).count();
    // One of them is the directory that is listed.
    (listed <= MAX_LISTED_DESCRIPTORS).then(|| listed as u64 - 1)
}

/// The ephemeral port range, from which a connecting socket gets its port: first and last.
#[must_use]
pub(crate) fn ephemeral_ports() -> Option<(u16, u16)> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}

/// How to add an address to this machine.
#[must_use]
pub(crate) fn how_to_add_address(address: IpAddr) -> Option<String> {
    Some(format!("`ip address add {address} dev lo`"))
}

/// The model of the CPU. Not every architecture lists it.
#[must_use]
pub(crate) fn cpu_model() -> Option<String> {
    let list = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = list.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The kernel's limit on the accept backlog of a listener.
#[must_use]
pub(crate) fn backlog_limit() -> Option<u32> {
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    limit.trim().parse().ok()
}

/// Copies the listener's options (TCP_NODELAY, keepalive) to an accepted socket. On Linux there is
/// nothing to do, which saves system calls: the socket inherits them.
pub(crate) fn inherit_options(_listener: &impl AsFd, _accepted: &impl AsFd) {}

/// Closes a connection whose sent data is unacknowledged for `limit`, or whose peer has advertised a
/// zero window for as long.
///
/// # Errors
///
/// Those of setsockopt(2).
pub(crate) fn limit_unacknowledged(socket: &impl AsFd, limit: Duration) -> io::Result<()> {
    // The option has 32 bits of milliseconds, the kernel's own limit is less than an hour.
    SockRef::from(socket).set_tcp_user_timeout(Some(limit))
}

/// How long a handshake that is half done may take to complete: longer than a round trip to the
/// other side of the world (some 300 ms), and shorter than the second after which a client repeats
/// a SYN that was dropped.
const HANDSHAKE: Duration = Duration::from_millis(500);

/// The same within this machine. No network is involved, but the client's process may have to wait
/// for a CPU before the kernel completes its `connect(2)`.
const LOCAL_HANDSHAKE: Duration = Duration::from_millis(100);

/// Drops the packets with SYN but not ACK, and passes all others (classic BPF). A TCP socket's
/// filter sees a packet from its TCP header on, over IPv4 and IPv6 alike, and byte 13 of that header
/// has the flags. A listener's filter sees the last ACK of a handshake too: it must pass.
const DROP_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),       // ldb [13]
    SockFilter::new(0x54, 0, 0, 0x12),     // and #SYN|ACK
    SockFilter::new(0x15, 0, 1, 0x02),     // jeq #SYN, next, the one after
    SockFilter::new(0x06, 0, 0, 0),        // ret #0: drop
    SockFilter::new(0x06, 0, 0, u32::MAX), // ret #-1: pass
];

/// Lets a listener begin no further handshake, and returns how long those that are half done may
/// take to complete. `close(2)` would reset them, and every client that connects between the last
/// accept and the close. A client whose SYN is dropped repeats it after a second.
///
/// In a group of listeners with SO_REUSEPORT, `close(2)` resets them too, unless
/// `net.ipv4.tcp_migrate_req` is 1 (Linux 5.14; off by default): the kernel then passes what is under
/// way on to another listener of the group. Measured with 500 connects per second, a round trip of
/// 100 ms and a second listener in the group: 22 reset with 0, none with 1, none with the filter
/// whatever the setting. Without a second listener 51 were reset with either, and none with the
/// filter.
///
/// Connections accepted from now on inherit the filter, which never sees a SYN there.
pub(crate) fn drop_new_handshakes(listener: &impl AsFd) -> Option<Duration> {
    let socket = SockRef::from(listener);
    socket.attach_filter(&DROP_SYN).ok()?;
    let address = socket.local_addr().ok()?.as_socket()?;
    if address.ip().is_loopback() {
        return Some(LOCAL_HANDSHAKE);
    }
    Some(HANDSHAKE)
}

/// Makes `bind(2)` to a source address leave the choice of the port to `connect(2)`, which knows
/// the destination: one port can then serve several, and a free one is found faster.
/// Measured: 21,820 connects per second instead of 1,639.
pub(crate) fn bind_address_no_port(socket: &impl AsFd) {
    // If the kernel lacks the option (before 4.2), connects are only slower.
    let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
}

/// The process that listens on the port of `address`, if this user may read its descriptors.
#[must_use]
pub(crate) fn listening_process(address: SocketAddr) -> Option<u32> {
    let inode = listening_inode(address.port())?;
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        descriptors
            .any(|descriptor| {
                fs::read_link(descriptor.path()).is_ok_and(|target| target.as_os_str() == &*link)
            })
            .then_some(pid)
    })
}

/// The inode of the TCP socket that listens on `port`, if it is the only one: two sockets, on
/// different addresses, can belong to two processes.
fn listening_inode(port: u16) -> Option<u64> {
    const LISTENING: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default())
        .concat();
    let mut inodes = tables.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let listens =
            u16::from_str_radix(local_port, 16) == Ok(port) && fields.get(3) == Some(&LISTENING);
        listens.then(|| fields.get(9)?.parse().ok()).flatten()
    });
    let inode = inodes.next()?;
    inodes.next().is_none().then_some(inode)
}

/// A timer that a poll can watch, because the timeout of `epoll_wait` is a whole number of
/// milliseconds.
#[derive(Debug)]
pub(crate) struct PreciseTimer(TimerFd);

impl PreciseTimer {
    /// A timer that is not set. `None` if no descriptor is left, or if a short read does not drain:
    /// the timer is set again instead of read until `WouldBlock`, so the poll would report it once
    /// and never again (pitfall 25).
    pub(crate) fn new() -> Option<Self> {
        if !SHORT_READ_DRAINS {
            return None;
        }
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).ok().map(Self)
    }

    /// Registers it: it becomes readable when its time has passed. It need not be read, since setting
    /// it again makes it unreadable.
    ///
    /// # Errors
    ///
    /// Those of the poll.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor = self.0.as_fd().as_raw_fd();
        SourceFd(&descriptor).register(registry, token, Interest::READABLE)
    }

    /// Sets it to this time from now, at least a nanosecond: zero would stop it.
    pub(crate) fn set(&self, time: Duration) {
        let time = TimeSpec::from(time.max(Duration::from_nanos(1)));
        // Cannot fail: the time is valid. Without it the poll's own timeout ends the wait.
        let _ = self
            .0
            .set(Expiration::OneShot(time), TimerSetTimeFlags::empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_usage_of_this_process_is_known() {
        let before = process_usage(std::process::id()).expect("this process");
        assert!(before.threads >= 1 && before.resident_bytes > 100_000);
        let mut sum = 0u64;
        while process_usage(std::process::id()).expect("this process").cpu == before.cpu {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(process_usage(u32::MAX), None);
    }

    #[test]
    fn the_listening_process_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        assert_eq!(listening_process(address), Some(std::process::id()));
        drop(listener);
        assert_eq!(listening_process(address), None);
    }

    #[test]
    fn a_closing_listener_drops_syns_and_keeps_what_is_connected() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue; // no IPv6 here
            };
            let address = listener.local_addr().expect("bound");
            let mut early = TcpStream::connect(address).expect("listening");
            assert_eq!(drop_new_handshakes(&listener), Some(LOCAL_HANDSHAKE));
            let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
            let late = late.expect_err("its SYN is dropped").kind();
            assert_eq!(late, io::ErrorKind::TimedOut);
            let (mut accepted, _) = listener.accept().expect("it connected earlier");
            drop(listener);
            io::Write::write_all(&mut early, b"Ada").expect("connected");
            io::Read::read_exact(&mut accepted, &mut [0; 3]).expect("no filter in between");
            let refused = TcpStream::connect(address).expect_err("closed").kind();
            assert_eq!(refused, io::ErrorKind::ConnectionRefused);
        }
        let listener = TcpListener::bind("0.0.0.0:0").expect("all addresses");
        assert_eq!(drop_new_handshakes(&listener), Some(HANDSHAKE));
    }

    #[test]
    fn p25_a_timer_is_reported_each_time_or_does_not_exist() {
        let mut poll = mio::Poll::new().expect("a descriptor");
        let mut events = mio::Events::with_capacity(1);
        let timer = PreciseTimer::new();
        assert_eq!(timer.is_some(), SHORT_READ_DRAINS);
        let Some(timer) = timer else { return };
        timer.register(poll.registry(), Token(0)).expect("memory");
        for time in [1, 2, 3] {
            timer.set(Duration::from_millis(time));
            let limit = Some(Duration::from_secs(10));
            poll.poll(&mut events, limit).expect("no signal");
            assert!(!events.is_empty(), "time {time} is not reported");
        }
    }

    #[test]
    fn the_port_range_is_read() {
        let (first, last) = ephemeral_ports().expect("Linux has a range");
        assert!(first < last);
        assert!(backlog_limit().is_some_and(|limit| limit > 0));
    }
}
