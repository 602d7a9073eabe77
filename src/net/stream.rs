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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A stream that answers each call with the next line of its script: so many bytes, or an
    /// error.
    struct Script(VecDeque<Result<usize, io::ErrorKind>>);

    impl Script {
        fn next(&mut self) -> io::Result<usize> {
            let answer = self.0.pop_front().expect("a call that the script foresees");
            answer.map_err(io::Error::from)
        }
    }

    impl Read for Script {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.next()
        }
    }

    impl Write for Script {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.next()
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Script {
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const READABLE: Readiness = Readiness::READABLE;
    const WRITABLE: Readiness = Readiness::WRITABLE;

    /// One call of `receive` with room for eight bytes: what it returned, the readiness that it
    /// left, and its traffic.
    fn received(
        script: &[Result<usize, io::ErrorKind>],
        mut readiness: Readiness,
    ) -> (String, Readiness, Traffic) {
        let (mut traffic, mut room) = (Traffic::default(), [0; 8]);
        let mut stream = Script(script.iter().copied().collect());
        let received = receive(&mut stream, &mut readiness, &mut room, &mut traffic);
        assert!(stream.0.is_empty(), "a call that was not made");
        let words = match received {
            Received::Failed(error) => format!("Failed({:?})", error.kind()),
            other => format!("{other:?}"),
        };
        (words, readiness, traffic)
    }

    #[test]
    fn a_read_clears_readiness_by_proof_alone() {
        use io::ErrorKind::{ConnectionReset, Interrupted, WouldBlock};
        let closed = READABLE | Readiness::CLOSED;
        for (script, before, words, after, reads, bytes_in) in [
            (&[Ok(7)][..], READABLE, "Bytes(7)", Readiness::NONE, 1, 7),
            // As much as there was room for: there may be more.
            (&[Ok(8)], READABLE, "Bytes(8)", READABLE, 1, 8),
            // Short, and the end may be behind it.
            (&[Ok(7)], closed, "Bytes(7)", closed, 1, 7),
            (&[Ok(0)], closed, "End", Readiness::CLOSED, 1, 0),
            (
                &[Err(WouldBlock)],
                READABLE,
                "Blocked",
                Readiness::NONE,
                1,
                0,
            ),
            (
                &[Err(Interrupted), Ok(8)],
                READABLE,
                "Bytes(8)",
                READABLE,
                2,
                8,
            ),
            (
                &[Err(ConnectionReset)],
                READABLE,
                "Failed(ConnectionReset)",
                READABLE,
                1,
                0,
            ),
        ] {
            let traffic = Traffic {
                reads,
                bytes_in,
                ..Traffic::default()
            };
            let expected = (words.to_owned(), after, traffic);
            assert_eq!(received(script, before), expected, "{script:?}");
        }
    }

    #[test]
    fn a_write_goes_on_until_all_is_taken_or_nothing_is() {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock, WriteZero};
        for (script, outcome, after) in [
            (&[Ok(8)][..], Ok(8), WRITABLE),
            (&[Ok(3), Err(Interrupted), Ok(5)], Ok(8), WRITABLE),
            (&[Ok(3), Err(WouldBlock)], Ok(3), Readiness::NONE),
            (&[Err(WouldBlock)], Ok(0), Readiness::NONE),
            (&[Ok(3), Err(BrokenPipe)], Err(BrokenPipe), WRITABLE),
            (&[Ok(0)], Err(WriteZero), WRITABLE),
        ] {
            let (mut traffic, mut readiness) = (Traffic::default(), WRITABLE);
            let mut stream = Script(script.iter().copied().collect());
            let sent = send(&mut stream, &mut readiness, &[b'x'; 8], &mut traffic);
            let sent = sent.map_err(|error| error.kind());
            assert_eq!((sent, readiness), (outcome, after), "{script:?}");
            assert!(stream.0.is_empty(), "{script:?}: a call that was not made");
            assert_eq!(traffic.writes, script.len() as u64);
            let taken: usize = script.iter().flatten().sum();
            assert_eq!(traffic.bytes_out, taken as u64);
        }
    }

    #[test]
    fn nothing_to_send_is_no_call() {
        let (mut traffic, mut readiness) = (Traffic::default(), WRITABLE);
        let mut stream = Script(VecDeque::new());
        let sent = send(&mut stream, &mut readiness, b"", &mut traffic);
        assert_eq!(sent.expect("no call, no error"), 0);
        assert_eq!(traffic, Traffic::default());
    }
}
