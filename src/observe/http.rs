//! As much of HTTP/1.1 as an observer needs: a request's head in, a response's head out.
//!
//! **Owns** what a request means and how a response begins. **Must never touch** a socket, a
//! clock or what is answered. **Invariant**: whatever comes in is a request, a need for more, or
//! a status that says what is wrong; after anything wrong the connection ends, for nobody knows
//! where the next request would begin (RFC 9112, 2.2).

use std::fmt::Write as _;

/// The longest head of a request, in bytes. A browser's has a few hundred.
pub const MAX_HEAD_BYTES: usize = 8 * 1_024;

/// The longest target of a request, in bytes; the longest that means something has 20.
pub const MAX_TARGET_BYTES: usize = 1_024;

/// The most header lines of a request: a browser sends some twenty.
const MAX_HEADERS: usize = 64;

/// EventKind an answer says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Here it is.
    Ok,
    /// No request of HTTP.
    BadRequest,
    /// Nothing is there.
    NotFound,
    /// Looking is all that can be done here.
    MethodNotAllowed,
    /// The request took too long to come.
    RequestTimeout,
    /// The target is too long.
    UriTooLong,
    /// The head is too long.
    HeadTooLarge,
    /// The server drains, or has too many observers.
    Unavailable,
    /// Not HTTP/1.0 or 1.1.
    VersionNotSupported,
}

impl Status {
    /// The status line's code and reason (RFC 9110, 15).
    #[must_use]
    pub fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::UriTooLong => "414 URI Too Long",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// How a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// For all of it.
    Get,
    /// For the head alone.
    Head,
    /// For something else than looking.
    Other,
}

/// EventKind happens to the connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next request may come.
    KeepAlive,
    /// It ends.
    Close,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it asks.
    pub method: Method,
    /// EventKind for: the path, without a query.
    pub path: String,
    /// EventKind comes after the answer.
    pub after: After,
    /// Bytes of its head.
    pub length: usize,
}

/// Takes one request's head off the front of `input`; `None` while it is not complete.
///
/// # Errors
///
/// The status that tells what is wrong with it.
pub fn parse(input: &[u8]) -> Result<Option<Request>, Status> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = &input[..input.len().min(MAX_HEAD_BYTES)];
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => understand(&request, length).map(Some),
        Ok(httparse::Status::Partial) => check_length(head),
        Err(httparse::Error::TooManyHeaders) => Err(Status::HeadTooLarge),
        Err(httparse::Error::Version) if names_http(head) => Err(Status::VersionNotSupported),
        Err(_) => Err(Status::BadRequest),
    }
}

fn understand(request: &httparse::Request<'_, '_>, length: usize) -> Result<Request, Status> {
    let target = request.path.unwrap_or_default();
    if target.len() > MAX_TARGET_BYTES {
        return Err(Status::UriTooLong);
    }
    let is_1_1 = request.version == Some(1);
    let values = |name: &'static str| {
        let named = request.headers.iter();
        named
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    // RFC 9112, 3.2: without exactly one Host, a request of 1.1 is a bad one.
    if is_1_1 && values("host").count() != 1 {
        return Err(Status::BadRequest);
    }
    let says_close = values("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    // EventKind is asked for here never depends on a body: it is not read, and so the connection
    // cannot be used again.
    let has_body = values("transfer-encoding").next().is_some()
        || values("content-length").any(|value| value.trim_ascii() != b"0");
    let after = if is_1_1 && !says_close && !has_body {
        After::KeepAlive
    } else {
        After::Close
    };
    Ok(Request {
        method: match request.method {
            Some("GET") => Method::Get,
            Some("HEAD") => Method::Head,
            _ => Method::Other,
        },
        path: path_of(target).to_owned(),
        after,
        length,
    })
}

/// The path in `/path?query`, or in the `http://host/path` that a proxy's client sends.
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest
            .find('/')
            .and_then(|slash| rest.get(slash..))
            .unwrap_or("/"),
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// A head that is not complete although it is as long as it may be.
fn check_length(head: &[u8]) -> Result<Option<Request>, Status> {
    let line_end = head.iter().position(|byte| *byte == b'\n');
    if line_end.is_none() && head.len() > MAX_TARGET_BYTES + "OPTIONS  HTTP/1.1\r".len() {
        return Err(Status::UriTooLong);
    }
    if head.len() >= MAX_HEAD_BYTES {
        return Err(Status::HeadTooLarge);
    }
    Ok(None)
}

/// Whether the first line speaks of HTTP at all.
fn names_http(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    memchr::memmem::find(line, b" HTTP/").is_some()
}

/// Fields that are in every answer. Nothing may keep it, for it is old at once; nothing may
/// guess at its type; nothing may frame it.
const COMMON_FIELDS: &str = "Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n";

/// The head of an answer. `length` is that of its body in bytes; `None`: until the connection
/// ends. `fields` are further lines, each with its CRLF.
#[must_use]
pub fn head(
    status: Status,
    content_type: &str,
    length: Option<usize>,
    after: After,
    fields: &str,
) -> String {
    let mut head = format!(
        "HTTP/1.1 {}\r\nContent-Type: {content_type}\r\n{COMMON_FIELDS}{fields}",
        status.line()
    );
    // Writing to a String cannot fail.
    if let Some(length) = length {
        let _ = write!(head, "Content-Length: {length}\r\n");
    }
    if status == Status::MethodNotAllowed {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    if after == After::Close {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(input: &[u8]) -> Status {
        parse(input).unwrap_err()
    }

    #[test]
    fn a_request_is_understood() {
        let head = b"GET /slots/3?x=1 HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\nGET";
        let request = parse(head).unwrap().unwrap();
        assert_eq!(
            (request.method, request.path.as_str()),
            (Method::Get, "/slots/3")
        );
        assert_eq!(
            (request.after, request.length),
            (After::KeepAlive, head.len() - 3)
        );
        for cut in 0..head.len() - 3 {
            assert_eq!(parse(&head[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_connection_is_kept_only_if_both_know_where_the_next_request_begins() {
        let after = |head: &str| parse(head.as_bytes()).unwrap().unwrap().after;
        assert_eq!(
            after("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"),
            After::KeepAlive
        );
        assert_eq!(after("GET / HTTP/1.0\r\n\r\n"), After::Close);
        for field in [
            "Connection: foo, Close",
            "Content-Length: 3",
            "Transfer-Encoding: chunked",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
            assert_eq!(after(&head), After::Close, "{field}");
        }
        let none = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(after(none), After::KeepAlive);
    }

    #[test]
    fn what_is_wrong_has_its_status() {
        assert_eq!(status(b"\x16\x03\x01\x02\x00"), Status::BadRequest);
        assert_eq!(status(b"hello\r\n\r\n"), Status::BadRequest);
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), Status::BadRequest);
        assert_eq!(
            status(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            Status::BadRequest
        );
        assert_eq!(
            status(b"GET / HTTP/2.0\r\n\r\n"),
            Status::VersionNotSupported
        );
        let long = "x".repeat(MAX_HEAD_BYTES);
        assert_eq!(
            status(format!("GET /{long}").as_bytes()),
            Status::UriTooLong
        );
        let target = &long[..MAX_TARGET_BYTES];
        let whole = format!("GET /{target} HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(status(whole.as_bytes()), Status::UriTooLong);
        let field = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n");
        assert_eq!(status(field.as_bytes()), Status::HeadTooLarge);
        let many = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "X: y\r\n".repeat(MAX_HEADERS)
        );
        assert_eq!(status(many.as_bytes()), Status::HeadTooLarge);
    }

    #[test]
    fn a_target_may_name_its_host() {
        for (target, path) in [
            ("/", "/"),
            ("/a?b/c", "/a"),
            ("http://h:1/a/b", "/a/b"),
            ("http://h", "/"),
            ("/a://b", "/a://b"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(target), path, "{target}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_answered(input in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(request)) = parse(&input) {
                prop_assert!(request.length <= input.len());
            }
        }
    }
}
