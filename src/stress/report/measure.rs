//! Turns what a run counted into the figures of its report.
//!
//! **Owns** the arithmetic of shares, rates and means. **Must never touch** how a figure is
//! shown. **Invariant**: nothing is divided by a time or a count of zero.

use super::names::{FramingName, HistogramUnit, LoopKind, TransportName};
use super::schema::{
    Bucket, Clients, Connects, DatagramReport, HistogramReport, LatencyReport, LoadReport,
    Messages, PlanReport, ProcessReport, SecondReport, Served, SloReport, VerdictReport,
};
use crate::net::system::ProcessUsage;
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::Framing;
use crate::stress::counters::{Counters, DatagramCounts};
use crate::stress::latency::{Latencies, microseconds};
use crate::stress::plan::{Length, Transport};
use crate::stress::slo::{Metric, Slo};
use crate::stress::verdict::{self, Evidence};
use crate::stress::{Run, Shared, UsageSample};
use hdrhistogram::Counter;
use std::time::Duration;

pub(super) fn plan(shared: &Shared) -> PlanReport {
    let plan = &shared.plan;
    let (transport, framing) = match plan.transport {
        Transport::Tcp(Framing::Chunk) => (TransportName::Tcp, Some(FramingName::Chunk)),
        Transport::Tcp(Framing::Line) => (TransportName::Tcp, Some(FramingName::Line)),
        Transport::Udp => (TransportName::Udp, None),
    };
    let (seconds, messages) = match plan.length {
        Length::Time(time) => (Some(time.as_secs_f64()), None),
        Length::Messages(messages) => (None, Some(messages)),
    };
    PlanReport {
        to: plan.to.to_string(),
        transport,
        framing,
        kind: if plan.rate.is_some() {
            LoopKind::Open
        } else {
            LoopKind::Closed
        },
        clients: plan.clients,
        active: plan.active,
        seconds,
        messages,
        warmup_seconds: plan.warmup.as_secs_f64(),
        message_bytes: shared.script.message.len(),
        pipeline: plan.pipeline,
        rate: plan.rate.map(Into::into),
        connect_rate: plan.connect_rate.map(Into::into),
        timeout_seconds: plan.timeout.as_secs_f64(),
        sources: plan.sources.count_for(plan.clients),
        server_flags: plan.server_flags.clone(),
    }
}

pub(super) fn clients(shared: &Shared) -> Clients {
    let counters = &shared.counters;
    let words = |words: &Option<Vec<u8>>| words.as_deref().map(excerpt);
    Clients {
        requested: shared.plan.clients,
        connected: counters.connected,
        greeted: counters.welcomed,
        sent: counters.sent_once,
        answered: counters.answered_once,
        peak: counters.peak,
        lost: counters.all_lost(),
        lost_by_cause: counters
            .lost
            .into_iter()
            .map(|(cause, lost)| (cause.name().to_owned(), lost))
            .filter(|(_, lost)| *lost > 0)
            .collect(),
        busy_words: counters
            .busy_client
            .map(|_| excerpt(counters.busy_reply.trim_ascii_end())),
        wrong_welcome: words(&counters.wrong_welcome),
        wrong_bytes: words(&counters.wrong_bytes),
        first_error: counters.first_error.clone(),
    }
}

pub(super) fn connects(shared: &Shared) -> Connects {
    let counters = &shared.counters;
    let seconds = counters.last_connect.since(shared.began).as_secs_f64();
    Connects {
        seconds,
        per_second: per_second(counters.connected.into(), seconds),
        latency: latencies(&counters.connect),
    }
}

pub(super) fn messages(shared: &Shared) -> Messages {
    let counters = &shared.counters;
    let seconds = shared.window().as_secs_f64();
    let before = shared.traffic_before;
    Messages {
        due: shared.due(),
        sent: counters.sent,
        not_sent: shared.not_sent(),
        answered: counters.answered,
        unanswered: counters.unanswered,
        timed_out: counters.timed_out,
        in_flight: counters.left_in_flight,
        replies: counters.replies,
        warmup_replies: counters.warmup_replies,
        seconds,
        per_second: per_second(counters.replies, seconds),
        bytes_out: counters.traffic.bytes_out - before.bytes_out,
        bytes_in: counters.traffic.bytes_in - before.bytes_in,
    }
}

pub(super) fn latencies<C: Counter>(latencies: &Latencies<C>) -> LatencyReport {
    let quantile = |quantile| latencies.quantile(quantile).map(microseconds);
    LatencyReport {
        samples: latencies.len(),
        min_us: latencies.min().map(microseconds),
        mean_us: latencies.mean().map(microseconds),
        p50_us: quantile(0.5),
        p75_us: quantile(0.75),
        p90_us: quantile(0.9),
        p95_us: quantile(0.95),
        p99_us: quantile(0.99),
        p99_9_us: quantile(0.999),
        p99_99_us: quantile(0.999_9),
        max_us: latencies.max().map(microseconds),
        histogram: latencies.encoded().map(|encoded| HistogramReport {
            unit: HistogramUnit::Nanoseconds,
            encoded,
        }),
    }
}

/// Buckets from the minimum latency to the maximum, with bounds at 1, 2, 5, 10, 20, ...
pub(super) fn distribution(latencies: &Latencies<u64>) -> Vec<Bucket> {
    let (Some(min), Some(max)) = (latencies.min(), latencies.max()) else {
        return Vec::new();
    };
    let bounds: Vec<Duration> = (0..=12)
        .flat_map(|decade| [1, 2, 5].map(|step| Duration::from_nanos(step * 10u64.pow(decade))))
        .collect();
    bounds
        .windows(2)
        .filter(|bounds| bounds[1] > min && bounds[0] <= max)
        .map(|bounds| Bucket {
            from_us: microseconds(bounds[0]),
            to_us: microseconds(bounds[1]),
            count: latencies.count_between(bounds[0], bounds[1]),
        })
        .collect()
}

pub(super) fn seconds(counters: &Counters) -> Vec<SecondReport> {
    let seconds = counters.seconds.iter().map(|second| SecondReport {
        at_seconds: second.at.as_secs_f64(),
        measured: second.measured,
        per_second: per_second(second.replies, second.length.as_secs_f64()),
        p50_us: second.p50.map(microseconds),
        p99_us: second.p99.map(microseconds),
        p99_9_us: second.p99_9.map(microseconds),
        connected: second.connected,
        server_cpu_share: second.server_cpu_share,
        load_cpu_share: second.load_cpu_share,
        loop_lag_mean_us: microseconds(second.loop_lag.mean()),
        loop_lag_max_us: microseconds(second.loop_lag.max),
    });
    seconds.collect()
}

pub(super) fn served(counters: &Counters) -> Option<Served> {
    counters.worst_served.map(|worst| Served {
        best: counters.best_served,
        worst,
    })
}

pub(super) fn datagrams(counted: DatagramCounts) -> DatagramReport {
    DatagramReport {
        lost: counted.lost,
        late: counted.late,
        duplicate: counted.duplicates,
        wrong: counted.wrong,
    }
}

/// One process over the measured window, from its figures in the usage samples.
pub(super) fn process(
    run: &Run,
    of: impl Fn(&UsageSample) -> Option<ProcessUsage>,
) -> Option<ProcessReport> {
    let usage = &run.usage;
    let (before, ended) = (of(&usage.before)?, of(&usage.ended)?);
    // A run that never reached its measured window is measured from its start.
    let (started, since) = match of(&usage.started) {
        Some(started) => (started, usage.started.at),
        None => (before, usage.before.at),
    };
    let cpu = ended.cpu.saturating_sub(started.cpu);
    let clients = f64::from(run.shared.counters.open);
    let grown = ended.resident_bytes.saturating_sub(before.resident_bytes) as f64;
    let replies = run.shared.counters.replies;
    Some(ProcessReport {
        cpu_share: cpu.as_secs_f64() / usage.ended.at.since(since).as_secs_f64().max(1e-9),
        cpu_us_per_message: (replies > 0).then(|| microseconds(cpu) / replies as f64),
        resident_bytes: ended.resident_bytes,
        bytes_per_client: (clients > 0.0).then(|| grown / clients),
        threads: ended.threads,
        context_switches: ended
            .context_switches
            .saturating_sub(started.context_switches),
    })
}

pub(super) fn load(process: Option<ProcessReport>, counters: &Counters) -> LoadReport {
    LoadReport {
        process,
        loop_lag_mean_us: microseconds(counters.loop_lag.mean()),
        loop_lag_max_us: microseconds(counters.loop_lag.max),
        behind_mean_us: microseconds(counters.behind.mean()),
        behind_max_us: microseconds(counters.behind.max),
    }
}

pub(super) fn verdict(
    shared: &Shared,
    own: Option<ProcessReport>,
    server: Option<ProcessReport>,
) -> VerdictReport {
    let counters = &shared.counters;
    let evidence = Evidence {
        own_cpu_share: own.map(|own| own.cpu_share),
        server_cpu_share: server.map(|server| server.cpu_share),
        loop_lag: counters.loop_lag.mean(),
        behind: counters.behind.mean(),
        mean_latency: counters.latency.mean().unwrap_or_default(),
    };
    // Where nothing is sent, nothing is limited.
    let is_sending = shared.plan.active > 0;
    let limit = is_sending.then(|| verdict::limited_by(&evidence)).flatten();
    let shortcomings = verdict::shortcomings(shared);
    VerdictReport {
        achieved: shortcomings.is_empty() && !shared.interrupted,
        shortcomings,
        limited_by_client: limit.is_some(),
        words: verdict::words(shared, limit),
    }
}

/// Checks one objective. It is missed if its metric was not measured, or too few samples support
/// it.
pub(super) fn slo(slo: &Slo, shared: &Shared, messages: &Messages) -> SloReport {
    let Counters {
        latency, datagrams, ..
    } = &shared.counters;
    let measured = match slo.metric {
        Metric::Quantile(quantile) => latency.quantile(quantile).map(microseconds),
        Metric::Min => latency.min().map(microseconds),
        Metric::Mean => latency.mean().map(microseconds),
        Metric::Max => latency.max().map(microseconds),
        Metric::Rate => Some(messages.per_second),
        Metric::Loss => (shared.plan.transport == Transport::Udp)
            .then(|| loss_percent(datagrams.lost, messages.sent - messages.in_flight)),
    };
    let (metric, relation, limit) = slo.parts();
    SloReport {
        slo: slo.to_string(),
        metric: metric.to_owned(),
        relation: relation.to_owned(),
        limit,
        measured,
        met: measured.is_some_and(|value| slo.is_met_by(value)),
    }
}

/// Datagrams lost, in percent of those whose fate is known.
fn loss_percent(lost: u64, decided: u64) -> f64 {
    100.0 * lost as f64 / decided.max(1) as f64
}

fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}
