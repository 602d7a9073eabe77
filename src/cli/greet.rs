//! `helloop tcp` and `helloop udp`.
//!
//! **Owns** where names come from (arguments or a prompt) and where replies go.
//! **Must never touch** a socket. **Invariant**: bytes from a server reach a terminal only escaped.

use super::Failure;
use super::serve::FramingName;
use super::values::{between, nonzero_duration};
use crate::client::{Error, names, tcp, udp};
use crate::protocol::escape::excerpt;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// Greet over TCP: print the welcome and a reply for each name.
///
/// Each name waits for its whole reply; at the end `exit` is said. Bytes that could command a
/// terminal are shown escaped there, and as they came elsewhere.
///
/// Exit codes: 0 all were greeted; 1 they were not; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop tcp                          # Michael, Tracy and Sarah; on a terminal it asks\n  \
    helloop tcp Michael 'Grace Hopper'\n  \
    helloop tcp --to '[::1]:9999' --framing line Sarah")]
pub(super) struct Tcp {
    /// The server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    to: String,
    /// What a message is.
    ///
    /// The server's must be the same.
    #[arg(long, value_enum, default_value_t)]
    framing: FramingName,
    /// The longest wait for the connection, and for each reply.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = nonzero_duration)]
    timeout: Duration,
    /// Whom to greet [default: asked on a terminal, else Michael Tracy Sarah]
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

/// Greet over UDP: print a reply for each name.
///
/// A datagram may be lost, and its reply too: a name without a reply is sent again.
///
/// Exit codes: 0 all were greeted; 1 they were not; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop udp                          # Michael, Tracy and Sarah; on a terminal it asks\n  \
    helloop udp Michael 'Grace Hopper'\n  \
    helloop udp --to 127.0.0.1:9999 --tries 5 --timeout 200ms Sarah")]
pub(super) struct Udp {
    /// The server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    to: String,
    /// How often a name is sent before it is given up.
    #[arg(long, value_name = "N", default_value = "3",
          value_parser = |text: &str| between::<u32>(text, 1, u32::MAX.into()))]
    tries: u32,
    /// How long each try is waited for.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = nonzero_duration)]
    timeout: Duration,
    /// Whom to greet [default: asked on a terminal, else Michael Tracy Sarah]
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

impl Tcp {
    /// Checks that no name follows `exit`. The error is a message for the user.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        let mut from_exit = self
            .names
            .iter()
            .skip_while(|name| name.as_bytes() != tcp::EXIT);
        match from_exit.nth(1) {
            Some(name) => Err(format!(
                "cannot greet {}: the `exit` before it ends the conversation",
                excerpt(name.as_bytes())
            )),
            None => Ok(()),
        }
    }

    pub(super) fn run(&self) -> Result<u8, Failure> {
        let options = tcp::Options {
            to: self.to.clone(),
            framing: self.framing.into(),
            timeout: self.timeout,
        };
        let (mut out, escaped) = output();
        tcp::run(&options, names_of(&self.names)?, &mut out, escaped)?;
        Ok(0)
    }
}

impl Udp {
    pub(super) fn run(&self) -> Result<u8, Failure> {
        let options = udp::Options {
            to: self.to.clone(),
            tries: self.tries,
            wait: self.timeout,
        };
        let (mut out, escaped) = output();
        udp::run(&options, names_of(&self.names)?, &mut out, escaped)?;
        Ok(0)
    }
}

/// Standard output, and whether it is a terminal, which needs escaping.
pub(super) fn output() -> (io::Stdout, bool) {
    let out = io::stdout();
    let escaped = out.is_terminal();
    (out, escaped)
}

type Names = Box<dyn Iterator<Item = Result<Vec<u8>, Error>>>;

/// The given names. If there are none: prompts for them on a terminal, otherwise the tutorial's
/// three.
fn names_of(given: &[OsString]) -> Result<Names, Failure> {
    if given.is_empty() && io::stdin().is_terminal() {
        return Ok(Box::new(names::prompted(io::stdin().lock(), io::stderr())));
    }
    let given = given.iter().cloned().map(OsString::into_vec).collect();
    Ok(Box::new(names::from_arguments(given)?))
}
