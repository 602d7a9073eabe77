//! The tutorial's UDP client: `sendto` and `recv` for each name, and what the tutorial leaves
//! out, the datagram that gets lost.
//!
//! **Owns** the tries and the sockets they go out by. **Must never touch** the protocol's rules,
//! which are [`greeting`](crate::protocol::greeting)'s, nor the streams of the process.
//! **Invariant**: a reply is taken only for the name that it answers.
//!
//! Two choices that the tutorial does not make:
//! - The sockets are *connected*. Nothing is exchanged for that, but the kernel then drops
//!   datagrams from anyone else, and reports a closed port as `ECONNREFUSED` at once.
//! - Each name has a local port of its own. A greeting has no number that would tell which
//!   datagram it answers: after a second try the first one's reply may still come, and the same
//!   name twice in a row gets the same bytes. The port is that number. What comes late goes to
//!   a port that nobody listens on, whereas emptying one common socket before each name would
//!   miss whatever comes a moment later.

use std::io;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::wire::{deadline, is_time_out, resolve, time_left};
use super::{Error, Service, excerpt, names, show};
use crate::protocol::greeting::{answer_datagram, greet};

/// The receive buffer, in bytes: more than the longest reply has, so that a longer one is seen to
/// differ and is not cut down to what was expected.
const RECEIVE_BYTES: usize = 4_096;

const _: () = assert!(RECEIVE_BYTES > names::MAX_NAME_BYTES + b"Hello, !".len());

/// Whom to greet, and how patiently.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, `HOST:PORT`.
    pub to: String,
    /// How many datagrams are sent for one name before it is given up; 0 is taken for 1.
    pub tries: u32,
    /// How long each of them is waited for.
    pub wait: Duration,
}

/// Sends each name and writes its reply to `out`, a line each. With `escaped`, as a terminal
/// needs it, see [`escape`](super::escape()); otherwise the bytes are as they came.
///
/// A name is taken only once the reply before it is written, so [`names::asked`] can ask for it.
/// `exit` is a name here: there is no connection to end.
///
/// # Errors
/// The first thing that goes wrong: a bad name, a port that nobody serves, no answer to any
/// try, or another answer than the protocol's.
pub fn run(
    options: &Options,
    names: impl IntoIterator<Item = Result<Vec<u8>, Error>>,
    out: &mut dyn Write,
    escaped: bool,
) -> Result<(), Error> {
    let mut asker = Asker {
        addresses: resolve(&options.to, options.to.as_str())?,
        options,
        last: None,
    };
    for name in names {
        let name = name?;
        names::check(&name)?;
        let reply = asker.ask(&name)?;
        show(out, &reply, escaped)?;
    }
    Ok(())
}

struct Asker<'a> {
    /// Those not known to refuse; the one that answered, once one did.
    addresses: Vec<SocketAddr>,
    options: &'a Options,
    /// The last name's socket. It stays open until the next is bound, or the system could give
    /// the next one the same port.
    last: Option<UdpSocket>,
}

impl Asker<'_> {
    /// The reply to a name, from the first address where somebody serves: `localhost` is often
    /// two addresses and the server has one of them.
    fn ask(&mut self, name: &[u8]) -> Result<Vec<u8>, Error> {
        loop {
            let answer = self.ask_at(self.addresses[0], name);
            match answer {
                Err(error) if error.is_refused() && self.addresses.len() > 1 => {
                    self.addresses.remove(0);
                }
                Err(error) => return Err(error),
                Ok(reply) => {
                    self.addresses.truncate(1);
                    return Ok(reply);
                }
            }
        }
    }

    fn ask_at(&mut self, address: SocketAddr, name: &[u8]) -> Result<Vec<u8>, Error> {
        let socket = open(address).map_err(|error| self.failed("open a socket", error))?;
        let socket = self.last.insert(socket);
        let mut expected = Vec::new();
        greet(name, b"", &mut expected);
        for attempt in 1..=self.options.tries.max(1) {
            log::debug!("{address}: try {attempt}");
            let reply = exchange(socket, name, self.options.wait);
            match reply {
                Ok(Some(reply)) if reply == expected => return Ok(reply),
                Ok(Some(reply)) => {
                    return Err(Error::Unexpected {
                        to: self.options.to.clone(),
                        awaited: format!("the reply to {}", excerpt(name)),
                        got: excerpt(&reply),
                        hint: "",
                    });
                }
                Ok(None) => {}
                Err(error) => return Err(self.failed("exchange datagrams", error)),
            }
        }
        Err(self.unanswered(name))
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> Error {
        let to = self.options.to.clone();
        if source.kind() == io::ErrorKind::ConnectionRefused {
            let service = Service::Udp;
            return Error::Refused { to, service };
        }
        Error::Network { to, doing, source }
    }

    fn unanswered(&self, name: &[u8]) -> Error {
        let hint = if answer_datagram(name, &mut Vec::new()) {
            ""
        } else {
            " (a name that is itself a greeting is never answered over UDP)"
        };
        Error::Unanswered {
            to: self.options.to.clone(),
            name: excerpt(name),
            tries: self.options.tries.max(1),
            wait: self.options.wait,
            hint,
        }
    }
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }?;
    socket.connect(address)?;
    Ok(socket)
}

/// One try: a datagram out, and the next one in, or `None` once the wait is over.
fn exchange(socket: &UdpSocket, name: &[u8], wait: Duration) -> io::Result<Option<Vec<u8>>> {
    let end = deadline(wait);
    socket.send(name)?;
    let mut buffer = [0; RECEIVE_BYTES];
    loop {
        let Ok(left) = time_left(end) else {
            return Ok(None);
        };
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut buffer) {
            Ok(count) => return Ok(Some(buffer[..count].to_vec())),
            Err(error) if is_time_out(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
