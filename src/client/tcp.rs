//! The tutorial's TCP client: `connect`, `recv`, then `send` and `recv` in turn, `exit`, `close`.
//!
//! **Owns** one conversation over one connection. **Must never touch** the protocol's rules,
//! which are [`greeting`](crate::protocol::greeting)'s, nor the streams of the process.
//! **Invariant**: a name is sent only when the whole reply to the one before has come.
//!
//! TCP is a stream: one `recv` returns what has come so far, be it half a reply. The tutorial's
//! `print(s.recv(1024))` prints that half. But this client knows the reply to the last byte, so it
//! compares as bytes come and needs neither a length nor an ending to see that it is complete.

use std::io::Write;
use std::time::{Duration, Instant};

use super::wire::{Wire, deadline, is_time_out, resolve};
use super::{Error, Service, excerpt, names, show};
use crate::protocol::greeting::{BUSY, Framing, greet};

/// What one read takes at most, in bytes: the longest reply and more, so that a server's other
/// words come whole.
const READ_BYTES: usize = 4_096;
const _: () = assert!(READ_BYTES > names::MAX_NAME_BYTES + b"Hello, !\n".len());

/// How long the rest of unexpected words is waited for, so that the error quotes the sentence
/// and not its first byte.
const REST_OF_WORDS: Duration = Duration::from_secs(1);

/// The message that ends the conversation.
pub(crate) const EXIT: &[u8] = b"exit";

/// Whom to greet, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, `HOST:PORT`.
    pub to: String,
    /// What makes a message; the server's must be the same.
    pub framing: Framing,
    /// The longest wait for the connection, and again for each whole reply.
    pub timeout: Duration,
}

/// Holds the conversation: writes `Welcome!` and each reply to `out`, a line each, then says
/// `exit`. The name `exit` ends it too. With `escaped`, as a terminal needs it, see
/// [`escape`](super::escape()); otherwise the bytes are as they came.
///
/// A name is taken only once the reply before it is written, so [`names::asked`] can ask for it.
///
/// # Errors
/// The first thing that goes wrong: a bad name, no connection, a time-out, or other bytes
/// than the protocol's.
pub fn run(
    options: &Options,
    names: impl IntoIterator<Item = Result<Vec<u8>, Error>>,
    out: &mut dyn Write,
    escaped: bool,
) -> Result<(), Error> {
    let framing = options.framing;
    let mut conversation = Conversation::open(options)?;
    conversation.hear(framing.welcome(), "the welcome")?;
    show(out, shown(framing.welcome()), escaped)?;
    for name in names {
        let name = name?;
        names::check(&name)?;
        if name == EXIT {
            break;
        }
        conversation.say(&name)?;
        let mut reply = Vec::new();
        greet(&name, ending(framing), &mut reply);
        conversation.hear(&reply, &format!("the reply to {}", excerpt(&name)))?;
        show(out, shown(&reply), escaped)?;
    }
    conversation.leave();
    Ok(())
}

struct Conversation<'a> {
    wire: Wire,
    options: &'a Options,
}

impl<'a> Conversation<'a> {
    fn open(options: &'a Options) -> Result<Self, Error> {
        let addresses = resolve(&options.to, options.to.as_str())?;
        let wire = Wire::connect(&options.to, &addresses, options.timeout, Service::Tcp)?;
        Ok(Self { wire, options })
    }

    /// Sends a message in one write: in chunk framing the server greets each segment it reads.
    fn say(&mut self, name: &[u8]) -> Result<(), Error> {
        let message = [name, ending(self.options.framing)].concat();
        let end = deadline(self.options.timeout);
        self.wire.write_all(&message, end).map_err(|source| {
            if is_time_out(&source) {
                return self.timed_out("room to send a name", "");
            }
            Error::Network {
                to: self.wire.to(),
                doing: "send a name",
                source,
            }
        })
    }

    /// Waits until exactly these bytes have come, however they are cut.
    fn hear(&mut self, expected: &[u8], awaited: &str) -> Result<(), Error> {
        let end = deadline(self.options.timeout);
        let mut received = Vec::with_capacity(expected.len());
        loop {
            match self.read(&mut received, end) {
                Ok(0) => {
                    return Err(Error::Ended {
                        to: self.wire.to(),
                        awaited: awaited.to_owned(),
                        got: excerpt(&received),
                    });
                }
                Ok(_) => match compare(expected, &received) {
                    Match::Whole => return Ok(()),
                    Match::Partial => {}
                    Match::Wrong => return Err(self.unexpected(expected, received, awaited)),
                },
                Err(error) if is_time_out(&error) => {
                    let hint = match expected.strip_suffix(b"\n") {
                        Some(rest) if rest == received => {
                            "; its line's ending alone is missing, try --framing chunk"
                        }
                        _ => "; is the server busy, or another program?",
                    };
                    return Err(self.timed_out(awaited, hint));
                }
                Err(source) => {
                    return Err(Error::Network {
                        to: self.wire.to(),
                        doing: "receive",
                        source,
                    });
                }
            }
        }
    }

    /// Says `exit` and waits for the server to close, so that its log shows an exit and no
    /// reset. All replies have come by now: whatever fails here costs nobody anything.
    fn leave(&mut self) {
        if let Err(error) = self.say(EXIT) {
            log::debug!("exit not sent: {error}");
            return;
        }
        match self.read(&mut Vec::new(), deadline(self.options.timeout)) {
            Ok(0) => log::debug!("{} closed the connection", self.wire.to()),
            Ok(_) => log::warn!("{} went on talking after exit", self.wire.to()),
            Err(error) => log::debug!("no end of input after exit: {error}"),
        }
    }

    fn read(&mut self, received: &mut Vec<u8>, end: Instant) -> std::io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let count = self.wire.read(&mut buffer, end)?;
        received.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn unexpected(&mut self, expected: &[u8], mut got: Vec<u8>, awaited: &str) -> Error {
        let end = deadline(REST_OF_WORDS.min(self.options.timeout));
        while !got.ends_with(b"\n") && got.len() < READ_BYTES {
            // An end or an error now is no news: the words are the error.
            if !matches!(self.read(&mut got, end), Ok(1..)) {
                break;
            }
        }
        let to = self.wire.to();
        if got.starts_with(BUSY) {
            let words = excerpt(got.trim_ascii_end());
            return Error::Busy { to, words };
        }
        let hint = if got == [expected, b"\n"].concat() {
            " (it speaks in lines: try --framing line)"
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

    fn timed_out(&self, awaited: &str, hint: &'static str) -> Error {
        Error::TimedOut {
            to: self.wire.to(),
            awaited: awaited.to_owned(),
            after: self.options.timeout,
            hint,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    /// The start of what is expected: more must come.
    Partial,
    /// All of it and nothing else.
    Whole,
    /// A byte that differs, or one too many: nothing is due before the next name is sent.
    Wrong,
}

fn compare(expected: &[u8], received: &[u8]) -> Match {
    if received == expected {
        Match::Whole
    } else if expected.starts_with(received) {
        Match::Partial
    } else {
        Match::Wrong
    }
}

/// What ends a message besides itself.
fn ending(framing: Framing) -> &'static [u8] {
    match framing {
        Framing::Chunk => b"",
        Framing::Line => b"\n",
    }
}

/// The words without line framing's ending: [`show`] puts its own.
fn shown(reply: &[u8]) -> &[u8] {
    reply.strip_suffix(b"\n").unwrap_or(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_reply_counts_and_none_may_follow() {
        let expected = b"Hello, Michael!";
        for length in 0..expected.len() {
            assert_eq!(compare(expected, &expected[..length]), Match::Partial);
            let mut wrong = expected[..=length].to_vec();
            wrong[length] ^= 1;
            assert_eq!(compare(expected, &wrong), Match::Wrong);
        }
        assert_eq!(compare(expected, expected), Match::Whole);
        assert_eq!(compare(expected, b"Hello, Michael!\n"), Match::Wrong);
    }
}
