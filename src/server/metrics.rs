//! The server's counters as Prometheus metrics.
//!
//! **Owns** the names of the metrics and their help texts. **Must never touch** the counters, nor
//! the text format. **Invariant**: every number of [`Stats`](super::stats::Stats) is here, named
//! by Prometheus's conventions (<https://prometheus.io/docs/practices/naming/>): base units, and
//! `_total` for counters.

use super::Shared;
use crate::observe::measures::LoopMeasures;
use crate::observe::metrics::{Family, number};
use crate::output::dropped_log_lines;
use crate::reactor::{LoopStats, Time};

/// One family per entry: its type, name, value and help text.
macro_rules! families {
    ($($kind:ident $name:ident: $value:expr, $help:literal;)+) => {
        vec![$(Family::$kind(stringify!($name), $help, $value)),+]
    };
}

/// All families.
#[must_use]
pub(super) fn families(
    shared: &Shared,
    loop_stats: &LoopStats,
    measures: &LoopMeasures,
    now: Time,
) -> Vec<Family> {
    let stats = &shared.stats;
    let closed = stats.closed.into_iter();
    let dropped = stats.dropped.into_iter();
    let refused = [
        ("--max-clients", stats.refused - stats.refused_per_address),
        ("--max-clients-per-address", stats.refused_per_address),
    ];
    let refused = refused.into_iter();
    families! {
        gauge clients: number(stats.clients()), "TCP clients connected.";
        counter connections_accepted_total: stats.accepted,
            "TCP connections accepted, including refused ones.";
        causes connections_refused_total: refused,
            "TCP clients refused, by the limit that was reached.";
        causes connections_closed_total: closed.map(|(cause, count)| (cause.name(), count)),
            "TCP connections closed, by cause.";
        counter connections_aborted_total: stats.aborted,
            "TCP connections that failed in the accept backlog.";
        counter accept_starved_total: stats.starved,
            "Accepts that failed because no descriptor or memory was left.";
        counter messages_total: stats.messages,
            "Messages received from TCP clients, exit included.";
        counter received_bytes_total: stats.traffic.bytes_in, "Bytes read from TCP clients.";
        counter sent_bytes_total: stats.traffic.bytes_out, "Bytes written to TCP clients.";
        counter reads_total: stats.traffic.reads, "Calls of read on TCP clients.";
        counter writes_total: stats.traffic.writes, "Calls of write on TCP clients.";
        gauge buffered_bytes: number(stats.buffered as u64),
            "Memory allocated for TCP clients: unsent replies and incomplete lines.";
        counter datagrams_received_total: stats.datagrams, "Datagrams received.";
        counter datagrams_answered_total: stats.datagrams_answered, "Datagrams answered.";
        causes datagrams_dropped_total: dropped.map(|(reason, count)| (reason.name(), count)),
            "Datagrams not answered, by cause.";
        counter datagram_errors_total: stats.datagram_errors,
            "Failed calls to receive datagrams.";
        counter turns_total: loop_stats.turns, "Turns of the event loop.";
        counter events_total: loop_stats.events, "Events returned by the poll.";
        counter calls_total: loop_stats.calls, "Calls of event sources.";
        histogram turn_seconds: measures.turn.histogram(),
            "Turns of the event loop, each without its wait.";
        histogram ready_wait_seconds: measures.queue_wait.histogram(),
            "Waits in the ready list, from an event or the last call to the call that serves it.";
        histogram deadline_lateness_seconds: measures.lateness.histogram(),
            "Time from a deadline to the call of its source.";
        seconds wait_seconds_total: measures.waited, "Time that the event loop waited for events.";
        seconds busy_seconds_total: measures.busy, "Time that the event loop worked.";
        seconds observing_seconds_total: measures.observing,
            "Part of the busy time that was spent on observers (--observe).";
        gauge ready_sources: number(loop_stats.ready as u64),
            "Event sources that wait in the ready list.";
        gauge deadlines: number(loop_stats.deadlines as u64), "Deadlines set.";
        gauge draining: f64::from(u8::from(shared.is_draining())),
            "Whether the server is draining: 1 or 0.";
        gauge up_seconds: now.since(Time::ZERO).as_secs_f64(), "Time since the server started.";
        counter log_lines_dropped_total: dropped_log_lines(),
            "Log lines that stderr did not take at once.";
        info build_info: env!("CARGO_PKG_VERSION"), "The version of helloop.";
        gauge observers: number(shared.observers.observers as u64),
            "Open connections of observers (--observe).";
    }
}
