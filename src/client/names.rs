//! The names to greet: which ones can be sent, and where they come from.
//!
//! **Owns** the rules for a name, the reading of one per line, and the prompt for one. **Must never
//! touch** the network: an invalid name is rejected before it is sent.
//! **Invariant**: a name that passed `check` is one message in its framing, or one datagram. A line
//! takes no more memory than the longest name, however long it is.

use super::{Error, write};
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::{Framing, MAX_CHUNK_BYTES, MAX_LINE_BYTES, split_ending};
use std::io::{self, BufRead, Read, Write};

/// Why a name cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// In chunk framing zero bytes are no message: TCP has nothing to send.
    #[error("it is empty")]
    Empty,
    /// A CR or LF: the server would take it as the end of the message, or see two messages.
    #[error("it contains a line ending, which would end the message there")]
    LineEnding,
    /// Longer than a message may be: the server would greet each piece of it, or reject it.
    #[error("it is longer than {max_bytes} bytes")]
    TooLong {
        /// The longest message of this framing, or the longest datagram.
        max_bytes: usize,
    },
}

/// The longest name over TCP, in bytes.
#[must_use]
pub(crate) fn max_bytes(framing: Framing) -> usize {
    match framing {
        Framing::Chunk => MAX_CHUNK_BYTES,
        Framing::Line => MAX_LINE_BYTES,
    }
}

/// Checks that a name of at most `max_bytes` can be sent and comes back whole.
///
/// # Errors
///
/// [`Error::Name`] with the reason.
pub(crate) fn check(name: &[u8], max_bytes: usize) -> Result<(), Error> {
    check_bytes(name, max_bytes).map_err(|source| {
        let name = excerpt(name);
        Error::Name { name, source }
    })
}

fn check_bytes(name: &[u8], max_bytes: usize) -> Result<(), NameError> {
    if name.is_empty() {
        Err(NameError::Empty)
    } else if name.len() > max_bytes {
        Err(NameError::TooLong { max_bytes })
    } else if name.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        Err(NameError::LineEnding)
    } else {
        Ok(())
    }
}

/// Names read from `input`, one per line, until EOF. Each line is read only when its name is wanted.
/// An invalid one is an [`Error::Line`] with its number, and ends the names.
pub fn lines(
    mut input: impl BufRead,
    max_bytes: usize,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    let mut number = 0;
    std::iter::from_fn(move || {
        number += 1;
        let name = match read_line(&mut input, max_bytes) {
            Ok(line) => line?.name,
            Err(error) => return Some(Err(Error::Input(error))),
        };
        let checked = check_bytes(&name, max_bytes);
        Some(checked.map_or_else(|source| Err(Error::Line { number, source }), |()| Ok(name)))
    })
}

/// A line of the input.
struct Line {
    /// What precedes the line ending. Of a line that is too long for a name only the start, which is too
    /// long as well.
    name: Vec<u8>,
    /// Whether a line ending follows, and not EOF.
    is_ended: bool,
}

/// Reads a line; `None` at EOF.
fn read_line(input: &mut impl BufRead, max_bytes: usize) -> io::Result<Option<Line>> {
    // The longest name and its line ending.
    let most = max_bytes as u64 + 2;
    let mut name = Vec::new();
    if Read::take(&mut *input, most).read_until(b'\n', &mut name)? == 0 {
        return Ok(None);
    }
    // A terminal is not read again after EOF: it would wait for another line.
    let is_cut = name.len() as u64 == most;
    let is_ended = name.ends_with(b"\n") || (is_cut && ends_with_newline(input)?);
    name.truncate(split_ending(&name).0.len());
    Ok(Some(Line { name, is_ended }))
}

/// Skips the rest of a line, and returns whether it has an ending.
fn ends_with_newline(input: &mut impl BufRead) -> io::Result<bool> {
    let mut last = None;
    while last != Some(b'\n') {
        let piece = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            piece => piece?,
        };
        let count = piece.iter().position(|byte| *byte == b'\n');
        let count = count.map_or(piece.len(), |index| index + 1);
        if count == 0 {
            return Ok(false);
        }
        last = piece[..count].last().copied();
        input.consume(count);
    }
    Ok(true)
}

/// Prompts for names one at a time, the next one after the reply to the previous one; ends at an
/// empty line or at EOF.
///
/// An invalid name is explained and asked for again. `prompt` should be standard error, so that
/// the replies on standard output can be redirected.
pub fn prompted(
    mut input: impl BufRead,
    mut prompt: impl Write,
    max_bytes: usize,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    std::iter::from_fn(move || read_name(&mut input, &mut prompt, max_bytes).transpose())
}

fn read_name(
    input: &mut impl BufRead,
    prompt: &mut impl Write,
    max_bytes: usize,
) -> Result<Option<Vec<u8>>, Error> {
    loop {
        write(prompt, b"Name (empty to end): ")?;
        let line = read_line(input, max_bytes).map_err(Error::Input)?;
        if line.as_ref().is_none_or(|line| !line.is_ended) {
            // A terminal echoes no line ending at EOF: what comes next would follow the prompt.
            write(prompt, b"\n")?;
        }
        let Some(Line { name, .. }) = line else {
            return Ok(None);
        };
        if name.is_empty() {
            return Ok(None);
        }
        match check(&name, max_bytes) {
            Ok(()) => return Ok(Some(name)),
            Err(error) => write(prompt, format!("{error}\n").as_bytes())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    /// The longest name of the tests, in bytes.
    const MAX_BYTES: usize = 1_024;

    fn error_of(name: &[u8]) -> Option<NameError> {
        match check(name, MAX_BYTES) {
            Err(Error::Name { source, .. }) => Some(source),
            other => {
                assert!(other.is_ok());
                None
            }
        }
    }

    const TOO_LONG: Option<NameError> = Some(NameError::TooLong {
        max_bytes: MAX_BYTES,
    });

    #[test]
    fn a_name_that_would_not_come_back_whole_is_rejected() {
        let longest = [b'x'; MAX_BYTES];
        let table: &[(&[u8], Option<NameError>)] = &[
            (b"Michael", None),
            ("新 浪".as_bytes(), None),
            (b"\xff\x00", None),
            (&longest, None),
            (b"", Some(NameError::Empty)),
            (b"a\n", Some(NameError::LineEnding)),
            (b"a\nb", Some(NameError::LineEnding)),
            (b"a\r", Some(NameError::LineEnding)),
            (&[b'x'; MAX_BYTES + 1], TOO_LONG),
        ];
        for (name, expected) in table {
            assert_eq!(error_of(name), *expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn each_line_is_a_name_and_an_invalid_one_is_named_by_its_number() {
        let all: Vec<_> = lines(&b"Michael\r\nGrace Hopper\nlast"[..], MAX_BYTES)
            .map(Result::unwrap)
            .collect();
        assert_eq!(all, [&b"Michael"[..], b"Grace Hopper", b"last"]);
        assert!(lines(&b""[..], MAX_BYTES).next().is_none());

        let long = |bytes: usize| [b"Ada\n".to_vec(), vec![b'x'; bytes]].concat();
        for (input, wanted) in [
            (b"Ada\n\nTracy\n".to_vec(), Some(NameError::Empty)),
            (b"Ada\na\rb\n".to_vec(), Some(NameError::LineEnding)),
            (long(MAX_BYTES + 1), TOO_LONG),
            (long(MAX_BYTES + 2), TOO_LONG),
            (long(9_999_999), TOO_LONG),
        ] {
            let mut names = lines(&*input, MAX_BYTES);
            assert_eq!(names.next().map(Result::unwrap), Some(b"Ada".to_vec()));
            match names.next() {
                Some(Err(Error::Line { number: 2, source })) => assert_eq!(Some(source), wanted),
                other => panic!("{other:?}"),
            }
        }
        let longest = [&long(MAX_BYTES)[..], b"\r\nTracy"].concat();
        assert_eq!(lines(&*longest, MAX_BYTES).filter(Result::is_ok).count(), 3);
    }

    #[test]
    fn prompting_ends_at_an_empty_line_or_eof_and_explains_an_invalid_name() {
        let long = "x".repeat(9_000);
        let input = format!("Michael\r\n{long}\nTracy\n\nSarah\n");
        let mut prompt = Vec::new();
        let names: Vec<_> = prompted(input.as_bytes(), &mut prompt, MAX_BYTES)
            .map(Result::unwrap)
            .collect();
        assert_eq!(names, [b"Michael".to_vec(), b"Tracy".to_vec()]);
        let prompt = String::from_utf8(prompt).unwrap();
        assert_eq!(prompt.matches("Name (empty to end): ").count(), 4);
        assert!(prompt.contains("it is longer than 1024 bytes"), "{prompt}");

        let last: Vec<_> = prompted(&b"Sarah"[..], io::sink(), MAX_BYTES)
            .map(Result::unwrap)
            .collect();
        assert_eq!(last, [b"Sarah".to_vec()]);
    }
}
