//! From what a run counted to the figures that are told.
//!
//! **Owns** the arithmetic of shares, rates and means. **Must never touch** how they are shown.
//! **Invariant**: nothing is divided by a time or a count of zero.

use super::figures::{
    Bar, Clients, Connects, DatagramReport, LatencyReport, LoadReport, Messages, PlanReport,
    ProcessReport, SecondReport, Served, Verdict,
};
use super::{Report, SCHEMA_VERSION, exit};
use crate::net::system::ProcessUsage;
use crate::protocol::escape::excerpt;
use crate::protocol::greeting::Framing;
use crate::stress::counters::{Datagrams, LossCause};
use crate::stress::latency::{Latencies, Lateness};
use crate::stress::plan::{Length, Transport};
use crate::stress::verdict::{self, Evidence};
use crate::stress::{Run, Shared, Snapshot};
use hdrhistogram::Counter;
use std::time::Duration;

/// The report of `run`, held against no objective yet.
pub(super) fn measure(run: &Run) -> Report {
    let shared = &run.shared;
    let counters = &shared.counters;
    let own = process(run, |snapshot| snapshot.own);
    let server = process(run, |snapshot| snapshot.server);
    Report {
        schema_version: SCHEMA_VERSION,
        helloop_version: env!("CARGO_PKG_VERSION"),
        plan: plan(shared),
        interrupted: shared.interrupted,
        clients: clients(shared),
        connects: connects(shared),
        messages: messages(shared),
        latency: latencies(&counters.latency),
        distribution: distribution(&counters.latency),
        seconds: seconds(shared),
        served: counters.worst_served.map(|worst| Served {
            best: counters.best_served,
            worst,
        }),
        datagrams: (shared.plan.transport == Transport::Udp).then(|| datagrams(counters.datagrams)),
        server,
        load: load(own, counters.loop_lag, counters.behind),
        verdict: judge(shared, own, server),
        slos: Vec::new(),
        exit_code: exit::OK,
    }
}

fn plan(shared: &Shared) -> PlanReport {
    let plan = &shared.plan;
    let (transport, framing) = match plan.transport {
        Transport::Tcp(Framing::Chunk) => ("tcp", Some("chunk")),
        Transport::Tcp(Framing::Line) => ("tcp", Some("line")),
        Transport::Udp => ("udp", None),
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
            "open"
        } else {
            "closed"
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
        sources: plan.sources.used_by(plan.clients),
    }
}

fn clients(shared: &Shared) -> Clients {
    let counters = &shared.counters;
    let words = |words: &Option<Vec<u8>>| words.as_deref().map(excerpt);
    Clients {
        requested: shared.plan.clients,
        connected: counters.connected,
        greeted: counters.greeted,
        answered: counters.answered_once,
        peak: counters.peak,
        lost: counters.all_lost(),
        lost_by_cause: LossCause::ALL
            .iter()
            .map(|cause| (cause.name(), counters.lost[*cause as usize]))
            .filter(|(_, lost)| *lost > 0)
            .collect(),
        busy_words: counters
            .busy_client
            .map(|_| excerpt(counters.busy_words.trim_ascii_end())),
        wrong_welcome: words(&counters.wrong_welcome),
        wrong_bytes: words(&counters.wrong_bytes),
        first_error: counters.first_error.clone(),
    }
}

fn connects(shared: &Shared) -> Connects {
    let counters = &shared.counters;
    let seconds = counters.last_connect.since(shared.began).as_secs_f64();
    Connects {
        seconds,
        per_second: a_second(counters.connected.into(), seconds),
        latency: latencies(&counters.connect),
    }
}

fn messages(shared: &Shared) -> Messages {
    let counters = &shared.counters;
    // An interrupted run, and one of counted messages, ends with its last reply.
    let planned_end = match shared.plan.length {
        Length::Time(_) if !shared.interrupted => shared.measured_until,
        _ => counters.last_reply,
    };
    let seconds = planned_end
        .max(counters.last_reply)
        .since(shared.measured_from)
        .as_secs_f64();
    let before = shared.traffic_before;
    Messages {
        sent: counters.sent,
        answered: counters.answered,
        unanswered: counters.unanswered,
        seconds,
        per_second: a_second(counters.answered, seconds),
        bytes_out: counters.traffic.bytes_out - before.bytes_out,
        bytes_in: counters.traffic.bytes_in - before.bytes_in,
    }
}

fn latencies<C: Counter>(latencies: &Latencies<C>) -> LatencyReport {
    let quantile = |quantile| latencies.quantile(quantile).map(microseconds);
    LatencyReport {
        samples: latencies.len(),
        min_us: latencies.min().map(microseconds),
        mean_us: latencies.mean().map(microseconds),
        p50_us: quantile(0.5),
        p90_us: quantile(0.9),
        p99_us: quantile(0.99),
        p99_9_us: quantile(0.999),
        max_us: latencies.max().map(microseconds),
    }
}

/// Bars from the shortest latency to the longest, their edges at 1, 2, 5, 10, 20, ... as people
/// read a scale.
fn distribution(latencies: &Latencies<u64>) -> Vec<Bar> {
    let (Some(min), Some(max)) = (latencies.min(), latencies.max()) else {
        return Vec::new();
    };
    let edges: Vec<Duration> = (0..=12)
        .flat_map(|decade| [1, 2, 5].map(|step| Duration::from_nanos(step * 10u64.pow(decade))))
        .collect();
    edges
        .windows(2)
        .filter(|edge| edge[1] > min && edge[0] <= max)
        .map(|edge| Bar {
            from_us: microseconds(edge[0]),
            to_us: microseconds(edge[1]),
            count: latencies.count_between(edge[0], edge[1]),
        })
        .collect()
}

fn seconds(shared: &Shared) -> Vec<SecondReport> {
    let seconds = shared.counters.seconds.iter().map(|second| SecondReport {
        at_seconds: second.at.as_secs_f64(),
        measured: second.measured,
        per_second: a_second(second.replies, second.length.as_secs_f64()),
        p99_us: second.p99.map(microseconds),
        connected: second.connected,
    });
    seconds.collect()
}

fn datagrams(counted: Datagrams) -> DatagramReport {
    DatagramReport {
        lost: counted.lost,
        late: counted.late,
        doubled: counted.doubled,
        wrong: counted.wrong,
    }
}

/// One process over the measured part, by the figures of the snapshots.
fn process(run: &Run, of: impl Fn(&Snapshot) -> Option<ProcessUsage>) -> Option<ProcessReport> {
    let snapshots = &run.snapshots;
    let (before, ended) = (of(&snapshots.before)?, of(&snapshots.ended)?);
    // A run that never came to its measured part is measured as a whole.
    let (started, since) = match of(&snapshots.started) {
        Some(started) => (started, snapshots.started.at),
        None => (before, snapshots.before.at),
    };
    let cpu = ended.cpu.saturating_sub(started.cpu);
    let clients = f64::from(run.shared.counters.open);
    let grown = ended.resident_bytes.saturating_sub(before.resident_bytes) as f64;
    let answered = run.shared.counters.answered;
    Some(ProcessReport {
        cpu_share: cpu.as_secs_f64() / snapshots.ended.at.since(since).as_secs_f64().max(1e-9),
        cpu_us_per_message: (answered > 0).then(|| microseconds(cpu) / answered as f64),
        resident_bytes: ended.resident_bytes,
        bytes_per_client: (clients > 0.0).then(|| grown / clients),
        threads: ended.threads,
        context_switches: ended
            .context_switches
            .saturating_sub(started.context_switches),
    })
}

fn load(process: Option<ProcessReport>, lag: Lateness, behind: Lateness) -> LoadReport {
    LoadReport {
        process,
        loop_lag_mean_us: microseconds(lag.mean()),
        loop_lag_max_us: microseconds(lag.max),
        behind_mean_us: microseconds(behind.mean()),
        behind_max_us: microseconds(behind.max),
    }
}

fn judge(shared: &Shared, own: Option<ProcessReport>, server: Option<ProcessReport>) -> Verdict {
    let counters = &shared.counters;
    let evidence = Evidence {
        own_cpu_share: own.map(|own| own.cpu_share),
        server_cpu_share: server.map(|server| server.cpu_share),
        loop_lag: counters.loop_lag.mean(),
        behind: counters.behind.mean(),
        latency: counters.latency.mean().unwrap_or_default(),
    };
    let limit = verdict::limited_by(&evidence);
    let shortcomings = verdict::shortcomings(&shared.plan, counters);
    Verdict {
        achieved: shortcomings.is_empty(),
        shortcomings,
        limited_by_client: limit.is_some(),
        words: match limit {
            Some(why) => format!("limited by this client: {why}"),
            None if counters.answered == 0 => "measured nothing".to_owned(),
            None => "measured the server".to_owned(),
        },
    }
}

fn a_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
