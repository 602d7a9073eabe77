//! The tutorial's UDP client: `sendto` and `recv` for each name, plus retries for lost datagrams,
//! which the tutorial leaves out.
//!
//! **Owns** the retries and the sockets. **Must never touch** the rules of the protocol, which are
//! in [`greeting`](crate::protocol::greeting), nor the standard streams.
//! **Invariant**: a reply counts only for the name that it answers.
//!
//! Two choices that the tutorial does not make:
//! - The sockets are *connected*. Nothing is sent for that, but the kernel then discards
//!   datagrams from other sources and reports a closed port as `ECONNREFUSED` at once.
//! - Each name has its own socket and so its own local port. A greeting has no request number:
//!   after a retry the reply to the first datagram may still arrive, and the same name twice in a
//!   row gets the same bytes. The port is the request number, and a late reply goes to a closed
//!   port. Draining one shared socket before each name would miss a reply that arrives after that.

use super::connection::{Target, deadline, retry};
use super::{Error, Service, names, write_line};
use crate::net::udp::reset_as_refused;
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::{MAX_DATAGRAM_BYTES, answer_datagram, greet};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// The size of the receive buffer, in bytes: more than the longest reply, so that a datagram that
/// is too long is not truncated to the expected one.
const RECEIVE_BYTES: usize = 65_536;
const _: () = assert!(RECEIVE_BYTES > MAX_DATAGRAM_BYTES + b"Hello, !".len());

/// The longest datagram that a server answers by default, in bytes.
const DEFAULT_MAX_DATAGRAM_BYTES: usize = 1_024;

/// Which server to greet, and how often to try.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server, `HOST:PORT`.
    pub to: String,
    /// The most datagrams sent for one name; 0 counts as 1.
    pub tries: u32,
    /// The timeout of each.
    pub wait: Duration,
}

/// Sends each name and writes its reply to `out`, one per line, `escaped` for a terminal or as it
/// is.
///
/// A name is taken from `names` only after the reply to the previous one is written, so
/// [`names::prompted`] can ask for it. `exit` is an ordinary name: there is no connection to end.
///
/// # Errors
///
/// The first failure: an invalid name, a closed port, no reply to any datagram, or a reply that is
/// not the protocol's.
pub fn run(
    options: &Options,
    names: impl IntoIterator<Item = Result<Vec<u8>, Error>>,
    out: &mut dyn Write,
    escaped: bool,
) -> Result<(), Error> {
    let target = Target::new(&options.to, Service::Udp, options.wait);
    let mut client = UdpClient {
        addresses: target.resolve(&*options.to)?,
        target,
        options,
        socket: None,
    };
    for name in names {
        let name = name?;
        names::check(&name, MAX_DATAGRAM_BYTES)?;
        let reply = client.request(&name)?;
        write_line(out, &reply, escaped)?;
    }
    Ok(())
}

struct UdpClient<'a> {
    target: Target,
    /// The addresses that have not refused; the first that answers becomes the only one.
    addresses: Vec<SocketAddr>,
    options: &'a Options,
    /// The socket of the previous name. It stays open until the next one is bound, otherwise both
    /// could get the same port.
    socket: Option<UdpSocket>,
}

impl UdpClient<'_> {
    /// Returns the reply to a name from the first address that does not refuse: `localhost` often
    /// has two addresses, of which the server uses one.
    fn request(&mut self, name: &[u8]) -> Result<Vec<u8>, Error> {
        loop {
            match self.request_from(self.addresses[0], name) {
                Err(Error::Refused { .. }) if self.addresses.len() > 1 => {
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

    fn request_from(&mut self, address: SocketAddr, name: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |error, doing| self.target.error(error, doing, "", "");
        let socket = connect(address).map_err(|error| failed(error, "open a socket"))?;
        let socket = self.socket.insert(socket);
        let mut expected = Vec::new();
        greet(name, b"", &mut expected);
        let tries = self.options.tries.max(1);
        for attempt in 1..=tries {
            log::debug!("{address}: try {attempt}");
            match exchange(socket, name, self.options.wait) {
                Ok(reply) if reply == expected => return Ok(reply),
                Ok(reply) => {
                    return Err(Error::Unexpected {
                        to: self.target.name.clone(),
                        awaited: format!("the reply to {}", excerpt(name)),
                        got: excerpt(&reply),
                        hint: "",
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(failed(error, "exchange datagrams")),
            }
        }
        Err(Error::Unanswered {
            to: self.target.name.clone(),
            name: excerpt(name),
            tries,
            wait: self.options.wait,
            cause: if !answer_datagram(name, &mut Vec::new()) {
                "over UDP a name that is itself a greeting is never answered"
            } else if name.len() > DEFAULT_MAX_DATAGRAM_BYTES {
                "a server answers at most 1024 bytes, unless started with a larger --max-datagram"
            } else {
                "is a server running there, and does it serve UDP?"
            },
        })
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    Ok(socket)
}

/// One try: sends a datagram and receives the next one, or fails with
/// [`io::ErrorKind::TimedOut`].
fn exchange(socket: &UdpSocket, name: &[u8], wait: Duration) -> io::Result<Vec<u8>> {
    socket.send(name)?;
    let mut reply = vec![0; RECEIVE_BYTES];
    let count = retry(deadline(wait), |left| {
        socket.set_read_timeout(Some(left))?;
        socket.recv(&mut reply).map_err(reset_as_refused)
    })?;
    reply.truncate(count);
    Ok(reply)
}
