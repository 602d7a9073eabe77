//! The names to greet: which ones can be sent, and where they come from.
//!
//! **Owns** the rules for a name and the prompt for one. **Must never touch** the network: an
//! invalid name is rejected before anything is sent.
//! **Invariant**: a name that passed `check` is one message in either framing, and one datagram.

use super::{Error, write};
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::{MAX_CHUNK_BYTES, split_ending};
use std::io::{BufRead, Write};

/// The longest name, in bytes: one chunk, and the server's default limit for a datagram.
pub const MAX_NAME_BYTES: usize = MAX_CHUNK_BYTES;

/// The tutorial's three names, sent if none are given.
const DEFAULT_NAMES: [&str; 3] = ["Michael", "Tracy", "Sarah"];

/// Why a name cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// In chunk framing zero bytes are no message: TCP has nothing to send.
    #[error("it is empty")]
    Empty,
    /// A CR or LF: the server would take it as the end of the message, or see two messages.
    #[error("it contains a line ending, which would end the message there")]
    LineEnding,
    /// Over [`MAX_NAME_BYTES`]: the server would greet each piece of it.
    #[error("it is {bytes} bytes long, and the limit is {MAX_NAME_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// Checks that a name can be sent and comes back whole.
///
/// # Errors
///
/// [`Error::Name`] with the reason.
pub(super) fn check(name: &[u8]) -> Result<(), Error> {
    let source = if name.is_empty() {
        NameError::Empty
    } else if name.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        NameError::LineEnding
    } else if name.len() > MAX_NAME_BYTES {
        NameError::TooLong { bytes: name.len() }
    } else {
        return Ok(());
    };
    let name = excerpt(name);
    Err(Error::Name { name, source })
}

/// The names on the command line, or the tutorial's if there are none. All of them are checked
/// first, so that nothing is sent if one is invalid.
///
/// # Errors
///
/// [`Error::Name`] for the first invalid one.
pub fn from_arguments(
    mut names: Vec<Vec<u8>>,
) -> Result<impl Iterator<Item = Result<Vec<u8>, Error>>, Error> {
    names.iter().try_for_each(|name| check(name))?;
    if names.is_empty() {
        names = DEFAULT_NAMES.map(Into::into).into();
    }
    Ok(names.into_iter().map(Ok))
}

/// Prompts for names one at a time, the next one after the reply to the previous one; ends at an
/// empty line or at EOF.
///
/// An invalid name is explained and asked for again. `prompt` should be standard error, so that
/// the replies on standard output can be redirected.
pub fn prompted(
    mut input: impl BufRead,
    mut prompt: impl Write,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    std::iter::from_fn(move || read_name(&mut input, &mut prompt).transpose())
}

fn read_name(input: &mut impl BufRead, prompt: &mut impl Write) -> Result<Option<Vec<u8>>, Error> {
    loop {
        write(prompt, b"Name (empty to end): ")?;
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).map_err(Error::Input)?;
        if !line.ends_with(b"\n") {
            // A terminal echoes no line ending at EOF: what comes next would follow the prompt.
            write(prompt, b"\n")?;
        }
        let (name, _) = split_ending(&line);
        if name.is_empty() {
            return Ok(None);
        }
        match check(name) {
            Ok(()) => return Ok(Some(name.to_vec())),
            Err(error) => write(prompt, format!("{error}\n").as_bytes())?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn error_of(name: &[u8]) -> Option<NameError> {
        match check(name) {
            Err(Error::Name { source, .. }) => Some(source),
            other => {
                assert!(other.is_ok());
                None
            }
        }
    }

    #[test]
    fn a_name_that_would_not_come_back_whole_is_rejected() {
        let longest = [b'x'; MAX_NAME_BYTES];
        let table: &[(&[u8], Option<NameError>)] = &[
            (b"Michael", None),
            ("新 浪".as_bytes(), None),
            (b"\xff\x00", None),
            (&longest, None),
            (b"", Some(NameError::Empty)),
            (b"a\n", Some(NameError::LineEnding)),
            (b"a\nb", Some(NameError::LineEnding)),
            (b"a\r", Some(NameError::LineEnding)),
        ];
        for (name, expected) in table {
            assert_eq!(error_of(name), *expected, "{}", name.escape_ascii());
        }
        let bytes = MAX_NAME_BYTES + 1;
        assert_eq!(
            error_of(&vec![b'x'; bytes]),
            Some(NameError::TooLong { bytes })
        );
    }

    #[test]
    fn all_arguments_are_checked_first_and_none_means_the_tutorials_names() {
        assert!(from_arguments(vec![b"Michael".to_vec(), b"".to_vec()]).is_err());
        let names = from_arguments(Vec::new()).unwrap();
        let names: Vec<_> = names.map(Result::unwrap).collect();
        assert_eq!(names, DEFAULT_NAMES.map(str::as_bytes));
    }

    #[test]
    fn prompting_ends_at_an_empty_line_or_eof_and_explains_an_invalid_name() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let input = format!("Michael\r\n{long}\nTracy\n\nSarah\n");
        let mut prompt = Vec::new();
        let names: Vec<_> = prompted(input.as_bytes(), &mut prompt)
            .map(Result::unwrap)
            .collect();
        assert_eq!(names, [b"Michael".to_vec(), b"Tracy".to_vec()]);
        let prompt = String::from_utf8(prompt).unwrap();
        assert_eq!(prompt.matches("Name (empty to end): ").count(), 4);
        assert!(prompt.contains("is 1025 bytes long"), "{prompt}");

        let last: Vec<_> = prompted(&b"Sarah"[..], io::sink())
            .map(Result::unwrap)
            .collect();
        assert_eq!(last, [b"Sarah".to_vec()]);
    }
}
