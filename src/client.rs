//! The tutorial's three clients, blocking `std::net`: that is their lesson.
//!
//! A client that talks to one server at a time has nothing else to do while it waits, so each
//! call here simply blocks, with a limit: no poll, no state machine. Compare [`tcp`] with the
//! server's peer, which says the same words without ever waiting.
//!
//! **Owns** what the three share: their one [`Error`], the names they may send, connecting and
//! waiting with a limit, and showing a stranger's bytes safely.
//! **Must never touch** the reactor, the command line or the standard streams: where a reply is
//! written and where a name comes from are parameters.
//! **Invariant**: every wait ends (the resolver's alone is the system's), and no byte that
//! came from a server reaches a terminal or an error message unescaped.
//!
//! - [`tcp`] greets over a connection, [`udp`] over datagrams; both take their [`names`] one by
//!   one, and wait for each reply before the next name is taken.
//! - [`http`] fetches one page and saves its body.

mod error;

pub mod http;
pub mod names;
pub mod tcp;
pub mod udp;
mod wire;

pub use crate::protocol::escape::{escape, excerpt};
pub use error::{Error, Service};

use std::io::Write;

/// Writes one reply on a line of its own, at once, so that a person sees each as it comes.
fn show(out: &mut dyn Write, reply: &[u8], escaped: bool) -> Result<(), Error> {
    let mut line = if escaped {
        escape(reply).into_bytes()
    } else {
        reply.to_vec()
    };
    line.push(b'\n');
    out.write_all(&line)
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}
