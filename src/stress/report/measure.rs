//! From what a run counted to the figures that are told.
//!
//! **Owns** the arithmetic of shares, rates and means. **Must never touch** how they are shown.
//! **Invariant**: nothing is divided by a time or a count of zero.

use super::figures::{
    Bar, Clients, Connects, DatagramReport, LatencyReport, LoadReport, Messages, PlanReport,
    ProcessReport, SecondReport, Served, Verdict,
};
use super::{Report, SCHEMA_VERSION, exit};
use crate::escape::excerpt;
use crate::greeting::Framing;
use crate::stress::latency::{Latencies, Lateness};
use crate::stress::plan::{Length, Transport};
use crate::stress::tally::{Cause, Datagrams};
use crate::stress::verdict::{self, Evidence};
use crate::stress::{Run, Snapshot, World};
use crate::system::Figures;
use hdrhistogram::Counter;
use std::time::Duration;

/// The report of `run`, held against no objective yet.
pub(super) fn measure(run: &Run) -> Report {
    let world = &run.world;
    let tally = &world.tally;
    let own = process(run, |snapshot| snapshot.own);
    let server = process(run, |snapshot| snapshot.server);
    Report {
        schema_version: SCHEMA_VERSION,
        helloop_version: env!("CARGO_PKG_VERSION"),
        plan: plan(world),
        interrupted: world.interrupted,
        clients: clients(world),
        connects: connects(world),
        messages: messages(world),
        latency: latencies(&tally.latency),
        distribution: distribution(&tally.latency),
        seconds: seconds(world),
        served: tally.worst_served.map(|worst| Served {
            best: tally.best_served,
            worst,
        }),
        datagrams: (world.plan.transport == Transport::Udp).then(|| datagrams(tally.datagrams)),
        server,
        load: load(own, tally.loop_lag, tally.behind),
        verdict: judge(world, own, server),
        slos: Vec::new(),
        exit_code: exit::OK,
    }
}

fn plan(world: &World) -> PlanReport {
    let plan = &world.plan;
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
        message_bytes: world.script.message.len(),
        pipeline: plan.pipeline,
        rate: plan.rate.map(Into::into),
        connect_rate: plan.connect_rate.map(Into::into),
        timeout_seconds: plan.timeout.as_secs_f64(),
        sources: plan.sources.used_by(plan.clients),
    }
}

fn clients(world: &World) -> Clients {
    let tally = &world.tally;
    let words = |words: &Option<Vec<u8>>| words.as_deref().map(excerpt);
    Clients {
        requested: world.plan.clients,
        connected: tally.connected,
        greeted: tally.greeted,
        answered: tally.answered_once,
        peak: tally.peak,
        lost: tally.all_lost(),
        lost_by_cause: Cause::ALL
            .iter()
            .map(|cause| (cause.name(), tally.lost[*cause as usize]))
            .filter(|(_, lost)| *lost > 0)
            .collect(),
        busy_words: tally
            .busy_client
            .map(|_| excerpt(tally.busy_words.trim_ascii_end())),
        wrong_welcome: words(&tally.wrong_welcome),
        wrong_bytes: words(&tally.wrong_bytes),
        first_error: tally.first_error.clone(),
    }
}

fn connects(world: &World) -> Connects {
    let tally = &world.tally;
    let seconds = tally.last_connect.since(world.began).as_secs_f64();
    Connects {
        seconds,
        per_second: a_second(tally.connected.into(), seconds),
        latency: latencies(&tally.connect),
    }
}

fn messages(world: &World) -> Messages {
    let tally = &world.tally;
    // An interrupted run, and one of counted messages, ends with its last reply.
    let planned_end = match world.plan.length {
        Length::Time(_) if !world.interrupted => world.measured_until,
        _ => tally.last_reply,
    };
    let seconds = planned_end
        .max(tally.last_reply)
        .since(world.measured_from)
        .as_secs_f64();
    let before = world.traffic_before;
    Messages {
        sent: tally.sent,
        answered: tally.answered,
        unanswered: tally.unanswered,
        seconds,
        per_second: a_second(tally.answered, seconds),
        bytes_out: tally.traffic.bytes_out - before.bytes_out,
        bytes_in: tally.traffic.bytes_in - before.bytes_in,
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

fn seconds(world: &World) -> Vec<SecondReport> {
    let seconds = world.tally.seconds.iter().map(|second| SecondReport {
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
fn process(run: &Run, of: impl Fn(&Snapshot) -> Option<Figures>) -> Option<ProcessReport> {
    let snapshots = &run.snapshots;
    let (before, ended) = (of(&snapshots.before)?, of(&snapshots.ended)?);
    // A run that never came to its measured part is measured as a whole.
    let (started, since) = match of(&snapshots.started) {
        Some(started) => (started, snapshots.started.at),
        None => (before, snapshots.before.at),
    };
    let cpu = ended.cpu.saturating_sub(started.cpu);
    let clients = f64::from(run.world.tally.open);
    let grown = ended.resident_bytes.saturating_sub(before.resident_bytes) as f64;
    let answered = run.world.tally.answered;
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

fn judge(world: &World, own: Option<ProcessReport>, server: Option<ProcessReport>) -> Verdict {
    let tally = &world.tally;
    let evidence = Evidence {
        own_cpu_share: own.map(|own| own.cpu_share),
        server_cpu_share: server.map(|server| server.cpu_share),
        loop_lag: tally.loop_lag.mean(),
        behind: tally.behind.mean(),
        latency: tally.latency.mean().unwrap_or_default(),
    };
    let limit = verdict::limited_by(&evidence);
    let shortcomings = verdict::shortcomings(&world.plan, tally);
    Verdict {
        achieved: shortcomings.is_empty(),
        shortcomings,
        limited_by_client: limit.is_some(),
        words: match limit {
            Some(why) => format!("limited by this client: {why}"),
            None if tally.answered == 0 => "measured nothing".to_owned(),
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
