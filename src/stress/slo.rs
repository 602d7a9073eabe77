//! Objectives: `p99<5ms`, and whether a run met them.
//!
//! **Owns** how they are written. **Must never touch** how values are measured.
//! **Invariant**: what could not be measured was not met.

use super::latency::Latencies;
use super::report::Report;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What an objective is about, and in which unit it is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    /// A latency that so many of all do not exceed, in microseconds.
    Quantile(f64),
    /// The shortest latency, in microseconds.
    Min,
    /// The mean latency, in microseconds.
    Mean,
    /// The longest latency, in microseconds.
    Max,
    /// Messages answered a second.
    Rate,
    /// Datagrams lost, in percent of those sent.
    Loss,
}

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    metric: Metric,
    /// Whether the measured value is to be below the limit; else above.
    below: bool,
    limit: f64,
}

impl Slo {
    /// Whether `value`, in the metric's unit, meets the objective.
    #[must_use]
    pub fn is_met_by(&self, value: f64) -> bool {
        if self.below {
            value < self.limit
        } else {
            value > self.limit
        }
    }

    /// The value in question, in the metric's unit (microseconds, messages a second, percent);
    /// `None` where there is none to be believed.
    #[must_use]
    pub fn measured(&self, report: &Report, latencies: &Latencies<u64>) -> Option<f64> {
        let latency = &report.latency;
        match self.metric {
            Metric::Quantile(quantile) => latencies.quantile(quantile).map(microseconds_of),
            Metric::Min => latency.min_us,
            Metric::Mean => latency.mean_us,
            Metric::Max => latency.max_us,
            Metric::Rate => Some(report.messages.per_second),
            Metric::Loss => {
                let lost = report.datagrams.as_ref()?.lost;
                Some(100.0 * lost as f64 / report.messages.sent.max(1) as f64)
            }
        }
    }
}

fn microseconds_of(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("{why}; an objective is written as p99<5ms, max<1s, rate>10000 or loss<0.1")
        };
        let compact: String = text.split_whitespace().collect();
        let Some((name, limit)) = compact.split_once(['<', '>']) else {
            return Err(wrong("there is no < or >"));
        };
        let metric = match name {
            "min" => Metric::Min,
            "mean" => Metric::Mean,
            "max" => Metric::Max,
            "rate" => Metric::Rate,
            "loss" => Metric::Loss,
            _ => Metric::Quantile(quantile(name).ok_or_else(|| wrong("no such metric"))?),
        };
        let is_time = !matches!(metric, Metric::Rate | Metric::Loss);
        if is_time && is_plain_number(limit) {
            return Err(wrong(&format!("{limit} needs a unit, as in {limit}ms")));
        }
        let limit = match metric {
            Metric::Rate | Metric::Loss => limit.strip_suffix('%').unwrap_or(limit).parse().ok(),
            _ => microseconds(limit),
        };
        let limit: Option<f64> = limit.filter(|limit: &f64| limit.is_finite() && *limit >= 0.0);
        Ok(Self {
            metric,
            below: compact.contains('<'),
            limit: limit.ok_or_else(|| wrong("no such limit"))?,
            text: compact,
        })
    }
}

/// `p99.9` is 0.999. At most three digits behind the point: more would need a billion samples.
fn quantile(name: &str) -> Option<f64> {
    let percent = name.strip_prefix('p')?;
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let percent: f64 = percent.parse().ok()?;
    (percent > 0.0 && percent < 100.0).then_some(percent / 100.0)
}

/// Digits, and a point perhaps: not `inf`, which is a number to Rust.
fn is_plain_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// `5ms`, and `1.5ms`, which durations elsewhere do not have.
fn microseconds(text: &str) -> Option<f64> {
    let unit =
        text.trim_start_matches(|character: char| character.is_ascii_digit() || character == '.');
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let factor = match unit {
        "ns" => 1e-3,
        "us" | "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slo(text: &str) -> Slo {
        text.parse().expect(text)
    }

    #[test]
    fn objectives_are_read_as_people_write_them() {
        assert_eq!(slo("p99<5ms").metric, Metric::Quantile(0.99));
        assert_eq!(slo("p99 < 5ms").limit, 5_000.0);
        assert_eq!(slo("p99.9<1.5s").limit, 1_500_000.0);
        assert!((quantile("p99.9").expect("a quantile") - 0.999).abs() < 1e-12);
        assert!(!slo("rate>10000").below);
        assert_eq!(
            (slo("loss<0.1%").limit, slo("max<250us").limit),
            (0.1, 250.0)
        );
    }

    #[test]
    fn what_is_no_objective_is_told_with_an_example() {
        for text in [
            "",
            "p99",
            "p99<",
            "p99<5",
            "p99=5ms",
            "p100<1s",
            "p0<1s",
            "px<1s",
            "q99<1s",
            "p99<-1ms",
            "rate>x",
            "p99.9999<1s",
            "p99<1..5ms",
            "rate>inf",
            "p99<5m",
        ] {
            let told = text.parse::<Slo>().expect_err(text);
            assert!(told.contains("p99<5ms"), "{told}");
        }
        let told = "p99<5".parse::<Slo>().expect_err("it has no unit");
        assert!(told.starts_with("5 needs a unit, as in 5ms;"), "{told}");
    }
}
