//! `helloop tcp` and `helloop udp`.
//!
//! **Owns** where names come from (arguments, standard input, a prompt) and where replies go.
//! **Must never touch** a socket. **Invariant**: bytes from a server reach a terminal only escaped.

use super::Failure;
use super::serve::FramingName;
use super::values::{address, between, nonzero_duration};
use crate::client::{Error, names, tcp, udp};
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::MAX_DATAGRAM_BYTES;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
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
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999", value_parser = address)]
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
    /// On a terminal helloop asks for names; elsewhere it reads one per line.
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
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9999", value_parser = address)]
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
    /// On a terminal helloop asks for names; elsewhere it reads one per line.
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,
}

impl Tcp {
    /// Checks each name, and that none follows `exit`. The error is a message for the user.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        check_names(&self.names, self.max_bytes())?;
        let mut from_exit = self
            .names
            .iter()
            .skip_while(|name| name.as_encoded_bytes() != tcp::EXIT);
        match from_exit.nth(1) {
            Some(name) => Err(format!(
                "cannot greet {}: the `exit` before it ends the conversation",
                excerpt(name.as_encoded_bytes())
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
        let names = names_of(&self.names, self.max_bytes());
        tcp::run(&options, names, &mut out, escaped)?;
        Ok(0)
    }

    fn max_bytes(&self) -> usize {
        names::max_bytes(self.framing.into())
    }
}

impl Udp {
    /// Checks each name. The error is a message for the user.
    pub(super) fn check_usage(&self) -> Result<(), String> {
        check_names(&self.names, MAX_DATAGRAM_BYTES)
    }

    pub(super) fn run(&self) -> Result<u8, Failure> {
        let options = udp::Options {
            to: self.to.clone(),
            tries: self.tries,
            wait: self.timeout,
        };
        let (mut out, escaped) = output();
        let names = names_of(&self.names, MAX_DATAGRAM_BYTES);
        udp::run(&options, names, &mut out, escaped)?;
        Ok(0)
    }
}

/// Standard output, and whether it is a terminal, which needs escaping.
pub(super) fn output() -> (io::Stdout, bool) {
    let out = io::stdout();
    let escaped = out.is_terminal();
    (out, escaped)
}

/// The names to greet, each taken when the one before it was greeted.
type Names = Box<dyn Iterator<Item = Result<Vec<u8>, Error>>>;

fn check_names(names: &[OsString], max_bytes: usize) -> Result<(), String> {
    let mut checked = names
        .iter()
        .map(|name| names::check(name.as_encoded_bytes(), max_bytes));
    checked.try_for_each(|name| name.map_err(|error| error.to_string()))
}

/// The given names. If there are none: those that are typed at a prompt on a terminal, otherwise the
/// lines of standard input.
fn names_of(given: &[OsString], max_bytes: usize) -> Names {
    let input = io::stdin();
    if !given.is_empty() {
        let given: Vec<_> = given
            .iter()
            .cloned()
            .map(OsString::into_encoded_bytes)
            .collect();
        Box::new(given.into_iter().map(Ok))
    } else if input.is_terminal() {
        let input = input.lock();
        Box::new(names::prompted(input, io::stderr(), max_bytes))
    } else {
        Box::new(names::lines(input.lock(), max_bytes))
    }
}
