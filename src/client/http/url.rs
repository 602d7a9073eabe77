//! The URL of a page, parsed strictly.
//!
//! **Owns** what may appear in the first two lines of the request and in the name of the file.
//! **Must never touch** the network. **Invariant**: every part is visible ASCII, so none can end
//! a line of the request and start another (request splitting, CWE-113).
//!
//! The grammar is that of RFC 3986, without what a plain `GET` does not need.

use std::net::Ipv6Addr;

/// The longest URL, in bytes: the length of a request line that RFC 9112, section 3, recommends
/// every recipient to support.
const MAX_URL_BYTES: usize = 8_000;

/// The default port of HTTP (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;

/// Why a URL cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Longer than 8,000 bytes.
    #[error("it is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// A space, a control character or a character outside ASCII.
    #[error("it contains a space, a control or a non-ASCII character; write those as %XX")]
    Character,
    /// A scheme without `//` after it.
    #[error("it has no // after its scheme; write http://HOST/PATH")]
    NoSlashes,
    /// `https`.
    #[error("https needs TLS, and this client uses a plain TCP socket; try http://, or curl")]
    Encrypted,
    /// A scheme other than `http`.
    #[error("only http:// is supported")]
    Scheme,
    /// A user name or password.
    #[error("it contains a user name, which would be sent unencrypted; remove it")]
    User,
    /// No host, or an invalid one.
    #[error("its host is not a name, an IPv4 address or an IPv6 address in brackets")]
    Host,
    /// An invalid port number.
    #[error("its port is not a number from 1 to 65535")]
    Port,
}

/// The parts of a URL that make up a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// The host to connect to, an IPv6 address without its brackets.
    pub host: String,
    /// The port to connect to.
    pub port: u16,
    /// The path and the query, as in the request line.
    pub target: String,
}

impl Url {
    /// Parses a URL. Without a scheme it is `http`: `example.org/x` is `http://example.org/x`.
    ///
    /// # Errors
    ///
    /// Why it cannot be fetched.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Character);
        }
        let rest = without_scheme(text)?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let (host, port) = split_port(authority)?;
        let target = match target.as_bytes().first() {
            Some(b'/') => target.to_owned(),
            _ => format!("/{target}"),
        };
        Ok(Self { host, port, target })
    }

    /// `HOST:PORT`, for error messages.
    pub fn address(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// The `Host` field, with the port unless it is the default one (RFC 9110, section 7.2).
    pub fn host_field(&self) -> String {
        if self.port == HTTP_PORT {
            self.bracketed()
        } else {
            self.address()
        }
    }

    /// The last segment of the path, still percent-encoded, or `index.html` if it names no file:
    /// it is empty, `.` or `..`. It contains no slash.
    pub fn file_name(&self) -> &str {
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

/// What comes after `http://`, if that is there.
fn without_scheme(text: &str) -> Result<&str, UrlError> {
    let start = text.split(['/', '?', '#']).next().unwrap_or(text);
    let Some((scheme, _)) = start.split_once(':') else {
        return Ok(text);
    };
    let after = &text[scheme.len() + 1..];
    match (&*scheme.to_ascii_lowercase(), after.strip_prefix("//")) {
        ("http", Some(rest)) => Ok(rest),
        ("https", Some(_)) => Err(UrlError::Encrypted),
        ("http" | "https", None) => Err(UrlError::NoSlashes),
        (_, Some(_)) => Err(UrlError::Scheme),
        // A host and a port.
        (_, None) => Ok(text),
    }
}

fn split_port(authority: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlError::Host)?;
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if host.is_empty() || !host.bytes().all(is_host_byte) {
                return Err(UrlError::Host);
            }
            (host, port)
        }
    };
    Ok((host.to_owned(), parse_port(port)?))
}

/// Narrower than `reg-name` of RFC 3986: only what a resolver accepts.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Parses what follows the host. A colon alone is allowed (RFC 3986, section 3.2.3).
fn parse_port(text: &str) -> Result<u16, UrlError> {
    if text.is_empty() {
        return Ok(HTTP_PORT);
    }
    let digits = text.strip_prefix(':').ok_or(UrlError::Host)?;
    if digits.is_empty() {
        return Ok(HTTP_PORT);
    }
    // `parse` would also accept a plus sign.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    match digits.parse() {
        Ok(0) | Err(_) => Err(UrlError::Port),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        // URL, Host field, address, target, file.
        let table = [
            (
                "http://www.sina.com.cn",
                "www.sina.com.cn",
                "www.sina.com.cn:80",
                "/",
                "index.html",
            ),
            (
                "www.sina.com.cn",
                "www.sina.com.cn",
                "www.sina.com.cn:80",
                "/",
                "index.html",
            ),
            ("h/a/b.html", "h", "h:80", "/a/b.html", "b.html"),
            (
                "h:8080/b?u=http://x/",
                "h:8080",
                "h:8080",
                "/b?u=http://x/",
                "b",
            ),
            ("[::1]:8080/b", "[::1]:8080", "[::1]:8080", "/b", "b"),
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
            assert_eq!(url.target, target, "{text}");
            assert_eq!(url.file_name(), file, "{text}");
            assert!(!url.host.contains(['[', ']']));
        }
    }

    #[test]
    fn an_unsupported_url_is_rejected_with_its_reason() {
        let long = format!("http://h/{}", "x".repeat(MAX_URL_BYTES));
        let table = [
            (long.as_str(), UrlError::TooLong),
            ("http://h/a b", UrlError::Character),
            ("http://h/\r\nX: y", UrlError::Character),
            ("http://h\r\n/", UrlError::Character),
            ("http://h/\0", UrlError::Character),
            ("http://h/\u{7f}", UrlError::Character),
            ("http://新浪/", UrlError::Character),
            ("", UrlError::Host),
            ("/page", UrlError::Host),
            ("mailto:me@h", UrlError::User),
            ("h:x/", UrlError::Port),
            ("me@h/", UrlError::User),
            ("http:/h", UrlError::NoSlashes),
            ("HTTPS:h", UrlError::NoSlashes),
            ("https://h/", UrlError::Encrypted),
            ("HttpS://h/", UrlError::Encrypted),
            ("ftp://h/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("://h/", UrlError::Scheme),
            ("http://user:pass@h/", UrlError::User),
            ("http://@h/", UrlError::User),
            ("http://", UrlError::Host),
            ("http:///x", UrlError::Host),
            ("http://:80/", UrlError::Host),
            ("http://a\\b/", UrlError::Host),
            ("http://h%20/", UrlError::Host),
            ("http://[::1/", UrlError::Host),
            ("http://[]/", UrlError::Host),
            ("http://[::1]80/", UrlError::Host),
            ("http://[fe80::1%25eth0]/", UrlError::Host),
            ("http://[127.0.0.1]/", UrlError::Host),
            ("http://h:0/", UrlError::Port),
            ("http://h:65536/", UrlError::Port),
            ("http://h:+80/", UrlError::Port),
            ("http://h:8x/", UrlError::Port),
            ("http://::1/", UrlError::Host),
        ];
        for (text, error) in table {
            assert_eq!(Url::parse(text), Err(error), "{}", text.escape_debug());
        }
    }
}
