//! Step 3: non-blocking, and busy.
//!
//! [Step 2](super::step2_threads) had a thread for each client because `read` may put the thread to
//! sleep that calls it. It need not: a socket can be told to be **non-blocking** (Python:
//! `setblocking(False)`). A call that would have to wait then returns at once, with an error that
//! is none: **would block** ([`WouldBlock`](std::io::ErrorKind::WouldBlock); in Python
//! `BlockingIOError`, in the kernel `EAGAIN`). It says: nothing there *at present*.
//!
//! So one thread can ask everybody in turn. What a thread knew by where it stood is now data: the
//! list `clients`. ([`answer_chunk`](crate::protocol::greeting::answer_chunk) is this crate's greeting, the
//! one that the real server uses: it appends the reply to `reply`, or says that it is the end.)
//!
//! ```
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! use helloop::protocol::greeting::answer_chunk;
//! use std::io::{self, ErrorKind, Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! /// Returns how often the kernel was asked, and had nothing.
//! fn serve(listener: &TcpListener, mut to_come: usize) -> io::Result<u64> {
//!     listener.set_nonblocking(true)?;
//!     let (mut clients, mut in_vain) = (Vec::new(), 0);
//!     while to_come > 0 || !clients.is_empty() {
//!         match listener.accept() {
//!             Ok((mut stream, _address)) => {
//!                 to_come -= 1;
//!                 stream.set_nonblocking(true)?;
//!                 if stream.write_all(b"Welcome!").is_ok() {
//!                     clients.push(stream);
//!                 }
//!             }
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => in_vain += 1,
//!             Err(error) => return Err(error),
//!         }
//!         clients.retain_mut(|stream| match converse(stream) {
//!             Ok(goes_on) => goes_on,
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => {
//!                 in_vain += 1;
//!                 true
//!             }
//!             Err(_) => false, // this client's connection is broken
//!         });
//!     }
//!     Ok(in_vain)
//! }
//!
//! /// Answers what has come from one client, and returns whether the conversation goes on.
//! fn converse(stream: &mut TcpStream) -> io::Result<bool> {
//!     let (mut input, mut reply) = ([0; 1_024], Vec::new());
//!     let count = stream.read(&mut input)?; // waits for nobody
//!     if count == 0 || answer_chunk(&input[..count], &mut reply).end.is_some() {
//!         return Ok(false);
//!     }
//!     stream.write_all(&reply)?;
//!     Ok(true)
//! }
//! # use clients::*;
//! # let (listener, address) = listen();
//! # let server = start(move || serve(&listener, 3));
//! # run_client(address);
//!
//! // Two clients at once, on one thread.
//! let (mut first, mut second) = (connect(address), connect(address));
//! expect(&mut first, "Welcome!");
//! expect(&mut second, "Welcome!");
//! // And now both are silent for a tenth of a second.
//! assert!(is_silent(&mut first));
//! # drop((first, second));
//! # let ended = join(&server);
//! let asked_in_vain = ended?;
//! assert!(asked_in_vain > 1_000);
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # What still goes wrong
//!
//! - **It never sleeps.** In that tenth of a second, in which nobody said anything, it asked tens
//!   of thousands of times, and a whole processor was busy with it. A pause between two rounds only
//!   lets you choose: much work for nothing, or replies that come late. And each round asks
//!   *everybody*: with ten thousand silent clients, the one who speaks waits for ten thousand
//!   calls. `an_idle_server_sleeps_until_an_event` in `tests/cost.rs` has the loop take a
//!   single turn through half a second of silence; this one takes as many as it can.
//! - **A reply can be cut in two.** The kernel keeps for each connection only so many bytes that
//!   the other side has not taken. On a non-blocking socket `write` takes what has room, be it half
//!   a name, and `write_all` then stumbles over "would block", with no word of how far it came: the
//!   rest is lost. `p06_a_short_or_blocked_write_is_continued_in_order` in `tests/pitfalls` gives a
//!   client room for one byte at a time.
//!
//! The server asks everybody because it does not know who has something to say. But somebody knows:
//! the kernel, which put the bytes there.
//!
//! Next: [readiness, naively](super::step4_readiness).
