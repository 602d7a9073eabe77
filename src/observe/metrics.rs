//! Counters for Prometheus.
//!
//! **Owns** the text exposition format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>). **Must never touch** what is
//! counted: the program lists it. **Invariant**: each family has its help and its type, once;
//! a counter's name ends in `_total`; units are base units.

use std::fmt::Write as _;

/// The format, as it is announced.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// EventKind a family's values do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They rise.
    Counter,
    /// They rise and fall.
    Gauge,
}

/// One family of values.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, without the program's.
    pub name: &'static str,
    /// EventKind it means, in one line.
    pub help: &'static str,
    /// EventKind its values do.
    pub kind: Kind,
    /// The values, each with its label, if the family has one.
    pub samples: Vec<(Option<(&'static str, &'static str)>, f64)>,
}

impl Family {
    /// A counter of one value.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self::new(name, help, Kind::Counter, vec![(None, number(value))])
    }

    /// A gauge of one value.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self::new(name, help, Kind::Gauge, vec![(None, value)])
    }

    /// A counter of several causes.
    pub fn causes(
        name: &'static str,
        help: &'static str,
        causes: impl Iterator<Item = (&'static str, u64)>,
    ) -> Self {
        let samples = causes.map(|(cause, value)| (Some(("cause", cause)), number(value)));
        Self::new(name, help, Kind::Counter, samples.collect())
    }

    fn new(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        samples: Vec<(Option<(&'static str, &'static str)>, f64)>,
    ) -> Self {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        Self {
            name,
            help,
            kind,
            samples,
        }
    }
}

/// A count as the format has it: exact up to 2^53, as in Prometheus itself.
#[allow(clippy::cast_precision_loss)]
#[must_use]
pub fn number(count: u64) -> f64 {
    count as f64
}

/// All families as text.
#[must_use]
pub fn render(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let name = family.name;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP helloop_{name} {}", family.help);
        let _ = writeln!(text, "# TYPE helloop_{name} {kind}");
        for (label, value) in &family.samples {
            let _ = match label {
                None => writeln!(text, "helloop_{name} {value}"),
                Some((label, of)) => {
                    writeln!(text, "helloop_{name}{{{label}=\"{}\"}} {value}", escape(of))
                }
            };
        }
    }
    text
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_told_with_help_and_type() {
        let causes = [("exit", 2), ("a \"b\"\\", 0)].into_iter();
        let families = [
            Family::gauge("clients", "Clients connected.", 3.0),
            Family::counter("turns_total", "LoopStats.", u64::from(u32::MAX)),
            Family::causes("closed_total", "Ends.", causes),
            Family::gauge("longest_turn_seconds", "Longest.", 0.000_25),
        ];
        let expected = "# HELP helloop_clients Clients connected.\n\
            # TYPE helloop_clients gauge\n\
            helloop_clients 3\n\
            # HELP helloop_turns_total LoopStats.\n\
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
