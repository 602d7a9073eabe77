//! Break it: what a run shows where a pitfall is not handled.
//!
//! Each section has three parts: naive code that reads well and is wrong, what a run of it shows
//! beside a run of the code here, and what the code here does instead. The numbers are the
//! pitfalls' in the [crate's index](crate#the-pitfalls).
//!
//! The runs are made by `tests/break_it.rs`, which fails when they come out otherwise. There the
//! naive lines are compiled as they stand here, and driven by the real
//! [`Reactor`](crate::reactor::Reactor), whose [`step`](crate::reactor::Reactor::step) takes its
//! time and its events from the test. The ladders are those of `helloop show`: the token, then
//! what happened to it; the first turn, in which those who are there are welcomed, is left out. A
//! naive client has a `stream`, the `event` that woke it, and a method `greet`, which answers
//! and keeps what the socket does not take. "Would block", which `?` hands up, parks it. A
//! source that parks with input left fails an assertion in debug builds of the loop, see
//! [`Verdict::Park`](crate::reactor::Verdict::Park); there the test has it `hold` instead, which
//! a release build treats alike. Not every pitfall makes a short picture: 11, 13 and 15 to 19 have
//! their tests alone.
//!
//! # The tutorial's sleep, in the loop
//!
//! On a thread of its own a client sleeps alone. In a loop everybody sleeps with it.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn sleep_in_the_loop(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close);
//!         }
//!         sleep(Duration::from_secs(1));
//!         client.greet(&chunk[..count])?;
//!     }
//! }
//! ```
//!
//! **What a run shows.** A hundred clients say their names at the same moment.
//!
//! ```text
#![doc = include_str!("break_it/sleep.txt")]
//! ```
//!
//! **What the code here does.** Waiting is a deadline, never a sleep: the peer goes into
//! [`PeerState::Held`](crate::server::sources::peer::PeerState::Held),
//! [sets a deadline](crate::reactor::Context::set_deadline) and rests; the loop sees to the others.
//! Test: `two_hundred_delays_run_at_the_same_time`.
//!
//! # 1. A short read taken for the end
//!
//! The socket gave less than it was asked for, so it is drained, and the call that would only say
//! "would block" is saved.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn short_means_drained(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close);
//!         }
//!         client.greet(&chunk[..count])?;
//!         if count < chunk.len() {
//!             return Ok(Verdict::Park); // drained: an event will report more
//!         }
//!     }
//! }
//! ```
//!
//! **What a run shows.** The name and the end of input come together, and share one event. Nobody
//! ever reads the end.
//!
//! ```text
#![doc = include_str!("break_it/p01.txt")]
//! ```
//!
//! **What the code here does.** [`stream::receive`](crate::net::stream::receive) saves that call too,
//! but not while [`Readiness::CLOSED`](crate::reactor::Readiness::CLOSED) is set: then the end is
//! still to be read. Test: `p01_one_edge_is_enough_to_read_everything`. And it saves the call only
//! on epoll and kqueue: mio promises a further event only after `WouldBlock`, and on another back end
//! the second message of each client would never be read (pitfall 25). Test:
//! `p25_a_short_read_is_no_proof_where_only_would_block_rearms`.
//!
//! # 2. The rest of a budget
//!
//! A client that sends without end must not keep the loop. Four reads, then it is the others'
//! turn.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn the_rest_next_time(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     for _ in 0..4 {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close);
//!         }
//!         client.greet(&chunk[..count])?;
//!     }
//!     Ok(Verdict::Park) // let the other clients have their turn
//! }
//! ```
//!
//! **What a run shows.** Ten names arrive at once. Under edge triggering they are announced once.
//!
//! ```text
#![doc = include_str!("break_it/p02.txt")]
//! ```
//!
//! **What the code here does.** A source whose budget is spent says
//! [`Verdict::Again`](crate::reactor::Verdict::Again), and stands in the loop's own list,
//! [`reactor::ready`](crate::reactor::ready), behind everybody who is in it; the next wait does
//! not block. The budget is [`READS_PER_TURN`](crate::server::sources::peer::READS_PER_TURN). Test:
//! `p02_input_beyond_the_budget_is_read_in_later_turns`.
//!
//! # 3. An event for the slot's last owner
//!
//! mio hands a number back with each event; the key of the slab is a number.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn owner_of<C>(clients: &mut Slab<C>, event: mio::Token) -> Option<&mut C> {
//!     clients.get_mut(event.0) // the slot's current owner
//! }
//! ```
//!
//! **What a run shows.** In one batch: the end of client #1, a newcomer, and a second event of
//! #1, as kqueue makes them, which reports the two directions of a socket apart. The naive code
//! handles one event after the other and closes on sight (section 9). The newcomer gets the free
//! slot, and then the event.
//!
//! ```text
#![doc = include_str!("break_it/p03.txt")]
//! ```
//!
//! **What the code here does.** A [`Token`](crate::reactor::Token) carries a generation beside
//! the key, which [`Slots::retire`](crate::reactor::slots::Slots::retire) moves on; and deaths
//! and births wait for the turn's end. Test: `p03_a_stale_event_never_reaches_the_slots_new_owner`.
//!
//! # 4. No descriptor to accept with
//!
//! Accepting until it fails is what draining means. Here it fails with `EMFILE`.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn accept_all<A: Accept>(listener: &A, clients: &mut Vec<A::Stream>) -> Verdict {
//!     while let Ok((stream, _)) = listener.accept() {
//!         clients.push(stream);
//!     }
//!     Verdict::Park
//! }
//!
//! fn accept_or_try_again<A: Accept>(listener: &A, clients: &mut Vec<A::Stream>) -> Verdict {
//!     loop {
//!         match listener.accept() {
//!             Ok((stream, _)) => clients.push(stream),
//!             Err(error) if error.kind() == ErrorKind::WouldBlock => return Verdict::Park,
//!             Err(_) => return Verdict::Again, // not accepted yet: try again
//!         }
//!     }
//! }
//! ```
//!
//! **What a run shows.** The second client connects while there is no descriptor for it, and the
//! first leaves 240 ms later. A call of accept that fails shows as "nothing".
//!
//! ```text
#![doc = include_str!("break_it/p04.txt")]
//! ```
//!
//! **What the code here does.** [`server::sources::listener`](crate::server::sources::listener) says
//! [`Verdict::Hold`](crate::reactor::Verdict::Hold), with its readiness kept and a deadline, and has
//! itself noted by [`Shared::wait_for_close`](crate::server::Shared::wait_for_close):
//! whichever comes first, the deadline or a client's end, makes it try again. Tests:
//! `p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup`,
//! `p04_the_listener_survives_every_accept_error`.
//!
//! # 5. Accepts and reads without a budget
//!
//! Draining is right, and yet nobody else is served meanwhile. `accept_all` is the function of
//! section 4.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn read_all(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close); // the client is gone
//!         }
//!         client.greet(&chunk[..count])?; // keeps what the socket does not take
//!     }
//! }
//! ```
//!
//! **What a run shows.** In one turn 5,000 connects wait, one client has sent 1,000 KiB, and
//! behind them Ada has said her name.
//!
//! ```text
#![doc = include_str!("break_it/p05.txt")]
//! ```
//!
//! **What the code here does.** All have a budget:
//! [`ACCEPTS_PER_TURN`](crate::server::sources::listener::ACCEPTS_PER_TURN),
//! [`READS_PER_TURN`](crate::server::sources::peer::READS_PER_TURN),
//! [`DATAGRAMS_PER_TURN`](crate::server::sources::datagrams::DATAGRAMS_PER_TURN). What is left over waits
//! in the list, at its end. Test: `p05_accepts_and_clients_do_not_starve_each_other`.
//!
//! # 6. The rest of a short write
//!
//! On a quiet day a socket takes all that it is given.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn write_once(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close);
//!         }
//!         let _sent = client.stream.write(&greeting(&chunk[..count]))?;
//!     }
//! }
//! ```
//!
//! **What a run shows.** The client's window has room for 18 bytes, the welcome and ten more.
//! When there is room again, nobody has anything to send.
//!
//! ```text
#![doc = include_str!("break_it/p06.txt")]
//! ```
//!
//! **What the code here does.** [`stream::send`](crate::net::stream::send) says how much was taken,
//! the peer keeps the rest in its [`Outbox`](crate::net::outbox::Outbox), and the next writable event
//! sends it, before anything newer. Test: `p06_a_short_or_blocked_write_is_continued_in_order`.
//!
//! # 7. A reader that never reads
//!
//! `read_all` again: it keeps what the socket does not take. It keeps all of it.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn read_all(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close); // the client is gone
//!         }
//!         client.greet(&chunk[..count])?; // keeps what the socket does not take
//!     }
//! }
//! ```
//!
//! **What a run shows.** The client takes its welcome, then sends names and reads nothing.
//!
//! ```text
#![doc = include_str!("break_it/p07.txt")]
//! ```
//!
//! **What the code here does.** Above [`HIGH_WATER_BYTES`](crate::server::sources::peer::HIGH_WATER_BYTES)
//! nothing more is read from that client: the rest stays in its own send buffer, and in the end
//! it stalls itself. What all clients together are kept is capped by
//! [`Server::between_turns`](crate::server::Server::between_turns). Tests:
//! `p07_a_client_that_never_reads_costs_bounded_memory`,
//! `p07_a_thousand_clients_that_never_read_stay_within_the_cap`.
//!
//! # 8. The end of input taken for the end
//!
//! Once more `read_all`: a read that returns nothing means that the client has gone, does it not?
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn read_all(client: &mut Client) -> io::Result<Verdict> {
//!     let mut chunk = [0; 1_024];
//!     loop {
//!         let count = client.stream.read(&mut chunk)?;
//!         if count == 0 {
//!             return Ok(Verdict::Close); // the client is gone
//!         }
//!         client.greet(&chunk[..count])?; // keeps what the socket does not take
//!     }
//! }
//! ```
//!
//! **What a run shows.** The client says its name, shuts down its sending side, and reads,
//! slowly.
//!
//! ```text
#![doc = include_str!("break_it/p08.txt")]
//! ```
//!
//! **What the code here does.** The end of input ends the questions, not the answers: the peer
//! goes into [`PeerState::Ending`](crate::server::sources::peer::PeerState::Ending) and closes when
//! all is sent, or when the client takes nothing for the write timeout. Test:
//! `p08_a_half_closed_client_is_sent_all_replies`.
//!
//! # 9. Hung up taken for gone
//!
//! The event says that the other side has closed. Why bother to read?
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! # fn read_all(client: &mut Client) -> io::Result<Verdict> {
//! #     client.greet(b"").map(|()| Verdict::Park)
//! # }
//! fn closed_means_gone(client: &mut Client) -> io::Result<Verdict> {
//!     if client.event.contains(Readiness::CLOSED) {
//!         return Ok(Verdict::Close);
//!     }
//!     read_all(client)
//! }
//! ```
//!
//! **What a run shows.** The client says its name and closes its half, as `nc -N` does at the end
//! of its input.
//!
//! ```text
#![doc = include_str!("break_it/p09.txt")]
//! ```
//!
//! **What the code here does.** [`Readiness::CLOSED`](crate::reactor::Readiness::CLOSED) is a
//! hint to ask the socket: it comes with "readable", the peer reads what there is, and closes for
//! what `read` answers. Test: `p09_hup_and_err_alone_close_no_client`.
//!
//! # 10. Closing with unread input
//!
//! All that is owed has been written. Then there is nothing left to do but to close.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn answer_and_drop(mut stream: TcpStream, replies: &[u8]) -> io::Result<()> {
//!     let mut exit = [0; 5];
//!     stream.read_exact(&mut exit)?; // any further input is left unread
//!     stream.write_all(replies)
//! } // the stream is dropped, which closes it
//! ```
//!
//! **What a run shows.** On real sockets, with a client that reads slowly and has said more than
//! `exit`. Its unread words make the kernel send a reset, and the reset takes along what the
//! client has not got yet.
//!
//! ```text
#![doc = include_str!("break_it/p10.txt")]
//! ```
//!
//! **What the code here does.** The peer half-closes, goes into
//! [`PeerState::Lingering`](crate::server::sources::peer::PeerState::Lingering), and reads and throws
//! away until the client's own end, for at most [`LINGER`](crate::server::sources::peer::LINGER). Tests:
//! `p10_closing_with_unread_input_sends_no_reset`, `p10_lingering_has_a_time_limit`.
//!
//! # 12. A deadline that is not taken back
//!
//! Idle clients are closed after five seconds: at each event a deadline is noted, and the loop
//! asks for those that have passed.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn add_deadline(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time, slot: usize) {
//!     deadlines.push(Reverse((now.after(Duration::from_secs(5)), slot)));
//! }
//!
//! fn expired(deadlines: &mut BinaryHeap<Reverse<(Time, usize)>>, now: Time) -> Option<usize> {
//!     deadlines.peek().filter(|Reverse((at, _))| *at <= now)?;
//!     deadlines.pop().map(|Reverse((_, slot))| slot) // it was idle: close it
//! }
//! ```
//!
//! **What a run shows.** The first client comes at once and speaks after four seconds, the second
//! comes after six and speaks after eight.
//!
//! ```text
#![doc = include_str!("break_it/p12.txt")]
//! ```
//!
//! **What the code here does.** A slot has at most one deadline, and
//! [`Timers::set`](crate::reactor::timers::Timers::set) moves it; a source that ends takes it
//! along ([`Timers::cancel`](crate::reactor::timers::Timers::cancel)). Neither costs a system
//! call. Test: `p12_deadlines_move_and_a_cancelled_one_never_fires`.
//!
//! # 14. Two servers that greet each other
//!
//! Whoever sends a datagram gets an answer.
//!
//! ```rust
#![doc = include_str!("break_it/prelude.txt")]
//! fn answer_every_datagram(socket: &impl DatagramSocket) -> io::Result<Verdict> {
//!     let mut name = [0; 65_535];
//!     loop {
//!         let (count, from) = socket.recv_from(&mut name)?;
//!         socket.send_to(&greeting(&name[..count]), from)?;
//!     }
//! }
//! ```
//!
//! **What a run shows.** One datagram arrives at port 9999, forged to come from port 9998 of the
//! same host, where another such server is.
//!
//! ```text
#![doc = include_str!("break_it/p14.txt")]
//! ```
//!
//! **What the code here does.** [`datagrams::answer`](crate::server::sources::datagrams::answer) leaves a
//! datagram alone that is itself a greeting, or that comes from a port of the system's; both are
//! counted. Nor does an error of sending end the loop, as `?` does above. Test:
//! `p14_no_datagram_and_no_udp_error_ends_the_loop`.
