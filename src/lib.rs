//! helloop (hello + loop): a greeting server on one thread, with its clients and its load.
//!
//! The classic socket tutorial starts a thread for each client; here one [`mio::Poll`] serves the
//! listening socket, every connection and a UDP socket. The README says how to use the program;
//! these pages are its map.
//!
//! # A thread for each client, and what it costs
//!
//! In the tutorial's server a thread sleeps in `recv` for each client. It is the simplest program
//! that works ([`server::threads`] is it, with its pitfalls handled), and for a few hundred
//! clients a good one. What it costs is a stack each, a switch from one thread to another for
//! nearly every message, and a start and an end for every client. `helloop compare` measures that,
//! the same load against both, in turn; on two virtual CPUs, 1,000 clients that talk all the time:
//!
//! | | one loop | a thread each |
//! | --- | --- | --- |
//! | threads | 1 | 1,005 |
//! | memory a client, of the process itself | 53 B | 10.9 KiB |
//! | context switches | 7,098 | 186,540 |
//! | connects a second | 40,453 | 10,858 |
//! | messages a second | 118,561 | 60,191 |
//! | CPU time a message | 8.06 µs | 15.8 µs |
//! | 99th percentile of the latency | 11.6 ms | 20.3 ms |
//!
//! What the kernel keeps for a socket, some KiB, costs both the same; a thread's stack in the kernel
//! comes on top. What one loop costs is that nobody may wait: each call returns at once, and where a client was
//! in its conversation, which a thread knows by where it stands in the code, must be written down.
//! The rest of these pages is how.
//!
//! # The turn
//!
//! ```text
//!             +------------------------- one step ------------------------------+
//!  wait  ---> mark  ---------> drive  -----------------> expire ------> settle  |
//!  poll,      events set       each marked source, in    deadlines      deaths, |
//!  till the   readiness bits,  order, a bounded amount   that passed    then    |
//!  next       nothing else     of work -> a Verdict      -> a Verdict   births  |
//!  deadline   +-----------------------------------------------------------------+
//! ```
//!
//! An event only *marks* a source as ready. A first-in-first-out list of marked sources does the
//! *work*, a bounded amount each, at the loop's own pace. [`reactor::Reactor::turn`] is all of it.
//!
//! # A reading order
//!
//! Whoever comes from the socket tutorial begins with the [`guide`]: from `socket()` to this loop in
//! six small steps, each a whole server, each with what still goes wrong.
//!
//! 1. [`greeting`]: what is said. Bytes in, bytes out.
//! 2. [`reactor`]: the turn; then its three books, each a page: [`reactor::ready`] (what may be
//!    tried, and who is next), [`reactor::slots`] (who is meant), [`reactor::timers`] (when).
//! 3. [`stream`]: what each answer of `read` and `write` means under edge triggering.
//! 4. [`server::sources::peer`]: one conversation, from welcome to end; it keeps its bytes in a [`buffer`].
//! 5. [`server::sources::listener`], [`server::sources::datagrams`], [`server::sources::signals`]: the other sources.
//! 6. [`server`]: all of them on one loop, and what is done between turns; [`net::bind`]
//!    makes the sockets, [`server::stats`] counts.
//! 7. [`server::threads`]: the tutorial's own way, to compare; [`client`]: its three clients.
//! 8. [`stress`]: the load, on the same loop with sources of its own; [`stress::caller`] is the
//!    peer's other end, [`stress::pace`] its schedule, [`stress::verdict`] whether to believe it.
//! 9. [`observe`]: the loop made visible. [`reactor::record`] is all that the loop knows of it,
//!    and [`server::observed`] what the server does for it between turns.
//!
//! Imports go one way: `main`, [`cli`], the programs ([`server`] on top of [`observe`],
//! [`client`], [`stress`]), then [`greeting`], [`stream`], [`buffer`], [`escape`] and [`system`]
//! beside [`reactor`]. The reactor knows no protocol; the greeting knows no I/O; what observes
//! knows no server. [`system`] says what is Linux's alone, and what takes its place elsewhere.
//!
//! # Words
//!
//! - **event source**: what the loop drives: a connection, a listener, a UDP socket, the signals.
//! - **registry**: where a source is registered with the poll, once and for good.
//! - **token**: a source's name: its slot, and which of the slot's owners is meant.
//! - **interest**: what a source is registered for: reading and writing, always both, or reading
//!   alone where nothing is ever written.
//! - **readiness**: what a source may try, as far as is known. Never a promise.
//! - **edge-triggered**: the poll says once that something has become ready, not that it still is.
//! - **spurious event**: one for nothing. It does no harm.
//! - **backpressure**: not reading from a client that does not read, so that it stalls itself.
//! - **high-water mark**: how much may be owed to a client before that happens.
//! - **turn**: one wait, and one step with what came of it.
//!
//! # The pitfalls
//!
//! Each has its home, and a test in `tests/pitfalls` that fails when the handling is taken out.
//!
//! | pitfall | its home | its test |
//! | --- | --- | --- |
//! | 1 drain or remember under edge triggering | [`stream::receive`], [`reactor::ready`] | `p01_one_edge_is_enough_to_read_everything` |
//! | 2 a budget needs a list of one's own | [`reactor::Verdict::Again`], [`server::sources::peer::READS_PER_TURN`] | `p02_input_beyond_the_budget_is_read_in_later_turns` |
//! | 3 stale events after a slot is reused (ABA) | [`reactor::slots`] | `p03_a_stale_event_never_reaches_the_slots_new_owner` |
//! | 4 EMFILE, ENFILE, ENOMEM on accept | [`server::sources::listener`], [`server::World::wait_for_descriptor`] | `p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup`, `p04_the_listener_survives_every_accept_error` |
//! | 5 accept must not starve clients, nor they it | [`server::sources::listener::ACCEPTS_PER_TURN`] | `p05_accepts_and_clients_do_not_starve_each_other` |
//! | 6 short writes and would-block on write | [`stream::send`], [`server::sources::peer::Peer::drive`] | `p06_a_short_or_blocked_write_is_continued_in_order` |
//! | 7 a reader that never reads | [`server::sources::peer::HIGH_WATER_BYTES`], [`server::Server::between_turns`] | `p07_a_client_that_never_reads_costs_bounded_memory`, `p07_a_thousand_clients_that_never_read_stay_within_the_cap`, `p07_unused_memory_closes_no_client` |
//! | 8 half-close: FIN is not gone | [`server::sources::peer::Phase::Ending`] | `p08_a_half_closed_client_is_sent_all_replies` |
//! | 9 HUP and ERR mean "ask the socket" | [`reactor::Readiness::CLOSED`] | `p09_hup_and_err_alone_close_no_client` |
//! | 10 closing with unread input sends a reset | [`server::sources::peer::Phase::Lingering`], [`server::sources::peer::LINGER`] | `p10_closing_with_unread_input_sends_no_reset`, `p10_lingering_has_a_time_limit` |
//! | 11 EINTR: retry to the deadline | [`reactor::Reactor::turn`], [`stream`] | `p11_eintr_is_retried_until_the_deadline` |
//! | 12 timers without system calls | [`reactor::timers`] | `p12_deadlines_move_and_a_cancelled_one_never_fires` |
//! | 13 connect: writable, then SO_ERROR | [`stress::connect::Connecting`], [`stress::caller`] | `p13_so_error_decides_a_connect_not_the_event` |
//! | 14 UDP: nothing ends the loop; no loops of servers | [`server::sources::datagrams`] | `p14_no_datagram_and_no_udp_error_ends_the_loop` |
//! | 15 spurious wake-ups do no harm | [`reactor::Source::drive`] | `p15_spurious_wakeups_do_no_harm` |
//! | 16 more events ready than one batch holds | [`reactor::Reactor::turn`] | `p16_more_events_than_one_batch_holds_are_all_served` |
//! | 17 graceful drain | [`server::Stage`], [`server::Server::between_turns`] | `p17_a_drain_sends_all_owed_replies_even_delayed_ones`, `p17_a_drain_accepts_the_backlog_and_reads_each_client_once` |
//! | 18 one client's error never touches another | [`server::stats::Cause`] | `p18_one_clients_error_never_affects_another` |
//! | 19 a backlog that bursts fit into | [`net::bind::Options::backlog`] | `p19_a_burst_of_connects_fits_into_the_backlog` |
//!
//! Beyond examples, `tests/properties.rs` holds the peer against a model, and
//! `tests/simulation.rs` runs the whole server in virtual time with faults at every call.

#[cfg(not(unix))]
compile_error!("helloop needs a Unix: it is built on file descriptors and their readiness");

pub mod cli;
pub mod client;
pub mod guide;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod reactor;
pub mod server;
pub mod stress;
