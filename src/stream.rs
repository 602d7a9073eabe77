//! Reading, writing and half-closing a TCP stream: the only code that does.
//!
//! **Owns** the meaning of every answer that `read`, `write` and `shutdown` give under edge
//! triggering. **Must never touch** what the bytes mean.
//! **Invariant**: when a function returns, the readiness says truly whether there may be more:
//! a bit is cleared only by proof, and no proof is passed over (pitfall 1).
//!
//! Two answers prove that a socket is drained: "would block", and a read shorter than its
//! buffer, which saves the call that would only say "would block". The second has an exception
//! and a price. Data and the end of input can share one event, and no second one comes: while
//! [`Readiness::CLOSED`] is set a short read proves nothing. And a read stops short at TCP's
//! urgent mark: what a client sent behind its urgent byte is then read with the client's own
//! next segment. Nobody else waits, nothing is lost, and each message costs one call less.

use crate::reactor::Readiness;
use std::io::{self, Read, Write};
use std::net::Shutdown;

/// A stream that can be half-closed. mio's, or a script in a test.
pub trait Stream: Read + Write {
    /// Sends the end of output; reading goes on.
    ///
    /// # Errors
    ///
    /// The socket's; it may be gone already.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

impl Stream for mio::net::TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// What went through the streams. Calls are counted whatever they returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls of `read`.
    pub reads: u64,
    /// Calls of `write`.
    pub writes: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
}

/// What a read returned.
#[derive(Debug)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The other side has sent all that it will.
    End,
    /// Nothing there at present.
    Blocked,
    /// The connection is broken.
    Failed(io::Error),
}

/// Reads once into `buffer`, which must not be empty.
#[inline]
pub fn receive<T: Stream>(
    stream: &mut T,
    readiness: &mut Readiness,
    buffer: &mut [u8],
    traffic: &mut Traffic,
) -> Received {
    loop {
        traffic.reads += 1;
        match stream.read(buffer) {
            Ok(0) => {
                readiness.clear(Readiness::READABLE);
                return Received::End;
            }
            Ok(count) => {
                traffic.bytes_in += count as u64;
                if count < buffer.len() && !readiness.contains(Readiness::CLOSED) {
                    readiness.clear(Readiness::READABLE);
                }
                return Received::Bytes(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.clear(Readiness::READABLE);
                return Received::Blocked;
            }
            Err(error) => return Received::Failed(error),
        }
    }
}

/// Writes until all of `bytes` is taken or the socket would block, and returns how many were.
///
/// # Errors
///
/// The connection is broken.
#[inline]
pub fn send<T: Stream>(
    stream: &mut T,
    readiness: &mut Readiness,
    bytes: &[u8],
    traffic: &mut Traffic,
) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        traffic.writes += 1;
        match stream.write(&bytes[sent..]) {
            // Never for a socket and bytes to write; taken as broken, or it would spin.
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                traffic.bytes_out += count as u64;
                sent += count;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.clear(Readiness::WRITABLE);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
