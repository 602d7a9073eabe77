//! Step 6: deadlines in place of sleep.
//!
//! In [step 5](super::step5_marked) one client's pause was everybody's, and a source could not say
//! "later". Here it can: it sets a **deadline**, and returns a fourth verdict, `Hold`: I rest,
//! although there may be more to read. The loop waits for an event *or* for the nearest deadline,
//! whichever comes first. That costs nothing: the wait has a timeout anyway, and the nearest
//! deadline is what it is set to. Nobody sleeps but the loop, and the loop only as long as nobody
//! has anything to do.
//!
//! From here on the loop is this crate's own [`Reactor`](crate::reactor::Reactor), so that only
//! what a server has to say is left. It is step 5's loop with everything in it that was missing:
//!
//! | in step 5 | here |
//! | --- | --- |
//! | the `while` loop | [`Reactor::turn`](crate::reactor::Reactor::turn): wait, mark, drive, expire, settle |
//! | a number in a slab | a [`Token`](crate::reactor::Token): the number, and which of its owners is meant |
//! | `marked` | [`reactor::ready`](crate::reactor::ready): the same list, and what may be tried, a bit each |
//! | `fn drive` | [`Source::drive`](crate::reactor::Source::drive), of an `enum` of all kinds of sources |
//! | `admit` | [`Births::push`](crate::reactor::Births::push): the new client is born when the turn ends |
//! | – | [`Verdict::Hold`](crate::reactor::Verdict::Hold): rest until the deadline, or until an event reports something new |
//! | – | [`Context::set_deadline`](crate::reactor::Context::set_deadline), and [`Source::expire`](crate::reactor::Source::expire) when it has passed |
//! | `read`, `write`, "would block" | [`stream::receive`](crate::net::stream::receive) and [`send`](crate::net::stream::send), which keep the bits true |
//!
//! Not shown: `register`, which passes a socket on to the registry, and `unregistered`, should that
//! fail; `Shared`, the three variables that all sources share; and `accept`, which is step 5's with
//! one arm more: when there is no descriptor left it sets a deadline a tenth of a second away, and
//! holds. So it neither spins nor forgets those who wait.
//!
//! ```
//! # mod clients { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/clients.rs")); }
//! # use helloop::protocol::greeting::answer_chunk;
//! # use helloop::net::stream::{self, Received, Traffic};
//! # use helloop::reactor::{Births, Context, INTEREST, Reactor, Readiness};
//! # use helloop::reactor::{Source, Time, Token, Verdict};
//! # use mio::{Interest, Registry};
//! # use mio::net::{TcpListener, TcpStream};
//! # use std::io;
//! # use std::time::{Duration, Instant};
//! # struct Shared { to_come: usize, pause: Duration, traffic: Traffic }
//! enum ServerSource { Listener(TcpListener), Client(Client) }
//! struct Client { stream: TcpStream, owed: Vec<u8>, is_held: bool }
//!
//! fn serve(listener: TcpListener, to_come: usize, pause: Duration) -> io::Result<()> {
//!     let mut reactor = Reactor::new()?;
//!     let mut shared = Shared { to_come, pause, traffic: Traffic::default() };
//!     reactor.add(ServerSource::Listener(listener), Readiness::READABLE)?;
//!     while !reactor.is_empty() {
//!         reactor.turn(&mut shared)?; // wait, mark, drive, expire, settle
//!     }
//!     Ok(())
//! }
//!
//! impl Source for ServerSource {
//!     type Shared = Shared; // what all sources share
//! #   fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
//! #       match self {
//! #           Self::Listener(socket) => registry.register(socket, token.into(), Interest::READABLE),
//! #           Self::Client(client) => {
//! #               registry.register(&mut client.stream, token.into(), INTEREST)
//! #           }
//! #       }
//! #   }
//! #   fn unregistered(&mut self, _: &io::Error, _: Time, _: &mut Shared) {}
//!     fn drive(&mut self, cx: &mut Context<'_, Shared>, births: &mut Births<Self>) -> Verdict {
//!         match self {
//!             Self::Listener(socket) => accept(socket, cx, births),
//!             Self::Client(client) if client.is_held => Verdict::Hold,
//!             Self::Client(client) => converse(client, cx).unwrap_or(Verdict::Close),
//!         }
//!     }
//!     fn expire(&mut self, _: &mut Context<'_, Shared>) -> Verdict {
//!         if let Self::Client(client) = self {
//!             client.is_held = false; // its pause is over
//!         }
//!         Verdict::Again
//!     }
//! }
//! #
//! # fn accept(
//! #     socket: &TcpListener, cx: &mut Context<'_, Shared>, births: &mut Births<ServerSource>,
//! # ) -> Verdict {
//! #     match socket.accept() {
//! #         Ok((stream, _address)) => {
//! #             let owed = b"Welcome!".to_vec();
//! #             let client = Client { stream, owed, is_held: false };
//! #             let readiness = Readiness::READABLE | Readiness::WRITABLE;
//! #             births.push(ServerSource::Client(client), readiness);
//! #             cx.shared.to_come -= 1;
//! #             if cx.shared.to_come == 0 { Verdict::Close } else { Verdict::Again }
//! #         }
//! #         Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
//! #             cx.readiness.remove(Readiness::READABLE);
//! #             Verdict::Park
//! #         }
//! #         Err(_) => {
//! #             cx.set_deadline(Duration::from_millis(100));
//! #             Verdict::Hold
//! #         }
//! #     }
//! # }
//!
//! fn converse(client: &mut Client, cx: &mut Context<'_, Shared>) -> io::Result<Verdict> {
//!     let traffic = &mut cx.shared.traffic;
//!     if client.owed.is_empty() {
//!         let mut input = [0; 1_024];
//!         match stream::receive(&mut client.stream, cx.readiness, &mut input, traffic) {
//!             Received::Bytes(count) => {
//!                 if answer_chunk(&input[..count], &mut client.owed).end.is_some() {
//!                     return Ok(Verdict::Close);
//!                 }
//!                 client.is_held = true;
//!                 cx.set_deadline(cx.shared.pause); // in place of `time.sleep(1)`
//!                 return Ok(Verdict::Hold);
//!             }
//!             Received::Blocked => return Ok(Verdict::Park),
//!             Received::Eof | Received::Failed(_) => return Ok(Verdict::Close),
//!         }
//!     }
//!     let sent = stream::send(&mut client.stream, cx.readiness, &client.owed, traffic)?;
//!     client.owed.drain(..sent);
//!     if !cx.readiness.contains(Readiness::READABLE) {
//!         return Ok(Verdict::Park); // drained
//!     }
//!     // Backpressure: while replies are unsent, nothing more is read.
//!     Ok(if client.owed.is_empty() { Verdict::Again } else { Verdict::Hold })
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
//! # let pause = Duration::from_millis(200);
//! # let server = start_serving(listener, 100, pause);
//! # let mut clients: Vec<_> = (0..100).map(|_| connect(address)).collect();
//! # clients.iter_mut().for_each(|client| expect(client, "Welcome!"));
//! # let started = Instant::now();
//!
//! // A hundred clients speak at the same time. The pauses together would be twenty seconds.
//! clients.iter_mut().for_each(|client| send(client, "Ada"));
//! clients.iter_mut().for_each(|client| expect(client, "Hello, Ada!"));
//! assert!(started.elapsed() >= pause && started.elapsed() < 50 * pause);
//! # drop(clients);
//! # join(&server).unwrap();
//! ```
//!
//! A hundred clients are held at the same time, and none of them holds anybody else. While one is
//! held its first event marks it; it holds, and *keeps* its readiness, so that nothing is forgotten
//! when its pause is over, and further events tell the loop nothing new. (`Park` would be wrong
//! there: it says that nothing is left to read.) And because a turn's work
//! is told the time, and looks at no clock to decide anything, a test can run it through a whole day
//! in a moment: [`Reactor::step`] is a turn without the wait.
//!
//! # What still goes wrong
//!
//! The loop is whole. What is missing now is what this *server* owes to its clients, and each of
//! these has its home in the crate and its test in `tests/pitfalls`:
//!
//! - **Nobody is ever given up.** Who connects and says nothing, or takes nothing of what is owed,
//!   keeps a descriptor for ever, and a program has only so many. Deadlines, again:
//!   [`server::sources::peer`], `p07_a_client_that_never_reads_costs_bounded_memory` and
//!   `p12_deadlines_move_and_a_cancelled_one_never_fires`.
//! - **`Close` is abrupt.** Where input is still unread, or still comes, the kernel answers it with
//!   a **reset**, "forget this connection", which can destroy the replies that are still on their
//!   way: [`PeerState::Lingering`], `p10_closing_with_unread_input_sends_no_reset`.
//! - **It cannot be told to stop** without breaking its word to those who are owed a reply:
//!   [`server::Lifecycle`], `p17_a_drain_sends_all_owed_replies_even_delayed_ones`.
//! - **A descriptor that falls free is noticed late**, after up to a tenth of a second; and a
//!   connection that died in the backlog, an error too, makes the next one wait as long:
//!   [`server::sources::listener`], `p04_the_listener_survives_every_accept_error`.
//! - **A burst does not fit into the backlog.** [`mio::net::TcpListener::bind`] has it hold 128:
//!   [`net::bind`], `p19_a_burst_of_connects_fits_into_the_backlog`.
//! - **It takes each read for a message.** That is the tutorial's protocol, and TCP promises
//!   nothing of the kind: [TCP and UDP](super::tcp_and_udp).
//!
//! Then read [`reactor`], whose `turn` and `step` are one screen, and go on in the order that [the
//! crate's first page](crate#a-reading-order) gives.
//!
//! [`Reactor::step`]: crate::reactor::Reactor::step
//! [`server::sources::peer`]: crate::server::sources::peer
//! [`PeerState::Lingering`]: crate::server::sources::peer::PeerState::Lingering
//! [`server::Lifecycle`]: crate::server::Lifecycle
//! [`server::sources::listener`]: crate::server::sources::listener
//! [`net::bind`]: crate::net::bind
//! [`reactor`]: crate::reactor
