//! Linux: what the process table, the network's tables and the limits say.
//!
//! **Owns** the paths and formats under `/proc` (proc(5)), and socket options of Linux's own.
//! **Must never touch** anything that another process would notice: of others it only reads. **Invariant**: a process that ends meanwhile, or that
//! is somebody else's, is `None`.

use super::Figures;
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Whether all of 127.0.0.0/8 is this machine, and not 127.0.0.1 alone.
pub const HAS_LOOPBACK_NETWORK: bool = true;

/// The present figures of process `pid`.
#[must_use]
pub fn figures(pid: u32) -> Option<Figures> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let cpu = Duration::from(clock_gettime(clock).ok()?);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mut context_switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        // A thread may have ended since it was listed.
        let Ok(status) = fs::read_to_string(task.path().join("status")) else {
            continue;
        };
        context_switches += number(&status, "voluntary_ctxt_switches:").unwrap_or(0)
            + number(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Some(Figures {
        cpu,
        resident_bytes: number(&status, "VmRSS:")? * 1_024, // in KiB there
        threads: number(&status, "Threads:")?,
        context_switches,
    })
}

/// The number behind `key` at the start of a line.
fn number(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The ports that the system gives to sockets which ask for none: first and last.
#[must_use]
pub fn local_ports() -> Option<(u16, u16)> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse);
    Some((ends.next()?.ok()?, ends.next()?.ok()?))
}

/// The longest queue of connections to be accepted that a listener gets, whatever it asks for.
#[must_use]
pub fn backlog_limit() -> Option<u32> {
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    limit.trim().parse().ok()
}

/// Gives an accepted socket its listener's options (TCP_NODELAY, keepalive). Linux has done so
/// already: the kernel makes it as a copy of its listener. Two system calls less a client.
pub fn pass_on_options(_listener: &impl AsFd, _accepted: &impl AsFd) {}

/// Lets `bind(2)` to a source address leave the port to `connect(2)`, which knows the whole
/// connection: then a port serves for many, and a free one is found at once. Measured: 21,820
/// connects a second instead of 1,639.
pub fn bind_without_port(socket: &impl AsFd) {
    // A system without the option chooses the port in bind(2), and is slower.
    let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
}

/// The process of this user that listens at `address`, or on every address at its port.
#[must_use]
pub fn listening_process(address: SocketAddr) -> Option<u32> {
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

/// The inode of the one TCP socket that listens at `port`. Two of them, on different addresses,
/// may be two programs: then nothing is claimed.
fn listening_inode(port: u16) -> Option<u64> {
    const LISTENING: &str = "0A";
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let tables: String = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn this_process_has_figures() {
        let before = figures(std::process::id()).expect("our own figures");
        assert!(before.threads >= 1 && before.resident_bytes > 100_000);
        let mut sum = 0u64;
        while figures(std::process::id()).expect("our own").cpu == before.cpu {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert_eq!(figures(u32::MAX), None);
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
    fn the_port_range_is_read() {
        let (first, last) = local_ports().expect("Linux has a range");
        assert!(first < last);
        assert!(backlog_limit().is_some_and(|limit| limit > 0));
    }
}
