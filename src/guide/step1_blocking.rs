//! Step 1: one client at a time.
//!
//! A server begins with three calls to the kernel, and Rust makes all three in
//! [`TcpListener::bind`](std::net::TcpListener::bind). `socket()` makes a **socket**, the
//! program's end of a conversation over the network. The program holds it by a small number, the
//! **descriptor**. `bind()` gives it an address and a port. `listen()` turns it into a
//! **listener**: from then on the kernel itself connects whoever comes, and keeps them in a queue,
//! the **backlog**, until the program takes them out of it with `accept()`. Each `accept()` returns
//! a *new* socket, for that one client; the listener goes on listening.
//!
//! Then there is what Python calls `recv` and `send`, and Rust, as the kernel does, `read` and
//! `write`. Here is the tutorial's conversation without the tutorial's thread. (`clients` is how
//! many are served before `serve` returns, because this page is also a test; the tutorial's `while
//! True` is `usize::MAX`.)
//!
//! ```
//! use std::io::{self, Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! fn serve(listener: &TcpListener, clients: usize) -> io::Result<()> {
//!     for _ in 0..clients {
//!         let (stream, _address) = listener.accept()?; // waits for a client
//!         let _ = converse(stream); // one client's error is not the others' business
//!     }
//!     Ok(())
//! }
//!
//! fn converse(mut stream: TcpStream) -> io::Result<()> {
//!     stream.write_all(b"Welcome!")?;
//!     let mut input = [0; 1_024];
//!     loop {
//!         let count = stream.read(&mut input)?; // waits for this client
//!         let name = &input[..count];
//!         if name.is_empty() || name == b"exit" {
//!             return Ok(()); // and the stream, dropped here, is closed
//!         }
//!         stream.write_all(&[b"Hello, ", name, b"!"].concat())?;
//!     }
//! }
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! # use clients::*;
//! # let (listener, address) = listen();
//! # let server = start(move || serve(&listener, 3));
//! # run_client(address);
//!
//! // One client is connected, and says nothing. A second one comes.
//! let (mut first, mut second) = (connect(address), connect(address));
//! expect(&mut first, "Welcome!");
//! assert!(is_silent(&mut second));
//! // Only when the first one leaves is there anybody for the second.
//! send(&mut first, "exit");
//! expect(&mut second, "Welcome!");
//! # send(&mut second, "Tracy");
//! # expect(&mut second, "Hello, Tracy!");
//! # send(&mut second, "exit");
//! # expect_eof(&mut second);
//! # join(&server).unwrap();
//! ```
//!
//! The program is right in every line. `read` is not told "look whether there is something"; it is
//! told "bring me something", and the kernel lets the program sleep until it can. That is what
//! **blocking** means: a call that returns when it is done, be it tomorrow.
//!
//! # What still goes wrong
//!
//! While the program sleeps in one client's `read` it is in nobody else's, nor in `accept`. The
//! last lines of the program show it: the second client is connected, for the kernel has seen to
//! that, and is not greeted. One who connects and falls silent stops the server for everybody.
//!
//! `p05_accepts_and_clients_do_not_starve_each_other` in `tests/pitfalls` asks of a server that
//! neither of the two holds up the other, and `two_hundred_delays_run_at_the_same_time` in
//! `tests/protocol` that two hundred clients get on side by side. This server does neither.
//!
//! Next: [a thread for each client](super::step2_threads).
