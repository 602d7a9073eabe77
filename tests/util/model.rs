//! A reference model of the protocol, written independently of the crate's code: what a server
//! must send for the input that it has read.

#![allow(dead_code, unreachable_pub)] // each test crate uses only a part

fn name_and_ending(message: &[u8]) -> (&[u8], &[u8]) {
    let ending = match message {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    message.split_at(message.len() - ending)
}

/// Chunk framing: each read is a message.
pub fn chunks(reads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"Welcome!".to_vec();
    for read in reads {
        let (name, ending) = name_and_ending(read);
        if name == b"exit" {
            break;
        }
        out.extend([b"Hello, ", name, b"!", ending].concat());
    }
    out
}

/// Line framing. If EOF has been read, an unterminated last line is a message as well.
pub fn lines(input: &[u8], is_eof: bool) -> Vec<u8> {
    let mut out = b"Welcome!\n".to_vec();
    let mut lines = input.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let name = if is_last {
            line
        } else {
            line.strip_suffix(b"\r").unwrap_or(line)
        };
        if is_last && !is_eof && name.len() <= 65_536 + usize::from(name.ends_with(b"\r")) {
            break;
        }
        if name.len() > 65_536 {
            out.extend(b"Error: line longer than 65536 bytes\n");
            break;
        }
        if name == b"exit" || (is_last && name.is_empty()) {
            break;
        }
        out.extend([b"Hello, ", name, b"!\n"].concat());
    }
    out
}

/// A datagram, from a port that is answered. A greeting gets no reply.
pub fn datagram(datagram: &[u8]) -> Option<Vec<u8>> {
    let (name, ending) = name_and_ending(datagram);
    if name.len() >= b"Hello, !".len() && name.starts_with(b"Hello, ") && name.ends_with(b"!") {
        return None;
    }
    Some([b"Hello, ", name, b"!", ending].concat())
}
