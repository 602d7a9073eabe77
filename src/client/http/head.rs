//! The head of a response: the status line and the header fields.
//!
//! **Owns** where the head ends and how it frames the body (RFC 9112, section 6.3).
//! **Must never touch** the network: bytes in, a [`Head`] out.
//! **Invariant**: memory stays within [`MAX_HEAD_BYTES`] and one read, whatever the server sends.

use super::body::Body;
use super::{MAX_HEAD_BYTES, MAX_HEADERS, ResponseError};
use crate::protocol::escape::excerpt;

/// The head of a final response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code: that of no interim response.
    pub status: u16,
    /// The framing of the body, of which nothing is decoded yet.
    pub body: Body,
    /// Where a redirect leads: one value, unless the server contradicts itself. Equal ones count once.
    pub locations: Vec<Vec<u8>>,
    /// How the body is compressed, escaped.
    pub coding: Option<String>,
    /// The lines as received, without the empty one at the end.
    pub bytes: Vec<u8>,
}

/// Parses reads until a final head is complete.
#[derive(Debug, Default)]
pub struct HeadParser {
    bytes: Vec<u8>,
    /// Bytes of interim heads, which are dropped but count towards the limit.
    interim_bytes: usize,
}

impl HeadParser {
    /// Takes one read, empty at EOF. Returns the head and the bytes after it once it is complete.
    /// Interim responses (1xx) are skipped; a client must accept them even unasked (RFC 9110,
    /// section 15.2).
    ///
    /// # Errors
    ///
    /// Why the response is rejected.
    pub fn feed(&mut self, read: &[u8]) -> Result<Option<(Head, Vec<u8>)>, ResponseError> {
        self.bytes.extend_from_slice(read);
        while let Some((head, length)) = parse(&self.bytes)? {
            if self.interim_bytes + length > MAX_HEAD_BYTES {
                return Err(ResponseError::HeadTooLong);
            }
            match head.status {
                101 => return Err(ResponseError::SwitchedProtocols),
                100..=199 => {
                    self.bytes.drain(..length);
                    self.interim_bytes += length;
                }
                _ => return Ok(Some((head, self.bytes.split_off(length)))),
            }
        }
        if self.interim_bytes + self.bytes.len() > MAX_HEAD_BYTES {
            return Err(ResponseError::HeadTooLong);
        }
        if read.is_empty() {
            return Err(ResponseError::HeadTruncated);
        }
        Ok(None)
    }
}

/// The first head and its length, empty line included; `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, ResponseError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(bytes).map_err(|error| match error {
        httparse::Error::TooManyHeaders => ResponseError::TooManyHeaders,
        error => ResponseError::NotHttp(error),
    });
    let length = match parsed? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let Some(status) = response.code else {
        return Ok(None);
    };
    let lines = bytes[..length].strip_suffix(b"\n").unwrap_or_default();
    let head = Head {
        status,
        body: framing(status, response.headers)?,
        locations: locations(response.headers),
        coding: coding(response.headers),
        bytes: lines.strip_suffix(b"\r").unwrap_or(lines).to_vec(),
    };
    Ok(Some((head, length)))
}

/// Whether a response with this status has a body at all (RFC 9110, section 15).
pub(super) fn has_content(status: u16) -> bool {
    !matches!(status, 100..=199 | 204 | 205 | 304)
}

/// The codings of the body, unless it is sent as it is.
fn coding(fields: &[httparse::Header<'_>]) -> Option<String> {
    let codings = values(fields, "content-encoding");
    let codings = codings.filter(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let codings: Vec<_> = codings.filter(|coding| !coding.is_empty()).collect();
    (!codings.is_empty()).then(|| excerpt(&codings.join(&b", "[..])))
}

/// The framing of the body (RFC 9112, section 6.3) in a response to `GET`.
fn framing(status: u16, fields: &[httparse::Header<'_>]) -> Result<Body, ResponseError> {
    if !has_content(status) {
        return Ok(Body::Length(0));
    }
    let mut codings = values(fields, "transfer-encoding").peekable();
    if codings.peek().is_some() {
        // It overrides Content-Length, which some servers send as well.
        let codings: Vec<_> = codings.collect();
        return match codings.as_slice() {
            [coding] if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::CHUNKED),
            _ => Err(ResponseError::UnsupportedCoding(excerpt(
                &codings.join(&b", "[..]),
            ))),
        };
    }
    let mut length = None;
    for value in values(fields, "content-length") {
        let value = parse_length(value)?;
        // Equal values are harmless; if two differ, both are suspect.
        if length.replace(value).is_some_and(|other| other != value) {
            return Err(ResponseError::InvalidLength);
        }
    }
    Ok(length.map_or(Body::UntilClose, Body::Length))
}

/// The different values of `Location`. A URL may contain a comma, so it is no list.
fn locations(fields: &[httparse::Header<'_>]) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = Vec::new();
    for field in fields {
        let is_location = field.name.eq_ignore_ascii_case("location");
        let value = field.value.trim_ascii();
        if is_location && !found.iter().any(|other| other == value) {
            found.push(value.to_vec());
        }
    }
    found
}

/// The values of a field. Several lines and one list mean the same.
fn values<'a>(
    fields: &'a [httparse::Header<'_>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .flat_map(|field| field.value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
}

fn parse_length(value: &[u8]) -> Result<u64, ResponseError> {
    // `parse` would also accept a plus sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(ResponseError::InvalidLength);
    }
    let digits = str::from_utf8(value).map_err(|_| ResponseError::InvalidLength)?;
    digits.parse().map_err(|_| ResponseError::InvalidLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(bytes: &[u8]) -> Result<Option<(Head, Vec<u8>)>, ResponseError> {
        HeadParser::default().feed(bytes)
    }

    fn body_of(fields: &str) -> Result<Body, ResponseError> {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        feed(text.as_bytes()).map(|found| found.expect("complete").0.body)
    }

    #[test]
    fn the_head_determines_the_framing_of_the_body() {
        let coding = |value: &str| Err(ResponseError::UnsupportedCoding(value.to_owned()));
        let table = [
            ("", Ok(Body::UntilClose)),
            ("Content-Length: 5\r\n", Ok(Body::Length(5))),
            (
                "content-length:5\r\nContent-Length: 5\r\n",
                Ok(Body::Length(5)),
            ),
            ("Content-Length: 5, 5\r\n", Ok(Body::Length(5))),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                Err(ResponseError::InvalidLength),
            ),
            (
                "Content-Length: 5, 6\r\n",
                Err(ResponseError::InvalidLength),
            ),
            ("Content-Length: +5\r\n", Err(ResponseError::InvalidLength)),
            ("Content-Length: -5\r\n", Err(ResponseError::InvalidLength)),
            ("Content-Length: 0x5\r\n", Err(ResponseError::InvalidLength)),
            ("Content-Length:\r\n", Err(ResponseError::InvalidLength)),
            (
                "Content-Length: 18446744073709551616\r\n",
                Err(ResponseError::InvalidLength),
            ),
            (
                "Content-Length: 18446744073709551615\r\n",
                Ok(Body::Length(u64::MAX)),
            ),
            ("Transfer-Encoding: Chunked\r\n", Ok(Body::CHUNKED)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Ok(Body::CHUNKED),
            ),
            (
                "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
                Ok(Body::CHUNKED),
            ),
            (
                "Transfer-Encoding: gzip, chunked\r\n",
                coding("gzip, chunked"),
            ),
            ("Transfer-Encoding: gzip\r\n", coding("gzip")),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                coding("chunked, chunked"),
            ),
            (
                "Transfer-Encoding: \u{1b}[2J\r\n",
                Err(ResponseError::NotHttp(httparse::Error::HeaderValue)),
            ),
        ];
        for (fields, expected) in table {
            assert_eq!(body_of(fields), expected, "{fields}");
        }
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 205, 304] {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            let (head, _) = feed(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.status, head.body), (status, Body::Length(0)));
        }
    }

    #[test]
    fn the_fields_beside_the_framing_are_read() {
        let text = "HTTP/1.1 302 Found\r\nlocation: /a b\r\nLocation: /c\r\nLocation: /c\r\n\
            Content-Encoding: gzip, identity\r\nContent-Encoding: br\r\n\r\n";
        let (head, _) = feed(text.as_bytes()).unwrap().unwrap();
        assert_eq!(head.locations, [&b"/a b"[..], b"/c"]);
        assert_eq!(head.coding.as_deref(), Some("gzip, br"));
        for fields in [
            "",
            "Content-Encoding: identity\r\n",
            "Content-Encoding:\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let (head, _) = feed(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.locations.len(), head.coding), (0, None), "{fields}");
        }
    }

    #[test]
    fn a_head_is_found_however_it_is_split_and_interim_ones_are_skipped() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
            HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nbody";
        let (whole, rest) = feed(text).unwrap().unwrap();
        assert_eq!(whole.status, 404);
        assert_eq!(whole.bytes, b"HTTP/1.1 404 Not Found\r\nA: b\r\n");
        assert_eq!(rest, b"body");

        let mut parser = HeadParser::default();
        let mut found = None;
        for byte in &text[..text.len() - 4] {
            assert_eq!(found, None);
            found = parser.feed(&[*byte]).unwrap();
        }
        assert_eq!(found, Some((whole, Vec::new())));
    }

    #[test]
    fn an_invalid_or_oversized_head_is_rejected() {
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS));
        let huge = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD_BYTES));
        let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEAD_BYTES / 28 + 1);
        assert!(feed(most.as_bytes()).unwrap().is_some());
        assert_eq!(feed(many.as_bytes()), Err(ResponseError::TooManyHeaders));
        assert_eq!(feed(huge.as_bytes()), Err(ResponseError::HeadTooLong));
        assert_eq!(feed(hints.as_bytes()), Err(ResponseError::HeadTooLong));
        assert_eq!(
            feed(b"HTTP/1.1 101 X\r\n\r\n"),
            Err(ResponseError::SwitchedProtocols)
        );
        assert!(matches!(
            feed(b"SSH-2.0-OpenSSH\r\n"),
            Err(ResponseError::NotHttp(_))
        ));
        assert!(matches!(feed(b"Welcome!"), Err(ResponseError::NotHttp(_))));

        let mut short = HeadParser::default();
        assert_eq!(short.feed(b"HTTP/1.1 200 OK\r\n"), Ok(None));
        assert_eq!(short.feed(b""), Err(ResponseError::HeadTruncated));
    }
}
