//! Addresses and ports.
//!
//! An **IP address** belongs to a machine, mostly by way of one of its network interfaces; one machine
//! has several. A **port**, a
//! number of 16 bits, names one of the sockets behind it. A program is found by both together:
//! `127.0.0.1:9999`. All that follows is done in [`net::bind`], for both kinds of server, and
//! for the load's clients in [`stress::connect`].
//!
//! # Where to listen
//!
//! The address that a listener is bound to says through which of the machine's addresses it can be
//! reached:
//!
//! - **`127.0.0.1`**, the **loopback** address, is this machine as it sees itself. Nobody else can
//!   connect. It is the tutorial's, and this server's default.
//! - **An address of the machine**, `192.168.0.7` say: whoever can reach that one. Another
//!   machine's address cannot be bound (`an_address_of_another_machine_is_an_error` in `tests/cli`).
//! - **`0.0.0.0`**, the **unspecified** address: every IPv4 address that the machine has.
//! - **A name**, `localhost` say, is looked up, and stands for all addresses that it has. Here each
//!   of them is listened on (`a_host_name_stands_for_all_its_addresses` in `tests/protocol`).
//!
//! ```
//! # use std::io;
//! # use std::net::{TcpListener, TcpStream};
//! let listener = TcpListener::bind("0.0.0.0:0")?;
//! let port = listener.local_addr()?.port();
//! let client = TcpStream::connect(("127.0.0.1", port))?; // one address of all
//! assert_eq!(client.peer_addr()?, ([127, 0, 0, 1], port).into());
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # Which port
//!
//! - **Below 1024** are the ports of the known services, 80 for HTTP, 25 for mail. Who wants to
//!   bind one needs the right to, so that not every user of a machine can pose as its web server
//!   (`a_privileged_port_without_the_privilege_is_an_error` in `tests/cli`; on Linux the limit can be moved).
//! - **From 1024 on** they are free to use. The tutorial takes 9999.
//! - **Port 0** is none: it asks the kernel for any that is free. Tests do that, or two that run at
//!   once would want the same one.
//! - **An ephemeral port** is what a client gets. It too has an address and a port, but seldom
//!   cares which: `connect` chooses both, the port from a range that is kept for this (Linux: 32768
//!   to 60999).
//!
//! A port that one socket listens on cannot be bound by another, as the tutorial says:
//!
//! ```
//! # use std::io;
//! # use std::net::TcpListener;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?; // the port that was found
//! assert_ne!(address.port(), 0);
//!
//! let second = TcpListener::bind(address);
//! assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! The server says so, and what to do (`a_tcp_port_in_use_is_an_error` in `tests/cli`). The
//! exception: all of them ask to share the port, with `SO_REUSEPORT`, the server's `--reuse-port`.
//! Linux then deals the clients out among them (`reuse_port_lets_two_servers_share_a_port`, there too, and
//! `processes_with_reuse_port_share_the_clients` in `tests/balance.rs`).
//!
//! # Four numbers name a connection
//!
//! All the clients of a server are connected to the same address and the same port, and are told
//! apart all the same: a connection is named by *both* ends, by the server's address and port and
//! the client's address and port. No two have all four in common.
//!
//! ```
//! # use std::io;
//! # use std::net::{TcpListener, TcpStream};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! let first = TcpStream::connect(address)?;
//! let second = TcpStream::connect(address)?;
//! assert_eq!(first.peer_addr()?, second.peer_addr()?);
//! assert_ne!(first.local_addr()?, second.local_addr()?);
//!
//! // The server sees the same from the other side: its own end is the same for both.
//! let (accepted, from) = listener.accept()?;
//! assert_eq!(accepted.local_addr()?, address);
//! assert_eq!(from, first.local_addr()?);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! So a server's port is no limit to its clients. But a *client* machine has one. Towards one
//! server three of the four numbers are given, and only its own port is left to choose: one of the
//! 28,232 ephemeral ones. Whoever wants more clients than that from one machine needs a second
//! client address, with which every port can be used again. For a server on loopback there are
//! plenty, for on Linux all of `127.0.0.0/8` is this machine:
//!
//! ```
//! # #[cfg(target_os = "linux")]
//! # fn main() -> std::io::Result<()> {
//! # use helloop::testing::stress::{CLIENTS_PER_SOURCE, SourceAddresses};
//! # use socket2::{Domain, Socket, Type};
//! # use std::net::{SocketAddr, TcpListener};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let server = listener.local_addr()?;
//! let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
//! client.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into())?; // a client may bind, too
//! client.connect(&server.into())?;
//! let (_, from) = listener.accept()?;
//! assert_eq!(from.ip().to_string(), "127.0.0.2");
//!
//! // The load does that for each thousand of its clients.
//! let sources = SourceAddresses::default_for(server);
//! assert_eq!(sources.address_for(0).unwrap().to_string(), "127.0.0.1");
//! assert_eq!(sources.address_for(CLIENTS_PER_SOURCE).unwrap().to_string(), "127.0.0.2");
//! # Ok(())
//! # }
//! # #[cfg(not(target_os = "linux"))]
//! # fn main() {}
//! ```
//!
//! It does so long before the ports run out, for the kernel takes the longer to find a free one the
//! more are taken; [`CLIENTS_PER_SOURCE`] has the figures. And there is a snare in the `bind`
//! above: it must choose a port before it knows to whom the client will connect, so it takes one
//! that nobody has at this address, whatever the server. `IP_BIND_ADDRESS_NO_PORT` leaves the
//! choice to `connect`. `clients_come_from_many_loopback_addresses` in `tests/stress`.
//!
//! # IPv6
//!
//! An IPv4 address has 32 bits, and there are not enough of them; one of IPv6 has 128, and is
//! written in hexadecimal, in brackets where a port follows: `[::1]:9999` is its loopback, `[::]`
//! its unspecified address. A listener on `[::]` may also hear IPv4, whose clients then seem to
//! come from addresses like `::ffff:192.0.2.1`. Whether it does differs from system to system; on
//! Linux it does unless told otherwise, and a listener on `0.0.0.0` then cannot have the same port.
//! So this server says what it means: `IPV6_V6ONLY`, IPv6 alone, and who wants both listens on both
//! (`an_ipv6_wildcard_leaves_ipv4_free` in `tests/protocol`).
//!
//! # Binding again
//!
//! When a connection ends, the side that closed first remembers it for a while, so that a packet
//! that was late is not taken for one of the next connection of the same four numbers:
//! **TIME_WAIT**, a minute on Linux. A server that is stopped and started again would find its port
//! taken by its own past. **`SO_REUSEADDR`** says that this is no reason to refuse. Rust's
//! [`TcpListener::bind`](std::net::TcpListener::bind) sets it on Unix, and Python's `bind` does
//! not. A port that is listened on stays refused, as above (`a_restarted_server_binds_at_once` in
//! `tests/cli`). For UDP, which has no connections to remember, the same option means something
//! else on Linux: two servers that set it share the port, and one of them hears nothing. There it
//! is never set.
//!
//! # The backlog
//!
//! Who connects is not yet accepted: the kernel makes the connection, and keeps it in the
//! listener's **backlog**. How many it keeps is the number in the tutorial's `listen(5)`. (Linux
//! makes it one more, and cuts it at `net.core.somaxconn`, 4,096 by default.) When it is full,
//! further clients are not refused: the kernel drops their packets, and their own kernel tries
//! again after a second, and again. A server that now and then takes a second or three to answer a
//! connect often suffers from nothing else. This server asks for so long a backlog that bursts fit
//! into it ([`Options::backlog`]), says so when the system cuts it, and accepts up to
//! [`ACCEPTS_PER_TURN`] in every turn: `p19_a_burst_of_connects_fits_into_the_backlog` in
//! `tests/pitfalls`, `a_backlog_above_the_limit_of_the_system_is_a_warning` in `tests/cli`.
//!
//! [`net::bind`]: crate::net::bind
//! [`stress::connect`]: crate::stress::connect
//! [`CLIENTS_PER_SOURCE`]: crate::stress::connect::CLIENTS_PER_SOURCE
//! [`Options::backlog`]: crate::net::bind::Options::backlog
//! [`ACCEPTS_PER_TURN`]: crate::server::sources::listener::ACCEPTS_PER_TURN
