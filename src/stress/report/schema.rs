//! The report as data: each struct is an object of the JSON form, each field a key.
//!
//! **Owns** the keys, which are the names of the fields. **Must never touch** a run: nothing here
//! computes. **Invariant**: a key keeps its meaning until [`SCHEMA_VERSION`] is raised; a value
//! that is unknown, or that too few samples support, is `null` and never zero.
//!
//! Times are in microseconds (`_us`) or seconds (`_seconds`); a CPU share of 1.0 is one full CPU.
//!
//! The docs of the structs and fields are the descriptions in the JSON Schema. The schema permits
//! no other keys; a reader ignores them, because a later helloop may add some.
//!
//! # The measured window
//!
//! The window begins after the warm-up. It ends after the requested time or, where a number of
//! messages was requested, with the last reply. It ends earlier if the run is interrupted or the
//! last client is lost: from then on the run cannot measure. A rate is the replies received
//! *in the window*, whatever message they answer, divided by the length of the window.
//!
//! A *measured* message begins in the window: it is sent (closed loop) or due (open loop) then. It
//! is sent, or never is: `messages.due` is the sum of `messages.sent` and `messages.not_sent`. One
//! that was sent ends in one of the other ways, and `messages.sent` is their sum:
//!
//! | end | counted in | latency sample |
//! | --- | --- | --- |
//! | answered within the timeout, also after the window | `answered` | yes |
//! | timed out | `unanswered`, `timed_out` | yes: the time waited, at least the timeout |
//! | its client was lost for another cause | `unanswered` | no: its latency is unknown |
//! | the run was interrupted first | `in_flight` | no: it might have been answered in time |
//! | never sent, its client timed out | `not_sent` | yes: the time waited, at least the timeout |
//! | never sent for another cause | `not_sent` | no: its client was lost, or had no room for it |

use super::names::{FramingName, HistogramUnit, LoopKind, TransportName};
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version of the JSON form, raised when a key is removed or changes its meaning.
pub(crate) const SCHEMA_VERSION: u32 = 2;

/// The JSON Schema (draft 2020-12) of a report.
#[must_use]
pub(crate) fn json_schema() -> Schema {
    // A doc comment has line endings where its lines end.
    let unfold = RecursiveTransform(|schema: &mut Schema| {
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
    });
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(unfold);
    settings.into_generator().into_root_schema_for::<Report>()
}

/// One run of `helloop stress`. Times are in microseconds (`_us`) or seconds; unknown values are
/// null.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, title = "helloop stress report")]
pub(crate) struct Report {
    /// The version of this format, raised when a key is removed or changes its meaning.
    #[schemars(extend("const" = SCHEMA_VERSION))]
    pub schema_version: u32,
    /// The version of helloop.
    pub helloop_version: String,
    /// When the run started: UTC, in the format of RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub started: String,
    /// The command line.
    pub command: Vec<String>,
    /// The machine of the load generator.
    pub machine: MachineReport,
    /// What was asked for.
    pub plan: PlanReport,
    /// The run was stopped by a signal.
    pub interrupted: bool,
    /// How many clients reached each stage.
    pub clients: Clients,
    /// How fast they connected.
    pub connects: Connects,
    /// What they sent and received.
    pub messages: Messages,
    /// From when a message was sent (closed loop) or due (open loop) to its reply.
    pub latency: LatencyReport,
    /// The histogram of the latencies; empty if there are none.
    pub distribution: Vec<Bucket>,
    /// The run, second by second.
    pub seconds: Vec<SecondReport>,
    /// Fairness between clients; null if no client finished.
    pub served: Option<Served>,
    /// What happened to datagrams; null over TCP.
    pub datagrams: Option<DatagramReport>,
    /// The server's process; null if it is unknown or not readable.
    pub server: Option<ProcessReport>,
    /// The load generator.
    pub load: LoadReport,
    /// Whether the figures can be trusted.
    pub verdict: VerdictReport,
    /// The objectives.
    pub slos: Vec<SloReport>,
    /// The exit code of the program.
    pub exit_code: u8,
}

/// A machine, as far as figures depend on it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct MachineReport {
    /// The operating system.
    pub system: String,
    /// The release of its kernel; null if it is unknown.
    pub kernel: Option<String>,
    /// The architecture of the CPU.
    pub architecture: String,
    /// The model of the CPU; null if the system does not report it.
    pub cpu_model: Option<String>,
    /// The number of CPUs that the process may use.
    pub cpus: Option<usize>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PlanReport {
    /// The server's address.
    pub to: String,
    /// What carries the messages.
    pub transport: TransportName,
    /// What a message is; null over UDP.
    pub framing: Option<FramingName>,
    /// What sets the pace: `closed`, the replies; `open`, a schedule.
    #[serde(rename = "loop")]
    pub kind: LoopKind,
    /// Clients that connect.
    pub clients: u32,
    /// Of these, clients that send messages; the others stay idle.
    pub active: u32,
    /// The length of the measured part; null if a number of messages was requested.
    pub seconds: Option<f64>,
    /// The number of measured messages; null if a time was requested.
    pub messages: Option<u64>,
    /// The warm-up before the measured part.
    pub warmup_seconds: f64,
    /// The size of one message.
    pub message_bytes: usize,
    /// The most messages in flight per client.
    pub pipeline: u32,
    /// Messages per second (open loop).
    pub rate: Option<u64>,
    /// Connects per second; null if unlimited.
    pub connect_rate: Option<u64>,
    /// The timeout of a connect, of the welcome and of each reply.
    pub timeout_seconds: f64,
    /// Source addresses in use.
    pub sources: u32,
    /// The flags of the server that was started for the run; null if it was already running.
    pub server_flags: Option<Vec<String>>,
}

/// How many clients reached each stage.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Clients {
    /// Asked for.
    pub requested: u32,
    /// Connected.
    pub connected: u32,
    /// Received the welcome.
    pub greeted: u32,
    /// Sent at least one message.
    pub sent: u32,
    /// Received at least one reply.
    pub answered: u32,
    /// Peak concurrent clients.
    pub peak: u32,
    /// Lost, for any cause.
    pub lost: u32,
    /// Lost, by cause; causes that did not occur are left out.
    pub lost_by_cause: BTreeMap<String, u32>,
    /// What a full server said, escaped.
    pub busy_words: Option<String>,
    /// What the first client with a wrong welcome received, escaped.
    pub wrong_welcome: Option<String>,
    /// What the first client with a wrong reply received, escaped.
    pub wrong_bytes: Option<String>,
    /// The first system error that has no cause of its own.
    pub first_error: Option<String>,
}

/// How fast clients connected.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Connects {
    /// From the start of the first connect to the completion of the last.
    pub seconds: f64,
    /// Connections established per second.
    pub per_second: f64,
    /// From the start of a connect to its completion.
    pub latency: LatencyReport,
}

/// What clients sent and received in the measured window. A rate is the replies received in the
/// window, whatever message they answer, over the length of the window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Messages {
    /// Measured messages due by the schedule; null in the closed loop.
    pub due: Option<u64>,
    /// Measured messages sent.
    pub sent: u64,
    /// Measured messages that were due and never sent: their clients waited for a reply or were lost;
    /// 0 in the closed loop.
    #[serde(default)]
    pub not_sent: u64,
    /// Measured messages answered.
    pub answered: u64,
    /// Measured messages sent that were not answered: timed out, or lost with their client.
    pub unanswered: u64,
    /// Of these, timed out.
    pub timed_out: u64,
    /// Measured messages sent that had no reply when the run was interrupted; 0 if it was not.
    pub in_flight: u64,
    /// Replies received in the window.
    pub replies: u64,
    /// Of these, to messages of the warm-up.
    #[serde(default)]
    pub warmup_replies: u64,
    /// The length of the window.
    pub seconds: f64,
    /// Replies received in the window per second.
    pub per_second: f64,
    /// Bytes sent from the end of the warm-up to that of the run; in the whole run if it ended before
    /// anything was measured.
    pub bytes_out: u64,
    /// Bytes received then, with those of replies to messages of the warm-up.
    pub bytes_in: u64,
}

/// Latencies, of messages those of all that were answered or timed out, or waited to be sent when their
/// client timed out. A percentile is null unless
/// at least 10 samples exceed it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LatencyReport {
    /// The number of samples.
    pub samples: u64,
    /// The minimum.
    pub min_us: Option<f64>,
    /// The mean.
    pub mean_us: Option<f64>,
    /// The median.
    pub p50_us: Option<f64>,
    /// The 75th percentile.
    pub p75_us: Option<f64>,
    /// The 90th percentile.
    pub p90_us: Option<f64>,
    /// The 95th percentile.
    pub p95_us: Option<f64>,
    /// The 99th percentile.
    pub p99_us: Option<f64>,
    /// The 99.9th percentile.
    pub p99_9_us: Option<f64>,
    /// The 99.99th percentile.
    pub p99_99_us: Option<f64>,
    /// The maximum.
    pub max_us: Option<f64>,
    /// All samples; null without samples.
    pub histogram: Option<HistogramReport>,
}

/// A histogram in HdrHistogram's own format, which its libraries in many languages read and merge.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct HistogramReport {
    /// The unit of its values.
    pub unit: HistogramUnit,
    /// The V2 encoding, compressed, as base64. Minimum and maximum are rounded to three digits here,
    /// and exact in the report.
    #[schemars(regex(pattern = "^HISTF"))]
    pub encoded: String,
}

/// One bucket of the distribution: the latencies in `from_us..to_us`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Bucket {
    /// The lower bound, included.
    pub from_us: f64,
    /// The upper bound, excluded.
    pub to_us: f64,
    /// The number of latencies.
    pub count: u64,
}

/// One second of the run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SecondReport {
    /// Its end, since the start of the run.
    pub at_seconds: f64,
    /// It lies in the measured window.
    pub measured: bool,
    /// Replies received in it, per second.
    pub per_second: f64,
    /// The median of their latencies.
    pub p50_us: Option<f64>,
    /// The 99th percentile.
    pub p99_us: Option<f64>,
    /// The 99.9th percentile.
    pub p99_9_us: Option<f64>,
    /// Clients connected at its end.
    pub connected: u32,
    /// CPU seconds per second of the server; null if its process is unknown.
    pub server_cpu_share: Option<f64>,
    /// CPU seconds per second of the load generator; null if the system does not report it.
    pub load_cpu_share: Option<f64>,
    /// Event-loop lag of the load generator: how late the loop ran its ticks, on average.
    pub loop_lag_mean_us: f64,
    /// Event-loop lag, maximum.
    pub loop_lag_max_us: f64,
}

/// Fairness: measured messages answered per client.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Served {
    /// To the client served best.
    pub best: u64,
    /// To the client served worst.
    pub worst: u64,
}

/// What happened to datagrams that were not simply answered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct DatagramReport {
    /// Datagrams without a reply, at the end of the run or when their client was lost.
    pub lost: u64,
    /// Replies that arrived after the timeout.
    pub late: u64,
    /// Repeated replies.
    pub duplicate: u64,
    /// Replies to no datagram that was sent.
    pub wrong: u64,
}

/// A process in the measured window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ProcessReport {
    /// CPU seconds per second.
    pub cpu_share: f64,
    /// CPU time per reply; null if there was none.
    pub cpu_us_per_message: Option<f64>,
    /// Resident memory (RSS) at the end of the window, with the clients still connected.
    pub resident_bytes: u64,
    /// Growth of resident memory since before the first connect, per client.
    pub bytes_per_client: Option<f64>,
    /// Threads at the end of the window, with the clients still connected.
    pub threads: u64,
    /// Context switches.
    pub context_switches: u64,
}

/// The load generator in the measured window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct LoadReport {
    /// Its process; null if the system does not report it.
    pub process: Option<ProcessReport>,
    /// Event-loop lag: how late the loop ran its ticks, on average.
    pub loop_lag_mean_us: f64,
    /// Event-loop lag, maximum.
    pub loop_lag_max_us: f64,
    /// How far the load ran behind its schedule on average (open loop).
    pub behind_mean_us: f64,
    /// The maximum of that.
    pub behind_max_us: f64,
}

/// Whether the figures can be trusted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct VerdictReport {
    /// The load ran as requested. An interrupted run did not.
    pub achieved: bool,
    /// What it did not do, one line each. What only the interrupt prevented is not listed.
    pub shortcomings: Vec<String>,
    /// The load generator was the bottleneck, not the server.
    pub limited_by_client: bool,
    /// `measured the server`, `measured nothing`, `held idle clients`, `limited by this client: ...`;
    /// the last after `interrupted after ...` or `ended after ...: every client was lost`, where it
    /// ended early.
    pub words: String,
}

/// One objective.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct SloReport {
    /// As it was written.
    pub slo: String,
    /// What it limits: `p99`, `max`, `rate`.
    pub metric: String,
    /// `<`: the value must be below the limit; `>`: above.
    #[schemars(extend("enum" = ["<", ">"]))]
    pub relation: String,
    /// In the unit of `measured`.
    pub limit: f64,
    /// The measured value, in microseconds, messages per second or percent.
    pub measured: Option<f64>,
    /// Whether it was met.
    pub met: bool,
}
