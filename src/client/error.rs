//! What can go wrong with a client, in words for a person.
//!
//! **Owns** every message and exit code of the three clients. **Must never touch** a stream.
//! **Invariant**: a message is one line, says what happened and what to do, and holds a
//! server's words only as [`excerpt`](super::excerpt) leaves them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::http::{Fault, UrlFault};
use super::names::{MAX_NAME_BYTES, NameFault};

/// The exit code for an HTTP status of 400 and above, as `curl --fail` has it.
const EXIT_HTTP_STATUS: u8 = 22;

/// Who should have been there: it decides what to advise when nobody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// A greeting server's TCP port.
    Tcp,
    /// A greeting server's UDP port.
    Udp,
    /// Any HTTP server.
    Http,
}

/// Why a client gave up. Its text is one line for a person, without an ending.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A name that is not sent; the name is already escaped.
    Name {
        /// The name, escaped and shortened.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
    /// The next name could not be read.
    Input(io::Error),
    /// A reply could not be written.
    Output(io::Error),
    /// Not an address, or a host name without one.
    Address {
        /// The address as given, escaped.
        to: String,
        /// The resolver's words.
        reason: String,
    },
    /// Nobody listens there.
    Refused {
        /// The server.
        to: String,
        /// What was looked for.
        service: Service,
    },
    /// A wait reached its limit.
    TimedOut {
        /// The server.
        to: String,
        /// What was waited for, such as `the reply to Michael`.
        awaited: String,
        /// The limit.
        after: Duration,
        /// What else may be the matter; may be empty.
        hint: &'static str,
    },
    /// No try was answered.
    Unanswered {
        /// The server.
        to: String,
        /// The name, escaped and shortened.
        name: String,
        /// How many datagrams were sent.
        tries: u32,
        /// How long each was waited for.
        wait: Duration,
        /// What else may be the matter; may be empty.
        hint: &'static str,
    },
    /// End of input where more was due.
    Ended {
        /// The server.
        to: String,
        /// What was waited for.
        awaited: String,
        /// What had come of it, escaped; may be empty.
        got: String,
    },
    /// The server has no room for this client.
    Busy {
        /// The server.
        to: String,
        /// Its words, escaped.
        words: String,
    },
    /// Other words than the protocol's.
    Unexpected {
        /// The server.
        to: String,
        /// What was waited for.
        awaited: String,
        /// What came instead, escaped.
        got: String,
        /// What else may be the matter; may be empty.
        hint: &'static str,
    },
    /// Any other error of the network.
    Network {
        /// The server.
        to: String,
        /// What was being done, such as `send a name`.
        doing: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// A URL that is not fetched.
    Url(UrlFault),
    /// A response that HTTP does not allow, or that ended too soon.
    Response {
        /// The server.
        from: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A body over the limit.
    TooLarge {
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// A file is there already.
    Exists(PathBuf),
    /// The body could not be saved.
    Save {
        /// The file it was to become.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A status of 400 and above; the body is saved all the same.
    Status {
        /// The status code.
        status: u16,
        /// Where the body is.
        path: PathBuf,
    },
}

impl Error {
    /// What the process should exit with: 22 for an HTTP status of 400 and above, 0 where the
    /// reader of the output has left, and 1 for all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Status { .. } => EXIT_HTTP_STATUS,
            _ if self.is_closed_output() => 0,
            _ => 1,
        }
    }

    /// Whether the reader of the output has left, as in `helloop tcp | head -1`: nothing to
    /// complain about, and nobody to hear it.
    #[must_use]
    pub fn is_closed_output(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether nobody listens there, so that another address of the host may be tried.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Input(source)
            | Self::Output(source)
            | Self::Network { source, .. }
            | Self::Save { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, fault } => fmt_name(f, name, *fault),
            Self::Input(error) => write!(f, "cannot read the next name: {error}"),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            Self::Address { to, reason } => {
                write!(f, "cannot find {to}: {reason}; ")?;
                f.write_str("an address is HOST:PORT, such as 127.0.0.1:9999")
            }
            Self::Refused { to, service } => fmt_refused(f, to, *service),
            #[rustfmt::skip]
            Self::TimedOut { to, awaited, after, hint } => {
                write!(f, "{to}: waited {after:?} in vain for {awaited}{hint}")
            }
            #[rustfmt::skip]
            Self::Unanswered { to, name, tries, wait, hint } => {
                write!(f, "{to}: no reply to {name}, tried {tries} times, {wait:?} each{hint}; ")?;
                f.write_str("is a server there, and does it serve UDP?")
            }
            Self::Ended { to, awaited, got } if got.is_empty() => {
                write!(f, "{to} closed the connection before {awaited}")
            }
            Self::Ended { to, awaited, got } => {
                write!(
                    f,
                    "{to} closed the connection within {awaited}, after: {got}"
                )
            }
            Self::Busy { to, words } => {
                write!(f, "{to} has no room for another client, try later: {words}")
            }
            #[rustfmt::skip]
            Self::Unexpected { to, awaited, got, hint } => {
                write!(f, "{to} sent this in place of {awaited}: {got}{hint}")
            }
            Self::Network { to, doing, source } => write!(f, "{to}: cannot {doing}: {source}"),
            Self::Url(fault) => write!(f, "cannot fetch this URL: {fault}"),
            Self::Response { from, fault } => write!(f, "{from}: {fault}"),
            Self::TooLarge { max_bytes } => {
                write!(
                    f,
                    "the body is larger than {max_bytes} bytes, nothing saved; "
                )?;
                f.write_str("--max-bytes allows more")
            }
            Self::Exists(path) => {
                let path = path.display();
                write!(
                    f,
                    "{path} exists; name another with -o, or replace it with --force"
                )
            }
            Self::Save { path, source } => write!(f, "cannot save {}: {source}", path.display()),
            Self::Status { status, path } => {
                let path = path.display();
                write!(f, "the server answered {status}; what it sent is in {path}")
            }
        }
    }
}

fn fmt_name(f: &mut fmt::Formatter<'_>, name: &str, fault: NameFault) -> fmt::Result {
    match fault {
        NameFault::Empty => f.write_str("a name is empty: there is nobody to greet"),
        NameFault::LineEnding => write!(
            f,
            "the name {name} has a line ending in it, which would cut it in two"
        ),
        NameFault::TooLong { bytes } => write!(
            f,
            "the name {name} has {bytes} bytes; a server takes {MAX_NAME_BYTES} at a time"
        ),
    }
}

fn fmt_refused(f: &mut fmt::Formatter<'_>, to: &str, service: Service) -> fmt::Result {
    match service {
        Service::Tcp => write!(
            f,
            "{to} refused the connection: no server listens there; start one with \
             `helloop serve` (or `cargo run --release`), or name another with --to"
        ),
        Service::Udp => write!(
            f,
            "{to} refused the datagram: no server serves UDP there; start one with \
             `helloop serve` (or `cargo run --release`), or name another with --to"
        ),
        Service::Http => write!(
            f,
            "{to} refused the connection: no server listens there; check the host and the port"
        ),
    }
}
