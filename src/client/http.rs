//! The tutorial's page fetch, over a plain TCP socket: the header is shown, the body saved.
//!
//! **Owns** the request and the order of things. **Must never touch** a file but the one it is
//! asked for and a temporary one beside it, nor the streams of the process.
//! **Invariant**: the body's file is there whole, or not at all.
//!
//! The tutorial splits what came at the first empty line and calls the rest the page. That holds
//! where the server closes the connection and sends the body in one piece, as HTTP/1.0 did. In
//! HTTP/1.1 (RFC 9112) the head says in which of three forms the body comes and so where it
//! ends: without that, a cut connection passes for a complete page.
//!
//! - `url` reads the URL, and lets nothing into the request that could end its line.
//! - `head` reads the status line and the header fields.
//! - `body` finds the body's bytes among those that came.
//! - `save` writes them aside and gives them their name at the end.

mod body;
mod head;
mod save;
mod url;

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::wire::{Wire, deadline, is_time_out, resolve};
use super::{Error, Service, escape};
use body::Body;
use head::{Collector, Head};
use save::Aside;
use url::Url;

pub use url::UrlFault;

/// The longest head that is read, interim ones included, in bytes. Common servers send at most
/// 8 KiB; a server that never ends its head must not fill the memory.
pub const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// The most header fields that are read.
pub const MAX_HEADERS: usize = 100;

/// The longest line of chunked framing, and all trailers together, in bytes: they carry nothing
/// that is saved, so a server could otherwise send them up to the time limit.
pub const MAX_CHUNK_LINE_BYTES: usize = 16 * 1_024;

/// What one read takes at most, in bytes.
const READ_BYTES: usize = 16 * 1_024;

/// From here on a status is an error (RFC 9110, section 15.5).
const FIRST_ERROR_STATUS: u16 = 400;

/// What to fetch, where to, and within which limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST[:PORT][/PATH][?QUERY]`.
    pub url: String,
    /// The file for the body. `None`: the last segment of the URL's path, or `index.html`,
    /// in the working directory.
    pub output: Option<PathBuf>,
    /// Whether a file that exists is replaced.
    pub force: bool,
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The limit on everything together, from connecting to the body's last byte.
    pub timeout: Duration,
}

/// A body that is saved whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The response's status: below 400.
    pub status: u16,
}

/// Why a response is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No head by RFC 9112; the parser's reason.
    NotHttp(httparse::Error),
    /// Over [`MAX_HEAD_BYTES`].
    HeadTooLong,
    /// End of input within the head.
    HeadEndsShort,
    /// Switched to another protocol, which was not asked for.
    Switched,
    /// A `Content-Length` that is not a number of bytes, or two that differ.
    Length,
    /// A `Transfer-Encoding` other than `chunked`; its value, escaped.
    Coding(String),
    /// A chunk's size that is not one, or not followed by what must follow.
    Chunk,
    /// A chunk's extension or the trailers over [`MAX_CHUNK_LINE_BYTES`].
    ChunkLineTooLong,
    /// End of input within the body.
    BodyEndsShort,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp(reason) => {
                write!(f, "the answer is no HTTP/1 ({reason}); is the port right?")
            }
            Self::HeadTooLong => {
                write!(
                    f,
                    "the header is longer than {MAX_HEAD_BYTES} bytes, given up"
                )
            }
            Self::HeadEndsShort => f.write_str("the connection ended before the header did"),
            Self::Switched => f.write_str("the server switched to a protocol nobody asked for"),
            Self::Length => f.write_str("the Content-Length makes no sense, nothing saved"),
            Self::Coding(coding) => {
                write!(f, "the body comes as {coding}, which is not understood")
            }
            Self::Chunk => f.write_str("the chunked body is malformed, nothing saved"),
            Self::ChunkLineTooLong => {
                f.write_str("the chunked body has a line without end, nothing saved")
            }
            Self::BodyEndsShort => {
                f.write_str("the connection ended before the body did, nothing saved; try again")
            }
        }
    }
}

/// Fetches the page: writes the response's header to `out`, then saves the body. With `escaped`,
/// as a terminal needs it, each line is put through [`escape`](super::escape()); otherwise the
/// bytes are as they came. Redirects are not followed: their header says where to.
///
/// # Errors
/// No file is left by any but [`Error::Status`], which tells of a status of 400 and above: then
/// the body, which mostly explains it, is saved all the same.
pub fn run(options: &Options, out: &mut dyn Write, escaped: bool) -> Result<Saved, Error> {
    let url = Url::parse(&options.url).map_err(Error::Url)?;
    let path = options
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(url.file_name()));
    // Told before the page is fetched in vain; `Aside::publish` is what makes sure of it.
    save::check_target(&path, options.force)?;
    let mut fetch = Fetch::open(&url, options)?;
    let (head, rest) = fetch.head()?;
    match show_head(out, &head.bytes, escaped) {
        // Who does not read the header may want the body all the same.
        Err(error) if !error.is_closed_output() => return Err(error),
        _ => {}
    }
    let mut aside = Aside::create(&path)?;
    let bytes = fetch.body(Body::new(head.form), &rest, &mut aside)?;
    aside.publish(options.force)?;
    let status = head.status;
    if status >= FIRST_ERROR_STATUS {
        return Err(Error::Status { status, path });
    }
    Ok(Saved {
        path,
        bytes,
        status,
    })
}

/// The lines of the header, without the empty one that ends it.
fn show_head(out: &mut dyn Write, head: &[u8], escaped: bool) -> Result<(), Error> {
    let shown = if escaped {
        let lines = head.split_inclusive(|&byte| byte == b'\n');
        let escaped: String = lines
            .map(|line| escape(line.trim_ascii_end()) + "\n")
            .collect();
        escaped.into_bytes()
    } else {
        head.to_vec()
    };
    out.write_all(&shown)
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

struct Fetch<'a> {
    wire: Wire,
    options: &'a Options,
    end: Instant,
}

impl<'a> Fetch<'a> {
    /// Connects and sends the request.
    fn open(url: &Url, options: &'a Options) -> Result<Self, Error> {
        let end = deadline(options.timeout);
        let to = url.address();
        let addresses = resolve(&to, (url.host(), url.port()))?;
        let wire = Wire::connect(&to, &addresses, options.timeout, Service::Http)?;
        let mut fetch = Self { wire, options, end };
        fetch
            .wire
            .write_all(&request(url), end)
            .map_err(|error| fetch.failed("send the request", error))?;
        Ok(fetch)
    }

    /// The final response's head, and what came of the body with it.
    fn head(&mut self) -> Result<(Head, Vec<u8>), Error> {
        let mut collector = Collector::default();
        let mut buffer = [0; READ_BYTES];
        loop {
            let count = self
                .wire
                .read(&mut buffer, self.end)
                .map_err(|error| self.failed("receive the header", error))?;
            let found = collector
                .feed(&buffer[..count])
                .map_err(|fault| self.response(fault))?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Saves the body as it comes, and returns its size in bytes.
    fn body(&mut self, mut body: Body, first: &[u8], aside: &mut Aside) -> Result<u64, Error> {
        let mut saved = 0;
        self.save(&mut body, first, aside, &mut saved)?;
        let mut buffer = vec![0; READ_BYTES];
        while !body.is_done() {
            let count = self
                .wire
                .read(&mut buffer, self.end)
                .map_err(|error| self.failed("receive the body", error))?;
            if count == 0 {
                body.end().map_err(|fault| self.response(fault))?;
            } else {
                self.save(&mut body, &buffer[..count], aside, &mut saved)?;
            }
        }
        Ok(saved)
    }

    fn save(
        &self,
        body: &mut Body,
        mut input: &[u8],
        aside: &mut Aside,
        saved: &mut u64,
    ) -> Result<(), Error> {
        let max_bytes = self.options.max_bytes;
        // A length that is too large is told before its body is fetched in vain.
        if body.announced().is_some_and(|length| length > max_bytes) {
            return Err(Error::TooLarge { max_bytes });
        }
        while !input.is_empty() && !body.is_done() {
            let data = body
                .take(&mut input)
                .map_err(|fault| self.response(fault))?;
            *saved += data.len() as u64;
            if *saved > max_bytes {
                return Err(Error::TooLarge { max_bytes });
            }
            aside.write(data)?;
        }
        Ok(())
    }

    fn response(&self, fault: Fault) -> Error {
        let from = self.wire.to();
        Error::Response { from, fault }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        let to = self.wire.to();
        if is_time_out(&source) {
            return Error::TimedOut {
                to,
                awaited: "the whole response".to_owned(),
                after: self.options.timeout,
                hint: ", nothing saved; --timeout allows longer",
            };
        }
        Error::Network { to, doing, source }
    }
}

/// What the tutorial sends, and two fields more: a name, which some servers insist on, and a plea
/// for the body as it is, since what is saved here is not decompressed.
fn request(url: &Url) -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: helloop/{}\r\nAccept-Encoding: identity\r\n\
         Connection: close\r\n\r\n",
        url.target(),
        url.host_field(),
        env!("CARGO_PKG_VERSION"),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_the_tutorials() {
        let url = Url::parse("http://www.sina.com.cn").unwrap();
        let request = String::from_utf8(request(&url)).unwrap();
        assert!(request.starts_with("GET / HTTP/1.1\r\nHost: www.sina.com.cn\r\n"));
        assert!(request.ends_with("\r\nConnection: close\r\n\r\n"));
        assert_eq!(request.matches("\r\n\r\n").count(), 1);
    }
}
