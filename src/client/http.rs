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
//! - `redirect` resolves where a redirect leads.
//! - `head` parses the status line and the header fields.
//! - `body` extracts the body from the bytes received.
//! - `save` writes the body to a temporary file, which is renamed when it is complete, or to standard
//!   output.

mod body;
mod head;
mod redirect;
mod save;
mod url;

pub use body::Body;
pub use head::HeadParser;
pub use redirect::{MAX_REDIRECTS, RedirectError};
pub use url::{Url, UrlError};

use super::connection::{Connection, Target, deadline};
use super::{Error, Service, write, write_line};
use crate::file;
use head::Head;
use save::Sink;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The most bytes of header, interim responses included. Common servers send at most 8 KiB; the
/// limit bounds memory if a server never ends its header.
pub const MAX_HEAD_BYTES: usize = 64 * 1_024;

/// The most header fields. Common servers send some 20, and pages with many cookies or policies up to
/// 150.
pub const MAX_HEADERS: usize = 256;

/// The longest line of chunked framing, and the limit of all trailers together, in bytes. None of
/// it is saved, so without a limit a server could send it until the timeout.
pub const MAX_CHUNK_LINE_BYTES: usize = 16 * 1_024;

/// The size of one read, in bytes: few reads for a large page, and little memory.
const READ_BYTES: usize = 16 * 1_024;

/// How often a wait is interrupted to report progress: faster updates are unreadable.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Any other status is an error: 400 and above, and what is below 100 and so invalid, which counts as
/// an error of the server (RFC 9110, section 15).
const SUCCESS_STATUSES: Range<u16> = 100..400;

/// Not Modified: the answer to a conditional request, which this one is not.
pub(super) const NOT_MODIFIED_STATUS: u16 = 304;

/// Partial Content: the answer to a request for a range, and this one has none.
const PARTIAL_STATUS: u16 = 206;

/// What to fetch, where to save it, and the limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[http://]HOST[:PORT][/PATH][?QUERY]`.
    pub url: String,
    /// The file for the body; `-` is standard output. `None`: the last segment of the path of this
    /// URL, whatever it redirects to, or `index.html`, in the working directory; a leading dot becomes
    /// `_`.
    pub output: Option<PathBuf>,
    /// Whether to replace an existing file.
    pub force: bool,
    /// Whether to follow redirects.
    pub follow: bool,
    /// The largest body, in bytes.
    pub max_bytes: u64,
    /// The timeout of the whole fetch, from connecting to the last byte of the body.
    pub timeout: Duration,
}

/// Where the results are written.
pub struct Streams<'a> {
    /// The header of each response.
    pub head: &'a mut dyn Write,
    /// Whether that is a terminal, so that it is escaped.
    pub head_escaped: bool,
    /// The body, if it is for standard output.
    pub body: &'a mut dyn Write,
    /// Whether that is a terminal.
    pub body_escaped: bool,
    /// Called at least every 0.1 s during a wait, once connected.
    pub on_progress: &'a mut dyn FnMut(Progress<'_>),
}

impl fmt::Debug for Streams<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Streams").finish_non_exhaustive()
    }
}

/// The progress of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Connecting to this server.
    Connecting(&'a str),
    /// Waiting for the header.
    Waiting(&'a str),
    /// Receiving the body.
    Receiving {
        /// Bytes of it so far.
        bytes: u64,
        /// Its length, if the header announced one.
        length: Option<u64>,
    },
}

/// Where a body was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// There was none: the status says so.
    Nowhere,
}

/// A saved body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Where it is.
    pub place: Place,
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
    /// Over [`MAX_HEADERS`].
    #[error("the header has more than {MAX_HEADERS} fields")]
    TooManyHeaders,
    /// Status 206, though no range was requested.
    #[error("the server sent only a part of the page, unasked (status 206)")]
    Partial,
    /// EOF within the header.
    #[error("the connection was closed before the end of the header")]
    HeadTruncated,
    /// Status 101, though no other protocol was requested.
    #[error("the server switched to another protocol unasked")]
    SwitchedProtocols,
    /// A `Content-Length` that is not a number, or two that differ.
    #[error("the Content-Length is invalid")]
    InvalidLength,
    /// A `Transfer-Encoding` other than `chunked`; its value, escaped.
    #[error("the Transfer-Encoding {0} is not supported")]
    UnsupportedCoding(String),
    /// A chunk with an invalid size or without its line endings.
    #[error("the chunked body is malformed")]
    InvalidChunk,
    /// A chunk extension or the trailers over [`MAX_CHUNK_LINE_BYTES`].
    #[error("the chunked body has a line of over {MAX_CHUNK_LINE_BYTES} bytes")]
    ChunkLineTooLong,
    /// EOF within the body.
    #[error("the connection was closed before the end of the body; try again")]
    BodyTruncated,
}

/// Fetches the page: writes the header of each response, follows redirects, then saves the body.
///
/// # Errors
///
/// No error leaves a file. A status of 400 or above, or an invalid one, is an error too: the body is
/// not the page.
pub fn run(options: &Options, streams: &mut Streams<'_>) -> Result<Saved, Error> {
    let mut url = Url::parse(&options.url)?;
    let path = destination(options, &url);
    if let Some(path) = &path {
        // Fails before the page is fetched; `Sink::finish` is what guarantees it.
        save::check_target(path, options.force)?;
    }
    let deadline = deadline(options.timeout);
    let mut followed = 0;
    loop {
        let mut fetch = Fetch::open(&url, options, deadline, streams.on_progress)?;
        let (head, rest) = fetch.head()?;
        let (out, escaped) = (&mut *streams.head, streams.head_escaped);
        write_head(out, escaped, followed > 0, &head.bytes)?;
        if !options.follow || !redirect::is_redirect(head.status) {
            let status = head.status;
            let (mut place, mut bytes) = (Place::Nowhere, 0);
            if fetch.has_page(&head)? {
                let mut sink = match &path {
                    Some(path) => Sink::file(path, options.force, deadline)?,
                    None => Sink::output(streams.body, streams.body_escaped),
                };
                bytes = fetch.body(head.body, rest, &mut sink)?;
                sink.finish()?;
                place = path.map_or(Place::Stdout, Place::File);
            }
            return Ok(Saved {
                place,
                bytes,
                status,
            });
        }
        let next = redirect::next(&url, head.status, &head.locations, followed);
        url = next.map_err(|source| fetch.redirect_error(source))?;
        followed += 1;
    }
}

/// The file; `None` for standard output.
fn destination(options: &Options, url: &Url) -> Option<PathBuf> {
    match options.output.as_deref() {
        Some(path) if file::is_standard_output(path) => None,
        Some(path) => Some(path.to_owned()),
        None => Some(save::visible_name(url.file_name())),
    }
}

/// Whether a failed fetch leaves nothing at this destination.
pub(crate) fn leaves_nothing(output: Option<&Path>) -> bool {
    output.is_none_or(|path| !file::is_standard_output(path) && file::is_written_aside(path))
}

/// Writes the header. The fetch goes on even if the reader of the header is gone.
fn write_head(
    out: &mut dyn Write,
    escaped: bool,
    is_further: bool,
    head: &[u8],
) -> Result<(), Error> {
    let mut write_all = || {
        if is_further {
            write(out, b"\n")?;
        }
        head.split_inclusive(|&byte| byte == b'\n')
            .try_for_each(|line| {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                let shown = if escaped { line.trim_ascii_end() } else { line };
                write_line(out, shown, escaped)
            })
    };
    match write_all() {
        Err(error) if !error.is_closed_output() => Err(error),
        _ => Ok(()),
    }
}

struct Fetch<'a, 'b> {
    connection: Connection,
    options: &'a Options,
    deadline: Instant,
    on_progress: &'b mut dyn FnMut(Progress<'_>),
}

impl<'a, 'b> Fetch<'a, 'b> {
    /// Connects and sends the request.
    fn open(
        url: &Url,
        options: &'a Options,
        deadline: Instant,
        on_progress: &'b mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, Error> {
        let target = Target::new(&url.address(), Service::Http, options.timeout);
        on_progress(Progress::Connecting(&target.name));
        let address = (&*url.host, url.port);
        let mut fetch = Self {
            connection: Connection::open_until(target, address, deadline)?,
            options,
            deadline,
            on_progress,
        };
        let sent = fetch.connection.write_all(&request(url), deadline);
        sent.map_err(|error| fetch.failed(error, "send the request"))?;
        Ok(fetch)
    }

    /// Returns the header of the final response and the part of the body that arrived with it.
    fn head(&mut self) -> Result<(Head, Vec<u8>), Error> {
        let mut parser = HeadParser::default();
        loop {
            let received = self.receive("receive the header", None)?;
            match parser.feed(&received) {
                Ok(None) => {}
                Ok(Some(found)) => return Ok(found),
                Err(error) => return Err(self.rejected(error)),
            }
        }
    }

    /// Whether a response that is not followed further has a body.
    ///
    /// # Errors
    ///
    /// Its body is not the page.
    fn has_page(&self, head: &Head) -> Result<bool, Error> {
        let from = self.connection.target.name.clone();
        let status = head.status;
        if !SUCCESS_STATUSES.contains(&status) || status == NOT_MODIFIED_STATUS {
            return Err(Error::Status { from, status });
        }
        if status == PARTIAL_STATUS {
            return Err(self.rejected(ResponseError::Partial));
        }
        if let Some(coding) = &head.coding {
            log::warn!("{from} sent a compressed body, unasked; it stays as received: {coding}");
        }
        Ok(head::has_content(status))
    }

    /// Saves the body as it arrives, and returns its size in bytes.
    fn body(
        &mut self,
        mut body: Body,
        mut received: Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<u64, Error> {
        let max_bytes = self.options.max_bytes;
        let length = body.announced();
        // A Content-Length over the limit is an error before the body arrives.
        if length.is_some_and(|length| length > max_bytes) {
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
                sink.write(data)?;
            }
            if body.is_done() {
                return Ok(saved);
            }
            let progress = Progress::Receiving {
                bytes: saved,
                length,
            };
            received = self.receive("receive the body", Some(progress))?;
            if received.is_empty() {
                body.at_eof().map_err(|error| self.rejected(error))?;
                return Ok(saved);
            }
        }
    }

    /// One read; empty at EOF. `None`: nothing of the body is here yet.
    fn receive(
        &mut self,
        doing: &'static str,
        progress: Option<Progress<'_>>,
    ) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let name = &self.connection.target.name;
            (self.on_progress)(progress.unwrap_or(Progress::Waiting(name)));
            let tick = self.deadline.min(Instant::now() + PROGRESS_INTERVAL);
            match self.connection.read(&mut buffer, tick) {
                Ok(count) => {
                    buffer.truncate(count);
                    return Ok(buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut && tick < self.deadline => {}
                Err(error) => return Err(self.failed(error, doing)),
            }
        }
    }

    fn redirect_error(&self, source: RedirectError) -> Error {
        let from = self.connection.target.name.clone();
        Error::Redirect { from, source }
    }

    fn rejected(&self, source: ResponseError) -> Error {
        let to = self.connection.target.name.clone();
        Error::Response { to, source }
    }

    fn failed(&self, error: io::Error, doing: &'static str) -> Error {
        let hint = "; --timeout allows longer";
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
