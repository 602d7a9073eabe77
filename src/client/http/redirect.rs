//! Where a redirect leads.
//!
//! **Owns** the statuses that redirect, and how a `Location` becomes the next URL. **Must never
//! touch** the network, nor the name of the file: that is taken from the URL that the user gave, so a
//! server cannot choose it. **Invariant**: what is fetched next is as strictly parsed as any [`Url`].

use super::url::{Url, UrlError};
use crate::protocol::escape::excerpt;
use std::fmt::Write as _;

/// The most redirects that are followed. Common clients follow 5 to 50.
pub const MAX_REDIRECTS: usize = 10;

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The `Location` cannot be fetched.
    #[error("redirects to {to}: {source}")]
    Url {
        /// The `Location`, escaped and shortened.
        to: String,
        /// What is wrong with it.
        source: UrlError,
    },
    /// There is no `Location`, or an empty one, which would lead to the same page again.
    #[error("answered with status {0}, a redirect, and does not say where to")]
    NoLocation(u16),
    /// There are several that differ.
    #[error("answered with status {0}, a redirect, and names several places to go to")]
    SeveralLocations(u16),
    /// Over [`MAX_REDIRECTS`].
    #[error("redirects to {to}, after {MAX_REDIRECTS} redirects; they may never end")]
    TooMany {
        /// The last `Location`, escaped and shortened.
        to: String,
    },
}

/// Whether a client follows this status automatically (RFC 9110, section 15.4). A `GET` stays a `GET`.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The URL that follows `base`.
pub(super) fn next(
    base: &Url,
    status: u16,
    locations: &[Vec<u8>],
    followed: usize,
) -> Result<Url, RedirectError> {
    let location = match locations {
        [location] if !location.is_empty() => location,
        [] | [_] => return Err(RedirectError::NoLocation(status)),
        _ => return Err(RedirectError::SeveralLocations(status)),
    };
    let to = excerpt(location);
    if followed >= MAX_REDIRECTS {
        return Err(RedirectError::TooMany { to });
    }
    resolve(base, location).map_err(|source| RedirectError::Url { to, source })
}

/// Resolves a reference (RFC 3986, section 5.2). What servers often leave unescaped, spaces and bytes
/// outside ASCII, is escaped, as browsers do.
fn resolve(base: &Url, location: &[u8]) -> Result<Url, UrlError> {
    let mut text = String::new();
    for &byte in location.trim_ascii() {
        if byte == b' ' || !byte.is_ascii() {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        } else {
            text.push(byte.into());
        }
    }
    let text = text.split('#').next().unwrap_or_default();
    if has_scheme(text) {
        // Otherwise `mailto:80` would be a host and its port.
        let is_complete = text.contains("://");
        let url = is_complete.then(|| Url::parse(text));
        return url.unwrap_or(Err(UrlError::Scheme)).map(without_dots);
    }
    if let Some(rest) = text.strip_prefix("//") {
        return Url::parse(&format!("http://{rest}")).map(without_dots);
    }
    let path = base.target.split('?').next().unwrap_or_default();
    let target = match text.as_bytes().first() {
        None => base.target.clone(),
        Some(b'/') => text.to_owned(),
        Some(b'?') => format!("{path}{text}"),
        Some(_) => {
            let folder = path.rfind('/').map_or(0, |slash| slash + 1);
            format!("{}{text}", &path[..folder])
        }
    };
    Url::parse(&format!("http://{}{target}", base.address())).map(without_dots)
}

/// A colon in the first segment ends a scheme.
fn has_scheme(text: &str) -> bool {
    let first = text.split(['/', '?']).next().unwrap_or_default();
    first.contains(':')
}

/// Removes `.` and `..` from the path (RFC 3986, section 5.2.4).
fn without_dots(mut url: Url) -> Url {
    let (path, query) = url
        .target
        .split_at(url.target.find('?').unwrap_or(url.target.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
        if segments.peek().is_none() && matches!(segment, "." | "..") {
            kept.push("");
        }
    }
    url.target = format!("/{}{query}", kept.join("/"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_resolved_against_the_url_before() {
        let base = Url::parse("http://h:8080/a/b/c?q#f").unwrap();
        for (location, authority, target) in [
            ("http://other/x?y", "other", "/x?y"),
            ("HTTP://other:81", "other:81", "/"),
            ("//other/x", "other", "/x"),
            ("/x/y", "h:8080", "/x/y"),
            ("x", "h:8080", "/a/b/x"),
            ("x/y?z", "h:8080", "/a/b/x/y?z"),
            ("./x", "h:8080", "/a/b/x"),
            ("../x", "h:8080", "/a/x"),
            ("../../../../x", "h:8080", "/x"),
            ("..", "h:8080", "/a/"),
            (".", "h:8080", "/a/b/"),
            ("/x/./y/../z", "h:8080", "/x/z"),
            ("/x?a=/../b", "h:8080", "/x?a=/../b"),
            ("?p", "h:8080", "/a/b/c?p"),
            ("", "h:8080", "/a/b/c?q"),
            ("#part", "h:8080", "/a/b/c?q"),
            ("/x#part", "h:8080", "/x"),
            (" /a b/新 ", "h:8080", "/a%20b/%E6%96%B0"),
        ] {
            let url = resolve(&base, location.as_bytes()).expect(location);
            assert_eq!(url.host_field(), authority, "{location}");
            assert_eq!(url.target, target, "{location}");
        }
        let six = Url::parse("http://[::1]/a").unwrap();
        assert_eq!(resolve(&six, b"/b").unwrap().host_field(), "[::1]");
    }

    #[test]
    fn a_location_that_cannot_be_fetched_is_an_error_and_shown_escaped() {
        let base = Url::parse("http://h/").unwrap();
        for (location, source) in [
            (&b"https://h/"[..], UrlError::Encrypted),
            (b"file:///etc/passwd", UrlError::Scheme),
            (b"javascript:alert(1)", UrlError::Scheme),
            (b"mailto:80", UrlError::Scheme),
            (b"http://me:secret@h/", UrlError::User),
            (b"//h:0/", UrlError::Port),
            (b"http:///x", UrlError::Host),
            (b"/x\ty", UrlError::Character),
            (b"/\x1b[2J", UrlError::Character),
        ] {
            assert_eq!(resolve(&base, location), Err(source));
            let error = next(&base, 301, &[location.to_vec()], 0)
                .unwrap_err()
                .to_string();
            assert!(error.contains(&excerpt(location)), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
        let long = [b"/".as_slice(), &[b'x'; 9_000]].concat();
        assert_eq!(resolve(&base, &long), Err(UrlError::TooLong));
    }

    #[test]
    fn redirects_are_limited() {
        let base = Url::parse("http://h/").unwrap();
        assert!(next(&base, 302, &[b"/".to_vec()], MAX_REDIRECTS - 1).is_ok());
        let error = next(&base, 302, &[b"/".to_vec()], MAX_REDIRECTS);
        assert!(matches!(error, Err(RedirectError::TooMany { .. })));
        for nowhere in [&[][..], &[Vec::new()]] {
            let error = next(&base, 302, nowhere, 0);
            assert_eq!(error, Err(RedirectError::NoLocation(302)));
        }
        let error = next(&base, 302, &[b"/a".to_vec(), b"/b".to_vec()], 0);
        assert_eq!(error, Err(RedirectError::SeveralLocations(302)));
        let followed: Vec<u16> = (300..=399).filter(|&status| is_redirect(status)).collect();
        assert_eq!(followed, [301, 302, 303, 307, 308]);
    }
}
