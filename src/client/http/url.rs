//! The URL of a page, read strictly.
//!
//! **Owns** what may stand in the request's first two lines and in a file's name.
//! **Must never touch** the network. **Invariant**: every part is visible ASCII, so none can end
//! a line of the request and start another (request splitting, CWE-113).
//!
//! The grammar is RFC 3986's, less what a plain `GET` has no use for.

use std::fmt;
use std::net::Ipv6Addr;

/// The longest URL, in bytes: what RFC 9112, section 3, asks every recipient to support.
const MAX_URL_BYTES: usize = 8_000;

/// HTTP's own port (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;

/// Why a URL is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlFault {
    /// Longer than 8,000 bytes.
    TooLong,
    /// A space, a control character or one beyond ASCII.
    Character,
    /// No scheme, or nothing after it.
    NoScheme,
    /// `https`.
    Encrypted,
    /// Another scheme than `http`.
    Scheme,
    /// A user's name or password.
    User,
    /// No host, or not one.
    Host,
    /// Not a port's number.
    Port,
}

impl fmt::Display for UrlFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 8000 bytes",
            Self::Character => {
                "it has a space, a control character or one beyond ASCII; write those as %XX"
            }
            Self::NoScheme => "it does not start with http://",
            Self::Encrypted => {
                "https needs TLS, and this is the tutorial's plain TCP socket; try http://, or curl"
            }
            Self::Scheme => "only http:// is spoken here",
            Self::User => {
                "it has a user name, which would cross the network for all to read; leave it out"
            }
            Self::Host => "its host is not a name, an IPv4 address or an IPv6 address in brackets",
            Self::Port => "its port is not a number from 1 to 65535",
        })
    }
}

/// The parts of a URL that a request is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Without brackets.
    host: String,
    port: u16,
    /// The path and the query.
    target: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlFault::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlFault::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlFault::NoScheme)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(UrlFault::Encrypted),
            _ => return Err(UrlFault::Scheme),
        }
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlFault::User);
        }
        let (host, port) = split_port(authority)?;
        let target = match target.as_bytes().first() {
            Some(b'/') => target.to_owned(),
            _ => format!("/{target}"),
        };
        Ok(Self { host, port, target })
    }

    /// The host to connect to, an IPv6 address without its brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The path and the query, as they stand in the request line.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// `HOST:PORT`, for messages.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// The `Host` field: the port only if it is another than HTTP's (RFC 9110, section 7.2).
    pub(super) fn host_field(&self) -> String {
        if self.port == HTTP_PORT {
            self.bracketed()
        } else {
            self.address()
        }
    }

    /// The path's last segment as it is written, or `index.html` where that names no file.
    ///
    /// It has no slash, for it was split at them; `.` and `..` are folders.
    pub(super) fn file_name(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        match path.rsplit('/').next() {
            None | Some("" | "." | "..") => "index.html",
            Some(segment) => segment,
        }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }
}

fn split_port(authority: &str) -> Result<(String, u16), UrlFault> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlFault::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlFault::Host)?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if host.is_empty() || !host.bytes().all(is_host_byte) {
                return Err(UrlFault::Host);
            }
            (host, port)
        }
    };
    Ok((host.to_owned(), parse_port(port)?))
}

/// Narrower than RFC 3986's `reg-name`: what the resolver knows.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// What stands behind the host. A colon alone is allowed (RFC 3986, section 3.2.3).
fn parse_port(text: &str) -> Result<u16, UrlFault> {
    if text.is_empty() {
        return Ok(HTTP_PORT);
    }
    let digits = text.strip_prefix(':').ok_or(UrlFault::Host)?;
    if digits.is_empty() {
        return Ok(HTTP_PORT);
    }
    // `parse` alone would allow a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlFault::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(UrlFault::Port),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_its_parts() {
        // URL, Host field, address, target, file.
        let table = [
            (
                "http://www.sina.com.cn",
                "www.sina.com.cn",
                "www.sina.com.cn:80",
                "/",
                "index.html",
            ),
            ("HTTP://h/a/b.html", "h", "h:80", "/a/b.html", "b.html"),
            ("http://h:8080/a/", "h:8080", "h:8080", "/a/", "index.html"),
            ("http://h:80/", "h", "h:80", "/", "index.html"),
            ("http://h:/", "h", "h:80", "/", "index.html"),
            ("http://h?a=/../b", "h", "h:80", "/?a=/../b", "index.html"),
            ("http://h/f?a/b", "h", "h:80", "/f?a/b", "f"),
            ("http://h/f#part/x", "h", "h:80", "/f", "f"),
            ("http://h#part", "h", "h:80", "/", "index.html"),
            ("http://h/..", "h", "h:80", "/..", "index.html"),
            ("http://h/a/.", "h", "h:80", "/a/.", "index.html"),
            (
                "http://h/%2e%2e%2fx%00",
                "h",
                "h:80",
                "/%2e%2e%2fx%00",
                "%2e%2e%2fx%00",
            ),
            ("http://h/a@b", "h", "h:80", "/a@b", "a@b"),
            (
                "http://[::1]:8080/",
                "[::1]:8080",
                "[::1]:8080",
                "/",
                "index.html",
            ),
            ("http://[::1]", "[::1]", "[::1]:80", "/", "index.html"),
            (
                "http://127.0.0.1:1/x",
                "127.0.0.1:1",
                "127.0.0.1:1",
                "/x",
                "x",
            ),
        ];
        for (text, host_field, address, target, file) in table {
            let url = Url::parse(text).expect(text);
            assert_eq!(url.host_field(), host_field, "{text}");
            assert_eq!(url.address(), address, "{text}");
            assert_eq!(url.target(), target, "{text}");
            assert_eq!(url.file_name(), file, "{text}");
            assert!(!url.host().contains(['[', ']']));
        }
    }

    #[test]
    fn what_is_not_a_plain_page_is_refused_with_its_reason() {
        let long = format!("http://h/{}", "x".repeat(MAX_URL_BYTES));
        let table = [
            (long.as_str(), UrlFault::TooLong),
            ("http://h/a b", UrlFault::Character),
            ("http://h/\r\nX: y", UrlFault::Character),
            ("http://h\r\n/", UrlFault::Character),
            ("http://h/\0", UrlFault::Character),
            ("http://h/\u{7f}", UrlFault::Character),
            ("http://新浪/", UrlFault::Character),
            ("", UrlFault::NoScheme),
            ("www.sina.com.cn", UrlFault::NoScheme),
            ("http:/h", UrlFault::NoScheme),
            ("https://h/", UrlFault::Encrypted),
            ("HttpS://h/", UrlFault::Encrypted),
            ("ftp://h/", UrlFault::Scheme),
            ("file:///etc/passwd", UrlFault::Scheme),
            ("://h/", UrlFault::Scheme),
            ("http://user:pass@h/", UrlFault::User),
            ("http://@h/", UrlFault::User),
            ("http://", UrlFault::Host),
            ("http:///x", UrlFault::Host),
            ("http://:80/", UrlFault::Host),
            ("http://a\\b/", UrlFault::Host),
            ("http://h%20/", UrlFault::Host),
            ("http://[::1/", UrlFault::Host),
            ("http://[]/", UrlFault::Host),
            ("http://[::1]80/", UrlFault::Host),
            ("http://[fe80::1%25eth0]/", UrlFault::Host),
            ("http://[127.0.0.1]/", UrlFault::Host),
            ("http://h:0/", UrlFault::Port),
            ("http://h:65536/", UrlFault::Port),
            ("http://h:+80/", UrlFault::Port),
            ("http://h:8x/", UrlFault::Port),
            ("http://::1/", UrlFault::Host),
        ];
        for (text, fault) in table {
            assert_eq!(Url::parse(text), Err(fault), "{}", text.escape_debug());
        }
    }
}
