//! The errors of a script by their names on Unix, and what Winsock returns in their place.

use std::io::{self, ErrorKind};
use windows_sys::Win32::Networking::WinSock::{
    WSAEACCES, WSAECONNABORTED, WSAECONNRESET, WSAEHOSTUNREACH, WSAEMFILE, WSAEMSGSIZE,
    WSAENETRESET, WSAENOBUFS, WSAEWOULDBLOCK,
};

/// An error of the system.
#[allow(clippy::upper_case_acronyms)] // the names of POSIX
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    EAGAIN,
    ECONNABORTED,
    /// The error of a receive after a datagram was sent to a closed port.
    ECONNREFUSED,
    EHOSTUNREACH,
    /// It does not exist here, but std has a kind for it.
    EINTR,
    EMFILE,
    EMSGSIZE,
    /// There is no limit for the whole system.
    ENFILE,
    ENOBUFS,
    ENOMEM,
    EPERM,
    EPROTO,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(match errno {
            Errno::EINTR => return ErrorKind::Interrupted.into(),
            Errno::EAGAIN => WSAEWOULDBLOCK,
            Errno::ECONNABORTED => WSAECONNABORTED,
            Errno::ECONNREFUSED => WSAECONNRESET,
            Errno::EHOSTUNREACH => WSAEHOSTUNREACH,
            Errno::EMFILE | Errno::ENFILE => WSAEMFILE,
            Errno::EMSGSIZE => WSAEMSGSIZE,
            Errno::ENOBUFS | Errno::ENOMEM => WSAENOBUFS,
            Errno::EPERM => WSAEACCES,
            Errno::EPROTO => WSAENETRESET,
        })
    }
}
