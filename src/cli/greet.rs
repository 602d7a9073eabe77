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

/// Greet a server over TCP and print its replies.
///
/// Sends each name after the complete reply to the previous one, and `exit` at the end. On a
/// terminal, control characters in replies are escaped; elsewhere, replies are printed unchanged.
///
/// Exit codes: 0 every name was greeted; 1 one was not; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop tcp                         # on a terminal it asks for names\n  \
    helloop tcp Michael 'Grace Hopper'\n  \
    helloop tcp < names.txt             # one name per line\n  \
    helloop tcp --to '[::1]:9999' --framing line Sarah")]
pub(super) struct Tcp {
    /// Server address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    to: String,
    /// What delimits a message.
    ///
    /// Must match the server's.
    #[arg(long, value_enum, value_name = "chunk|line", default_value_t)]
    framing: FramingName,
    /// Timeout of connect and each reply.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = nonzero_duration)]
    timeout: Duration,
    /// Names to greet [default: from standard input]
    ///
    /// On a terminal helloop asks for names, otherwise it reads one per line. If there is no input,
    /// it greets the tutorial's three: Michael, Tracy and Sarah.
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

/// Greet a server over UDP and print its replies.
///
/// Datagrams can be lost, so a name without a reply is sent again, up to --tries times.
///
/// Exit codes: 0 every name was greeted; 1 one was not; 2 wrong usage.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    helloop udp                         # on a terminal it asks for names\n  \
    helloop udp Michael 'Grace Hopper'\n  \
    helloop udp --to 127.0.0.1:9999 --tries 5 --timeout 200ms Sarah")]
pub(super) struct Udp {
    /// Server address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999")]
    to: String,
    /// Datagrams sent per name before giving up.
    #[arg(long, value_name = "N", default_value = "3",
          value_parser = |text: &str| between::<u32>(text, 1, u32::MAX.into()))]
    tries: u32,
    /// Timeout of each try.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = nonzero_duration)]
    timeout: Duration,
    /// Names to greet [default: from standard input]
    ///
    /// On a terminal helloop asks for names, otherwise it reads one per line. If there is no input,
    /// it greets the tutorial's three: Michael, Tracy and Sarah.
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
