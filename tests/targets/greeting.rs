//! Fuzz target: the greeting. The replies to chunks, lines and a datagram are those of the
//! reference model, whatever the reads, and an incomplete line keeps no memory that it does not
//! need.

use crate::input::expand;
use crate::model;
use helloop::protocol::buffer::{Buffer, SMALL_BYTES};
use helloop::protocol::greeting::{
    End, Framing, LINE_TOO_LONG, MAX_CHUNK_BYTES, answer_chunk, answer_datagram, answer_last_line,
    answer_lines,
};

/// Ends a read.
const CUT: u8 = 0xfe;

/// Up to this many bytes, the replies are compared after each read; beyond, at the end only, which
/// is faster.
const COMPARED_EACH_BYTES: usize = 4_096;

pub(crate) fn run(bytes: &[u8]) {
    let reads: Vec<Vec<u8>> = bytes.split(|byte| *byte == CUT).map(expand).collect();
    chunks(&reads);
    lines(&reads);
    datagram(&reads.concat());
}

fn chunks(reads: &[Vec<u8>]) {
    let whole = reads.iter().flat_map(|read| read.chunks(MAX_CHUNK_BYTES));
    let (mut answered, mut replies) = (Vec::new(), Framing::Chunk.welcome().to_vec());
    for read in whole {
        answered.push(read.to_vec());
        let found = answer_chunk(read, &mut replies);
        assert_eq!(found.messages, 1);
        if found.end.is_some() {
            assert_eq!(found.end, Some(End::Exit));
            break;
        }
    }
    assert_same(&replies, &model::chunks(&answered));
}

fn lines(reads: &[Vec<u8>]) {
    let (mut partial, mut replies) = (Buffer::default(), Framing::Line.welcome().to_vec());
    let (mut read, mut messages, mut end) = (Vec::new(), 0, None);
    for piece in reads {
        read.extend_from_slice(piece);
        let found = answer_lines(&mut partial, piece, &mut replies);
        messages += found.messages;
        end = found.end;
        let pages = partial.len().next_multiple_of(64 * 1_024);
        assert!(partial.memory() <= pages.max(SMALL_BYTES));
        if read.len() <= COMPARED_EACH_BYTES {
            assert_same(&replies, &model::lines(&read, false));
        }
        if end.is_some() {
            break;
        }
    }
    assert_same(&replies, &model::lines(&read, false));
    if end.is_none() {
        let found = answer_last_line(&mut partial, &mut replies);
        messages += found.messages;
        end = found.end;
        assert!(partial.is_empty());
    }
    assert_same(&replies, &model::lines(&read, true));
    let is_too_long = replies.ends_with(LINE_TOO_LONG);
    assert_eq!(end == Some(End::LineTooLong), is_too_long);
    // The welcome, one line for each message except `exit`, and the error.
    let lines = replies.iter().filter(|byte| **byte == b'\n').count();
    let greeted = lines - 1 - usize::from(is_too_long);
    assert_eq!(
        messages as usize,
        greeted + usize::from(end == Some(End::Exit))
    );
}

fn datagram(datagram: &[u8]) {
    let mut reply = Vec::new();
    let is_answered = answer_datagram(datagram, &mut reply);
    assert_same(&reply, &model::datagram(datagram).unwrap_or_default());
    assert_eq!(is_answered, !reply.is_empty());
    // No two servers greet each other forever.
    assert!(!answer_datagram(&reply, &mut Vec::new()) || !is_answered);
}

#[track_caller]
fn assert_same(sent: &[u8], owed: &[u8]) {
    let (shown, expected) = (sent.escape_ascii(), owed.escape_ascii());
    assert!(sent == owed, "sent {shown}\nowed {expected}");
}
