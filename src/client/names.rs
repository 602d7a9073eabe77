//! The names to be greeted: which are sent at all, and where they come from.
//!
//! **Owns** the rules for a name and the dialogue that asks for one. **Must never touch** the
//! network: a bad name is refused before anything is sent.
//! **Invariant**: a name that passed [`check`] is one message in either framing and one datagram.

use std::io::{self, BufRead, Write};

use super::{Error, excerpt};
use crate::protocol::greeting::{MAX_CHUNK_BYTES, split_ending};

/// The longest name, in bytes: one chunk, and the server's default limit for a datagram.
pub const MAX_NAME_BYTES: usize = MAX_CHUNK_BYTES;

/// The tutorial's three, sent where no name is given.
pub const TUTORIAL: [&str; 3] = ["Michael", "Tracy", "Sarah"];

/// Why a name is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// No bytes are no message in chunk framing: TCP has nothing to send.
    Empty,
    /// A CR or LF in it: the server would take it for the message's end, or for two messages.
    LineEnding,
    /// Over [`MAX_NAME_BYTES`]: the server would greet each piece of it.
    TooLong {
        /// How many it has.
        bytes: usize,
    },
}

/// Whether a name can be sent and come back whole.
///
/// # Errors
/// [`Error::Name`] with the reason.
pub fn check(name: &[u8]) -> Result<(), Error> {
    let fault = if name.is_empty() {
        NameFault::Empty
    } else if name.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        NameFault::LineEnding
    } else if name.len() > MAX_NAME_BYTES {
        NameFault::TooLong { bytes: name.len() }
    } else {
        return Ok(());
    };
    Err(Error::Name {
        name: excerpt(name),
        fault,
    })
}

/// The names of a command line, or [`TUTORIAL`] if there are none. All are checked first, so
/// that a bad one is told before anything is sent.
///
/// # Errors
/// [`Error::Name`] for the first bad one.
pub fn given(names: Vec<Vec<u8>>) -> Result<impl Iterator<Item = Result<Vec<u8>, Error>>, Error> {
    names.iter().try_for_each(|name| check(name))?;
    let names = if names.is_empty() {
        TUTORIAL.map(|name| name.as_bytes().to_vec()).to_vec()
    } else {
        names
    };
    Ok(names.into_iter().map(Ok))
}

/// Asks a person for one name after the other, each when the reply before it has come; an empty
/// line or end of input ends it.
///
/// A bad name is explained and asked for again. `prompt` should be standard error, so that the
/// replies can be redirected apart from the questions.
pub fn asked(
    mut input: impl BufRead,
    mut prompt: impl Write,
) -> impl Iterator<Item = Result<Vec<u8>, Error>> {
    std::iter::from_fn(move || ask(&mut input, &mut prompt).transpose())
}

fn ask(input: &mut impl BufRead, prompt: &mut impl Write) -> Result<Option<Vec<u8>>, Error> {
    loop {
        put(prompt, "Name (empty to end): ")?;
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).map_err(Error::Input)?;
        if line.is_empty() {
            // End of input echoes no line ending; without one the shell's prompt would follow ours.
            put(prompt, "\n")?;
        }
        let (name, _) = split_ending(&line);
        if name.is_empty() {
            return Ok(None);
        }
        match check(name) {
            Ok(()) => return Ok(Some(name.to_vec())),
            Err(error) => put(prompt, &format!("{error}\n"))?,
        }
    }
}

fn put(prompt: &mut impl Write, text: &str) -> Result<(), Error> {
    let put: io::Result<()> = prompt
        .write_all(text.as_bytes())
        .and_then(|()| prompt.flush());
    put.map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &[u8]) -> Option<NameFault> {
        match check(name) {
            Err(Error::Name { fault, .. }) => Some(fault),
            other => {
                assert!(other.is_ok());
                None
            }
        }
    }

    #[test]
    fn a_name_that_would_not_come_back_whole_is_refused() {
        let longest = [b'x'; MAX_NAME_BYTES];
        let table: &[(&[u8], Option<NameFault>)] = &[
            (b"Michael", None),
            ("新 浪".as_bytes(), None),
            (b"\xff\x00", None),
            (&longest, None),
            (b"", Some(NameFault::Empty)),
            (b"a\n", Some(NameFault::LineEnding)),
            (b"a\nb", Some(NameFault::LineEnding)),
            (b"a\r", Some(NameFault::LineEnding)),
        ];
        for (name, expected) in table {
            assert_eq!(fault(name), *expected, "{}", name.escape_ascii());
        }
        let bytes = MAX_NAME_BYTES + 1;
        assert_eq!(
            fault(&vec![b'x'; bytes]),
            Some(NameFault::TooLong { bytes })
        );
    }

    #[test]
    fn all_given_names_are_checked_at_once_and_none_means_the_tutorials() {
        assert!(given(vec![b"Michael".to_vec(), b"".to_vec()]).is_err());
        let names: Vec<_> = given(Vec::new()).unwrap().map(Result::unwrap).collect();
        assert_eq!(names, TUTORIAL.map(str::as_bytes));
    }

    #[test]
    fn asking_ends_at_an_empty_line_or_the_end_and_explains_a_bad_name() {
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        let input = format!("Michael\r\n{long}\nTracy\n\nSarah\n");
        let mut prompt = Vec::new();
        let names: Vec<_> = asked(input.as_bytes(), &mut prompt)
            .map(Result::unwrap)
            .collect();
        assert_eq!(names, [b"Michael".to_vec(), b"Tracy".to_vec()]);
        let prompt = String::from_utf8(prompt).unwrap();
        assert_eq!(prompt.matches("Name (empty to end): ").count(), 4);
        assert!(prompt.contains("has 1025 bytes"), "{prompt}");

        let last: Vec<_> = asked(&b"Sarah"[..], io::sink())
            .map(Result::unwrap)
            .collect();
        assert_eq!(last, [b"Sarah".to_vec()]);
    }
}
