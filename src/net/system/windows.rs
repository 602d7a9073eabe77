//! Windows.
//!
//! **Owns** what replaces the calls of Unix, and the meaning of the errors that only Winsock has.
//! **Must never touch** the data of a socket. **Invariant**: where a feature is missing, a constant such
//! as [`CAN_SHARE_PORTS`] says so before it is used.

pub use mio::net::UdpSocket;

use super::Descriptor;
pub(crate) use super::unknown::*;
use socket2::{SockRef, Socket, TcpKeepalive};
use std::io;
use std::os::windows::io::{AsRawSocket, AsSocket};
use std::time::Duration;
use windows_sys::Win32::Networking::WinSock::{
    WSAEFAULT, WSAEINVAL, WSAEMFILE, WSAEMSGSIZE, WSAENOBUFS, WSAENOTSOCK, WSANOTINITIALISED,
};

/// Whether several processes can listen on one port. SO_REUSEADDR would let them, but which one then
/// gets a client is undefined.
pub(crate) const CAN_SHARE_PORTS: bool = false;

/// Whether all of 127.0.0.0/8 is local, and not only 127.0.0.1. It is said to be, but
/// that is untested.
pub(crate) const HAS_LOOPBACK_NETWORK: bool = false;

/// What to do if there are too few sockets: memory has run out.
pub(crate) const MORE_DESCRIPTORS: &str = "end other programs";

/// The number of keepalive probes. Older versions of Windows, and Wine, refuse to change it.
pub(crate) const FIXED_KEEPALIVE_PROBES: Option<u32> = Some(10);

/// Handles are multiples of this.
const HANDLE_FACTOR: usize = 4;

/// There is no limit to raise. A process has at most 2^24 handles, and memory runs out before.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    1 << 24
}

/// Windows has no limit of its own on sockets.
#[must_use]
pub(crate) fn descriptor_limit() -> Option<u64> {
    None
}

/// There is no way.
#[must_use]
pub(crate) fn how_to_raise_descriptor_limit(_needed: u64) -> Option<String> {
    None
}

/// The name; the release is unknown.
#[must_use]
pub(crate) fn kernel() -> Option<(String, Option<String>)> {
    Some(("Windows".to_owned(), None))
}

impl<S: AsRawSocket> Descriptor for S {
    /// Its index in the table of handles: a free one, but not always the lowest.
    fn descriptor(&self) -> usize {
        self.as_raw_socket() as usize / HANDLE_FACTOR
    }
}

/// Does nothing: connections in TIME_WAIT do not prevent a bind. On Windows SO_REUSEADDR would let two
/// servers listen on one port.
pub(crate) fn allow_rebinding(_listener: &Socket) -> io::Result<()> {
    Ok(())
}

/// Not called: see [`CAN_SHARE_PORTS`].
pub(crate) fn share_port(_socket: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Keepalive with these times; see [`FIXED_KEEPALIVE_PROBES`].
pub(crate) fn keepalive(idle: Duration, interval: Duration, _tries: u32) -> TcpKeepalive {
    TcpKeepalive::new().with_time(idle).with_interval(interval)
}

/// Copies TCP_NODELAY. Keepalive needs no copy: an accepted socket has "the same properties" as its
/// listener (`accept` in the documentation of Winsock).
pub(crate) fn inherit_options(listener: &impl AsSocket, accepted: &impl AsSocket) {
    let (listener, accepted) = (SockRef::from(listener), SockRef::from(accepted));
    // It fails if the connection was reset already: its next read will report that.
    let _ = listener
        .tcp_nodelay()
        .and_then(|nodelay| accepted.set_tcp_nodelay(nodelay));
}

/// Does nothing: a socket has no such limit.
pub(crate) fn limit_unacknowledged(_socket: &impl AsSocket, _limit: Duration) -> io::Result<()> {
    Ok(())
}

/// Does nothing: there is no filter of packets per socket.
pub(crate) fn drop_new_handshakes(_listener: &impl AsSocket) -> Option<Duration> {
    None
}

/// Does nothing: `bind` chooses the port.
pub(crate) fn bind_address_no_port(_socket: &impl AsSocket) {}

/// Whether a connect is under way.
pub(crate) fn is_connecting(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Whether an error of `accept` concerns one connection, which failed while it waited: all do but those
/// of the process and of the listener. There is no list of them to rely on: the documentation has only
/// WSAECONNRESET, and Wine reports WSAENOTCONN for a connection that was reset already.
pub(crate) fn concerns_one_connection(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        !matches!(
            code,
            WSAEMFILE | WSAENOBUFS | WSAENOTSOCK | WSAEINVAL | WSAEFAULT | WSANOTINITIALISED
        )
    })
}

/// Whether no socket was left, in this process or in the system.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEMFILE | WSAENOBUFS))
}

/// The result of a receive, as on Unix, where a datagram that is longer than its buffer fills it.
/// Winsock reports an error instead, without the sender.
pub(super) fn truncated<T>(received: io::Result<T>, too_long: T) -> io::Result<T> {
    match received {
        Err(error) if error.raw_os_error() == Some(WSAEMSGSIZE) => Ok(too_long),
        received => received,
    }
}

/// The error of a process that has no socket left.
#[cfg(test)]
pub(crate) fn out_of_descriptors() -> io::Error {
    io::Error::from_raw_os_error(WSAEMFILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::AcceptFailure;
    use windows_sys::Win32::Networking::WinSock::{
        WSAECONNABORTED, WSAECONNRESET, WSAENETRESET, WSAENOTCONN, WSAESHUTDOWN, WSAETIMEDOUT,
        WSAEWOULDBLOCK,
    };

    #[test]
    fn an_error_of_one_connection_does_not_stop_the_listener() {
        for (code, meaning) in [
            (WSAECONNRESET, "Connection"),
            (WSAECONNABORTED, "Connection"),
            (WSAENETRESET, "Connection"),
            (WSAENOTCONN, "Connection"),
            (WSAESHUTDOWN, "Connection"),
            (WSAETIMEDOUT, "Connection"),
            (WSAEMFILE, "Resources"),
            (WSAENOBUFS, "Resources"),
            (WSAEINVAL, "Resources"),
            (WSAENOTSOCK, "Resources"),
            (WSAEWOULDBLOCK, "Blocked"),
        ] {
            let failure = AcceptFailure::of(&io::Error::from_raw_os_error(code));
            assert_eq!(format!("{failure:?}"), meaning, "{code}");
        }
        for code in [WSAEMFILE, WSAENOBUFS] {
            assert!(is_out_of_descriptors(&io::Error::from_raw_os_error(code)));
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_is_received_and_not_an_error() {
        let server = UdpSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback");
        client
            .send_to(&[b'x'; 9], server.local_addr().expect("bound"))
            .expect("sent");
        let mut buffer = [0; 8];
        let received = loop {
            match crate::net::udp::DatagramSocket::recv_from(&server, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                received => break received,
            }
        };
        assert_eq!(received.expect("a datagram").0, 8);
    }
}
