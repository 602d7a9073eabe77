//! The head of a response: the status line and the header fields.
//!
//! **Owns** where the head ends, and what it says about the body's form (RFC 9112, section 6.3).
//! **Must never touch** the network: bytes in, a [`Head`] out.
//! **Invariant**: memory stays within [`MAX_HEAD_BYTES`] and one read, whatever comes.

use super::body::Form;
use super::{Fault, MAX_HEAD_BYTES, MAX_HEADERS};
use crate::client::excerpt;

/// A final response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// How the body comes.
    pub(super) form: Form,
    /// The lines as they came, without the empty one at the end.
    pub(super) bytes: Vec<u8>,
}

/// Collects reads until a final head is complete.
#[derive(Debug, Default)]
pub(super) struct Collector {
    bytes: Vec<u8>,
    /// Bytes of interim heads, which count towards the limit though they are not kept.
    interim_bytes: usize,
}

impl Collector {
    /// Takes one read, empty at the end of input. Returns the head and the bytes behind it once
    /// it is complete; interim responses (1xx) are skipped, as they must be even where none was
    /// asked for (RFC 9110, section 15.2).
    pub(super) fn feed(&mut self, read: &[u8]) -> Result<Option<(Head, Vec<u8>)>, Fault> {
        self.bytes.extend_from_slice(read);
        while let Some((head, length)) = parse(&self.bytes)? {
            if self.interim_bytes + length > MAX_HEAD_BYTES {
                return Err(Fault::HeadTooLong);
            }
            match head.status {
                101 => return Err(Fault::Switched),
                100..=199 => {
                    self.bytes.drain(..length);
                    self.interim_bytes += length;
                }
                _ => return Ok(Some((head, self.bytes.split_off(length)))),
            }
        }
        if self.interim_bytes + self.bytes.len() > MAX_HEAD_BYTES {
            return Err(Fault::HeadTooLong);
        }
        if read.is_empty() {
            return Err(Fault::HeadEndsShort);
        }
        Ok(None)
    }
}

/// The first head and its length with the empty line, or `None` while it is incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, Fault> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes).map_err(Fault::NotHttp)? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let Some(status) = response.code else {
        return Ok(None);
    };
    let lines = bytes[..length].strip_suffix(b"\n").unwrap_or_default();
    let head = Head {
        status,
        form: form(status, response.headers)?,
        bytes: lines.strip_suffix(b"\r").unwrap_or(lines).to_vec(),
    };
    Ok(Some((head, length)))
}

/// How the body comes (RFC 9112, section 6.3), for a response to `GET`.
fn form(status: u16, fields: &[httparse::Header<'_>]) -> Result<Form, Fault> {
    if matches!(status, 100..=199 | 204 | 304) {
        return Ok(Form::Length(0));
    }
    let mut codings = values(fields, "transfer-encoding").peekable();
    if codings.peek().is_some() {
        // It overrides any Content-Length, which a careless server may send beside it.
        let codings: Vec<_> = codings.collect();
        return match codings.as_slice() {
            [coding] if coding.eq_ignore_ascii_case(b"chunked") => Ok(Form::Chunked),
            _ => Err(Fault::Coding(excerpt(&codings.join(&b", "[..])))),
        };
    }
    let mut length = None;
    for value in values(fields, "content-length") {
        let value = parse_length(value)?;
        // Equal ones do no harm; of two that differ, neither can be believed.
        if length.replace(value).is_some_and(|other| other != value) {
            return Err(Fault::Length);
        }
    }
    Ok(length.map_or(Form::UntilClose, Form::Length))
}

/// The values of a field, which may be a list and may come in several lines: it is the same.
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

fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    // `parse` alone would allow a plus sign.
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Length);
    }
    let digits = str::from_utf8(value).map_err(|_| Fault::Length)?;
    digits.parse().map_err(|_| Fault::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(bytes: &[u8]) -> Result<Option<(Head, Vec<u8>)>, Fault> {
        Collector::default().feed(bytes)
    }

    fn form_of(fields: &str) -> Result<Form, Fault> {
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        feed(text.as_bytes()).map(|found| found.expect("complete").0.form)
    }

    #[test]
    fn the_head_says_how_the_body_comes() {
        let coding = |value: &str| Err(Fault::Coding(value.to_owned()));
        let table = [
            ("", Ok(Form::UntilClose)),
            ("Content-Length: 5\r\n", Ok(Form::Length(5))),
            (
                "content-length:5\r\nContent-Length: 5\r\n",
                Ok(Form::Length(5)),
            ),
            ("Content-Length: 5, 5\r\n", Ok(Form::Length(5))),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                Err(Fault::Length),
            ),
            ("Content-Length: 5, 6\r\n", Err(Fault::Length)),
            ("Content-Length: +5\r\n", Err(Fault::Length)),
            ("Content-Length: -5\r\n", Err(Fault::Length)),
            ("Content-Length: 0x5\r\n", Err(Fault::Length)),
            ("Content-Length:\r\n", Err(Fault::Length)),
            (
                "Content-Length: 18446744073709551616\r\n",
                Err(Fault::Length),
            ),
            (
                "Content-Length: 18446744073709551615\r\n",
                Ok(Form::Length(u64::MAX)),
            ),
            ("Transfer-Encoding: Chunked\r\n", Ok(Form::Chunked)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Ok(Form::Chunked),
            ),
            (
                "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
                Ok(Form::Chunked),
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
                Err(Fault::NotHttp(httparse::Error::HeaderValue)),
            ),
        ];
        for (fields, expected) in table {
            assert_eq!(form_of(fields), expected, "{fields}");
        }
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 304] {
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            let (head, _) = feed(text.as_bytes()).unwrap().unwrap();
            assert_eq!((head.status, head.form), (status, Form::Length(0)));
        }
    }

    #[test]
    fn a_head_is_found_however_it_is_cut_and_interim_ones_are_skipped() {
        let text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n\
            HTTP/1.1 404 Not Found\r\nA: b\r\n\r\nbody";
        let (whole, rest) = feed(text).unwrap().unwrap();
        assert_eq!(whole.status, 404);
        assert_eq!(whole.bytes, b"HTTP/1.1 404 Not Found\r\nA: b\r\n");
        assert_eq!(rest, b"body");

        let mut collector = Collector::default();
        let mut found = None;
        for byte in &text[..text.len() - 4] {
            assert_eq!(found, None);
            found = collector.feed(&[*byte]).unwrap();
        }
        assert_eq!(found, Some((whole, Vec::new())));
    }

    #[test]
    fn what_is_no_head_is_refused_within_its_limits() {
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        let most = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS));
        let huge = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(MAX_HEAD_BYTES));
        let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEAD_BYTES / 28 + 1);
        assert!(feed(most.as_bytes()).unwrap().is_some());
        let too_many = Fault::NotHttp(httparse::Error::TooManyHeaders);
        assert_eq!(feed(many.as_bytes()), Err(too_many));
        assert_eq!(feed(huge.as_bytes()), Err(Fault::HeadTooLong));
        assert_eq!(feed(hints.as_bytes()), Err(Fault::HeadTooLong));
        assert_eq!(feed(b"HTTP/1.1 101 X\r\n\r\n"), Err(Fault::Switched));
        assert!(matches!(
            feed(b"SSH-2.0-OpenSSH\r\n"),
            Err(Fault::NotHttp(_))
        ));
        assert!(matches!(feed(b"Welcome!"), Err(Fault::NotHttp(_))));

        let mut short = Collector::default();
        assert_eq!(short.feed(b"HTTP/1.1 200 OK\r\n"), Ok(None));
        assert_eq!(short.feed(b""), Err(Fault::HeadEndsShort));
    }
}
