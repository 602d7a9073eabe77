//! Unix systems other than Linux.
//!
//! **Owns** what replaces the Linux-only functions. **Must never touch** what only some of these
//! systems have. **Invariant**: what has no replacement has no effect, or is in [`unknown`](super::unknown).

pub use super::unix::raise_descriptor_limit;
pub(crate) use super::unix::*;
pub(crate) use super::unknown::*;
pub use mio::net::UdpSocket;

use socket2::SockRef;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Whether all of 127.0.0.0/8 is local, and not only 127.0.0.1.
pub(crate) const HAS_LOOPBACK_NETWORK: bool = false;

/// Copies the listener's options (TCP_NODELAY, keepalive) to an accepted socket: POSIX does not say
/// whether it inherits them.
pub(crate) fn inherit_options(listener: &impl AsFd, accepted: &impl AsFd) {
    // It fails if the connection was reset already: its next read will report that.
    let _ = copy_options(&SockRef::from(listener), &SockRef::from(accepted));
}

fn copy_options(listener: &SockRef<'_>, accepted: &SockRef<'_>) -> io::Result<()> {
    accepted.set_tcp_nodelay(listener.tcp_nodelay()?)?;
    if !listener.keepalive()? {
        return Ok(());
    }
    // OpenBSD has one idle time, interval and number of probes for all sockets.
    #[cfg(target_os = "openbsd")]
    return accepted.set_keepalive(true);
    #[cfg(not(target_os = "openbsd"))]
    accepted.set_tcp_keepalive(&keepalive(
        listener.tcp_keepalive_time()?,
        listener.tcp_keepalive_interval()?,
        listener.tcp_keepalive_retries()?,
    ))
}

/// Does nothing: few systems have such a limit per socket.
pub(crate) fn limit_unacknowledged(_socket: &impl AsFd, _limit: Duration) -> io::Result<()> {
    Ok(())
}

/// Does nothing: no other system has a filter that both socket2 and the system support.
pub(crate) fn drop_new_handshakes(_listener: &impl AsFd) -> Option<Duration> {
    None
}

/// Does nothing: `bind(2)` chooses the port.
pub(crate) fn bind_address_no_port(_socket: &impl AsFd) {}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::TcpKeepalive;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn an_accepted_socket_gets_the_options_of_its_listener() {
        const IDLE: Duration = Duration::from_secs(77);
        const INTERVAL: Duration = Duration::from_secs(7);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (accepted, _) = listener.accept().expect("connected");
        // Set after the accept, so that nothing is inherited.
        let socket = SockRef::from(&listener);
        socket.set_tcp_nodelay(true).expect("an option");
        let keepalive = TcpKeepalive::new().with_time(IDLE);
        #[cfg(not(target_os = "openbsd"))]
        let keepalive = keepalive.with_interval(INTERVAL).with_retries(3);
        socket.set_tcp_keepalive(&keepalive).expect("an option");
        let socket = SockRef::from(&accepted);
        assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        inherit_options(&listener, &accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        #[cfg(not(target_os = "openbsd"))]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), INTERVAL);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        }
    }
}
