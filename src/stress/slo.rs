//! Service level objectives: `p99<5ms`, and whether a value meets one.
//!
//! **Owns** how objectives are written and compared. **Must never touch** a run or its report:
//! the report looks up the value of the metric. **Invariant**: a limit is finite, not negative and
//! in the unit of its metric.

use super::plan::{Plan, Transport};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// What an objective limits, and the unit of its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Metric {
    /// The latency at this quantile, in microseconds.
    Quantile(f64),
    /// The minimum latency, in microseconds.
    Min,
    /// The mean latency, in microseconds.
    Mean,
    /// The maximum latency, in microseconds.
    Max,
    /// Messages answered per second.
    Rate,
    /// Datagrams lost, in percent of those sent.
    Loss,
}

/// One objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    /// What is compared with the limit.
    pub metric: Metric,
    /// `Less` if the value must be below the limit, `Greater` if above.
    relation: Ordering,
    limit: f64,
}

impl Slo {
    /// The name of the metric, `<` or `>`, and the limit in the metric's unit.
    #[must_use]
    pub(crate) fn parts(&self) -> (&str, &str, f64) {
        let name = self.text.split(['<', '>']).next().unwrap_or_default();
        let relation = if self.relation == Ordering::Less {
            "<"
        } else {
            ">"
        };
        (name, relation, self.limit)
    }

    /// Checks that a run of `plan` measures the metric.
    ///
    /// # Errors
    ///
    /// It does not; the error is a message for the user.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), String> {
        if plan.active == 0 {
            return Err(format!(
                "--slo {self} is about messages, and with --active 0 no client sends one"
            ));
        }
        if self.metric == Metric::Loss && plan.transport != Transport::Udp {
            return Err(format!("--slo {self} needs --udp: TCP loses no message"));
        }
        Ok(())
    }

    /// Whether `value`, in the metric's unit, meets the objective.
    #[must_use]
    pub fn is_met_by(&self, value: f64) -> bool {
        value.partial_cmp(&self.limit) == Some(self.relation)
    }
}

/// As it was written, without spaces.
impl fmt::Display for Slo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("{why}; write an objective as p99<5ms, max<1s, rate>10000 or loss<0.1")
        };
        let text: String = text.split_whitespace().collect();
        let Some((name, limit)) = text.split_once(['<', '>']) else {
            return Err(wrong("there is no < or >"));
        };
        let metric = match name {
            "min" => Metric::Min,
            "mean" => Metric::Mean,
            "max" => Metric::Max,
            "rate" => Metric::Rate,
            "loss" => Metric::Loss,
            _ => Metric::Quantile(quantile(name).ok_or_else(|| wrong("unknown metric"))?),
        };
        let limit = match metric {
            Metric::Rate | Metric::Loss => limit.strip_suffix('%').unwrap_or(limit).parse().ok(),
            _ if is_plain_number(limit) => {
                return Err(wrong(&format!("{limit} needs a unit, as in {limit}ms")));
            }
            _ => microseconds(limit),
        };
        let limit = limit.filter(|limit: &f64| limit.is_finite() && *limit >= 0.0);
        Ok(Self {
            metric,
            relation: if text.contains('<') {
                Ordering::Less
            } else {
                Ordering::Greater
            },
            limit: limit.ok_or_else(|| wrong("invalid limit"))?,
            text,
        })
    }
}

/// `p99.9` is 0.999. At most three decimals: a fourth would need ten million samples.
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

/// A number in digits; `inf`, which `f64` parses too, is not one.
fn is_plain_number(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

/// `5ms`, and `1.5ms`: durations elsewhere on the command line have no decimals.
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
    use super::super::plan::tests::plan;
    use super::*;

    fn slo(text: &str) -> Slo {
        text.parse().expect(text)
    }

    #[test]
    fn objectives_are_parsed_with_spaces_and_units() {
        assert_eq!(slo("p99<5ms").metric, Metric::Quantile(0.99));
        assert_eq!(slo("p99 < 5ms").parts(), ("p99", "<", 5_000.0));
        assert_eq!(slo("rate>7").parts(), ("rate", ">", 7.0));
        assert_eq!(slo("p99.9<1.5s").limit, 1_500_000.0);
        assert!((quantile("p99.9").expect("a quantile") - 0.999).abs() < 1e-12);
        assert_eq!(
            (slo("loss<0.1%").limit, slo("max<250us").limit),
            (0.1, 250.0)
        );
    }

    #[test]
    fn an_objective_about_what_is_not_measured_is_rejected() {
        let tcp = plan();
        let udp = Plan {
            transport: Transport::Udp,
            ..plan()
        };
        let idle = Plan {
            active: 0,
            ..plan()
        };
        let error = |text, plan| slo(text).check(plan).expect_err(text);
        assert!(error("loss<1", &tcp).contains("--slo loss<1 needs --udp"));
        assert!(error("p99<5ms", &idle).contains("--active 0"));
        assert_eq!(slo("loss<1").check(&udp), Ok(()));
        assert_eq!(slo("p99<5ms").check(&tcp), Ok(()));
    }

    #[test]
    fn a_value_at_the_limit_misses_the_objective() {
        let meets = |text| [9_999.0, 10_000.0, 10_001.0].map(|value| slo(text).is_met_by(value));
        assert_eq!(meets("rate>10000"), [false, false, true]);
        assert_eq!(meets("max<10ms"), [true, false, false]);
    }

    #[test]
    fn an_invalid_objective_is_rejected_with_an_example() {
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
            let error = text.parse::<Slo>().expect_err(text);
            assert!(error.contains("p99<5ms"), "{error}");
        }
        let error = "p99<5".parse::<Slo>().expect_err("it has no unit");
        assert!(error.starts_with("5 needs a unit, as in 5ms;"), "{error}");
    }
}
