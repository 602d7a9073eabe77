//! The server's counters as Prometheus has them.
//!
//! **Owns** the metrics' names and what they mean. **Must never touch** what is counted, nor the
//! format. **Invariant**: every figure of [`Stats`] is here, by Prometheus's conventions
//! (<https://prometheus.io/docs/practices/naming/>): base units, and `_total` for what only rises.

use super::Shared;
use super::stats::{CloseCause, DropReason, Stats};
use crate::observe::metrics::{Family, number};
use crate::reactor::{LoopStats, Time};

/// All families.
#[must_use]
pub fn families(shared: &Shared, turns: &LoopStats, now: Time) -> Vec<Family> {
    let stats = &shared.stats;
    let mut families = clients(stats);
    families.extend(traffic(stats));
    families.extend(datagrams(stats));
    families.extend(loop_itself(turns));
    let draining = if shared.is_draining() { 1.0 } else { 0.0 };
    let up = now.since(Time::ZERO).as_secs_f64();
    families.extend([
        Family::gauge(
            "draining",
            "Whether the server is about to stop: 1 or 0.",
            draining,
        ),
        Family::gauge("up_seconds", "Time since the loop was made.", up),
        Family::gauge(
            "observers",
            "Connections of --observe.",
            number(shared.observers.observers as u64),
        ),
    ]);
    families
}

fn clients(stats: &Stats) -> Vec<Family> {
    vec![
        Family::gauge("clients", "TCP clients connected.", number(stats.clients())),
        Family::counter(
            "connections_accepted_total",
            "TCP connections accepted, refused ones included.",
            stats.accepted,
        ),
        Family::counter(
            "connections_refused_total",
            "TCP clients over --max-clients, told Busy.",
            stats.refused,
        ),
        Family::causes(
            "connections_closed_total",
            "TCP connections ended, by cause.",
            CloseCause::ALL
                .into_iter()
                .map(CloseCause::name)
                .zip(stats.closed),
        ),
        Family::counter(
            "connections_aborted_total",
            "TCP connections that failed before they were accepted.",
            stats.aborted,
        ),
        Family::counter(
            "accept_starved_total",
            "Times that an accept found no descriptor or memory left.",
            stats.starved,
        ),
    ]
}

fn traffic(stats: &Stats) -> Vec<Family> {
    vec![
        Family::counter(
            "messages_total",
            "Messages of TCP clients completed, exit included.",
            stats.messages,
        ),
        Family::counter(
            "received_bytes_total",
            "Bytes read from TCP clients.",
            stats.traffic.bytes_in,
        ),
        Family::counter(
            "sent_bytes_total",
            "Bytes written to TCP clients.",
            stats.traffic.bytes_out,
        ),
        Family::counter(
            "reads_total",
            "Calls of read on TCP clients.",
            stats.traffic.reads,
        ),
        Family::counter(
            "writes_total",
            "Calls of write on TCP clients.",
            stats.traffic.writes,
        ),
        Family::gauge(
            "buffered_bytes",
            "Bytes kept for all TCP clients: replies owed, and lines begun.",
            number(stats.buffered as u64),
        ),
    ]
}

fn datagrams(stats: &Stats) -> Vec<Family> {
    vec![
        Family::counter(
            "datagrams_received_total",
            "Datagrams received.",
            stats.datagrams,
        ),
        Family::counter(
            "datagrams_answered_total",
            "Datagrams answered.",
            stats.datagrams_answered,
        ),
        Family::causes(
            "datagrams_dropped_total",
            "Datagrams without an answer, by cause.",
            DropReason::ALL
                .into_iter()
                .map(DropReason::name)
                .zip(stats.dropped),
        ),
        Family::counter(
            "datagram_errors_total",
            "Errors of receiving datagrams.",
            stats.datagram_errors,
        ),
    ]
}

fn loop_itself(turns: &LoopStats) -> Vec<Family> {
    vec![
        Family::counter("turns_total", "Turns of the loop.", turns.turns),
        Family::counter("events_total", "Events taken from the poll.", turns.events),
        Family::counter(
            "calls_total",
            "Calls of a source, driven or expired.",
            turns.calls,
        ),
        Family::gauge(
            "turn_events_max",
            "The most events of one turn so far.",
            number(turns.most_events),
        ),
        Family::gauge(
            "turn_longest_seconds",
            "The longest turn so far, its wait not counted.",
            turns.longest.as_secs_f64(),
        ),
    ]
}
