//! The part of HTTP/1.1 that observers need: parses request heads, writes response heads.
//!
//! **Owns** the meaning of a request and the head of a response. **Must never touch** a socket, a
//! clock or the content of a response. **Invariant**: any input is a request, the beginning of
//! one, or an error status; after an error the connection is closed, since it is not known where
//! the next request begins (RFC 9112, 2.2).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest request head. A browser's takes a few hundred bytes.
pub(crate) const MAX_HEAD_BYTES: usize = 8 * 1_024;

/// The longest request target. The longest meaningful one takes 20 bytes.
const MAX_TARGET_BYTES: usize = 1_024;

/// The most header lines of a request: a browser sends about twenty.
const MAX_HEADERS: usize = 64;

/// The status of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // most are their reason phrases
pub enum Status {
    Ok,
    BadRequest,
    /// A request of HTTP/1.1 without exactly one `Host` field (RFC 9112, 3.2).
    NotOneHost,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    UriTooLong,
    /// The request names another host than this one (RFC 9110, 15.5.20).
    Misdirected,
    HeadTooLarge,
    /// The server drains, or streams to as many observers as it may.
    Unavailable,
    VersionNotSupported,
}

impl Status {
    /// The code and the reason phrase (RFC 9110, 15), then what the client can do.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK\n",
            Self::BadRequest => "400 Bad Request: this is not an HTTP/1.1 request\n",
            Self::NotOneHost => "400 Bad Request: HTTP/1.1 requires exactly one Host field\n",
            Self::NotFound => {
                "404 Not Found: the paths are / /events /metrics /healthz /slots/N and /turns/N\n"
            }
            Self::MethodNotAllowed => "405 Method Not Allowed: use GET or HEAD\n",
            Self::RequestTimeout => {
                "408 Request Timeout: the request head did not arrive in time\n"
            }
            Self::UriTooLong => "414 URI Too Long\n",
            Self::Misdirected => {
                "421 Misdirected Request: use an IP address, localhost, or a name that is given \
                 with --observe-host\n"
            }
            Self::HeadTooLarge => "431 Request Header Fields Too Large\n",
            Self::Unavailable => "503 Service Unavailable: too many live views are open\n",
            Self::VersionNotSupported => "505 HTTP Version Not Supported: use HTTP/1.1 or 1.0\n",
        }
    }
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// A method that is not allowed.
    Other,
}

/// What happens to the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It stays open for the next request.
    KeepAlive,
    /// It is closed.
    Close,
}

/// The host that a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestHost {
    /// HTTP/1.0 without a `Host` field.
    None,
    /// An IP address: the client did not look up a name.
    Address,
    /// A name, in lower case.
    Name(String),
}

impl RequestHost {
    /// The host in `authority`, which may have a port: `name:9998`, `[::1]:9998`.
    fn of(authority: &[u8]) -> Self {
        let authority = String::from_utf8_lossy(authority.trim_ascii()).to_lowercase();
        let (host, port) = match authority.rsplit_once(':') {
            // In `[::1]`, the last colon is part of the address.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority.as_str(), ""),
        };
        let address = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_address = match address {
            // A link-local address has a zone: `[fe80::1%25eth0]`.
            Some(address) => address
                .split('%')
                .next()
                .unwrap_or_default()
                .parse::<Ipv6Addr>()
                .is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok(),
        };
        if is_address && port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Self::Address;
        }
        Self::Name(host.to_owned())
    }

    /// Whether an observer may address this server so. A page from elsewhere cannot read what is
    /// here under its own name, even if it has the name resolve to this machine (DNS rebinding).
    pub(crate) fn is_allowed(&self, names: &[String]) -> bool {
        match self {
            Self::None | Self::Address => true,
            Self::Name(name) => name == "localhost" || names.contains(name),
        }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The host that is addressed, without its port.
    pub(crate) host: RequestHost,
    /// What happens to the connection after the response.
    pub after: After,
    /// The length of the head in bytes.
    pub length: usize,
}

/// Parses the request head at the start of `input`; `None` if it is not complete yet.
///
/// # Errors
///
/// The status that says what is wrong with it.
pub fn parse(input: &[u8]) -> Result<Option<Request>, Status> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = &input[..input.len().min(MAX_HEAD_BYTES)];
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) => interpret(&request, length).map(Some),
        Ok(httparse::Status::Partial) => check_length(head),
        Err(httparse::Error::TooManyHeaders) => Err(Status::HeadTooLarge),
        Err(httparse::Error::Version) if has_http_version(head) => Err(Status::VersionNotSupported),
        Err(_) => Err(Status::BadRequest),
    }
}

fn interpret(request: &httparse::Request<'_, '_>, length: usize) -> Result<Request, Status> {
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
    // RFC 9112, 3.2: a request of 1.1 must have exactly one Host.
    if is_1_1 && values("host").count() != 1 {
        return Err(Status::NotOneHost);
    }
    // The host in the target takes precedence (RFC 9112, 3.2.2).
    let authority = authority_of(target).map(str::as_bytes);
    let host = authority.or_else(|| values("host").next());
    let says_close = values("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
    // No response depends on a body. It is not read, so the connection cannot be reused.
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
        host: host.map_or(RequestHost::None, RequestHost::of),
        after,
        length,
    })
}

/// The authority in the absolute form of a target, `http://authority/path`.
fn authority_of(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    if scheme.contains('/') {
        return None;
    }
    rest.split(['/', '?', '#']).next()
}

/// The path of `/path?query`, or of the absolute form `http://host/path` (RFC 9112, 3.2.2).
fn path_of(target: &str) -> &str {
    let target = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |slash| &rest[slash..])
        }
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// Rejects an incomplete head that has reached a limit.
fn check_length(head: &[u8]) -> Result<Option<Request>, Status> {
    // Without the method: one that is too long is not allowed, but no error of the target.
    let target = head.iter().position(|byte| *byte == b' ');
    let target_bytes = target.map_or(0, |space| head.len() - (space + 1));
    if !head.contains(&b'\n') && target_bytes > MAX_TARGET_BYTES + " HTTP/1.1\r".len() {
        return Err(Status::UriTooLong);
    }
    if head.len() >= MAX_HEAD_BYTES {
        return Err(Status::HeadTooLarge);
    }
    Ok(None)
}

/// Whether the first line has an HTTP version.
fn has_http_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    memchr::memmem::find(line, b" HTTP/").is_some()
}

/// The fields of every response: it is outdated at once and must not be cached, its type must not
/// be guessed, and its address must not leak.
const COMMON_FIELDS: &str = "Cache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n";

/// The head of a response. `length` is that of its body in bytes; `None`: the body ends with the
/// connection. `fields` are further lines, each with its CRLF.
pub(crate) fn head(
    status: Status,
    content_type: &str,
    length: Option<usize>,
    after: After,
    fields: &str,
) -> String {
    let line = status.text().split([':', '\n']).next().unwrap_or_default();
    let mut head =
        format!("HTTP/1.1 {line}\r\nContent-Type: {content_type}\r\n{COMMON_FIELDS}{fields}");
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
    fn a_request_is_parsed_and_any_part_of_it_is_incomplete() {
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
    fn a_connection_is_kept_open_only_if_the_next_request_can_be_found() {
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
    fn each_error_has_its_status() {
        assert_eq!(status(b"\x16\x03\x01\x02\x00"), Status::BadRequest);
        assert_eq!(status(b"hello\r\n\r\n"), Status::BadRequest);
        assert_eq!(status(b"GET / HTTP/1.1\r\n\r\n"), Status::NotOneHost);
        assert_eq!(
            status(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
            Status::NotOneHost
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
        // A long method is not a long target, however much of it has arrived.
        let method = format!("{target} / HTTP/1.0\r\n\r\n");
        for cut in 0..method.len() {
            assert_eq!(parse(&method.as_bytes()[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(
            parse(method.as_bytes()).unwrap().unwrap().method,
            Method::Other
        );
        let many = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "X: y\r\n".repeat(MAX_HEADERS)
        );
        assert_eq!(status(many.as_bytes()), Status::HeadTooLarge);
    }

    #[test]
    fn a_target_may_contain_the_host() {
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

    #[test]
    fn a_host_is_an_address_localhost_or_a_listed_name() {
        let names = ["metrics.example".to_owned()];
        for (host, is_allowed) in [
            ("127.0.0.1", true),
            ("192.0.2.7:9998", true),
            ("[::1]", true),
            ("[2001:db8::7]:9998", true),
            ("[fe80::1%25eth0]:9998", true),
            ("localhost", true),
            (" LocalHost:9998 ", true),
            ("Metrics.Example:9998", true),
            ("metrics.example", true),
            ("evil.example", false),
            ("metrics.example.evil.example", false),
            ("localhost.evil.example:9998", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:x", false),
            ("127.0.0.1@evil.example", false),
            ("::1", false),
            ("\u{e9}", false),
            ("", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let request = parse(head.as_bytes()).unwrap().unwrap();
            assert_eq!(request.host.is_allowed(&names), is_allowed, "{host:?}");
        }
        let none = parse(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert!(none.host.is_allowed(&[]));
        let absolute = b"GET http://evil.example:80/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let absolute = parse(absolute).unwrap().unwrap();
        assert_eq!(absolute.host, RequestHost::Name("evil.example".to_owned()));
    }

    proptest! {
        #[test]
        fn any_input_is_accepted_or_rejected(input in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(request)) = parse(&input) {
                prop_assert!(request.length <= input.len());
            }
        }
    }
}
