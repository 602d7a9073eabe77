//! The protocol: bytes in, bytes out.
//!
//! **Owns** what a message is, how it is answered and what ends a conversation.
//! **Must never touch** a socket, a clock or a log: the reactor's peers, the thread a client
//! and the tests all call the same functions, so that there is one protocol.
//! **Invariant**: the replies depend on the bytes alone and, in line framing, not on how they
//! were cut into reads.
//!
//! A server says [`Framing::welcome`] first. What it answers then depends on the framing:
//! [`answer_chunk`] for the tutorial's "what one `recv` returns is one message",
//! [`answer_lines`] and [`answer_last_line`] for lines, [`answer_datagram`] for UDP.
//! Names are opaque bytes: one that is not UTF-8 is greeted as it came.

use crate::protocol::buffer::forget;
use memchr::memchr_iter;

/// The longest message in chunk framing, in bytes: the tutorial's `recv(1024)`.
pub const MAX_CHUNK_BYTES: usize = 1_024;

/// The longest line, in bytes without its ending. Without a limit, one client that never ends
/// its line would fill the memory.
pub const MAX_LINE_BYTES: usize = 65_536;

/// What a client that broke [`MAX_LINE_BYTES`] reads last.
pub const LINE_TOO_LONG: &[u8] = b"Error: line longer than 65536 bytes\n";

/// How a refusal begins.
pub const BUSY: &[u8] = b"Busy: ";

/// What a client over the limit of `max_clients` reads in place of the welcome, in both framings.
#[must_use]
pub fn refusal(max_clients: u64) -> String {
    format!("Busy: {max_clients} of {max_clients} clients connected\n")
}

/// The longest name for whose reply one datagram over IPv4 has room, in bytes: 65,507, less the
/// eight of `Hello, ` and `!`.
pub const MAX_DATAGRAM_BYTES: usize = 65_499;

/// How much longer a line's reply is than the line: an empty line, one byte with its ending,
/// is answered with the nine bytes of `Hello, !\n`.
pub const MAX_REPLY_GROWTH: usize = 9;

const HELLO: &[u8] = b"Hello, ";
const EXIT: &[u8] = b"exit";

/// What makes one message out of a stream of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The tutorial's: what one read returns, at most [`MAX_CHUNK_BYTES`], is one message.
    #[default]
    Chunk,
    /// A line, ended by LF or CRLF and at most [`MAX_LINE_BYTES`] long, is one message.
    Line,
}

impl Framing {
    /// What the server sends as soon as a client is connected.
    #[must_use]
    pub fn welcome(self) -> &'static [u8] {
        match self {
            Self::Chunk => b"Welcome!",
            Self::Line => b"Welcome!\n",
        }
    }
}

/// Why a conversation ends by what the client said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The message `exit`: no reply, and what follows it is discarded.
    Exit,
    /// A line over [`MAX_LINE_BYTES`]: answered with [`LINE_TOO_LONG`]; the rest is discarded.
    LineTooLong,
}

/// What a piece of input amounted to. The replies themselves are in the caller's buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Messages completed, `exit` included.
    pub messages: u32,
    /// Whether the conversation is over once the replies are sent.
    pub end: Option<End>,
}

impl Answered {
    /// Whether the input completed anything: a partial line alone did not.
    #[must_use]
    pub fn is_any(self) -> bool {
        self.messages > 0 || self.end.is_some()
    }
}

/// Answers one read in [`Framing::Chunk`]: the chunk is one message.
///
/// One line ending at its end stands outside the name and comes back as it came, so that
/// `nc`, which sends whole lines, is greeted as a person expects.
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
/// `partial` is the start of a line that earlier reads left; what this read leaves unfinished
/// is there afterwards. After `exit` or an over-long line the rest of the input is discarded.
pub fn answer_lines(partial: &mut Vec<u8>, input: &[u8], replies: &mut Vec<u8>) -> Answered {
    let mut answered = Answered::default();
    let mut start = 0;
    for line_feed in memchr_iter(b'\n', input) {
        let piece = &input[start..line_feed];
        start = line_feed + 1;
        let end = if partial.is_empty() {
            answer_line(strip_carriage_return(piece), replies)
        } else {
            partial.reserve_exact(piece.len());
            partial.extend_from_slice(piece);
            let end = answer_line(strip_carriage_return(partial), replies);
            forget(partial);
            end
        };
        answered.messages += u32::from(end != Some(End::LineTooLong));
        if end.is_some() {
            answered.end = end;
            return answered;
        }
    }
    // The CR of a CRLF to come is not part of the line yet, and may be its last byte so far.
    let rest = &input[start..];
    let length = partial.len() + rest.len();
    let last_is_cr = rest.last().or_else(|| partial.last()) == Some(&b'\r');
    if length - usize::from(last_is_cr) > MAX_LINE_BYTES {
        forget(partial);
        replies.extend_from_slice(LINE_TOO_LONG);
        answered.end = Some(End::LineTooLong);
    } else if !rest.is_empty() {
        // Exact, so that a client costs what it sent and not up to twice that.
        partial.reserve_exact(rest.len());
        partial.extend_from_slice(rest);
    }
    answered
}

/// Answers what is left at the end of input in [`Framing::Line`]: an unterminated last line is
/// a message. A CR at its end is part of the name, for no LF followed.
pub fn answer_last_line(partial: &mut Vec<u8>, replies: &mut Vec<u8>) -> Answered {
    if partial.is_empty() {
        return Answered::default();
    }
    let end = answer_line(partial, replies);
    forget(partial);
    Answered {
        messages: u32::from(end != Some(End::LineTooLong)),
        end,
    }
}

/// Answers one datagram, or returns `false` and leaves `reply` alone because the datagram is
/// itself a greeting.
///
/// Two servers and one forged packet would otherwise greet each other for ever, each bounce
/// eight bytes longer (CVE-2024-2169). `exit` is a name here: a datagram has no connection to end.
#[must_use]
pub fn answer_datagram(datagram: &[u8], reply: &mut Vec<u8>) -> bool {
    let (name, ending) = split_ending(datagram);
    if is_greeting(name) {
        return false;
    }
    greet(name, ending, reply);
    true
}

/// `Hello, NAME!` with the ending that the name's message had. Inlined into the loop over lines,
/// whose ending is then known: a copy of unknown length is a call, and a line has one already.
#[inline(always)]
pub fn greet(name: &[u8], ending: &[u8], replies: &mut Vec<u8>) {
    replies.extend_from_slice(HELLO);
    replies.extend_from_slice(name);
    replies.push(b'!');
    replies.extend_from_slice(ending);
}

/// Splits one line ending, LF or CRLF, off the end of a message.
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
    use crate::protocol::buffer::KEPT_BYTES;

    fn chunk(input: &[u8]) -> (Vec<u8>, Answered) {
        let mut replies = Vec::new();
        let answered = answer_chunk(input, &mut replies);
        (replies, answered)
    }

    /// Feeds the pieces as reads, then the end of input.
    fn lines(pieces: &[&[u8]]) -> (Vec<u8>, Answered) {
        let (mut partial, mut replies) = (Vec::new(), Vec::new());
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
    fn a_chunk_is_one_message_and_keeps_its_line_ending_outside_the_name() {
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
    fn a_line_begun_completes_nothing() {
        let (mut partial, mut replies) = (Vec::new(), Vec::new());
        assert!(!answer_lines(&mut partial, b"Mich", &mut replies).is_any());
        assert!(answer_lines(&mut partial, b"ael\n", &mut replies).is_any());
        // The end alone is something: an over-long line is no message, and is answered.
        let too_long = [b'x'; MAX_LINE_BYTES + 1];
        let answered = answer_lines(&mut partial, &too_long, &mut replies);
        assert!(answered.is_any());
        assert_eq!(answered.messages, 0);
    }

    #[test]
    fn a_refusal_begins_as_clients_expect() {
        assert_eq!(refusal(100), "Busy: 100 of 100 clients connected\n");
        assert!(refusal(100).as_bytes().starts_with(BUSY));
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
    fn lines_do_not_depend_on_how_they_are_cut() {
        let input = b"Michael\nTracy\r\n\nlone\rcr\n\xff\r\r\nlast\r";
        let expected =
            b"Hello, Michael!\nHello, Tracy!\nHello, !\nHello, lone\rcr!\nHello, \xff\r!\nHello, last\r!\n";
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                let (replies, answered) = lines(&pieces);
                assert_eq!(replies, expected, "cut at {first} and {second}");
                assert_eq!((answered.messages, answered.end), (6, None));
            }
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_greeted_and_one_byte_more_is_not() {
        let longest = vec![b'x'; MAX_LINE_BYTES];
        for ending in [&b"\n"[..], b"\r\n", b""] {
            let input = [&longest[..], ending].concat();
            for cut in [0, 1, MAX_LINE_BYTES, input.len()] {
                let (replies, answered) = lines(&[&input[..cut], &input[cut..]]);
                assert_eq!(answered.end, None, "ending {ending:?}, cut at {cut}");
                assert_eq!(replies.len(), MAX_LINE_BYTES + MAX_REPLY_GROWTH);
            }
            let too_long = [b"first\ny", &longest[..], ending, b"z"].concat();
            for cut in [6, MAX_LINE_BYTES, MAX_LINE_BYTES + 7, too_long.len()] {
                let (replies, answered) = lines(&[&too_long[..cut], &too_long[cut..]]);
                assert_eq!(answered.end, Some(End::LineTooLong), "cut at {cut}");
                assert_eq!(replies, [b"Hello, first!\n", LINE_TOO_LONG].concat());
                assert_eq!(answered.messages, 1);
            }
        }
        // One that its LF follows in another read does not.
        let (replies, answered) = lines(&[&longest, b"\r", b"\n"]);
        assert_eq!((replies.len(), answered.messages), (MAX_LINE_BYTES + 9, 1));
        // A CR that no LF follows counts: it is one byte too many at the end of input.
        let (replies, _) = lines(&[&longest, b"\r"]);
        assert_eq!(replies, LINE_TOO_LONG);
    }

    #[test]
    fn a_long_line_that_is_answered_leaves_little_memory_behind() {
        let (mut partial, mut replies) = (Vec::new(), Vec::new());
        for piece in [&[b'x'; 60_000][..], &[b'y'; 5_000], b"\nz"] {
            let _ = answer_lines(&mut partial, piece, &mut replies);
            assert!(
                partial.capacity() <= partial.len().max(KEPT_BYTES),
                "{} bytes",
                partial.capacity()
            );
        }
        partial.resize(60_000, b'z');
        let _ = answer_last_line(&mut partial, &mut replies);
        assert_eq!(partial.capacity(), KEPT_BYTES);
    }

    #[test]
    fn a_reply_is_at_most_the_stated_times_as_long_as_its_line() {
        let (replies, _) = lines(&[b"\n\n\n\n"]);
        assert_eq!(replies.len(), 4 * MAX_REPLY_GROWTH);
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
