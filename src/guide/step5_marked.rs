//! Step 5: marked sources, with a budget.
//!
//! [Step 4](super::step4_readiness) did the work when an event came, so it had to do all of it
//! then, or it was forgotten. Here an event does no work at all. It only **marks** its source: puts
//! the token at the end of a list. The work is done from the list, and each source says afterwards
//! what is to become of it, its **verdict**:
//!
//! - `Park`: a call of mine would have blocked. An event will come; leave me till then.
//! - `Again`: I have done my share, and there may be more. Put me at the end of the list.
//! - `Close`: I am done.
//!
//! As long as somebody is in the list, the poll is asked without waiting. So what has not been read
//! is not forgotten, for its client is in the list; and nobody holds the loop, for each does a
//! bounded amount, its **budget**, and then stands behind all others. One round of the loop, a wait
//! and all that follows from it, is a **turn**.
//!
//! (Not shown: the `use` lines, which are step 4's, and `admit`, which registers a new client for
//! reading *and* writing, and owes it its welcome.)
//!
//! ```
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! # use helloop::protocol::greeting::answer_chunk;
//! # use mio::net::{TcpListener, TcpStream};
//! # use mio::{Events, Interest, Poll, Registry, Token};
//! # use slab::Slab;
//! # use std::collections::VecDeque;
//! # use std::io::{self, ErrorKind, Read, Write};
//! # use std::mem;
//! # use std::time::{Duration, Instant};
//! # const LISTENER: Token = Token(usize::MAX);
//! enum Verdict { Park, Again, Close }
//! struct Client { stream: TcpStream, owed: Vec<u8> }
//!
//! fn serve(mut listener: TcpListener, mut to_come: usize, pause: Duration) -> io::Result<()> {
//!     let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1_024));
//!     poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
//!     let (mut clients, mut marked) = (Slab::new(), VecDeque::new());
//!     while to_come > 0 || !clients.is_empty() {
//!         poll.poll(&mut events, (!marked.is_empty()).then_some(Duration::ZERO))?; // wait, ...
//!         for event in &events {
//!             if !marked.contains(&event.token()) {
//!                 marked.push_back(event.token()); // ... mark, ...
//!             }
//!         }
//!         for token in mem::take(&mut marked) { // ... and drive each one once
//!             let verdict = if token == LISTENER {
//!                 let Ok((stream, _address)) = listener.accept() else { continue };
//!                 to_come -= 1;
//!                 marked.push_back(admit(stream, &mut clients, poll.registry())?);
//!                 Verdict::Again
//!             } else {
//!                 drive(&mut clients[token.0], pause)
//!             };
//!             match verdict {
//!                 Verdict::Park => {}
//!                 Verdict::Again => marked.push_back(token),
//!                 Verdict::Close => drop(clients.remove(token.0)),
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! #
//! # fn admit(
//! #     mut stream: TcpStream, clients: &mut Slab<Client>, registry: &Registry,
//! # ) -> io::Result<Token> {
//! #     let client = clients.vacant_entry();
//! #     let token = Token(client.key());
//! #     registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
//! #     client.insert(Client { stream, owed: b"Welcome!".to_vec() });
//! #     Ok(token)
//! # }
//!
//! fn drive(client: &mut Client, pause: Duration) -> Verdict {
//!     if client.owed.is_empty() { // one read at most, and none while anything is owed
//!         let mut input = [0; 1_024];
//!         match client.stream.read(&mut input) {
//!             Ok(count) if count > 0 => {
//!                 std::thread::sleep(pause); // the tutorial's `time.sleep(1)`
//!                 if answer_chunk(&input[..count], &mut client.owed).end.is_some() {
//!                     return Verdict::Close;
//!                 }
//!             }
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => return Verdict::Park,
//!             Ok(_) | Err(_) => return Verdict::Close,
//!         }
//!     }
//!     while !client.owed.is_empty() {
//!         match client.stream.write(&client.owed) {
//!             Ok(count) => drop(client.owed.drain(..count)),
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => return Verdict::Park,
//!             Err(_) => return Verdict::Close,
//!         }
//!     }
//!     Verdict::Again
//! }
//! # use clients::*;
//! # type Server = std::sync::mpsc::Receiver<io::Result<()>>;
//! # fn start_serving(listener: std::net::TcpListener, clients: usize, pause: Duration) -> Server {
//! #     listener.set_nonblocking(true).unwrap();
//! #     start(move || serve(TcpListener::from_std(listener), clients, pause))
//! # }
//! # let (listener, address) = listen();
//! # let (mut first, mut second) = (connect(address), connect(address));
//! # let server = start_serving(listener, 3, Duration::ZERO);
//! # expect(&mut first, "Welcome!");
//! # expect(&mut second, "Welcome!");
//! # let name = "x".repeat(1_024);
//! # send(&mut first, [&name, "Michael"].concat());
//! # expect(&mut first, format!("Hello, {name}!Hello, Michael!"));
//! # socket2::SockRef::from(&first).set_linger(Some(Duration::ZERO)).unwrap();
//! # drop((first, second));
//! # run_client(address);
//! # join(&server).unwrap();
//! # let (listener, address) = listen();
//! # let pause = Duration::from_millis(50);
//! # let server = start_serving(listener, 4, pause);
//! # let mut clients: Vec<_> = (0..4).map(|_| connect(address)).collect();
//! # clients.iter_mut().for_each(|client| expect(client, "Welcome!"));
//! # let started = Instant::now();
//! // Four clients speak at the same time, and the last one waits for four pauses.
//! clients.iter_mut().for_each(|client| send(client, "Ada"));
//! clients.iter_mut().for_each(|client| expect(client, "Hello, Ada!"));
//! assert!(started.elapsed() >= 4 * pause);
//! # drop(clients);
//! # join(&server).unwrap();
//! ```
//!
//! What step 4 forgot is answered here, and hidden lines of this page check it: both of the clients
//! who came together are greeted, and Michael, the rest of 1,031 bytes, gets his reply. Look at
//! why. A source may `Park` only where the kernel has said "would block", for exactly then an event
//! is sure to come; from everywhere else it says `Again`. (A read that comes back short says the
//! same one call earlier, with an exception: section 1 of [Break it](super::break_it).) Writing is answered by the same rule:
//! what the socket does not take stays in `owed`, the client parks, and the event that says "there
//! is room" marks it. And since nothing is read from it meanwhile, a client that does not read
//! stalls itself and nobody else: the backpressure for which step 2 needed no line has come back as
//! one `if`.
//!
//! # What still goes wrong
//!
//! - **Whoever sleeps, sleeps for all.** The tutorial's `time.sleep(1)` did no harm in a thread of
//!   its client's own. Here it stops the one thread that there is, and the last lines show the
//!   price: four clients wait for four pauses. With two hundred clients the tutorial's one second
//!   is more than three minutes: `two_hundred_delays_run_at_the_same_time` in `tests/protocol`. The
//!   same holds for anything that takes long: a look-up of a name, a disk that is slow, a large
//!   sum.
//! - **A verdict is missing**: not now, but later, event or not. When `accept` fails because the
//!   program has no descriptor left, `Park` (as above) leaves those who wait in the backlog without
//!   a wake-up, for their edge is past; `Again` would try at once, and for ever, in vain:
//!   `p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup`. And a client that takes
//!   nothing of what it is owed would have to be given up some day:
//!   `p07_a_client_that_never_reads_costs_bounded_memory`. Both are in `tests/pitfalls`.
//! - **Small things**: `marked.contains` walks the whole list ([`reactor::ready`] has one bit a
//!   slot for it); a registration that fails still ends the loop by way of `?`, and so does a
//!   signal (`p11_eintr_is_retried_until_the_deadline`).
//!
//! Next: [deadlines in place of sleep](super::step6_deadlines).
//!
//! [`reactor::ready`]: crate::reactor::ready
