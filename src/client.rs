//! The tutorial's three clients, on blocking `std::net`.
//!
//! A client of a single server has nothing else to do while it waits, so each call blocks, with a
//! timeout: no poll, no state machine. Compare [`tcp`] with the server's peer, which speaks the
//! same protocol without blocking.
//!
//! **Owns** what the three clients share: their [`Error`], the names they send, connecting and
//! waiting with a timeout, and writing replies.
//! **Must never touch** the reactor, the command line or the standard streams: the names and the
//! output are parameters.
//! **Invariant**: every wait ends (only name resolution has no timeout but the system's), and no
//! byte from a server reaches a terminal or an error message unescaped.
//!
//! - [`tcp`] greets over a connection, [`udp`] with datagrams. Both take their [`names`] one at a
//!   time, each after the reply to the previous one.
//! - [`http`] fetches a page and saves its body.

mod connection;
mod error;

pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod tcp;
pub(crate) mod udp;

pub use error::{Error, Service};

use crate::protocol::escape::escape;
use std::io::Write;

/// Writes and flushes, so that output appears at once.
fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Writes bytes from a server as one line, `escaped` for a terminal or as they are.
fn write_line(out: &mut dyn Write, line: &[u8], escaped: bool) -> Result<(), Error> {
    let mut line = if escaped {
        escape(line).into_bytes()
    } else {
        line.to_vec()
    };
    line.push(b'\n');
    write(out, &line)
}
