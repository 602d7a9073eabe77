//! Step 4: readiness with mio, naively.
//!
//! [Step 3](super::step3_busy) asked everybody, all the time. The kernel can be asked a better
//! question: *which* of all these sockets is worth a try? Wait until there is one, and name it.
//! Linux calls that `epoll`, macOS and the BSDs `kqueue`; [`mio`] is one small interface to both,
//! as Python's `selectors` is.
//!
//! - Each socket, an **event source** from now on, is made known once: it is **registered** with
//!   the poll's **registry**, for an **interest** (reading, writing, or both), under a **token**, a
//!   number of our choice by which it is called from then on. Here: its place in a list.
//! - `poll` is the one call that sleeps, for all clients at once. It brings **events**, each a
//!   token and what may be tried there: the source's **readiness**.
//!
//! That is a **reactor**: a loop that waits for events and reacts to them. Under Python's `asyncio`
//! there is one, and under most servers that hold very many clients. Nearly everybody's first one
//! looks like this. ([`slab::Slab`] is a list with holes: a new client gets the number of one who
//! left.)
//!
//! ```
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! use helloop::protocol::greeting::answer_chunk;
//! use mio::net::{TcpListener, TcpStream};
//! use mio::{Events, Interest, Poll, Token};
//! use slab::Slab;
//! use std::io::{self, Read, Write};
//!
//! const LISTENER: Token = Token(usize::MAX);
//!
//! fn serve(mut listener: TcpListener, mut to_come: usize) -> io::Result<()> {
//!     let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1_024));
//!     poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
//!     let mut clients = Slab::new();
//!     while to_come > 0 || !clients.is_empty() {
//!         poll.poll(&mut events, None)?; // the only call that waits
//!         for event in &events {
//!             if event.token() == LISTENER {
//!                 let (mut stream, _address) = listener.accept()?;
//!                 to_come -= 1;
//!                 stream.write_all(b"Welcome!")?;
//!                 let client = clients.vacant_entry();
//!                 let token = Token(client.key());
//!                 poll.registry().register(&mut stream, token, Interest::READABLE)?;
//!                 client.insert(stream);
//!             } else if !converse(&mut clients[event.token().0])? {
//!                 clients.remove(event.token().0); // dropped: closed, and no longer registered
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn converse(stream: &mut TcpStream) -> io::Result<bool> {
//!     let (mut input, mut reply) = ([0; 1_024], Vec::new());
//!     let count = stream.read(&mut input)?;
//!     if count == 0 || answer_chunk(&input[..count], &mut reply).end.is_some() {
//!         return Ok(false);
//!     }
//!     stream.write_all(&reply)?;
//!     Ok(true)
//! }
//! # use clients::*;
//! # type Server = std::sync::mpsc::Receiver<io::Result<()>>;
//! # fn start_serving(listener: std::net::TcpListener, clients: usize) -> Server {
//! #     listener.set_nonblocking(true).unwrap();
//! #     start(move || serve(TcpListener::from_std(listener), clients))
//! # }
//! # let (listener, address) = listen();
//! # let server = start_serving(listener, 1);
//! # run_client(address);
//! # join(&server)?;
//! # let (listener, address) = listen();
//!
//! // Two clients come while the server is busy elsewhere: here, before it has begun.
//! let (mut first, mut second) = (connect(address), connect(address));
//! # let server = start_serving(listener, 3);
//! expect(&mut first, "Welcome!");
//! assert!(is_silent(&mut second)); // until somebody else comes, who then waits in turn
//! // One client says more than one read takes.
//! let name = "x".repeat(1_024);
//! send(&mut first, [&name, "Michael"].concat());
//! expect(&mut first, format!("Hello, {name}!"));
//! assert!(is_silent(&mut first)); // Michael is there, and is not read
//! send(&mut first, "exit");
//! expect(&mut first, "Hello, Michaelexit!");
//! // And one client breaks off (with a reset, by this option), and takes the server with it.
//! socket2::SockRef::from(&first).set_linger(Some(std::time::Duration::ZERO))?;
//! drop(first);
//! # let ended = join(&server);
//! assert!(ended.is_err());
//! # Ok::<(), io::Error>(())
//! ```
//!
//! While nobody says anything this server sleeps, and when one of ten thousand does, it goes to
//! that one.
//!
//! # What still goes wrong
//!
//! Nearly everything, and it shows only when there is much to do. The events of mio are
//! **edge-triggered**: one says that something *has become* ready, not that it still is. Bytes have
//! come, a connection has come: that is told once, and what is not taken then is not told again,
//! until something *new* comes. (The other kind, **level-triggered**, as the older calls `select`
//! and `poll` are, and `epoll` by default, repeats itself at each wait. So the interest in
//! writing must be switched on when a reply is left over, and off when it is sent, or every wait
//! would return at once; with `epoll` each switch is a system call.)
//!
//! - **One read, or one accept, an event.** One edge stood for two connections, and the second was
//!   left in the backlog; one edge stood for 1,031 bytes, and seven of them were left:
//!   `p01_one_edge_is_enough_to_read_everything` in `tests/pitfalls`, as are all that follow.
//! - **What everybody then does** is to read in a loop until the socket would block. But a client
//!   that sends as fast as it is read keeps the loop there for good. Whoever stops before that must
//!   remember that there is more, for no event will:
//!   `p02_input_beyond_the_budget_is_read_in_later_turns`,
//!   `p05_accepts_and_clients_do_not_starve_each_other`.
//! - **The many `?`**: what concerns one source ends the loop. A client's reset did, above. A
//!   **spurious event**, one for nothing, would too, for "would block" is an error to `?`; and so
//!   would an `accept` when the program has no descriptor left, or a signal that cuts `poll` short:
//!   `p18_one_clients_error_never_affects_another`, `p15_spurious_wakeups_do_no_harm`,
//!   `p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup`,
//!   `p11_eintr_is_retried_until_the_deadline`.
//! - **Writing is as it was** in step 3; and since the interest is in reading alone, no event would
//!   ever say that there is room again: `p06_a_short_or_blocked_write_is_continued_in_order`.
//! - **A number is used again.** The index `clients[..]` is right as long as a client is closed by
//!   its own event only. As soon as a deadline or a limit closes one, the events in hand may still
//!   name it: the index panics, or there is somebody else by that number already:
//!   `p03_a_stale_event_never_reaches_the_slots_new_owner`.
//!
//! The first two look as if they contradict each other: read all, or one client is forgotten; do
//! not read all, or all others are. One idea answers both.
//!
//! Next: [marked sources, with a budget](super::step5_marked).
