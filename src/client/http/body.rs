//! The body of a response, extracted from the bytes received.
//!
//! **Owns** where a body ends in each of the three framings (RFC 9112, sections 6 and 7).
//! **Must never touch** the network or a file: bytes in, slices of them out, no copy.
//! **Invariant**: the output does not depend on how the input was split into reads.

use super::{MAX_CHUNK_LINE_BYTES, ResponseError};

/// How a body is framed, and how far it has been decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The number of bytes that remain.
    Length(u64),
    /// A sequence of chunks, each after its size.
    Chunked(Chunk),
    /// Everything until EOF, so that truncation cannot be detected.
    UntilClose,
}

/// The position in the framing of chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the size of a chunk; `None` before its first digit.
    Size(Option<u64>),
    /// In a chunk extension, which is ignored (section 7.1.1).
    Extension {
        /// The size of the chunk.
        size: u64,
        /// The length of the extension so far.
        bytes: usize,
    },
    /// At the LF after a size.
    SizeLf(u64),
    /// In the data of a chunk, of which this many bytes remain.
    Data(u64),
    /// At the CR after the data.
    DataCr,
    /// At the LF after the data.
    DataLf,
    /// In the trailer fields, which are ignored (section 7.1.2).
    Trailer {
        /// Bytes into a line.
        line: usize,
        /// Bytes into all of them.
        bytes: usize,
    },
    /// At the LF after a line of the trailer.
    TrailerLf {
        /// Bytes in that line.
        line: usize,
        /// Bytes in all lines.
        bytes: usize,
    },
    /// After the empty line.
    Done,
}

impl Body {
    /// A chunked body.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size(None));

    /// Whether the body is complete. Further input is not part of it.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// The number of bytes that remain, if the header announced a length.
    pub fn announced(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next piece of the body off the front of the input. The piece is empty if the
    /// input held only framing. Repeated until the body is done, this consumes all the input.
    ///
    /// # Errors
    ///
    /// The framing is invalid.
    pub fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<&'a [u8], ResponseError> {
        match self {
            Self::Length(left) => Ok(take_up_to(input, left)),
            Self::Chunked(chunk) => chunk.decode(input),
            Self::UntilClose => Ok(std::mem::take(input)),
        }
    }

    /// Checks that the body may end here, at EOF.
    ///
    /// # Errors
    ///
    /// It may not: the body is truncated.
    pub fn at_eof(&self) -> Result<(), ResponseError> {
        match self {
            Self::UntilClose => Ok(()),
            _ if self.is_done() => Ok(()),
            _ => Err(ResponseError::BodyTruncated),
        }
    }
}

impl Chunk {
    fn decode<'a>(&mut self, input: &mut &'a [u8]) -> Result<&'a [u8], ResponseError> {
        while *self != Self::Done {
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

    /// Consumes one byte of framing. Only CRLF ends a line: if one recipient accepts a bare LF and
    /// another does not, they see two different bodies.
    fn step(&self, byte: u8) -> Result<Self, ResponseError> {
        Ok(match (self, byte) {
            (&Self::Size(size), _) => return step_size(size, byte),
            (&Self::Extension { size, .. }, b'\r') => Self::SizeLf(size),
            (&Self::Extension { size, bytes }, _) if byte != b'\n' => Self::Extension {
                size,
                bytes: count_ignored(bytes)?,
            },
            (Self::SizeLf(0), b'\n') => Self::Trailer { line: 0, bytes: 0 },
            (&Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size(None),
            (&Self::Trailer { line, bytes }, b'\r') => Self::TrailerLf { line, bytes },
            (&Self::Trailer { line, bytes }, _) if byte != b'\n' => Self::Trailer {
                line: line + 1,
                bytes: count_ignored(bytes)?,
            },
            (Self::TrailerLf { line: 0, .. }, b'\n') => Self::Done,
            (&Self::TrailerLf { bytes, .. }, b'\n') => Self::Trailer { line: 0, bytes },
            _ => return Err(ResponseError::InvalidChunk),
        })
    }
}

fn step_size(size: Option<u64>, byte: u8) -> Result<Chunk, ResponseError> {
    const INVALID: ResponseError = ResponseError::InvalidChunk;
    if let Some(digit) = char::from(byte).to_digit(16) {
        let size = size.unwrap_or(0).checked_mul(16).ok_or(INVALID)?;
        return Ok(Chunk::Size(Some(size | u64::from(digit))));
    }
    let size = size.ok_or(INVALID)?;
    match byte {
        b'\r' => Ok(Chunk::SizeLf(size)),
        // Some servers pad a size with spaces.
        b';' | b' ' | b'\t' => Ok(Chunk::Extension { size, bytes: 1 }),
        _ => Err(INVALID),
    }
}

fn count_ignored(bytes: usize) -> Result<usize, ResponseError> {
    if bytes >= MAX_CHUNK_LINE_BYTES {
        return Err(ResponseError::ChunkLineTooLong);
    }
    Ok(bytes + 1)
}

/// Takes at most `left` bytes off the front of the input, and counts them down.
fn take_up_to<'a>(input: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    // A number beyond the address space also exceeds the input.
    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    let (piece, rest) = input.split_at(count);
    *input = rest;
    *left -= count as u64;
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes the input in pieces of `cut` bytes: the body, and the number of bytes after it.
    fn decode(body: &Body, input: &[u8], cut: usize) -> Result<(Vec<u8>, usize), ResponseError> {
        let mut body = body.clone();
        let (mut data, mut left) = (Vec::new(), 0);
        for mut piece in input.chunks(cut) {
            while !piece.is_empty() && !body.is_done() {
                data.extend_from_slice(body.decode(&mut piece)?);
            }
            left += piece.len();
        }
        body.at_eof()?;
        Ok((data, left))
    }

    fn check(body: &Body, input: &[u8], expected: Result<(&[u8], usize), ResponseError>) {
        let expected = expected.map(|(data, left)| (data.to_vec(), left));
        for cut in 1..=input.len().max(1) {
            let decoded = decode(body, input, cut);
            assert_eq!(decoded, expected, "{} cut {cut}", input.escape_ascii());
        }
    }

    #[test]
    fn a_length_or_eof_ends_a_body() {
        check(&Body::Length(5), b"hello", Ok((b"hello", 0)));
        check(&Body::Length(5), b"hello!!", Ok((b"hello", 2)));
        check(&Body::Length(5), b"hell", Err(ResponseError::BodyTruncated));
        check(
            &Body::Length(u64::MAX),
            b"hell",
            Err(ResponseError::BodyTruncated),
        );
        check(&Body::Length(0), b"x", Ok((b"", 1)));
        check(&Body::UntilClose, b"hello", Ok((b"hello", 0)));
        check(&Body::UntilClose, b"", Ok((b"", 0)));
    }

    #[test]
    fn chunks_are_joined_however_the_input_is_split() {
        type Row = (&'static [u8], Result<(&'static [u8], usize), ResponseError>);
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
            (b"", Err(ResponseError::BodyTruncated)),
            (b"5\r\nhell", Err(ResponseError::BodyTruncated)),
            (b"5\r\nhello\r\n", Err(ResponseError::BodyTruncated)),
            (b"5\r\nhello\r\n0\r\n", Err(ResponseError::BodyTruncated)),
            (b"0\r\nX: y\r\n", Err(ResponseError::BodyTruncated)),
            (b"5\r\nhello!\r\n", Err(ResponseError::InvalidChunk)),
            (b"5\nhello\n0\n\n", Err(ResponseError::InvalidChunk)),
            (b"5;a\nhello", Err(ResponseError::InvalidChunk)),
            (b"5\r\rhello", Err(ResponseError::InvalidChunk)),
            (b"5\r\nhello\r\r", Err(ResponseError::InvalidChunk)),
            (b"0\r\nX: y\n\r\n", Err(ResponseError::InvalidChunk)),
            (b"0\r\nX: y\rz", Err(ResponseError::InvalidChunk)),
            (b"\r\nhello", Err(ResponseError::InvalidChunk)),
            (b";a\r\n", Err(ResponseError::InvalidChunk)),
            (b" 5\r\nhello", Err(ResponseError::InvalidChunk)),
            (b"0x5\r\nhello", Err(ResponseError::InvalidChunk)),
            (b"-5\r\nhello", Err(ResponseError::InvalidChunk)),
            (b"+5\r\nhello", Err(ResponseError::InvalidChunk)),
            (b"g\r\nhello", Err(ResponseError::InvalidChunk)),
            (
                b"10000000000000000\r\nhello",
                Err(ResponseError::InvalidChunk),
            ),
            (
                b"ffffffffffffffff\r\nhello",
                Err(ResponseError::BodyTruncated),
            ),
        ];
        for (input, expected) in table {
            check(&Body::CHUNKED, input, expected.clone());
        }
    }

    #[test]
    fn extensions_and_trailers_are_limited_too() {
        let longest = "x".repeat(MAX_CHUNK_LINE_BYTES - 1);
        for (input, expected) in [
            (format!("0;{longest}\r\n\r\n"), Ok((Vec::new(), 0))),
            (
                format!("0;{longest}x\r\n\r\n"),
                Err(ResponseError::ChunkLineTooLong),
            ),
            (format!("0\r\n{longest}\r\nx\r\n\r\n"), Ok((Vec::new(), 0))),
            (
                format!("0\r\n{longest}\r\nxx\r\n\r\n"),
                Err(ResponseError::ChunkLineTooLong),
            ),
        ] {
            for cut in [1, 7, input.len()] {
                assert_eq!(decode(&Body::CHUNKED, input.as_bytes(), cut), expected);
            }
        }
    }
}
