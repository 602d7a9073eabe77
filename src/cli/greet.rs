//! `helloop tcp` and `helloop udp`.
//!
//! **Owns** where names come from and where replies go: arguments, a terminal, the streams.
//! **Must never touch** a socket. **Invariant**: a stranger's bytes reach a terminal escaped.

use super::Failure;
use super::serve::FramingName;
use super::values::{between, some_duration};
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
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_duration)]
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
          value_parser = |text: &str| between(text, 1, u64::from(u32::MAX)))]
    tries: u64,
    /// How long each try is waited for.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = some_duration)]
    timeout: Duration,
    /// Whom to greet [default: asked on a terminal, else Michael Tracy Sarah]
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

impl Tcp {
    /// Whether everybody who is named can be greeted.
    ///
    /// # Errors
    ///
    /// The words for the person who named somebody behind the conversation's end.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        let mut names = self.names.iter();
        let ended = names.any(|name| name.as_bytes() == tcp::EXIT);
        match names.next().filter(|_| ended) {
            Some(name) => Err(format!(
                "{} could not be greeted: `exit` before it ends the conversation",
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
            tries: u32::try_from(self.tries).unwrap_or(u32::MAX),
            wait: self.timeout,
        };
        let (mut out, escaped) = output();
        udp::run(&options, names_of(&self.names)?, &mut out, escaped)?;
        Ok(0)
    }
}

/// Where results go, and whether they must be escaped there.
pub(super) fn output() -> (io::Stdout, bool) {
    let out = io::stdout();
    let escaped = out.is_terminal();
    (out, escaped)
}

type Names = Box<dyn Iterator<Item = Result<Vec<u8>, Error>>>;

/// The names given; without any, a person at a terminal is asked, and everybody else greets
/// the tutorial's three.
fn names_of(given: &[OsString]) -> Result<Names, Failure> {
    if given.is_empty() && io::stdin().is_terminal() {
        return Ok(Box::new(names::prompted(io::stdin().lock(), io::stderr())));
    }
    let given = given.iter().cloned().map(OsString::into_vec).collect();
    Ok(Box::new(names::from_arguments(given)?))
}
