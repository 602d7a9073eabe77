//! The tutorial's page fetch over a plain TCP socket: prints the header, saves the body.
//!
//! **Owns** the request and the sequence of steps. **Must never touch** a file other than the
//! target and a temporary one beside it, nor the standard streams.
//! **Invariant**: the target file is complete or absent.
//!
//! The tutorial splits the response at the first empty line and takes the rest as the page. That
//! works if the server closes the connection and sends the body as it is, as in HTTP/1.0. In
//! HTTP/1.1 (RFC 9112) the header says which of three framings the body has and so where it
//! ends; a client that ignores this takes a truncated body for a complete page.
//!
//! - `url` parses the URL and admits nothing that could end a line of the request.
//! - `head` parses the status line and the header fields.
//! - `body` extracts the body from the bytes received.
//! - `save` writes the body to a temporary file and renames it when it is complete.

mod body;
mod head;
mod save;
mod url;

pub use body::Body;
pub use head::HeadParser;
pub use url::{Url, UrlError};

use super::connection::{Connection, Target, deadline};
use super::{Error, Service, write_line};
use head::Head;
use save::PartFile;
use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The most bytes of header, interim responses included. Common servers send at most 8 KiB; the
/// limit bounds memory if a server never ends its header.
pub const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// The most header fields.
pub const MAX_HEADERS: usize = 100;

/// The longest line of chunked framing, and the limit of all trailers together, in bytes. None of
/// it is saved, so without a limit a server could send it until the timeout.
pub const MAX_CHUNK_LINE_BYTES: usize = 16 * 1_024;

/// The size of one read, in bytes: few reads for a large page, and little memory.
const READ_BYTES: usize = 16 * 1_024;

/// Any other status is an error: 400 and above, and what is below 100 and so invalid, which counts as
/// an error of the server (RFC 9110, section 15).
const SUCCESS_STATUSES: Range<u16> = 100..400;

/// What to fetch, where to save it, and the limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://HOST[:PORT][/PATH][?QUERY]`.
    pub url: String,
    /// The file for the body. `None`: the last segment of the URL's path, or `index.html`,
    /// in the working directory; a leading dot becomes `_`.
    pub output: Option<PathBuf>,
    /// Whether to replace an existing file.
    pub force: bool,
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The timeout of the whole fetch, from connecting to the last byte of the body.
    pub timeout: Duration,
}

/// A saved body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The file.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub bytes: u64,
    /// The status of the response: below 400.
    pub status: u16,
}

/// Why a response is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The header is not one of RFC 9112.
    #[error("the response is not HTTP/1 ({0}); is the port right?")]
    NotHttp(#[source] httparse::Error),
    /// Over [`MAX_HEAD_BYTES`].
    #[error("the header is longer than {MAX_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// EOF within the header.
    #[error("the connection was closed before the end of the header")]
    HeadTruncated,
    /// Status 101, though no other protocol was requested.
    #[error("the server switched to another protocol unasked")]
    SwitchedProtocols,
    /// A `Content-Length` that is not a number, or two that differ.
    #[error("the Content-Length is invalid, nothing saved")]
    InvalidLength,
    /// A `Transfer-Encoding` other than `chunked`; its value, escaped.
    #[error("the Transfer-Encoding {0} is not supported, nothing saved")]
    UnsupportedCoding(String),
    /// A chunk with an invalid size or without its line endings.
    #[error("the chunked body is malformed, nothing saved")]
    InvalidChunk,
    /// A chunk extension or the trailers over [`MAX_CHUNK_LINE_BYTES`].
    #[error("the chunked body has a line of over {MAX_CHUNK_LINE_BYTES} bytes, nothing saved")]
    ChunkLineTooLong,
    /// EOF within the body.
    #[error("the connection was closed before the end of the body, nothing saved; try again")]
    BodyTruncated,
}

/// Fetches the page: writes the header of the response to `out`, `escaped` for a terminal or as it
/// is, then saves the body. Redirects are not followed; their header says where they lead.
///
/// # Errors
///
/// No error leaves a file except [`Error::Status`], a status of 400 or above, or an invalid one: the
/// body mostly explains it and is saved.
pub fn run(options: &Options, out: &mut dyn Write, escaped: bool) -> Result<Saved, Error> {
    let url = Url::parse(&options.url)?;
    let path = options
        .output
        .clone()
        .unwrap_or_else(|| save::visible_name(url.file_name()));
    // Fails before the page is fetched; `PartFile::publish` is what guarantees it.
    save::check_target(&path, options.force)?;
    let mut fetch = Fetch::open(&url, options)?;
    let (head, rest) = fetch.head()?;
    match write_head(out, &head.bytes, escaped) {
        // The body is wanted even if the reader of the header is gone.
        Err(error) if !error.is_closed_output() => return Err(error),
        _ => {}
    }
    let mut file = PartFile::create(&path, options.force)?;
    let bytes = fetch.body(head.body, rest, &mut file)?;
    file.publish()?;
    let status = head.status;
    if !SUCCESS_STATUSES.contains(&status) {
        return Err(Error::Status { status, path });
    }
    Ok(Saved {
        path,
        bytes,
        status,
    })
}

fn write_head(out: &mut dyn Write, head: &[u8], escaped: bool) -> Result<(), Error> {
    head.split_inclusive(|&byte| byte == b'\n')
        .try_for_each(|line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let shown = if escaped { line.trim_ascii_end() } else { line };
            write_line(out, shown, escaped)
        })
}

struct Fetch<'a> {
    connection: Connection,
    options: &'a Options,
    deadline: Instant,
}

impl<'a> Fetch<'a> {
    /// Connects and sends the request.
    fn open(url: &Url, options: &'a Options) -> Result<Self, Error> {
        let deadline = deadline(options.timeout);
        let target = Target::new(&url.address(), Service::Http, options.timeout);
        let mut fetch = Self {
            connection: Connection::open(target, (&*url.host, url.port))?,
            options,
            deadline,
        };
        let sent = fetch.connection.write_all(&request(url), deadline);
        sent.map_err(|error| fetch.failed(error, "send the request"))?;
        Ok(fetch)
    }

    /// Returns the header of the final response and the part of the body that arrived with it.
    fn head(&mut self) -> Result<(Head, Vec<u8>), Error> {
        let mut parser = HeadParser::default();
        loop {
            let received = self.receive("receive the header")?;
            match parser.feed(&received) {
                Ok(None) => {}
                Ok(Some(found)) => return Ok(found),
                Err(error) => return Err(self.rejected(error)),
            }
        }
    }

    /// Saves the body as it arrives, and returns its size in bytes.
    fn body(
        &mut self,
        mut body: Body,
        mut received: Vec<u8>,
        file: &mut PartFile,
    ) -> Result<u64, Error> {
        let max_bytes = self.options.max_bytes;
        // A Content-Length over the limit is an error before the body arrives.
        if body.announced().is_some_and(|length| length > max_bytes) {
            return Err(Error::TooLarge { max_bytes });
        }
        let mut saved = 0;
        loop {
            let mut input = &received[..];
            while !input.is_empty() && !body.is_done() {
                let data = body
                    .decode(&mut input)
                    .map_err(|error| self.rejected(error))?;
                saved += data.len() as u64;
                if saved > max_bytes {
                    return Err(Error::TooLarge { max_bytes });
                }
                file.write(data)?;
            }
            if body.is_done() {
                return Ok(saved);
            }
            received = self.receive("receive the body")?;
            if received.is_empty() {
                body.at_eof().map_err(|error| self.rejected(error))?;
                return Ok(saved);
            }
        }
    }

    /// One read; empty at EOF.
    fn receive(&mut self, doing: &'static str) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; READ_BYTES];
        let count = self
            .connection
            .read(&mut buffer, self.deadline)
            .map_err(|error| self.failed(error, doing))?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn rejected(&self, source: ResponseError) -> Error {
        let to = self.connection.target.name.clone();
        Error::Response { to, source }
    }

    fn failed(&self, error: io::Error, doing: &'static str) -> Error {
        let hint = ", nothing saved; --timeout allows longer";
        self.connection
            .target
            .error(error, doing, "the whole response", hint)
    }
}

/// The tutorial's request, plus `User-Agent`, which some servers require, and `Accept-Encoding:
/// identity`, because the body is saved without decompression.
fn request(url: &Url) -> Vec<u8> {
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: helloop/{}\r\nAccept-Encoding: identity\r\n\
         Connection: close\r\n\r\n",
        url.target,
        url.host_field(),
        env!("CARGO_PKG_VERSION"),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_that_of_the_tutorial() {
        let url = Url::parse("http://www.sina.com.cn").unwrap();
        let request = String::from_utf8(request(&url)).unwrap();
        assert!(request.starts_with("GET / HTTP/1.1\r\nHost: www.sina.com.cn\r\n"));
        assert!(request.ends_with("\r\nConnection: close\r\n\r\n"));
        assert_eq!(request.matches("\r\n\r\n").count(), 1);
    }
}
