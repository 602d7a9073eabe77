//! What all Unix systems share.
//!
//! **Owns** the limits of a process, the socket options that all of them have, and the meaning of the
//! errors that only Unix has. **Must never touch** what differs between Linux and the others.
//! **Invariant**: none of these calls blocks.

use super::Descriptor;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::utsname::uname;
use socket2::{Socket, TcpKeepalive};
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Whether several processes can listen on one port.
pub(crate) const CAN_SHARE_PORTS: bool = true;

/// What to do if there are too few descriptors.
pub(crate) const MORE_DESCRIPTORS: &str = "raise the limit (ulimit -n)";

/// The number of keepalive probes, if it cannot be set.
pub(crate) const FIXED_KEEPALIVE_PROBES: Option<u32> = None;

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

/// How to raise the hard limit on descriptors. Only Linux can raise that of a process that runs.
#[must_use]
pub(crate) fn how_to_raise_descriptor_limit(needed: u64) -> Option<String> {
    let limit_of_shell = if cfg!(target_os = "linux") {
        format!(", or `prlimit --nofile={needed}:{needed} --pid $$`")
    } else {
        String::new()
    };
    Some(format!(
        "as root: `ulimit -Hn {needed}` in this shell{limit_of_shell}"
    ))
}

/// The name of the kernel, and its release.
#[must_use]
pub(crate) fn kernel() -> Option<(String, Option<String>)> {
    let names = uname().ok()?;
    let text = |name: &std::ffi::OsStr| name.to_string_lossy().into_owned();
    Some((text(names.sysname()), Some(text(names.release()))))
}

impl<S: AsRawFd> Descriptor for S {
    /// Its descriptor: the system assigns the lowest one that is free.
    fn descriptor(&self) -> usize {
        self.as_raw_fd().unsigned_abs() as usize
    }
}

/// Lets a restart bind while connections of the last run are in TIME_WAIT. It does not let two
/// servers listen on one port.
pub(crate) fn allow_rebinding(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_address(true)
}

/// Lets other processes bind the same port, if they ask for it too.
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Keepalive with these times and this number of probes.
pub(crate) fn keepalive(idle: Duration, interval: Duration, tries: u32) -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(idle);
    // OpenBSD has one interval and one number for all sockets.
    #[cfg(target_os = "openbsd")]
    let _ = (interval, tries);
    #[cfg(not(target_os = "openbsd"))]
    let keepalive = keepalive.with_interval(interval).with_retries(tries);
    keepalive
}

/// Whether a connect is under way.
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINPROGRESS as i32)
}

/// Whether an error of accept(2) concerns one connection, which failed while it waited. Linux reports
/// errors that are pending on the new socket, and recommends to treat them as a retry (accept(2),
/// "Error handling").
pub(crate) fn concerns_one_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::ECONNABORTED
                | Errno::ECONNRESET
                | Errno::EPROTO
                | Errno::ENOPROTOOPT
                | Errno::EOPNOTSUPP
                | Errno::EPERM
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ETIMEDOUT
        )
    )
}

/// Whether no descriptor was left, in this process or in the system.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE))
}

/// The result of a receive, unchanged: Unix truncates a datagram that is longer than its buffer.
pub(super) fn truncated<T>(received: io::Result<T>, _too_long: T) -> io::Result<T> {
    received
}

/// The error of a process that has no descriptor left.
#[cfg(test)]
pub(crate) fn out_of_descriptors() -> io::Error {
    Errno::EMFILE.into()
}

#[cfg(test)]
mod tests {
    use crate::net::{keepalive, system};
    use socket2::{Domain, SockRef, Socket, Type};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::time::Duration;

    #[test]
    fn an_accepted_socket_has_all_of_the_options() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        keepalive::close_vanished(&listener, Duration::from_secs(300)).unwrap();
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any_port.into()).unwrap();
        listener.listen(1).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        system::inherit_options(&listener, &accepted);
        let accepted = SockRef::from(&accepted);
        assert!(accepted.keepalive().unwrap());
        #[cfg(not(target_os = "openbsd"))]
        {
            let [idle, interval] = [150, 30].map(Duration::from_secs);
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), idle);
            assert_eq!(accepted.tcp_keepalive_interval().unwrap(), interval);
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 5);
        }
        #[cfg(all(target_os = "linux", not(feature = "portable")))]
        assert_eq!(
            accepted.tcp_user_timeout().unwrap(),
            Some(Duration::from_secs(300))
        );
    }
}
