//! Reading, writing and half-closing a TCP stream: the only code that does.
//!
//! **Owns** the meaning of every result of `read`, `write` and `shutdown` under edge triggering.
//! **Must never touch** what the bytes mean. **Invariant**: when a function returns, the readiness
//! is right: a bit is cleared if and only if a result proves that there is nothing more to read, or
//! no room to write (pitfall 1).
//!
//! Apart from EOF, two results prove that a socket is drained: `WouldBlock`, and a read shorter
//! than its buffer, which saves the call that would return `WouldBlock`. The second proves it only
//! where the system says so ([`SHORT_READ_DRAINS`], pitfall 25), and it has an exception and a
//! price. Data and EOF can share one event, and no second event follows: while
//! [`Readiness::CLOSED`] is set, a short read proves nothing. And a read stops at TCP's urgent
//! mark, so what a client sent after its urgent byte is read with the client's next segment.
//! Nothing is lost, and no other client waits. In return each message costs one call less.

use super::system::{Descriptor, SHORT_READ_DRAINS};
use crate::reactor::Readiness;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// A connected stream that can be half-closed: mio's, or a script in a test.
pub trait Stream: Read + Write + Descriptor {
    /// Sends FIN. Reading goes on.
    ///
    /// # Errors
    ///
    /// Those of shutdown(2): the connection may be gone already.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether a read shorter than its buffer proves that nothing is left to read.
    fn short_read_drains(&self) -> bool {
        SHORT_READ_DRAINS
    }

    /// The error that broke the connection, if one did and no call has returned it: SO_ERROR. Unlike
    /// a read it takes no input.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// The address of the peer, for the log.
    ///
    /// # Errors
    ///
    /// The connection was reset, or the stream has no addresses.
    fn peer_address(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Stream for mio::net::TcpStream {
    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Self::take_error(self)
    }

    fn peer_address(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

/// What went through streams. Calls are counted whatever they returned.
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

/// The result of a read.
#[derive(Debug)]
pub enum Received {
    /// This many bytes, at least one.
    Bytes(usize),
    /// EOF: the peer has sent everything it will.
    Eof,
    /// Nothing to read now.
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
                readiness.remove(Readiness::READABLE);
                return Received::Eof;
            }
            Ok(count) => {
                traffic.bytes_in += count as u64;
                let is_short = count < buffer.len() && stream.short_read_drains();
                if is_short && !readiness.contains(Readiness::CLOSED) {
                    readiness.remove(Readiness::READABLE);
                }
                return Received::Bytes(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.remove(Readiness::READABLE);
                return Received::Blocked;
            }
            Err(error) => return Received::Failed(error),
        }
    }
}

/// Writes until the socket has taken all of `bytes` or would block, and returns how many it took:
/// none while the stream is not writable.
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
    while sent < bytes.len() && readiness.contains(Readiness::WRITABLE) {
        traffic.writes += 1;
        match stream.write(&bytes[sent..]) {
            // Sockets never do this. Treated as broken, because retrying would spin.
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                traffic.bytes_out += count as u64;
                sent += count;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                readiness.remove(Readiness::WRITABLE);
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

    /// A stream whose calls return the next entry of its script: a number of bytes, or an error.
    struct Script(VecDeque<Result<usize, io::ErrorKind>>);

    impl Script {
        fn next(&mut self) -> io::Result<usize> {
            let answer = self.0.pop_front().expect("a call that the script expects");
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
        fn short_read_drains(&self) -> bool {
            true
        }

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Descriptor for Script {
        fn descriptor(&self) -> usize {
            0
        }
    }

    const READABLE: Readiness = Readiness::READABLE;
    const WRITABLE: Readiness = Readiness::WRITABLE;

    /// One call of `receive` with room for eight bytes: its result, the readiness it left, and
    /// its traffic.
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
    fn a_read_clears_readiness_only_on_proof() {
        use io::ErrorKind::{ConnectionReset, Interrupted, WouldBlock};
        let closed = READABLE | Readiness::CLOSED;
        for (script, before, words, after, reads, bytes_in) in [
            (&[Ok(7)][..], READABLE, "Bytes(7)", Readiness::empty(), 1, 7),
            // As much as there was room for: there may be more.
            (&[Ok(8)], READABLE, "Bytes(8)", READABLE, 1, 8),
            // Short, but EOF may follow.
            (&[Ok(7)], closed, "Bytes(7)", closed, 1, 7),
            (&[Ok(0)], closed, "Eof", Readiness::CLOSED, 1, 0),
            (
                &[Err(WouldBlock)],
                READABLE,
                "Blocked",
                Readiness::empty(),
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
    fn a_write_continues_until_all_is_taken_or_it_would_block() {
        use io::ErrorKind::{BrokenPipe, Interrupted, WouldBlock, WriteZero};
        for (script, outcome, after) in [
            (&[Ok(8)][..], Ok(8), WRITABLE),
            (&[Ok(3), Err(Interrupted), Ok(5)], Ok(8), WRITABLE),
            (&[Ok(3), Err(WouldBlock)], Ok(3), Readiness::empty()),
            (&[Err(WouldBlock)], Ok(0), Readiness::empty()),
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
    fn nothing_is_written_while_the_stream_is_not_writable() {
        let (mut traffic, mut readiness) = (Traffic::default(), READABLE);
        let mut stream = Script(VecDeque::new());
        let sent = send(&mut stream, &mut readiness, b"bytes", &mut traffic);
        assert_eq!((sent.expect("no call, no error"), traffic.writes), (0, 0));
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
