//! The tutorial's TCP client: `connect`, `recv`, then `send` and `recv` in turn, `exit`, `close`.
//!
//! **Owns** one conversation over one connection. **Must never touch** the rules of the protocol,
//! which are in [`greeting`](crate::protocol::greeting), nor the standard streams.
//! **Invariant**: a name is sent only after the whole reply to the previous one has arrived.
//!
//! TCP is a byte stream: one `recv` returns what has arrived so far, which may be half a reply.
//! The tutorial's `print(s.recv(1024))` would print that half. This client knows every byte of the
//! reply in advance, so it compares bytes as they arrive and needs neither a length nor a line
//! ending to know that the reply is complete.

use super::connection::{Connection, Target, deadline};
use super::{Error, Service, names, write_line};
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::{Framing, MAX_CHUNK_BYTES, greet, split_ending};
use crate::protocol::refusal::BUSY;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// The size of one read, in bytes: more than the longest reply in chunk framing, so that an
/// unexpected message usually arrives whole.
const READ_BYTES: usize = 4_096;
const _: () = assert!(READ_BYTES > MAX_CHUNK_BYTES + b"Hello, !".len());

/// How long to wait for the rest of an unexpected message, so that the error quotes more than its
/// first byte.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// The message that ends the conversation.
pub(crate) const EXIT: &[u8] = b"exit";

/// Which server to greet, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, `HOST:PORT`.
    pub to: String,
    /// What delimits a message; must match the server's.
    pub framing: Framing,
    /// The timeout of the connect, and of each reply.
    pub timeout: Duration,
}

/// Holds the conversation: writes the welcome and each reply to `out`, one per line, then sends
/// `exit`. The name `exit` ends it too. Replies are `escaped` for a terminal or written as they are.
///
/// A name is taken from `names` only after the reply to the previous one is written, so
/// [`names::prompted`] can ask for it.
///
/// # Errors
///
/// The first failure: an invalid name, no connection, a timeout, or a reply that is not the
/// protocol's.
pub fn run(
    options: &Options,
    names: impl IntoIterator<Item = Result<Vec<u8>, Error>>,
    out: &mut dyn Write,
    escaped: bool,
) -> Result<(), Error> {
    let (welcome, ending) = split_ending(options.framing.welcome());
    let target = Target::new(&options.to, Service::Tcp, options.timeout);
    let mut client = TcpClient {
        connection: Connection::open(target, &*options.to)?,
        timeout: options.timeout,
        ending,
    };
    client.expect(options.framing.welcome(), "the welcome")?;
    write_line(out, welcome, escaped)?;
    for name in names {
        let name = name?;
        names::check(&name, names::max_bytes(options.framing))?;
        if name == EXIT {
            break;
        }
        client.send(&name)?;
        let mut reply = Vec::new();
        greet(&name, ending, &mut reply);
        client.expect(&reply, &format!("the reply to {}", excerpt(&name)))?;
        write_line(out, split_ending(&reply).0, escaped)?;
    }
    client.exit();
    Ok(())
}

struct TcpClient {
    connection: Connection,
    timeout: Duration,
    /// What ends a message besides its last byte: the same for requests and replies.
    ending: &'static [u8],
}

impl TcpClient {
    /// Sends a message in one write: in chunk framing each read of the server is a message.
    fn send(&mut self, name: &[u8]) -> Result<(), Error> {
        let message = [name, self.ending].concat();
        self.connection
            .write_all(&message, deadline(self.timeout))
            .map_err(|error| {
                let awaited = "the server to read a name";
                self.connection
                    .target
                    .error(error, "send a name", awaited, "")
            })
    }

    /// Reads until exactly these bytes have arrived, in any number of pieces.
    fn expect(&mut self, expected: &[u8], awaited: &str) -> Result<(), Error> {
        let deadline = deadline(self.timeout);
        let mut received = Vec::with_capacity(expected.len());
        loop {
            match self.read(&mut received, deadline) {
                Ok(0) => {
                    return Err(Error::UnexpectedEof {
                        to: self.connection.target.name.clone(),
                        awaited: awaited.to_owned(),
                        got: excerpt(&received),
                    });
                }
                Ok(_) => match missing(expected, &received) {
                    Some([]) => return Ok(()),
                    Some(_) => {}
                    None => return Err(self.unexpected(expected, received, awaited)),
                },
                Err(error) => {
                    let hint = match missing(expected, &received) {
                        Some(b"\n") => "; only the line ending is missing, try --framing chunk",
                        _ => "; is the server busy, or is it another program?",
                    };
                    return Err(self
                        .connection
                        .target
                        .error(error, "receive", awaited, hint));
                }
            }
        }
    }

    /// Sends `exit` and waits for EOF, so that the server logs an exit and not a reset. All
    /// replies have arrived by now, so a failure is only logged.
    fn exit(mut self) {
        if let Err(error) = self.send(EXIT) {
            log::debug!("exit not sent: {error}");
            return;
        }
        let to = self.connection.target.name.clone();
        match self.read(&mut Vec::new(), deadline(self.timeout)) {
            Ok(0) => log::debug!("{to} closed the connection"),
            Ok(_) => log::warn!("{to} sent more data after exit"),
            Err(error) => log::debug!("no EOF after exit: {error}"),
        }
    }

    fn read(&mut self, received: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let count = self.connection.read(&mut buffer, deadline)?;
        received.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn unexpected(&mut self, expected: &[u8], mut got: Vec<u8>, awaited: &str) -> Error {
        let deadline = deadline(REST_TIMEOUT.min(self.timeout));
        while !got.ends_with(b"\n") && got.len() < READ_BYTES {
            // EOF and errors do not matter here: the message is already the error.
            if !matches!(self.read(&mut got, deadline), Ok(1..)) {
                break;
            }
        }
        let to = self.connection.target.name.clone();
        if got.starts_with(BUSY) {
            let message = excerpt(got.trim_ascii_end());
            return Error::Busy { to, message };
        }
        let hint = if got == [expected, b"\n"].concat() {
            " (the server uses line framing: try --framing line)"
        } else {
            ""
        };
        Error::Unexpected {
            to,
            awaited: awaited.to_owned(),
            got: excerpt(&got),
            hint,
        }
    }
}

/// The part of `expected` that has not arrived; `None` if something else has.
fn missing<'a>(expected: &'a [u8], received: &[u8]) -> Option<&'a [u8]> {
    expected.strip_prefix(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_only_if_every_byte_matches_and_none_follows() {
        let expected = b"Hello, Michael!";
        for length in 0..expected.len() {
            let (arrived, rest) = expected.split_at(length);
            assert_eq!(missing(expected, arrived), Some(rest));
            let mut wrong = expected[..=length].to_vec();
            wrong[length] ^= 1;
            assert_eq!(missing(expected, &wrong), None);
        }
        assert_eq!(missing(expected, expected), Some(&b""[..]));
        assert_eq!(missing(expected, b"Hello, Michael!\n"), None);
    }
}
