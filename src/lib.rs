//! helloop (hello + loop): a greeting server on a single-threaded event loop, its clients and its
//! load generator.
//!
//! The classic socket tutorial starts a thread per client. Here one [`mio::Poll`] serves the
//! listening socket, every connection and a UDP socket. The README describes the program; this page
//! is a map of its code.
//!
//! # One loop or a thread per client
//!
//! In the tutorial's server one thread per client blocks in `recv`. This is the simplest server that
//! works, and a good one for a few hundred clients; [`server::threads`] is that server with its
//! pitfalls handled. It costs a stack per client, a context switch for nearly every message, and the
//! start and exit of a thread per connection. `helloop compare` runs the same load against both
//! models. On two virtual CPUs, with 1,000 clients in a closed loop:
//!
//! | | one loop | thread per client |
//! | --- | --- | --- |
//! | threads | 1 | 1,005 |
//! | memory per client, in the process | 53 B | 10.9 KiB |
//! | context switches | 7,098 | 186,540 |
//! | connects per second | 40,453 | 10,858 |
//! | messages per second | 118,561 | 60,191 |
//! | CPU time per message | 8.06 µs | 15.8 µs |
//! | p99 latency | 11.6 ms | 20.3 ms |
//!
//! The kernel memory per socket, a few KiB, is the same for both; each thread needs a kernel stack
//! as well. In an event loop nothing may block, so the state that a thread keeps on its stack
//! becomes explicit data.
//!
//! # The turn
//!
//! ```text
//!             +------------------------- one step ------------------------------+
//!  wait  ---> mark  ---------> drive  -----------------> expire ------> settle  |
//!  poll,      events set       each marked source, in    deadlines      deaths, |
//!  until the  readiness bits,  order, a bounded amount   that passed    then    |
//!  next       no work yet      of work -> a Verdict      -> a Verdict   births  |
//!  deadline   +-----------------------------------------------------------------+
//! ```
//!
//! An event only *marks* a source as ready. The loop then *drives* the marked sources, a bounded
//! amount of work each, from two first-in, first-out queues: first the sources that used little when
//! last driven, then the rest. Each queue has a fixed share of the turn; what does not fit waits for
//! the next. [`reactor::Reactor::turn`] implements this.
//!
//! # A reading order
//!
//! If you know the socket tutorial, start with the [`guide`]: it leads from `socket()` to this loop in
//! six small programs, each with what still goes wrong. Then:
//!
//! 1. [`protocol::greeting`]: the protocol, bytes in and bytes out.
//! 2. [`reactor`]: the turn, and its three data structures: [`reactor::ready`] (readiness, and the
//!    list of marked sources), [`reactor::slots`] (the sources and their tokens) and
//!    [`reactor::timers`] (deadlines).
//! 3. [`net::stream`]: what each result of `read` and `write` means under edge triggering.
//! 4. [`server::sources::peer`]: one connection from accept to close, with its [`protocol::buffer`].
//! 5. [`server::sources::listener`], [`server::sources::datagrams`], [`server::sources::signals`]: the
//!    other sources.
//! 6. [`server`]: all sources on one loop, and the work between turns. [`net::bind`] creates the
//!    sockets, [`server::stats`] holds the counters.
//! 7. [`server::threads`]: the tutorial's model, for comparison. [`client`]: the tutorial's clients.
//! 8. [`stress`]: the load generator, on the same loop with its own sources. [`stress::caller`] is a
//!    client, [`stress::pace`] the schedule of the open loop, [`stress::verdict`] the judgement of the
//!    measurement.
//! 9. [`observe`]: the live view. [`reactor::record`] is its interface to the loop,
//!    [`server::observed`] its interface to the server.
//!
//! Imports go one way: `main`, [`cli`], the programs ([`server`] on top of [`observe`], [`client`],
//! [`stress`]), then [`net`], on top of [`protocol`] and [`reactor`]. The reactor does not know the
//! protocol, the protocol does no I/O, and [`observe`] does not know the server. [`output`] writes the
//! log, [`file`] writes complete files, and [`units`] formats numbers. [`net::system`] and [`system`]
//! isolate what differs between operating systems.
//!
//! # From the tutorial to here
//!
//! | tutorial | here | difference |
//! | --- | --- | --- |
//! | `socket`, `bind` | [`net::bind::bind`] | every address of a name; TCP and UDP on one port number |
//! | `listen(5)` | [`net::bind::Options::backlog`] | 4,096, enough for a burst of connects |
//! | `accept` in a `while True` loop | [`server::sources::listener`] | non-blocking, a limited number per turn |
//! | `threading.Thread(target=tcplink)` | [`reactor::Births::push`] | a slab slot instead of a stack |
//! | `recv(1024)` | [`net::stream::receive`] | tracks whether there may be more to read |
//! | `send` | [`net::stream::send`] | what the socket does not take is queued |
//! | `time.sleep(1)` | [`reactor::Context::set_deadline`] | delays one client only |
//! | `'Hello, %s!' % ...` | [`protocol::greeting::answer_chunk`] | bytes, which need not be UTF-8 |
//! | `close` | [`server::sources::peer::PeerState::Lingering`] | no reset destroys the last reply |
//! | `recvfrom`, `sendto` | [`server::sources::datagrams`] | errors and a full send buffer do not end the loop |
//! | the TCP and UDP clients | [`client::tcp`], [`client::udp`] | read the complete reply to each name |
//! | the page download | [`client::http`] | a body by Content-Length, chunked or until close; a truncated one is an error |
//!
//! # Glossary
//!
//! - **accept backlog**: the kernel's queue of established connections that are not yet accepted. Its
//!   limit is the argument of `listen(2)`.
//! - **backpressure**: making a sender slow down to the pace of its receiver. Here: the server stops
//!   reading requests while too many replies are unsent, and TCP flow control then slows the client.
//! - **coordinated omission**: a measurement error of closed-loop load. The load generator waits for a
//!   stalled server, so it does not send, and does not measure, the requests that would have waited.
//! - **drain**: for a socket, accept until `WouldBlock`, or read until `WouldBlock` or a short
//!   read; for a server, stop accepting, send the
//!   outstanding replies, close the connections and exit.
//! - **edge-triggered**: an event reports that a socket *became* ready. A level-triggered poll reports
//!   that it *is* ready, again with every wait.
//! - **EOF**: the end of the peer's output, a read of zero bytes. The peer has sent a FIN and may still
//!   read.
//! - **event loop**: a loop that waits for events and calls the handler of each.
//! - **event-loop lag**: how late the loop runs what is due.
//! - **event source**: what the loop drives, for example a connection, a listener, a UDP socket or
//!   the signals.
//! - **generation**: a counter per slot that changes when the slot's owner is gone, so that a token of the
//!   previous owner is recognised as stale (the ABA problem).
//! - **half-close**: shutting down one direction of a connection (`shutdown(2)`) while the other stays
//!   open.
//! - **high-water mark**: the number of unsent bytes above which the server stops reading from a client.
//! - **idle timeout**: the time after which a client that is owed nothing and sends nothing is
//!   disconnected.
//! - **interest**: the kinds of readiness, readable or writable, that a source registers for.
//! - **lingering close**: half-close, then read and discard input until EOF or a timeout, so that unread
//!   input does not cause a reset.
//! - **outbound queue**: the bytes that are waiting to be sent to a client.
//! - **reactor**: an event loop that dispatches readiness events to handlers, which then do the I/O
//!   themselves. (A proactor reports completed I/O.)
//! - **readiness**: the expectation that an operation will not block. It is a hint: the operation may
//!   still return `WouldBlock`.
//! - **registry**: mio's handle for registering sources with the poll. Here each source is registered
//!   once.
//! - **reset (RST)**: the abrupt end of a connection. Data that is in flight or unread may be lost.
//! - **spurious wakeup**: an event after which the call would still block.
//! - **token**: the value that identifies a source in an event. Here: its slot and the slot's
//!   generation.
//! - **turn**: one iteration of the loop: a wait, and one step that handles what it returned.
//!
//! # The pitfalls
//!
//! Each has a test in `tests/pitfalls` that fails if the handling is removed.
//!
//! | pitfall | handled in | test |
//! | --- | --- | --- |
//! | 1 edge triggering: drain the socket or remember its readiness | [`net::stream::receive`], [`reactor::ready`] | `p01_one_edge_is_enough_to_read_everything` |
//! | 2 edge triggering with a budget needs a list of ready sources | [`reactor::Verdict::Again`], [`server::sources::peer::READS_PER_TURN`] | `p02_input_beyond_the_budget_is_read_in_later_turns` |
//! | 3 stale events after a slot is reused (ABA) | [`reactor::slots`] | `p03_a_stale_event_never_reaches_the_slots_new_owner` |
//! | 4 EMFILE, ENFILE, ENOMEM on accept | [`server::sources::listener`], [`server::Shared::wait_for_close`] | `p04_emfile_on_accept_causes_no_spin_no_exit_and_no_lost_wakeup`, `p04_the_listener_survives_every_accept_error` |
//! | 5 accept and clients must not starve each other | [`server::sources::listener::ACCEPTS_PER_TURN`] | `p05_accepts_and_clients_do_not_starve_each_other` |
//! | 6 short writes, and `WouldBlock` on write | [`net::stream::send`], [`server::sources::peer::Peer::drive`] | `p06_a_short_or_blocked_write_is_continued_in_order` |
//! | 7 a client that never reads | [`server::sources::peer::HIGH_WATER_BYTES`], [`server::Server::between_turns`] | `p07_a_client_that_never_reads_costs_bounded_memory`, `p07_a_thousand_clients_that_never_read_stay_within_the_cap`, `p07_unused_memory_closes_no_client` |
//! | 8 half-close: after a FIN the client may still read | [`server::sources::peer::PeerState::Ending`] | `p08_a_half_closed_client_is_sent_all_replies`, `p08_a_client_that_half_closes_during_a_delay_gets_its_reply` |
//! | 9 HUP and ERR mean "ask the socket", not "close" | [`reactor::Readiness::CLOSED`] | `p09_hup_and_err_alone_close_no_client`, `p09_a_reset_during_a_delay_frees_the_slot_at_once` |
//! | 10 close with unread input sends a reset | [`server::sources::peer::PeerState::Lingering`], [`server::sources::peer::LINGER`] | `p10_closing_with_unread_input_sends_no_reset`, `p10_lingering_has_a_time_limit` |
//! | 11 EINTR: retry until the deadline | [`reactor::Reactor::turn`], [`net::stream`] | `p11_eintr_is_retried_until_the_deadline` |
//! | 12 timers without system calls | [`reactor::timers`] | `p12_deadlines_move_and_a_cancelled_one_never_fires` |
//! | 13 connect: wait for writable, then read SO_ERROR | [`stress::connect::Connecting`], [`stress::caller`] | `p13_so_error_decides_a_connect_not_the_event` |
//! | 14 UDP: no error ends the loop, no reply loops between servers | [`server::sources::datagrams`] | `p14_no_datagram_and_no_udp_error_ends_the_loop` |
//! | 15 spurious wakeups do no harm | [`reactor::Source::drive`] | `p15_spurious_wakeups_do_no_harm` |
//! | 16 more events than one batch holds | [`reactor::Reactor::turn`] | `p16_more_events_than_one_batch_holds_are_all_served` |
//! | 17 graceful drain | [`server::Lifecycle`], [`server::Server::between_turns`], [`server::DRAIN_BYTES_PER_CLIENT`] | `p17_a_drain_sends_all_owed_replies_even_delayed_ones`, `p17_a_drain_accepts_the_backlog_and_reads_each_client_once`, `p17_a_drain_answers_all_that_had_arrived`, `p17_a_drain_reads_a_bounded_amount_of_each_client`, `p17_a_write_timeout_during_a_drain_is_reported`, `p17_a_byte_on_standard_input_requests_a_drain_and_a_second_ends_it` |
//! | 18 one client's error never affects another | [`server::stats::CloseCause`] | `p18_one_clients_error_never_affects_another` |
//! | 19 an accept backlog large enough for bursts | [`net::bind::Options::backlog`] | `p19_a_burst_of_connects_fits_into_the_backlog` |
//! | 20 a late loop must not mistake its own pause for the clients' silence | [`reactor::Reactor::turn`] | `p20_a_pause_is_not_taken_for_silence`, `p20_a_pause_is_not_taken_for_a_client_that_does_not_read`, `p20_full_batches_do_not_postpone_deadlines_forever`, `p20_clients_that_close_meanwhile_do_not_advance_the_deadlines_of_the_rest`, `p20_a_client_is_not_late_because_its_event_is_in_a_later_batch`, `p20_a_source_that_is_always_queued_expires_too` |
//! | 21 a cap must not be enforced more slowly than it is exceeded, nor against the wrong client | [`server::Shared::has_room`], `server::pending` | `p21_the_cap_holds_when_all_exceed_it_at_once`, `p21_clients_without_progress_make_room_for_those_with_progress`, `p21_clients_that_read_no_replies_make_room_for_those_that_do`, `p21_a_line_must_end_in_time`, `p21_new_lines_cannot_outrun_the_cap`, `p21_replies_that_a_delay_holds_close_no_client` |
//! | 22 a listener must not be closed while connections are under way | [`server::sources::listener`], [`net::Accept::drop_new_handshakes`] | `p22_a_handshake_under_way_at_the_signal_is_welcomed`, `p22_the_backlog_of_a_full_server_is_refused_and_not_reset` |
//! | 23 a turn must not take as long as the number of clients that flood | [`reactor::ready`], [`reactor::Context::charge`] | `p23_a_polite_client_does_not_wait_for_every_flood`, `p23_a_polite_client_does_not_wait_for_every_burst`, `p23_every_flood_is_served_in_turn`, `p23_what_falls_due_together_is_done_in_bounded_turns`, `p23_a_drain_out_of_time_closes_a_bounded_number_of_clients_per_turn`, `p23_questions_about_slots_look_at_a_bounded_part_of_the_recording_per_turn`, `p23_questions_about_turns_format_a_bounded_part_of_the_recording_per_turn` |
//! | 24 observers must not be able to shut out a health check | `observe::requests`, [`server::Server::between_turns`] | `p24_a_thousand_other_observers_do_not_shut_out_a_health_check`, `p24_a_health_check_keeps_its_place_beside_a_flood_of_connects`, `p24_each_observer_that_is_idle_or_stuck_is_closed_at_its_deadline` |
//! | 25 relying on more than mio promises | [`net::stream::Stream::short_read_drains`], `net::system::SHORT_READ_DRAINS` | `p25_a_short_read_is_no_proof_where_only_would_block_rearms`, `p25_a_drain_does_not_wait_for_would_block`, `p25_a_short_write_is_no_proof_that_the_send_buffer_is_full`, `p25_a_listener_accepts_until_would_block_or_remembers`, `p25_datagrams_are_received_until_would_block_and_replies_wait_for_room`, `p25_an_observer_is_read_and_written_until_would_block`, `p25_clients_read_and_write_until_would_block`, `p25_udp_clients_receive_and_send_until_would_block`, `p25_every_kind_of_socket_is_read_until_its_next_event_is_certain`, `p25_a_timer_is_reported_each_time_or_does_not_exist` |
//! | 26 a log that is not read must not stop the loop | [`output`] | `p26_a_log_that_is_not_read_stops_no_client`, `p26_a_terminal_stopped_by_ctrl_s_stops_no_client`, `p26_a_drain_ends_although_its_last_lines_are_not_read` |
//!
//! In addition, `tests/properties.rs` compares the peer with a model on random input, and
//! `tests/simulation.rs` runs the whole server in virtual time with faults injected at every call.
//! `tests/fuzz/run` fuzzes the parsers and the whole server (`tests/targets`), and `tests/corpus.rs`
//! runs what that has found.

// The documentation is built with private items: see .cargo/config.toml.
#![allow(rustdoc::private_intra_doc_links)]
// Without the program, parts of the library are unused.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod client;
mod file;
pub mod guide;
pub mod net;
mod observe;
mod output;
pub mod protocol;
pub mod reactor;
pub mod server;
#[cfg(feature = "cli")]
mod stress;
mod system;
#[doc(hidden)]
pub mod testing;
mod units;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::run as run_command_line;
