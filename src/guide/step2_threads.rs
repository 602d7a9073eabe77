//! Step 2: a thread for each client, as the tutorial has it.
//!
//! [Step 1](super::step1_blocking) slept in one client's `read` and heard nobody else. The
//! tutorial's answer: let somebody else sleep. A **thread** is a second line of execution in the
//! same program, with a **stack** of its own for its calls and variables. The kernel lets all
//! threads take turns, and passes over those that sleep. One thread sleeps in `accept`, and each
//! client has a thread that sleeps in its `read`. `converse` is step 1's, to the letter.
//!
//! ```
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! use std::io::{self, Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use std::thread;
//!
//! fn serve(listener: &TcpListener, clients: usize) -> io::Result<()> {
//!     thread::scope(|threads| {
//!         for _ in 0..clients {
//!             let (stream, _address) = listener.accept()?;
//!             threads.spawn(move || converse(stream));
//!         }
//!         Ok(())
//!     }) // and here the scope waits for the last of them
//! }
//!
//! fn converse(mut stream: TcpStream) -> io::Result<()> {
//!     stream.write_all(b"Welcome!")?;
//!     let mut input = [0; 1_024];
//!     loop {
//!         let count = stream.read(&mut input)?;
//!         let name = &input[..count];
//!         if name.is_empty() || name == b"exit" {
//!             return Ok(());
//!         }
//!         stream.write_all(&[b"Hello, ", name, b"!"].concat())?;
//!     }
//! }
//! # use clients::*;
//! # #[cfg(target_os = "linux")]
//! # fn threads() -> usize { std::fs::read_dir("/proc/self/task").unwrap().count() }
//! # #[cfg(not(target_os = "linux"))]
//! # fn threads() -> usize { usize::MAX }
//! # let (listener, address) = listen();
//! # let server = start(move || serve(&listener, 103));
//! # run_client(address);
//!
//! // Nobody waits for anybody any more.
//! let (mut first, mut second) = (connect(address), connect(address));
//! expect(&mut first, "Welcome!");
//! expect(&mut second, "Welcome!");
//!
//! // A hundred clients who say nothing. (`threads` counts the entries of Linux's /proc/self/task.)
//! let mut idle: Vec<_> = (0..100).map(|_| connect(address)).collect();
//! idle.iter_mut().for_each(|client| expect(client, "Welcome!"));
//! assert!(threads() > 100);
//! # drop((first, second, idle));
//! # join(&server).unwrap();
//! ```
//!
//! This is a good server. The tutorial's `time.sleep(1)` before each reply does no harm here: a
//! client's own thread sleeps, and no other. And two things come for nothing that a loop will have
//! to do by hand. Where a thread stands in `converse` *is* what the server remembers of its client.
//! And a client that does not read its replies sooner or later holds its own thread in `write_all`,
//! so nothing more is read from it, and it stalls itself alone. The word for that is
//! **backpressure**.
//!
//! # What still goes wrong
//!
//! It goes on for as long as there are not very many clients.
//!
//! - **A client that does nothing costs a thread**: its stack (2 MiB of address space in Rust; of
//!   memory as much as has been touched, a few pages of 4 KiB), a second stack in the kernel, and a
//!   place in the scheduler's books. The loop of this crate keeps an idle client in 64 bytes at
//!   most. (What the kernel keeps for the socket itself, some KiB, is the same for both.) `both_models_are_compared_side_by_side` in `tests/compare.rs` counts the threads, and `helloop
//!   compare` measures both kinds of server on your own machine.
//! - **Threads run out.** Then `spawn` panics, and the server is gone (in Python the exception is
//!   raised in the accept loop, to the same end).
//!   `a_model_that_cannot_hold_the_load_has_a_remark`, there too, gives both servers
//!   little room for stacks and six hundred clients: the loop serves them, the threads do not.
//!   (Where a program may have only 1,024 descriptors, as is usual, it runs out of these first.
//!   Then it is `accept()?` that ends this server, and those of the next two steps.)
//! - **A message costs a change of thread**: the kernel puts one to sleep and wakes another. The
//!   work between the two is to greet somebody.
//! - **Nobody has the whole in view.** How many clients there are, how much is kept for all of
//!   them, who has said nothing for an hour, that the server should stop: each thread knows of
//!   itself. [`server::threads`](crate::server::threads) is this server with what it takes to stop
//!   it politely; see how much of that is locks, and connections that only wake somebody up.
//!
//! Threads were needed because a call may block. What if no call did?
//!
//! Next: [non-blocking, and busy](super::step3_busy).
