//! Where the system is not Linux: nothing is known, and programs do without.
//!
//! **Owns** what is done instead. **Must never touch** what only some of the other systems have.
//! **Invariant**: a program that cannot know goes on.

use super::Figures;
use socket2::{SockRef, TcpKeepalive};
use std::io;
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

/// Gives an accepted socket its listener's options (TCP_NODELAY, keepalive). Whether it has
/// inherited them, POSIX does not say.
pub fn pass_on_options(listener: &impl AsFd, accepted: &impl AsFd) {
    // A client that is gone already takes no options: its own event will tell.
    let _ = try_pass_on(&SockRef::from(listener), &SockRef::from(accepted));
}

fn try_pass_on(listener: &SockRef<'_>, accepted: &SockRef<'_>) -> io::Result<()> {
    accepted.set_tcp_nodelay(listener.tcp_nodelay()?)?;
    if !listener.keepalive()? {
        return Ok(());
    }
    let keepalive = TcpKeepalive::new();
    // OpenBSD has one time for all sockets.
    #[cfg(not(target_os = "openbsd"))]
    let keepalive = keepalive.with_time(listener.tcp_keepalive_time()?);
    accepted.set_tcp_keepalive(&keepalive)
}

/// There is no such option here: the port is chosen when the address is bound.
pub fn bind_without_port(_socket: &impl AsFd) {}

/// Not known here.
#[must_use]
pub fn listening_process(_address: SocketAddr) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn an_accepted_socket_gets_its_listeners_options() {
        const SILENCE: Duration = Duration::from_secs(77);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        let (accepted, _) = listener.accept().expect("connected");
        // Set only now, so that nothing was inherited.
        let socket = SockRef::from(&listener);
        socket.set_tcp_nodelay(true).expect("an option");
        let keepalive = TcpKeepalive::new().with_time(SILENCE);
        socket.set_tcp_keepalive(&keepalive).expect("an option");
        let socket = SockRef::from(&accepted);
        assert!(!socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        pass_on_options(&listener, &accepted);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        #[cfg(not(target_os = "openbsd"))]
        assert_eq!(socket.tcp_keepalive_time().unwrap(), SILENCE);
    }
}
