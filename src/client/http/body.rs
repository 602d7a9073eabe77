//! The body of a response, found among the bytes that come.
//!
//! **Owns** where each of the three forms ends (RFC 9112, sections 6 and 7). **Must never touch**
//! the network or a file: bytes in, slices of them out, nothing is copied or kept.
//! **Invariant**: what comes out does not depend on how the input was cut.

use super::{Fault, MAX_CHUNK_LINE_BYTES};

/// How a body comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// So many bytes.
    Length(u64),
    /// In chunks, each behind its size.
    Chunked,
    /// What comes until the server closes: its end and a cut connection look alike.
    UntilClose,
}

/// Where in the body the input stands.
#[derive(Debug)]
pub(super) struct Body(State);

#[derive(Debug)]
enum State {
    /// So many bytes are to come.
    Length(u64),
    /// All that comes.
    UntilClose,
    /// Inside the framing of chunks.
    Chunked(Chunked),
    /// All has come; what follows is no part of it.
    Done,
}

#[derive(Debug)]
enum Chunked {
    /// In a chunk's size; `None` before its first digit.
    Size(Option<u64>),
    /// Behind a size, in what is not understood and may be ignored (section 7.1.1).
    Extension { size: u64, bytes: usize },
    /// At the LF behind a size.
    SizeEnd(u64),
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// At the CR behind a chunk's data.
    DataCr,
    /// At the LF behind that.
    DataLf,
    /// In the fields behind the last chunk, ignored too (section 7.1.2): `line` bytes into a line.
    Trailer { line: usize, bytes: usize },
    /// At the LF of such a line.
    TrailerEnd { line: usize, bytes: usize },
    /// Behind the empty line.
    Done,
}

impl Body {
    pub(super) fn new(form: Form) -> Self {
        Self(match form {
            Form::Length(0) => State::Done,
            Form::Length(length) => State::Length(length),
            Form::UntilClose => State::UntilClose,
            Form::Chunked => State::Chunked(Chunked::Size(None)),
        })
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// How many bytes are sure to come, where the head said so.
    pub(super) fn announced(&self) -> Option<u64> {
        match self.0 {
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Takes the next piece of the body off the front of the input. The piece is empty where
    /// the input held framing alone; all of the input is taken unless the body is done.
    pub(super) fn take<'a>(&mut self, input: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
        match &mut self.0 {
            State::Done => Ok(&[]),
            State::UntilClose => Ok(std::mem::take(input)),
            State::Length(left) => {
                let piece = take_up_to(input, left);
                if *left == 0 {
                    self.0 = State::Done;
                }
                Ok(piece)
            }
            State::Chunked(chunked) => {
                let piece = chunked.take(input)?;
                if matches!(chunked, Chunked::Done) {
                    self.0 = State::Done;
                }
                Ok(piece)
            }
        }
    }

    /// The end of input: the end of the body in one of the forms, too early in the others.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.0 {
            State::UntilClose | State::Done => {
                self.0 = State::Done;
                Ok(())
            }
            State::Length(_) | State::Chunked(_) => Err(Fault::BodyEndsShort),
        }
    }
}

impl Chunked {
    fn take<'a>(&mut self, input: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
        while !matches!(self, Self::Done) {
            if let Self::Data(left) = self {
                let piece = take_up_to(input, left);
                if *left == 0 {
                    *self = Self::DataCr;
                }
                return Ok(piece);
            }
            let Some((&byte, rest)) = input.split_first() else {
                break;
            };
            *input = rest;
            *self = self.step(byte)?;
        }
        Ok(&[])
    }

    /// One byte of the framing. Lines end in CRLF and in nothing else: where one reader takes
    /// a bare LF for an end and another does not, they see two different bodies.
    fn step(&self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (&Self::Size(size), _) => return step_size(size, byte),
            (&Self::Extension { size, .. }, b'\r') => Self::SizeEnd(size),
            (Self::Extension { .. }, b'\n') => return Err(Fault::Chunk),
            (&Self::Extension { size, bytes }, _) => Self::Extension {
                size,
                bytes: count_line(bytes)?,
            },
            (Self::SizeEnd(0), b'\n') => Self::Trailer { line: 0, bytes: 0 },
            (&Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size(None),
            (&Self::Trailer { line, bytes }, b'\r') => Self::TrailerEnd { line, bytes },
            (Self::Trailer { .. }, b'\n') => return Err(Fault::Chunk),
            (&Self::Trailer { line, bytes }, _) => Self::Trailer {
                line: line + 1,
                bytes: count_line(bytes)?,
            },
            (Self::TrailerEnd { line: 0, .. }, b'\n') => Self::Done,
            (&Self::TrailerEnd { bytes, .. }, b'\n') => Self::Trailer { line: 0, bytes },
            _ => return Err(Fault::Chunk),
        })
    }
}

fn step_size(size: Option<u64>, byte: u8) -> Result<Chunked, Fault> {
    if let Some(digit) = char::from(byte).to_digit(16) {
        let size = size.unwrap_or(0).checked_mul(16).ok_or(Fault::Chunk)?;
        return Ok(Chunked::Size(Some(size | u64::from(digit))));
    }
    let size = size.ok_or(Fault::Chunk)?;
    match byte {
        b'\r' => Ok(Chunked::SizeEnd(size)),
        // Some servers pad a size with blanks.
        b';' | b' ' | b'\t' => Ok(Chunked::Extension { size, bytes: 1 }),
        _ => Err(Fault::Chunk),
    }
}

fn count_line(bytes: usize) -> Result<usize, Fault> {
    if bytes >= MAX_CHUNK_LINE_BYTES {
        return Err(Fault::ChunkLineTooLong);
    }
    Ok(bytes + 1)
}

/// At most `left` bytes off the front of the input, and counts them.
fn take_up_to<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    // What exceeds the address space is more than the input has, too.
    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    let (piece, rest) = input.split_at(count);
    *input = rest;
    *left -= count as u64;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and what was left behind it, or the fault; the input cut into pieces of a size.
    fn decode(form: Form, input: &[u8], cut: usize) -> Result<(Vec<u8>, usize), Fault> {
        let mut body = Body::new(form);
        let (mut data, mut left) = (Vec::new(), 0);
        for mut piece in input.chunks(cut) {
            while !piece.is_empty() && !body.is_done() {
                data.extend_from_slice(body.take(&mut piece)?);
            }
            left += piece.len();
        }
        body.end()?;
        Ok((data, left))
    }

    fn check(form: Form, input: &[u8], expected: Result<(&[u8], usize), Fault>) {
        let expected = expected.map(|(data, left)| (data.to_vec(), left));
        for cut in 1..=input.len().max(1) {
            let decoded = decode(form, input, cut);
            assert_eq!(decoded, expected, "{} cut {cut}", input.escape_ascii());
        }
    }

    #[test]
    fn a_length_and_a_close_end_a_body() {
        check(Form::Length(5), b"hello", Ok((b"hello", 0)));
        check(Form::Length(5), b"hello!!", Ok((b"hello", 2)));
        check(Form::Length(5), b"hell", Err(Fault::BodyEndsShort));
        check(Form::Length(u64::MAX), b"hell", Err(Fault::BodyEndsShort));
        check(Form::Length(0), b"x", Ok((b"", 1)));
        check(Form::UntilClose, b"hello", Ok((b"hello", 0)));
        check(Form::UntilClose, b"", Ok((b"", 0)));
    }

    #[test]
    fn chunks_are_put_together_however_the_input_is_cut() {
        type Row = (&'static [u8], Result<(&'static [u8], usize), Fault>);
        let table: &[Row] = &[
            (b"0\r\n\r\n", Ok((b"", 0))),
            (b"5\r\nhello\r\n0\r\n\r\n", Ok((b"hello", 0))),
            (b"5\r\nhello\r\n0\r\n\r\nmore", Ok((b"hello", 4))),
            (b"00a\r\n0123456789\r\n0\r\n\r\n", Ok((b"0123456789", 0))),
            (
                b"A\r\n01234\r\n789\r\n000\r\n\r\n",
                Ok((b"01234\r\n789", 0)),
            ),
            (b"5;a=\"b\"\r\nhello\r\n0;z\r\n\r\n", Ok((b"hello", 0))),
            (b"5  \r\nhello\r\n0\t\r\n\r\n", Ok((b"hello", 0))),
            (
                b"1\r\na\r\n1\r\nb\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
                Ok((b"ab", 0)),
            ),
            (b"", Err(Fault::BodyEndsShort)),
            (b"5\r\nhell", Err(Fault::BodyEndsShort)),
            (b"5\r\nhello\r\n", Err(Fault::BodyEndsShort)),
            (b"5\r\nhello\r\n0\r\n", Err(Fault::BodyEndsShort)),
            (b"0\r\nX: y\r\n", Err(Fault::BodyEndsShort)),
            (b"5\r\nhello!\r\n", Err(Fault::Chunk)),
            (b"5\nhello\n0\n\n", Err(Fault::Chunk)),
            (b"5;a\nhello", Err(Fault::Chunk)),
            (b"5\r\rhello", Err(Fault::Chunk)),
            (b"5\r\nhello\r\r", Err(Fault::Chunk)),
            (b"0\r\nX: y\n\r\n", Err(Fault::Chunk)),
            (b"0\r\nX: y\rz", Err(Fault::Chunk)),
            (b"\r\nhello", Err(Fault::Chunk)),
            (b";a\r\n", Err(Fault::Chunk)),
            (b" 5\r\nhello", Err(Fault::Chunk)),
            (b"0x5\r\nhello", Err(Fault::Chunk)),
            (b"-5\r\nhello", Err(Fault::Chunk)),
            (b"+5\r\nhello", Err(Fault::Chunk)),
            (b"g\r\nhello", Err(Fault::Chunk)),
            (b"10000000000000000\r\nhello", Err(Fault::Chunk)),
            (b"ffffffffffffffff\r\nhello", Err(Fault::BodyEndsShort)),
        ];
        for (input, expected) in table {
            check(Form::Chunked, input, expected.clone());
        }
    }

    #[test]
    fn what_is_ignored_is_limited_too() {
        let longest = "x".repeat(MAX_CHUNK_LINE_BYTES - 1);
        for (input, expected) in [
            (format!("0;{longest}\r\n\r\n"), Ok((Vec::new(), 0))),
            (
                format!("0;{longest}x\r\n\r\n"),
                Err(Fault::ChunkLineTooLong),
            ),
            (format!("0\r\n{longest}\r\nx\r\n\r\n"), Ok((Vec::new(), 0))),
            (
                format!("0\r\n{longest}\r\nxx\r\n\r\n"),
                Err(Fault::ChunkLineTooLong),
            ),
        ] {
            for cut in [1, 7, input.len()] {
                assert_eq!(decode(Form::Chunked, input.as_bytes(), cut), expected);
            }
        }
    }
}
