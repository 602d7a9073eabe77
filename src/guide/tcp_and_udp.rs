//! TCP and UDP.
//!
//! The tutorial writes two servers, one with `SOCK_STREAM` and one with `SOCK_DGRAM`, and they look
//! much alike. The kernel gives them two very different things. Underneath both is IP, which
//! carries **packets**, small pieces with an address on them, and promises nothing: one may be
//! lost, come twice, or come after the next.
//!
//! | | TCP | UDP |
//! | --- | --- | --- |
//! | what is sent | a **stream** of bytes, each way | **datagrams**, each for itself |
//! | to whom | one peer, to which a **connection** is made first | anyone, with every call |
//! | what arrives | all of it, once and in order, or an error | each datagram whole, or not at all; seldom twice |
//! | if it is lost | the kernel sends it again | nobody notices |
//! | if the other is slow | the sender has to wait | what does not fit is thrown away |
//! | the server's sockets | a listener, and one for each client | one |
//! | here | [`server::sources::peer`], over [`stream`] | [`server::sources::datagrams`] |
//!
//! # A stream has no messages
//!
//! TCP keeps the bytes and their order. Where one `send` ended and the next began it does not keep:
//!
//! ```
//! # use std::io::{self, Read, Write};
//! # use std::net::{TcpListener, TcpStream};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(listener.local_addr()?)?;
//! # let (mut server, _) = listener.accept()?;
//! # for end in [&client, &server] {
//! #     end.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
//! #     end.set_nodelay(true)?;
//! # }
//! client.write_all(b"Michael")?;
//! client.write_all(b"Tracy")?;
//! # while server.peek(&mut [0; 12])? < 12 {}
//! let mut input = [0; 1_024];
//! let count = server.read(&mut input)?;
//! assert_eq!(&input[..count], b"MichaelTracy"); // two sends, one read
//!
//! client.write_all(b"Sarah")?;
//! let mut input = [0; 3];
//! server.read_exact(&mut input)?;
//! assert_eq!(&input, b"Sar"); // one send; the rest is for the next read
//! # Ok::<(), io::Error>(())
//! ```
//!
//! (Hidden lines wait until both names have come. Where the server is quicker it gets them one by
//! one, and the tutorial's `recv(1024)` seems to know where a name ends.) So a protocol over TCP
//! must say itself where a message ends: its **framing**. This server has two. [`Framing::Chunk`]
//! is the tutorial's: what one read returns is a message. It is right only as long as names are
//! short enough to travel in one packet, and each side waits for the other's answer before it
//! speaks again, as the tutorial's client does. [`Framing::Line`] ends a message at its line feed,
//! and no longer depends on how the bytes are cut:
//!
//! ```
//! use helloop::protocol::buffer::Buffer;
//! use helloop::protocol::greeting::answer_lines;
//!
//! // What is begun must be kept until the rest of it comes.
//! let (mut begun, mut replies) = (Buffer::default(), Vec::new());
//! for read in ["Mich", "ael\nTracy\nSa", "rah\n"] {
//!     answer_lines(&mut begun, read.as_bytes(), &mut replies);
//! }
//! assert_eq!(replies, b"Hello, Michael!\nHello, Tracy!\nHello, Sarah!\n");
//! ```
//!
//! And since a message now may be as long as a client likes, there is a limit to it:
//! [`MAX_LINE_BYTES`]. `replies_do_not_depend_on_how_reads_divide_the_lines` in [`greeting`] cuts at every
//! byte.
//!
//! # A connection has two ends, and each its own end
//!
//! The two directions of a connection are closed one by one. `read` returns 0 bytes when the
//! *other* side has sent all that it will: **end of input**. It may still be listening. So who
//! reads the end of input has not lost the other, and sends what it owes before it goes. Closing
//! one's own direction alone is `shutdown`, a **half-close**:
//!
//! ```
//! # use std::io::{self, Read, Write};
//! # use std::net::{Shutdown, TcpListener, TcpStream};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mut client = TcpStream::connect(listener.local_addr()?)?;
//! # let (mut server, _) = listener.accept()?;
//! # for end in [&client, &server] {
//! #     end.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
//! # }
//! client.write_all(b"Michael")?;
//! client.shutdown(Shutdown::Write)?; // I have said all that I had to say
//!
//! let mut name = String::new();
//! server.read_to_string(&mut name)?; // up to the end of input
//! server.write_all(format!("Hello, {name}!").as_bytes())?;
//! drop(server); // closes both directions
//!
//! let mut reply = String::new();
//! client.read_to_string(&mut reply)?;
//! assert_eq!(reply, "Hello, Michael!");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! On the wire the end of a direction is one bit in a packet, FIN. A connection can also be broken
//! off, both directions at once, by a **reset**, RST: the other side has closed its socket with
//! input still unread, or no longer knows of the connection. Then reading and writing fail
//! ("connection reset by peer", "broken pipe"). That connection is over, and no other one:
//! `p08_a_half_closed_client_is_sent_all_replies`, `p18_one_clients_error_never_affects_another` and
//! `p10_closing_with_unread_input_sends_no_reset` in `tests/pitfalls`.
//!
//! # A datagram is a message
//!
//! Each datagram arrives as it was sent, or does not. One socket hears all clients, and each call
//! says from whom the datagram came; that is why the tutorial's UDP server needs no thread. Nothing
//! is accepted, and nothing is closed, so `exit` has nothing to end: it is a name like any other.
//!
//! ```
//! # use std::io;
//! # use std::net::UdpSocket;
//! use helloop::protocol::greeting::answer_datagram;
//!
//! let server = UdpSocket::bind("127.0.0.1:0")?;
//! let client = UdpSocket::bind("127.0.0.1:0")?;
//! # for socket in [&server, &client] {
//! #     socket.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
//! # }
//! for name in ["Michael", "exit"] {
//!     client.send_to(name.as_bytes(), server.local_addr()?)?;
//! }
//! let mut input = [0; 1_024];
//! for name in ["Michael", "exit"] {
//!     let (length, from) = server.recv_from(&mut input)?; // two sends, two receives
//!     let mut reply = Vec::new();
//!     assert!(answer_datagram(&input[..length], &mut reply));
//!     server.send_to(&reply, from)?;
//!
//!     let length = client.recv(&mut input)?;
//!     assert_eq!(input[..length], *format!("Hello, {name}!").as_bytes());
//! }
//! // A receive that has room for less gets the first part; the rest is gone.
//! client.send_to(b"Michael", server.local_addr()?)?;
//! client.send_to(b"Tracy", server.local_addr()?)?;
//! let mut input = [0; 4];
//! assert_eq!(server.recv(&mut input)?, 4);
//! assert_eq!(&input, b"Mich");
//! assert_eq!(server.recv(&mut input)?, 4);
//! assert_eq!(&input, b"Trac");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! (On Linux and the other Unixes; Windows calls the cut an error.) The server therefore reads with
//! room for one byte more than it will answer: what fills it was too long, and is dropped rather
//! than answered in part (`a_long_datagram_is_dropped_and_never_truncated` in `tests/protocol`).
//!
//! On one machine datagrams are rarely lost; over a network, and wherever one comes and there is no
//! room for it, they are, and the tutorial's client then waits in `recv` for ever. Who needs the
//! reply must ask again after a while. But then the first one may have been late rather than lost,
//! and two replies come to one name. [`client::udp`] has both, and `udp_retries_a_lost_datagram`,
//! `udp_ignores_a_duplicate_reply` and `udp_does_not_take_a_late_reply_for_that_of_the_next_name` in
//! `tests/clients` show them.
//!
//! Nor does anything prove that a datagram comes from where it says. A forged one can make two
//! servers greet each other without end: [`answer_datagram`] is silent to what is a greeting
//! itself, and `p14_no_datagram_and_no_udp_error_ends_the_loop` has what else may come. TCP does
//! not have this trouble: before a connection is made, packets go both ways, and whoever forged its
//! address does not get the one that it must answer.
//!
//! # Both on one port
//!
//! A port belongs to a protocol, so that TCP's 9999 and UDP's 9999 are two ports of the same
//! number, and the server has both. If it is asked for port 0, "any that is free" (see [addresses
//! and ports](super::addresses)), it looks for a number that is free in both:
//!
//! ```
//! use helloop::net::bind::{Options, bind};
//!
//! let bound = bind(&Options {
//!     listen: vec!["127.0.0.1:0".to_owned()],
//!     udp: true,
//!     backlog: 128,
//!     reuse_port: false,
//!     keepalive: None,
//! })?;
//! let udp = bound[0].udp.as_ref().expect("it was asked for");
//! assert_eq!(bound[0].tcp.local_addr()?, udp.local_addr()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `port_0_chooses_one_number_for_tcp_and_udp` in `tests/cli` asks the program itself.
//!
//! Next: [addresses and ports](super::addresses).
//!
//! [`server::sources::peer`]: crate::server::sources::peer
//! [`server::sources::datagrams`]: crate::server::sources::datagrams
//! [`stream`]: crate::net::stream
//! [`greeting`]: crate::protocol::greeting
//! [`Framing::Chunk`]: crate::protocol::greeting::Framing::Chunk
//! [`Framing::Line`]: crate::protocol::greeting::Framing::Line
//! [`MAX_LINE_BYTES`]: crate::protocol::greeting::MAX_LINE_BYTES
//! [`answer_datagram`]: crate::protocol::greeting::answer_datagram
//! [`client::udp`]: crate::client::udp
