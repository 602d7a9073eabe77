//! The errors of the clients.
//!
//! **Owns** the error messages and exit codes of the three clients. **Must never touch** a stream.
//! **Invariant**: a message is one line, says what happened and what to do about it, and quotes
//! bytes from a server only as [`excerpt`](crate::protocol::escape::excerpt) returns them.

use super::http::{NOT_MODIFIED_STATUS, RedirectError, ResponseError, UrlError};
use super::names::NameError;
use crate::protocol::escape::escape_path;
use crate::system;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The exit code for an HTTP status of 400 or above, as with `curl --fail`.
const EXIT_HTTP_STATUS: u8 = 22;

/// The exit code for an invalid argument, as clap's.
const EXIT_WRONG_USAGE: u8 = 2;

/// The kind of server that a client expects. It decides what the message for a refused connect
/// advises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The TCP port of a greeting server.
    Tcp,
    /// The UDP port of a greeting server.
    Udp,
    /// Any HTTP server.
    Http,
}

impl Service {
    fn transport(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp | Self::Http => "TCP",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Tcp | Self::Udp => {
                "start one with `helloop serve` (or `cargo run --release`), or choose another with --to"
            }
            Self::Http => "check the host and the port",
        }
    }
}

/// Why a client stopped. The message is one line without a line ending.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name cannot be sent.
    #[error("cannot send the name \"{name}\": {source}")]
    Name {
        /// The name, escaped and shortened.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A line of the input cannot be sent as a name.
    #[error("line {number} of the input cannot be sent: {source}")]
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        source: NameError,
    },
    /// The next name could not be read.
    #[error("cannot read the next name: {0}")]
    Input(#[source] io::Error),
    /// A reply could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// The address is invalid, or its host name has no address.
    #[error("cannot resolve {to}: {reason}; an address is HOST:PORT, such as 127.0.0.1:9999")]
    Address {
        /// The address as given, escaped.
        to: String,
        /// The resolver's message, escaped.
        reason: String,
    },
    /// No server listens at the address.
    #[error("no {} server listens at {to}; {}", .service.transport(), .service.advice())]
    Refused {
        /// The server.
        to: String,
        /// What was expected there.
        service: Service,
    },
    /// A wait reached its timeout.
    #[error("{to}: timed out after {after:?} waiting for {awaited}{hint}")]
    TimedOut {
        /// The server.
        to: String,
        /// What did not happen in time, such as `the reply to Michael`.
        awaited: String,
        /// The timeout.
        after: Duration,
        /// A possible cause, or empty.
        hint: &'static str,
    },
    /// None of the datagrams sent for a name was answered.
    #[error(
        "{to}: no reply to {name} in {tries} {} of {wait:?}; {cause}",
        if *.tries == 1 { "try" } else { "tries" }
    )]
    Unanswered {
        /// The server.
        to: String,
        /// The name, escaped and shortened.
        name: String,
        /// The number of datagrams sent.
        tries: u32,
        /// The timeout of each.
        wait: Duration,
        /// The cause if it is known, or what to check.
        cause: &'static str,
    },
    /// The server closed the connection too early.
    #[error("{to} closed the connection before {awaited}{}", after(.got))]
    UnexpectedEof {
        /// The server.
        to: String,
        /// What was incomplete.
        awaited: String,
        /// The part of it that arrived, escaped; may be empty.
        got: String,
    },
    /// The server is at its limit of clients.
    #[error("{to} accepts no more clients, try again later: {message}")]
    Busy {
        /// The server.
        to: String,
        /// Its refusal, escaped.
        message: String,
    },
    /// The server sent something that is not the protocol.
    #[error("{to} sent something other than {awaited}: {got}{hint}")]
    Unexpected {
        /// The server.
        to: String,
        /// What was due.
        awaited: String,
        /// What arrived instead, escaped.
        got: String,
        /// A possible cause, or empty.
        hint: &'static str,
    },
    /// Any other network error.
    #[error("{to}: cannot {doing}: {source}")]
    Network {
        /// The server.
        to: String,
        /// The failed operation, such as `send a name`.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The URL cannot be fetched.
    #[error("cannot fetch this URL: {0}")]
    Url(#[from] UrlError),
    /// The response is invalid or incomplete.
    #[error("{to}: {source}")]
    Response {
        /// The server.
        to: String,
        /// What is wrong with the response.
        source: ResponseError,
    },
    /// The body exceeds the limit.
    #[error("the body is larger than {max_bytes} bytes; raise --max-bytes")]
    TooLarge {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// The file exists already.
    #[error("{} exists; choose another file with -o, or replace this one with --force", escape_path(.0))]
    Exists(PathBuf),
    /// The body could not be saved.
    #[error("cannot save {}: {source}", escape_path(path))]
    Save {
        /// The file that it was to be saved in.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A redirect cannot be followed.
    #[error("{from} {source}")]
    Redirect {
        /// The server.
        from: String,
        /// Why.
        source: RedirectError,
    },
    /// The status is 400 or above, or invalid, or one that this request does not lead to: the body is
    /// no page.
    #[error("{from} answered with status {status:03}")]
    Status {
        /// The server.
        from: String,
        /// The status code.
        status: u16,
    },
}

/// The part of a reply that arrived, for the end of a message.
fn after(got: &str) -> String {
    if got.is_empty() {
        return String::new();
    }
    format!(" was complete, after: {got}")
}

impl Error {
    /// The exit code of the process: 22 for an HTTP status of 400 or above, 2 for an invalid URL, 0 if
    /// the reader of the output is gone, otherwise 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Status { status, .. } if *status == NOT_MODIFIED_STATUS => 1,
            Self::Status { .. } => EXIT_HTTP_STATUS,
            Self::Url(_) => EXIT_WRONG_USAGE,
            _ if self.is_closed_output() => 0,
            _ => 1,
        }
    }

    /// Whether the reader of the output has closed it, as in `helloop tcp | head -1`. That is no
    /// failure and needs no message.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if system::has_lost_reader(error))
    }
}
