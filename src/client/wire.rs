//! A blocking TCP connection on which every wait has an end.
//!
//! **Owns** resolving, connecting, and reading and writing to a deadline. **Must never touch**
//! what is said over it. **Invariant**: no call outlasts its deadline, however slowly the other
//! side drips: a socket time-out alone starts anew with every byte.
//!
//! The resolver is the exception: `getaddrinfo` blocks for as long as the system's settings
//! let it, commonly some seconds, and `std` offers no limit.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::{Error, Service, escape};

/// A longer limit is as good as none, and so large a one overflows an `Instant`: 365 days.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// `std` refuses a time-out of zero, which a share of a short one may round down to.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// When a wait of `timeout` from now must end.
pub(super) fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST_WAIT)
}

/// The time left, or [`io::ErrorKind::TimedOut`]: the sockets take zero for "without a limit".
pub(super) fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Whether an error of a socket with a time-out is that time-out: Unix reports it as "would block".
pub(super) fn is_time_out(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Every address of `HOST:PORT`, or of a host and a port.
pub(super) fn resolve(to: &str, address: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, Error> {
    let failed = |reason: String| Error::Address {
        to: escape(to.as_bytes()),
        reason,
    };
    let addresses: Vec<_> = address
        .to_socket_addrs()
        .map_err(|error| failed(escape(error.to_string().as_bytes())))?
        .collect();
    if addresses.is_empty() {
        return Err(failed("the host has no address".to_owned()));
    }
    Ok(addresses)
}

/// A connection and the name under which messages speak of its server.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    to: String,
}

impl Wire {
    /// Connects to the first of the addresses that accepts. Each gets its share of the time that
    /// is left, so that a dead first address does not keep a living second one from being tried.
    pub(super) fn connect(
        to: &str,
        addresses: &[SocketAddr],
        timeout: Duration,
        service: Service,
    ) -> Result<Self, Error> {
        let end = deadline(timeout);
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for (address, still) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let share = u32::try_from(still).unwrap_or(u32::MAX);
            let connected = time_left(end).and_then(|left| {
                TcpStream::connect_timeout(address, (left / share).max(SHORTEST_WAIT))
            });
            match connected {
                Ok(stream) => {
                    log::debug!("connected to {address}");
                    let to = to.to_owned();
                    return Ok(Self { stream, to });
                }
                Err(error) => {
                    log::debug!("{address}: {error}");
                    last = error;
                }
            }
        }
        Err(connect_error(to, last, timeout, service))
    }

    /// The server, for messages.
    pub(super) fn to(&self) -> String {
        self.to.clone()
    }

    /// Reads what is there, and waits for it until the deadline at the longest; 0 is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(time_left(deadline)?))?;
            match self.stream.read(buffer) {
                // The loop's first line ends it once the deadline has passed: the kernel rounds
                // the time-out to its own ticks and a signal may cut it short.
                Err(error) if is_time_out(&error) || error.kind() == io::ErrorKind::Interrupted => {
                }
                done => return done,
            }
        }
    }

    /// Writes it all, and waits for room until the deadline at the longest.
    pub(super) fn write_all(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(time_left(deadline)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_time_out(&error) || error.kind() == io::ErrorKind::Interrupted => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn connect_error(to: &str, error: io::Error, timeout: Duration, service: Service) -> Error {
    let to = to.to_owned();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Error::Refused { to, service },
        io::ErrorKind::TimedOut => Error::TimedOut {
            to,
            awaited: "the connection".to_owned(),
            after: timeout,
            hint: "; is the address right, and is a firewall between?",
        },
        _ => Error::Network {
            to,
            doing: "connect",
            source: error,
        },
    }
}
