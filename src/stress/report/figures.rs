//! The parts of a report: plain figures, and nothing that computes.
//!
//! **Owns** the names of the JSON form's keys, which are the fields' own. **Must never touch** a
//! run. **Invariant**: a key keeps its meaning while [`SCHEMA_VERSION`](super::SCHEMA_VERSION)
//! stays what it is.

use serde::Serialize;
use std::collections::BTreeMap;

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// The server.
    pub to: String,
    /// `tcp` or `udp`.
    pub transport: &'static str,
    /// `chunk` or `line`; `None` over UDP.
    pub framing: Option<&'static str>,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub kind: &'static str,
    /// Clients that were to connect.
    pub clients: u32,
    /// Of these, those that were to talk.
    pub active: u32,
    /// The measured time asked for; `None` where messages were counted.
    pub seconds: Option<f64>,
    /// The messages asked for; `None` where time was.
    pub messages: Option<u64>,
    /// The warm-up.
    pub warmup_seconds: f64,
    /// The bytes of one message.
    pub message_bytes: usize,
    /// Messages that a client may have in flight.
    pub pipeline: u32,
    /// Messages a second (open loop).
    pub rate: Option<u64>,
    /// Connects a second, if they were slowed.
    pub connect_rate: Option<u64>,
    /// The longest wait.
    pub timeout_seconds: f64,
    /// Addresses that clients connect from.
    pub sources: u32,
}

/// How many clients came how far.
#[derive(Clone, Debug, Serialize)]
pub struct Clients {
    /// Asked for.
    pub requested: u32,
    /// Connected.
    pub connected: u32,
    /// Welcomed.
    pub greeted: u32,
    /// Answered at least once.
    pub answered: u32,
    /// The most connected at once.
    pub peak: u32,
    /// Lost, whatever the cause.
    pub lost: u32,
    /// Lost, by cause; only causes that there were.
    pub lost_by_cause: BTreeMap<&'static str, u32>,
    /// What a server that is full said, escaped.
    pub busy_words: Option<String>,
    /// What stood in the welcome's place, escaped.
    pub wrong_welcome: Option<String>,
    /// What stood in a reply's place, escaped.
    pub wrong_bytes: Option<String>,
    /// The first error of the system without a cause of its own.
    pub first_error: Option<String>,
}

/// How fast clients connected.
#[derive(Clone, Debug, Serialize)]
pub struct Connects {
    /// From the first connect's start to the last one's end.
    pub seconds: f64,
    /// Connections a second.
    pub per_second: f64,
    /// From a connect's start to its end.
    pub latency: LatencyReport,
}

/// What clients said and heard in the measured part.
#[derive(Clone, Debug, Serialize)]
pub struct Messages {
    /// Sent.
    pub sent: u64,
    /// Answered.
    pub answered: u64,
    /// Never answered.
    pub unanswered: u64,
    /// How long the measured part was, the last reply included.
    pub seconds: f64,
    /// Answered a second.
    pub per_second: f64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
}

/// Latencies. A percentile that has fewer than 10/(1-p) samples is absent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LatencyReport {
    /// How many.
    pub samples: u64,
    /// The shortest.
    pub min_us: Option<f64>,
    /// The mean.
    pub mean_us: Option<f64>,
    /// The median.
    pub p50_us: Option<f64>,
    /// Nine of ten are at most this.
    pub p90_us: Option<f64>,
    /// 99 of a hundred are.
    pub p99_us: Option<f64>,
    /// 999 of a thousand are.
    pub p99_9_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

/// One bar of the distribution: `from_us <= latency < to_us`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bar {
    /// Where it begins.
    pub from_us: f64,
    /// Where it ends.
    pub to_us: f64,
    /// How many latencies are in it.
    pub count: u64,
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SecondReport {
    /// When it ended, since the run began.
    pub at_seconds: f64,
    /// Whether it lies in the measured part.
    pub measured: bool,
    /// Replies a second.
    pub per_second: f64,
    /// Their p99.
    pub p99_us: Option<f64>,
    /// Clients connected at its end.
    pub connected: u32,
}

/// Fairness: measured messages that one client had answered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Served {
    /// The best-served.
    pub best: u32,
    /// The worst-served.
    pub worst: u32,
}

/// What happened to datagrams that were not simply answered.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DatagramReport {
    /// No reply came.
    pub lost: u64,
    /// It came after its time.
    pub late: u64,
    /// It came again.
    pub doubled: u64,
    /// A reply to nothing that was asked.
    pub wrong: u64,
}

/// The server's process in the measured part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ProcessReport {
    /// Processors' time a second.
    pub cpu_share: f64,
    /// Processors' time a message; absent where none was answered.
    pub cpu_us_per_message: Option<f64>,
    /// Resident memory at the end, clients connected.
    pub resident_bytes: u64,
    /// What that is more than before the first client, a client.
    pub bytes_per_client: Option<f64>,
    /// Threads at the end, clients connected.
    pub threads: u64,
    /// Context switches.
    pub context_switches: u64,
}

/// This process in the measured part.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoadReport {
    /// What the system says of it.
    #[serde(flatten)]
    pub process: Option<ProcessReport>,
    /// How late its loop came to its own ticks.
    pub loop_lag_mean_us: f64,
    /// At worst.
    pub loop_lag_max_us: f64,
    /// How late it carried its schedule out (open loop).
    pub behind_mean_us: f64,
    /// At worst.
    pub behind_max_us: f64,
}

/// Whether to believe the run.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Whether all that was asked for was done.
    pub achieved: bool,
    /// If not, what was missing.
    pub shortcomings: Vec<String>,
    /// Whether the load itself was the limit.
    pub limited_by_client: bool,
    /// `measured the server`, or `limited by this client: ...`.
    pub words: String,
}

/// One objective.
#[derive(Clone, Debug, Serialize)]
pub struct SloReport {
    /// As it was written.
    pub slo: String,
    /// The value; in microseconds, messages a second or percent.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}
