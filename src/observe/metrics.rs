//! Metrics for Prometheus.
//!
//! **Owns** the text exposition format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). **Must never touch** the
//! counters: the program lists their values. **Invariant**: each family has its help and its type
//! once; the name of a counter, and of nothing else, ends in `_total`; units are base units.

use std::fmt::Write as _;

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One family of values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    /// Its name, without the program's prefix.
    name: &'static str,
    help: &'static str,
    metric_type: &'static str,
    /// The values, each with its label set, which may be empty.
    samples: Vec<(String, f64)>,
}

impl Family {
    /// A counter with one value.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::new(name, help, "counter", vec![(String::new(), number(value))])
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

/// All families as text.
pub(crate) fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let Family { name, help, .. } = family;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP helloop_{name} {help}");
        let _ = writeln!(text, "# TYPE helloop_{name} {}", family.metric_type);
        for (labels, value) in &family.samples {
            let _ = writeln!(text, "helloop_{name}{labels} {value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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
