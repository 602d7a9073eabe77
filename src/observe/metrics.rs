//! Metrics for Prometheus.
//!
//! **Owns** the text exposition format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). **Must never touch** the
//! counters: the program lists their values. **Invariant**: each family has its help and its type
//! once; the name of a counter, and of nothing else, ends in `_total`; units are base units. Names
//! have the prefix `helloop_`, apart from those that all of Prometheus's client libraries have.

use super::measures::{BUCKETS_US, Histogram};
use crate::net::system;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One family of values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Its name, without the program's prefix.
    name: &'static str,
    help: &'static str,
    metric_type: &'static str,
    /// The values, each with what follows the name: a suffix and a label set, which may be empty.
    samples: Vec<(String, f64)>,
}

impl Family {
    /// A counter with one value.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::new(name, help, "counter", vec![(String::new(), number(value))])
    }

    /// A counter of time.
    pub(crate) fn seconds(name: &'static str, help: &'static str, value: Duration) -> Self {
        let samples = vec![(String::new(), value.as_secs_f64())];
        Self::new(name, help, "counter", samples)
    }

    /// A histogram of durations, in seconds.
    pub(crate) fn histogram(name: &'static str, help: &'static str, value: &Histogram) -> Self {
        let bounds = BUCKETS_US.map(|bound| Duration::from_micros(bound).as_secs_f64().to_string());
        let bounds = bounds.into_iter().chain(["+Inf".to_owned()]);
        let mut count = 0;
        let mut samples = Vec::new();
        for (bound, cumulative) in bounds.zip(value.cumulative()) {
            samples.push((format!("_bucket{{le=\"{bound}\"}}"), number(cumulative)));
            count = cumulative;
        }
        samples.push(("_sum".to_owned(), value.sum().as_secs_f64()));
        samples.push(("_count".to_owned(), number(count)));
        Self::new(name, help, "histogram", samples)
    }

    /// Constant information: labels on the value 1.
    pub(crate) fn info(name: &'static str, help: &'static str, version: &str) -> Self {
        let samples = vec![(format!("{{version=\"{version}\"}}"), 1.0)];
        Self::new(name, help, "gauge", samples)
    }

    /// A gauge with one value.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(name, help, "gauge", vec![(String::new(), value)])
    }

    /// A counter with one value per cause.
    pub(crate) fn causes(
        name: &'static str,
        help: &'static str,
        causes: impl Iterator<Item = (&'static str, u64)>,
    ) -> Self {
        // For the names of causes, Rust's escapes in quotes are those of the format.
        let samples = causes.map(|(cause, value)| (format!("{{cause={cause:?}}}"), number(value)));
        Self::new(name, help, "counter", samples.collect())
    }

    fn new(
        name: &'static str,
        help: &'static str,
        metric_type: &'static str,
        samples: Vec<(String, f64)>,
    ) -> Self {
        debug_assert_eq!(metric_type == "counter", name.ends_with("_total"), "{name}");
        Self {
            name,
            help,
            metric_type,
            samples,
        }
    }
}

/// A count as a sample value: exact up to 2^53, as in Prometheus itself.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

/// The prefix of the metrics that all client libraries have in common
/// (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).
const PROCESS: &str = "process_";

/// The process metrics that all client libraries export, if the system reports them.
pub(crate) fn process(started: SystemTime) -> Vec<Family> {
    let usage = system::process_usage(std::process::id());
    let since_epoch = started.duration_since(SystemTime::UNIX_EPOCH).ok();
    let gauge =
        |name, help, value: Option<f64>| value.map(|value| Family::gauge(name, help, value));
    let families = [
        usage.map(|usage| {
            let help = "User and system CPU time spent.";
            Family::seconds("process_cpu_seconds_total", help, usage.cpu)
        }),
        gauge(
            "process_resident_memory_bytes",
            "Resident memory size.",
            usage.map(|usage| number(usage.resident_bytes)),
        ),
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            system::open_descriptors().map(number),
        ),
        gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            system::descriptor_limit().map(number),
        ),
        gauge(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch.",
            since_epoch.map(|since| since.as_secs_f64()),
        ),
    ];
    families.into_iter().flatten().collect()
}

/// All families as text.
pub(crate) fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let Family { name, help, .. } = family;
        let prefix = match name.starts_with(PROCESS) {
            true => "",
            false => "helloop_",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {prefix}{name} {help}");
        let _ = writeln!(text, "# TYPE {prefix}{name} {}", family.metric_type);
        for (rest, value) in &family.samples {
            let _ = writeln!(text, "{prefix}{name}{rest} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_rendered_in_its_classic_form() {
        let mut histogram = Histogram::default();
        for microseconds in [7, 2_400, 2_500, 3_000_000] {
            histogram.add(Duration::from_micros(microseconds));
        }
        let family = Family::histogram("turn_seconds", "Turns.", &histogram);
        let text = render(&[family]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "# TYPE helloop_turn_seconds histogram");
        assert_eq!(lines[2], "helloop_turn_seconds_bucket{le=\"0.00001\"} 1");
        assert_eq!(lines[9], "helloop_turn_seconds_bucket{le=\"0.0025\"} 3");
        assert_eq!(
            lines[17..],
            [
                "helloop_turn_seconds_bucket{le=\"1\"} 3",
                "helloop_turn_seconds_bucket{le=\"+Inf\"} 4",
                "helloop_turn_seconds_sum 3.004907",
                "helloop_turn_seconds_count 4",
            ]
        );
    }

    #[test]
    fn each_family_is_rendered_with_help_and_type() {
        let causes = [("exit", 2), ("a \"b\"\\", 0)].into_iter();
        let families = [
            Family::gauge("clients", "Clients connected.", 3.0),
            Family::counter("turns_total", "Turns.", u64::from(u32::MAX)),
            Family::causes("closed_total", "Ends.", causes),
            Family::gauge("longest_turn_seconds", "Longest.", 0.000_25),
        ];
        let expected = "# HELP helloop_clients Clients connected.\n\
            # TYPE helloop_clients gauge\n\
            helloop_clients 3\n\
            # HELP helloop_turns_total Turns.\n\
            # TYPE helloop_turns_total counter\n\
            helloop_turns_total 4294967295\n\
            # HELP helloop_closed_total Ends.\n\
            # TYPE helloop_closed_total counter\n\
            helloop_closed_total{cause=\"exit\"} 2\n\
            helloop_closed_total{cause=\"a \\\"b\\\"\\\\\"} 0\n\
            # HELP helloop_longest_turn_seconds Longest.\n\
            # TYPE helloop_longest_turn_seconds gauge\n\
            helloop_longest_turn_seconds 0.00025\n";
        assert_eq!(render(&families), expected);
    }
}
