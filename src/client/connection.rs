//! A blocking TCP connection whose every wait has a deadline.
//!
//! **Owns** resolving, connecting, reading and writing with a deadline, and which [`Error`] a
//! failed call becomes. **Must never touch** the bytes of a protocol.
//! **Invariant**: no call outlasts its deadline, however slowly the peer sends or reads. A socket
//! timeout alone would start again with every byte.
//!
//! Name resolution is the exception: `getaddrinfo` blocks for as long as the system's resolver is
//! configured to, commonly a few seconds, and `std` has no timeout for it.

use super::{Error, Service};
use crate::protocol::escape::escape;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The longest timeout. Adding a much longer one to an `Instant` would overflow.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// `std` rejects a timeout of zero, to which a share of a short one may round down.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The time at which a wait of `timeout` ends.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(MAX_TIMEOUT)
}

/// The time left, or [`io::ErrorKind::TimedOut`]. Sockets do not accept zero as a timeout.
fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Repeats a call on a socket until it succeeds, fails, or the deadline has passed, which is
/// [`io::ErrorKind::TimedOut`].
///
/// The call sets the timeout that it is given. Unix reports a socket timeout as "would block".
/// The kernel rounds the timeout and a signal cuts it short, so only the clock ends the wait.
pub(super) fn retry<T>(
    deadline: Instant,
    mut call: impl FnMut(Duration) -> io::Result<T>,
) -> io::Result<T> {
    use io::ErrorKind::{Interrupted, WouldBlock};
    loop {
        match time_left(deadline).and_then(&mut call) {
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
            result => return result,
        }
    }
}

/// The server that a client talks to, for error messages.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The address as given, escaped.
    pub(super) name: String,
    service: Service,
    timeout: Duration,
}

impl Target {
    pub(super) fn new(address: &str, service: Service, timeout: Duration) -> Self {
        Self {
            name: escape(address.as_bytes()),
            service,
            timeout,
        }
    }

    /// All addresses of `HOST:PORT`, or of a host and a port; at least one.
    pub(super) fn resolve(&self, address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, Error> {
        let failed = |reason: &str| Error::Address {
            to: self.name.clone(),
            reason: escape(reason.as_bytes()),
        };
        let addresses = address.to_socket_addrs();
        let addresses: Vec<_> = addresses
            .map_err(|error| failed(&error.to_string()))?
            .collect();
        if addresses.is_empty() {
            return Err(failed("the host has no address"));
        }
        Ok(addresses)
    }

    /// The error for a failed network call. `awaited` and `hint` are for a timeout.
    pub(super) fn error(
        &self,
        source: io::Error,
        doing: &'static str,
        awaited: &str,
        hint: &'static str,
    ) -> Error {
        let to = self.name.clone();
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Error::Refused {
                to,
                service: self.service,
            },
            io::ErrorKind::TimedOut => Error::TimedOut {
                to,
                awaited: awaited.to_owned(),
                after: self.timeout,
                hint,
            },
            _ => Error::Network { to, doing, source },
        }
    }
}

/// A connection to a [`Target`].
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) target: Target,
}

impl Connection {
    /// Connects to the first of the addresses that accepts. Each attempt gets an equal share of
    /// the time left, so that an unreachable first address leaves time for the second.
    pub(super) fn open(target: Target, address: impl ToSocketAddrs) -> Result<Self, Error> {
        let deadline = deadline(target.timeout);
        Self::open_until(target, address, deadline)
    }

    /// The same, until `deadline`.
    pub(super) fn open_until(
        target: Target,
        address: impl ToSocketAddrs,
        deadline: Instant,
    ) -> Result<Self, Error> {
        let addresses = target.resolve(address)?;
        let mut result = Err(io::ErrorKind::TimedOut.into());
        for (address, attempts) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
            result = time_left(deadline).and_then(|left| {
                TcpStream::connect_timeout(address, (left / attempts).max(MIN_TIMEOUT))
            });
            match &result {
                Ok(_) => {
                    log::debug!("connected to {address}");
                    break;
                }
                Err(error) => log::debug!("{address}: {error}"),
            }
        }
        match result {
            Ok(stream) => Ok(Self { stream, target }),
            Err(source) => {
                let hint = "; is the address right, and does a firewall block it?";
                Err(target.error(source, "connect", "the connection", hint))
            }
        }
    }

    /// Reads what has arrived, or waits for it; 0 is EOF.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        retry(deadline, |left| {
            self.stream.set_read_timeout(Some(left))?;
            self.stream.read(buffer)
        })
    }

    /// Writes all of it, waiting while the send buffer is full.
    pub(super) fn write_all(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = retry(deadline, |left| {
                self.stream.set_write_timeout(Some(left))?;
                self.stream.write(bytes)
            })?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        Ok(())
    }
}
