//! The greetings: messages in, replies out.
//!
//! **Owns** what a message is, how it is answered, and what ends a conversation. **Must never
//! touch** a socket, a clock or the log: the loop, the thread per client and the tests call the
//! same functions. **Invariant**: the replies depend only on the bytes and, in line framing, not on
//! how reads divide them.
//!
//! A server sends [`Framing::welcome`] first. It answers by the framing: [`answer_chunk`] for the
//! tutorial's "what one `recv` returns is one message", [`answer_lines`] and [`answer_last_line`]
//! for lines, [`answer_datagram`] for UDP. Names are opaque bytes and need not be UTF-8.

use crate::protocol::buffer::Buffer;
use memchr::memchr_iter;

/// The longest message in chunk framing, in bytes: the tutorial's `recv(1024)`.
pub const MAX_CHUNK_BYTES: usize = 1_024;

/// Bytes per read in line framing: large enough that a flood of lines costs few system calls,
/// small enough that a read of nothing but empty lines, 4,096 messages, neither delays the other
/// clients for long nor produces too many replies.
pub const LINE_READ_BYTES: usize = 4 * 1_024;

/// The longest line, in bytes without its ending. Without a limit, one client that never ends its
/// line could use all memory.
pub const MAX_LINE_BYTES: usize = 65_536;

/// The last reply to a client whose line is longer than [`MAX_LINE_BYTES`].
pub const LINE_TOO_LONG: &[u8] = b"Error: line longer than 65536 bytes\n";

/// The longest datagram whose reply fits into one datagram over IPv4, in bytes.
pub const MAX_DATAGRAM_BYTES: usize = 65_507 - b"Hello, !".len();

/// The bytes of a reply around its name. The reply to a line is this much longer than the line
/// without its ending, and up to this many times as long as the line with its ending.
pub const REPLY_OVERHEAD_BYTES: usize = b"Hello, !\n".len();

const HELLO: &[u8] = b"Hello, ";
const EXIT: &[u8] = b"exit";

/// How a stream of bytes is divided into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// One read is one message, of at most [`MAX_CHUNK_BYTES`], as in the tutorial.
    #[default]
    Chunk,
    /// One line is one message, of at most [`MAX_LINE_BYTES`] without its LF or CRLF.
    Line,
}

impl Framing {
    /// What the server sends when it accepts a client.
    #[must_use]
    pub fn welcome(self) -> &'static [u8] {
        match self {
            Self::Chunk => b"Welcome!",
            Self::Line => b"Welcome!\n",
        }
    }

    /// The most bytes that the server reads at once.
    #[must_use]
    pub fn read_bytes(self) -> usize {
        match self {
            Self::Chunk => MAX_CHUNK_BYTES,
            Self::Line => LINE_READ_BYTES,
        }
    }
}

/// What a client sent that ends the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The message `exit`: it gets no reply, and further input is discarded.
    Exit,
    /// A line over [`MAX_LINE_BYTES`]: the reply is [`LINE_TOO_LONG`], and further input is
    /// discarded.
    LineTooLong,
}

/// What the answered input contained. The replies themselves are in the caller's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Completed messages, `exit` included.
    pub messages: u32,
    /// Whether the conversation ends after the replies.
    pub end: Option<End>,
}

impl Answered {
    /// Whether the input completed neither a message nor the conversation.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// Answers one read in [`Framing::Chunk`]: the chunk is one message.
///
/// One line ending at its end is not part of the name, and ends the reply too: `nc` sends whole
/// lines.
#[inline]
pub fn answer_chunk(chunk: &[u8], replies: &mut Vec<u8>) -> Answered {
    let (name, ending) = split_ending(chunk);
    let end = (name == EXIT).then_some(End::Exit);
    if end.is_none() {
        greet(name, ending, replies);
    }
    Answered { messages: 1, end }
}

/// Answers one read in [`Framing::Line`]: any number of lines, in order.
///
/// `partial` holds the incomplete line that the last read left, and then the one that this read
/// leaves. After `exit` or a line that is too long the rest of the input is discarded.
pub fn answer_lines(partial: &mut Buffer, input: &[u8], replies: &mut Vec<u8>) -> Answered {
    let mut answered = Answered::default();
    let mut start = 0;
    for line_feed in memchr_iter(b'\n', input) {
        let piece = &input[start..line_feed];
        start = line_feed + 1;
        let end = if partial.is_empty() {
            answer_line(strip_carriage_return(piece), replies)
        } else {
            partial.push(piece);
            let end = answer_line(strip_carriage_return(partial.as_slice()), replies);
            partial.clear();
            end
        };
        answered.messages += u32::from(end != Some(End::LineTooLong));
        if end.is_some() {
            answered.end = end;
            return answered;
        }
    }
    // A CR at the end does not count: it may belong to a CRLF.
    let rest = &input[start..];
    let length = partial.len() + rest.len();
    let last_is_cr = rest.last().or_else(|| partial.as_slice().last()) == Some(&b'\r');
    if length - usize::from(last_is_cr) > MAX_LINE_BYTES {
        partial.clear();
        replies.extend_from_slice(LINE_TOO_LONG);
        answered.end = Some(End::LineTooLong);
    } else {
        partial.push(rest);
    }
    answered
}

/// Answers the incomplete line at EOF in [`Framing::Line`]: it is a message. A CR at its end is
/// part of the name, since no LF follows.
pub fn answer_last_line(partial: &mut Buffer, replies: &mut Vec<u8>) -> Answered {
    if partial.is_empty() {
        return Answered::default();
    }
    let end = answer_line(partial.as_slice(), replies);
    partial.clear();
    Answered {
        messages: u32::from(end != Some(End::LineTooLong)),
        end,
    }
}

/// Answers one datagram. A datagram that is itself a greeting gets no reply: returns `false`, with
/// `reply` unchanged.
///
/// Otherwise one forged packet could make two servers greet each other forever, each reply eight
/// bytes longer than the last (CVE-2024-2169). `exit` is a name here: there is no connection to
/// close.
#[must_use]
pub fn answer_datagram(datagram: &[u8], reply: &mut Vec<u8>) -> bool {
    let (name, ending) = split_ending(datagram);
    if is_greeting(name) {
        return false;
    }
    greet(name, ending, reply);
    true
}

/// Appends `Hello, NAME!` and the ending to `replies`. Always inlined, so that the compiler knows
/// the length of the ending in the loop over lines: a copy of unknown length is a function call.
#[inline(always)]
pub fn greet(name: &[u8], ending: &[u8], replies: &mut Vec<u8>) {
    replies.extend_from_slice(HELLO);
    replies.extend_from_slice(name);
    replies.push(b'!');
    replies.extend_from_slice(ending);
}

/// Splits a message into its name and its line ending: LF, CRLF or nothing.
#[must_use]
pub fn split_ending(message: &[u8]) -> (&[u8], &[u8]) {
    let ending_bytes = match message {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    message.split_at(message.len() - ending_bytes)
}

fn is_greeting(name: &[u8]) -> bool {
    name.strip_prefix(HELLO)
        .is_some_and(|rest| rest.ends_with(b"!"))
}

fn answer_line(line: &[u8], replies: &mut Vec<u8>) -> Option<End> {
    if line.len() > MAX_LINE_BYTES {
        replies.extend_from_slice(LINE_TOO_LONG);
        return Some(End::LineTooLong);
    }
    if line == EXIT {
        return Some(End::Exit);
    }
    greet(line, b"\n", replies);
    None
}

fn strip_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::buffer::SMALL_BYTES;

    fn chunk(input: &[u8]) -> (Vec<u8>, Answered) {
        let mut replies = Vec::new();
        let answered = answer_chunk(input, &mut replies);
        (replies, answered)
    }

    /// Answers the pieces, one per read, and then EOF.
    fn lines(pieces: &[&[u8]]) -> (Vec<u8>, Answered) {
        let (mut partial, mut replies) = (Buffer::default(), Vec::new());
        let mut total = Answered::default();
        for piece in pieces {
            let answered = answer_lines(&mut partial, piece, &mut replies);
            total.messages += answered.messages;
            total.end = answered.end;
            if total.end.is_some() {
                return (replies, total);
            }
        }
        let answered = answer_last_line(&mut partial, &mut replies);
        total.messages += answered.messages;
        total.end = answered.end;
        (replies, total)
    }

    #[test]
    fn a_chunk_is_one_message_and_its_line_ending_is_not_part_of_the_name() {
        let table: &[(&[u8], &[u8])] = &[
            (b"Michael", b"Hello, Michael!"),
            (b"Michael\n", b"Hello, Michael!\n"),
            (b"Michael\r\n", b"Hello, Michael!\r\n"),
            (b"Michael\n\n", b"Hello, Michael\n!\n"),
            (b"Michael\r", b"Hello, Michael\r!"),
            (b"\n", b"Hello, !\n"),
            (b"\xff\xfe", b"Hello, \xff\xfe!"),
            (b"exit now", b"Hello, exit now!"),
            (b"Exit", b"Hello, Exit!"),
        ];
        for (input, expected) in table {
            let (replies, answered) = chunk(input);
            assert_eq!(replies, *expected, "{}", input.escape_ascii());
            assert_eq!((answered.messages, answered.end), (1, None));
        }
    }

    #[test]
    fn an_incomplete_line_completes_nothing() {
        let (mut partial, mut replies) = (Buffer::default(), Vec::new());
        assert!(answer_lines(&mut partial, b"Mich", &mut replies).is_empty());
        assert!(!answer_lines(&mut partial, b"ael\n", &mut replies).is_empty());
        // A line that is too long is not a message, but it ends the conversation.
        let too_long = [b'x'; MAX_LINE_BYTES + 1];
        let answered = answer_lines(&mut partial, &too_long, &mut replies);
        assert_eq!((answered.messages, answered.is_empty()), (0, false));
    }

    #[test]
    fn exit_gets_no_reply() {
        for input in [&b"exit"[..], b"exit\n", b"exit\r\n"] {
            let (replies, answered) = chunk(input);
            assert_eq!(
                (replies.as_slice(), answered.end),
                (&b""[..], Some(End::Exit))
            );
        }
        let (replies, answered) = lines(&[b"a\nexit\nb\n"]);
        assert_eq!(replies, b"Hello, a!\n");
        assert_eq!((answered.messages, answered.end), (2, Some(End::Exit)));
    }

    #[test]
    fn replies_do_not_depend_on_how_reads_divide_the_lines() {
        let input = b"Michael\nTracy\r\n\nlone\rcr\n\xff\r\r\nlast\r";
        let expected =
            b"Hello, Michael!\nHello, Tracy!\nHello, !\nHello, lone\rcr!\nHello, \xff\r!\nHello, last\r!\n";
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                let (replies, answered) = lines(&pieces);
                assert_eq!(replies, expected, "split at {first} and {second}");
                assert_eq!((answered.messages, answered.end), (6, None));
            }
        }
    }

    #[test]
    fn a_line_of_the_maximum_length_is_greeted_and_a_longer_one_is_not() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        for ending in [&b"\n"[..], b"\r\n", b""] {
            let input = [&longest[..], ending].concat();
            for cut in [0, 1, MAX_LINE_BYTES, input.len()] {
                let (replies, answered) = lines(&[&input[..cut], &input[cut..]]);
                assert_eq!(answered.end, None, "ending {ending:?}, cut at {cut}");
                assert_eq!(replies.len(), MAX_LINE_BYTES + REPLY_OVERHEAD_BYTES);
            }
            let too_long = [b"first\ny", &longest[..], ending, b"z"].concat();
            for cut in [6, MAX_LINE_BYTES, MAX_LINE_BYTES + 7, too_long.len()] {
                let (replies, answered) = lines(&[&too_long[..cut], &too_long[cut..]]);
                assert_eq!(answered.end, Some(End::LineTooLong), "cut at {cut}");
                assert_eq!(replies, [b"Hello, first!\n", LINE_TOO_LONG].concat());
                assert_eq!(answered.messages, 1);
            }
        }
        // A CR does not count towards the limit if its LF arrives in another read.
        let (replies, answered) = lines(&[&longest, b"\r", b"\n"]);
        assert_eq!(
            (replies.len(), answered.messages),
            (MAX_LINE_BYTES + REPLY_OVERHEAD_BYTES, 1)
        );
        // A CR at EOF counts: the line is one byte too long.
        let (replies, _) = lines(&[&longest, b"\r"]);
        assert_eq!(replies, LINE_TOO_LONG);
    }

    #[test]
    fn an_answered_long_line_keeps_little_memory() {
        let (mut partial, mut replies) = (Buffer::default(), Vec::new());
        for piece in [&[b'x'; 60_000][..], &[b'y'; 5_000], b"\nz"] {
            let _ = answer_lines(&mut partial, piece, &mut replies);
            assert!(partial.memory() <= partial.len().max(SMALL_BYTES).next_multiple_of(65_536));
        }
        assert!(
            partial.memory() <= SMALL_BYTES,
            "{} bytes",
            partial.memory()
        );
        partial.push(&[b'z'; 60_000]);
        let _ = answer_last_line(&mut partial, &mut replies);
        assert_eq!(partial.memory(), 0);
    }

    #[test]
    fn a_reply_to_an_empty_line_is_the_overhead_alone() {
        let (replies, _) = lines(&[b"\n\n\n\n"]);
        assert_eq!(replies.len(), 4 * REPLY_OVERHEAD_BYTES);
    }

    #[test]
    fn a_datagram_that_is_a_greeting_is_not_answered() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"Michael", Some(b"Hello, Michael!")),
            (b"Michael\r\n", Some(b"Hello, Michael!\r\n")),
            (b"", Some(b"Hello, !")),
            (b"exit", Some(b"Hello, exit!")),
            (b"Hello, Michael", Some(b"Hello, Hello, Michael!")),
            (b"Hello,!", Some(b"Hello, Hello,!!")),
            (b"Hello, Michael!", None),
            (b"Hello, !\n", None),
            (b"Hello, Michael!\r\n", None),
        ];
        for (input, expected) in table {
            let mut reply = Vec::new();
            let answered = answer_datagram(input, &mut reply);
            assert_eq!(answered.then_some(reply.as_slice()), *expected);
        }
    }
}
