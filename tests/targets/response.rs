//! Fuzz target: the response that `helloop get` reads. The head and the body are the same however
//! reads divide them, and a chunked body is that of a simpler decoder.

use crate::input::{expand, pieces};
use helloop::testing::client::http::{
    Body, HeadParser, MAX_CHUNK_LINE_BYTES, MAX_HEAD_BYTES, ResponseError,
};

/// The status, the lines of the head, the body.
type Response = (u16, Vec<u8>, Vec<u8>);

pub(crate) fn run(bytes: &[u8]) {
    let Some((&seed, text)) = bytes.split_first() else {
        return;
    };
    let text = expand(text);
    let whole = fetch([&text[..]].into_iter());
    let divided = fetch(pieces(seed, &text));
    // An endless head can be rejected for its length before what else is wrong with it arrives.
    if text.len() <= MAX_HEAD_BYTES {
        assert_eq!(divided, whole);
    } else {
        assert_eq!(divided.ok(), whole.ok());
    }
    chunked(seed, &text);
}

/// Reads a response as the client does.
fn fetch<'a>(mut reads: impl Iterator<Item = &'a [u8]>) -> Result<Response, ResponseError> {
    let mut parser = HeadParser::default();
    let (head, rest) = loop {
        let read = reads.next().unwrap_or_default();
        if let Some(found) = parser.feed(read)? {
            break found;
        }
    };
    assert!(head.bytes.len() <= MAX_HEAD_BYTES && !(100..=199).contains(&head.status));
    let mut data = Vec::new();
    let (mut body, announced) = (head.body.clone(), head.body.announced());
    decode(&mut body, [&rest[..]].into_iter(), &mut data)?;
    decode(&mut body, reads, &mut data)?;
    body.at_eof()?;
    assert!(announced.is_none_or(|length| length == data.len() as u64));
    Ok((head.status, head.bytes, data))
}

/// Appends what the reads hold of the body to `data`, and returns the number of bytes after it.
fn decode<'a>(
    body: &mut Body,
    reads: impl Iterator<Item = &'a [u8]>,
    data: &mut Vec<u8>,
) -> Result<usize, ResponseError> {
    let mut left = 0;
    for mut read in reads {
        while !read.is_empty() && !body.is_done() {
            let before = read.len();
            data.extend_from_slice(body.decode(&mut read)?);
            assert!(read.len() < before, "no progress");
        }
        left += read.len();
    }
    Ok(left)
}

/// The input as a chunked body, without a head before it.
fn chunked(seed: u8, text: &[u8]) {
    let (mut body, mut data) = (Body::CHUNKED, Vec::new());
    let decoded = decode(&mut body, pieces(seed, text), &mut data);
    let decoded = decoded.and_then(|left| body.at_eof().map(|()| left));
    let expected = chunked_model(text);
    // The model has no limits.
    if text.len() < MAX_CHUNK_LINE_BYTES {
        assert_eq!(decoded.is_ok(), expected.is_some(), "{decoded:?}");
    }
    if let (Ok(left), Some((body, rest))) = (decoded, expected) {
        assert_eq!((data, left), (body, rest));
    }
}

/// The body, and the number of bytes after it; `None` if it is malformed or truncated.
fn chunked_model(mut text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    loop {
        let line = line(&mut text)?;
        let is_digit = |byte: &u8| byte.is_ascii_hexdigit();
        let digits = line.iter().position(|byte| !is_digit(byte));
        let (digits, extension) = line.split_at(digits.unwrap_or(line.len()));
        if !matches!(extension.first(), None | Some(b';' | b' ' | b'\t')) {
            return None;
        }
        let size = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(text.get(..size)?);
        text = text[size..].strip_prefix(b"\r\n")?;
    }
    while !line(&mut text)?.is_empty() {}
    Some((data, text.len()))
}

/// Takes one line off the front. Only CRLF ends it, and it holds neither CR nor LF.
fn line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = text.iter().position(|byte| matches!(byte, b'\r' | b'\n'))?;
    let (line, rest) = text.split_at(end);
    *text = rest.strip_prefix(b"\r\n")?;
    Some(line)
}
