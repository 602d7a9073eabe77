//! The data of the page's charts.
//!
//! **Owns** the points of the charts and the objectives drawn into them. **Must never touch** how
//! they are drawn. **Invariant**: the data is JSON that no string in it can end: it holds no `<`.

use super::figures::NamedRun;
use super::schema::{LatencyReport, SecondReport, SloReport};
use crate::protocol::escape::escape;
use crate::stress::latency::encoding;
use serde::Serialize;

/// Points of the percentile curve from p90 to p99, and from p99 to p99.9.
const POINTS_PER_DECADE: i32 = 20;

/// The curve ends where fewer samples exceed it, as the percentiles of a report do.
const MIN_SAMPLES_BEYOND: f64 = 10.0;

/// All charts.
#[derive(Debug, Serialize)]
struct Charts<'a> {
    runs: Vec<Series<'a>>,
    limits: Vec<Limit<'a>>,
}

/// The figures of one run. All lists but the curve have one entry for each second.
#[derive(Debug, Serialize)]
struct Series<'a> {
    name: &'a str,
    /// When the run began, on the scale of `at`.
    begin: f64,
    /// Seconds since the measured window began; negative before it.
    at: Vec<f64>,
    per_second: Vec<f64>,
    requested_per_second: Option<u64>,
    p50_us: Vec<Option<f64>>,
    p99_us: Vec<Option<f64>>,
    p99_9_us: Vec<Option<f64>>,
    connected: Vec<u32>,
    server_cpu_share: Vec<Option<f64>>,
    load_cpu_share: Vec<Option<f64>>,
    loop_lag_mean_us: Vec<f64>,
    loop_lag_max_us: Vec<f64>,
    /// Pairs of 1/(1 - quantile) and the latency in microseconds.
    curve: Vec<(f64, f64)>,
}

/// An objective that is a line in a chart.
#[derive(Debug, PartialEq, Serialize)]
struct Limit<'a> {
    /// As it was written, escaped.
    slo: String,
    metric: &'a str,
    limit: f64,
}

/// The data of `runs`, for a `<script type="application/json">`.
pub(super) fn json(runs: &[NamedRun]) -> String {
    let slos = runs.iter().flat_map(|run| &run.report.slos);
    let charts = Charts {
        runs: runs.iter().map(series).collect(),
        limits: limits(slos),
    };
    // Serializing plain data into memory cannot fail.
    let text = serde_json::to_string(&charts).unwrap_or_default();
    text.replace('<', "\\u003c")
}

fn series(run: &NamedRun) -> Series<'_> {
    let seconds = &run.report.seconds;
    let began = window_begin(seconds);
    let list = |of: fn(&SecondReport) -> Option<f64>| seconds.iter().map(of).collect();
    Series {
        name: &run.name,
        begin: -began,
        at: seconds
            .iter()
            .map(|second| second.at_seconds - began)
            .collect(),
        per_second: seconds.iter().map(|second| second.per_second).collect(),
        requested_per_second: run.report.plan.rate,
        p50_us: list(|second| second.p50_us),
        p99_us: list(|second| second.p99_us),
        p99_9_us: list(|second| second.p99_9_us),
        connected: seconds.iter().map(|second| second.connected).collect(),
        server_cpu_share: list(|second| second.server_cpu_share),
        load_cpu_share: list(|second| second.load_cpu_share),
        loop_lag_mean_us: seconds
            .iter()
            .map(|second| second.loop_lag_mean_us)
            .collect(),
        loop_lag_max_us: seconds
            .iter()
            .map(|second| second.loop_lag_max_us)
            .collect(),
        curve: curve(&run.report.latency),
    }
}

/// When the measured window began: the end of the last second before it.
pub(super) fn window_begin(seconds: &[SecondReport]) -> f64 {
    let first = seconds.iter().position(|second| second.measured);
    let before = match first {
        Some(first) => first.checked_sub(1).map(|index| &seconds[index]),
        None => seconds.last(),
    };
    before.map_or(0.0, |second| second.at_seconds)
}

/// The objectives about figures that have a chart, each once.
fn limits<'a>(slos: impl Iterator<Item = &'a SloReport>) -> Vec<Limit<'a>> {
    let mut limits = Vec::new();
    for slo in slos.filter(|slo| slo.metric != "loss") {
        let limit = Limit {
            slo: escape(slo.slo.as_bytes()),
            metric: &slo.metric,
            limit: slo.limit,
        };
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    limits
}

/// The latency by percentile. Empty without a histogram, or if it is damaged.
fn curve(latency: &LatencyReport) -> Vec<(f64, f64)> {
    let text = latency.histogram.as_ref().map(|own| own.encoded.as_str());
    let Some(histogram) = text.and_then(encoding::decode) else {
        return Vec::new();
    };
    let end = histogram.len() as f64 / MIN_SAMPLES_BEYOND;
    let steps = (0..).map(|step| 10_f64.powf(f64::from(step) / f64::from(POINTS_PER_DECADE)));
    let min = latency.min_us.unwrap_or(0.0);
    let max = latency.max_us.unwrap_or(f64::MAX).max(min);
    steps
        .take_while(|inverse| *inverse <= end)
        .map(|inverse| {
            let nanoseconds = histogram.value_at_quantile(1.0 - 1.0 / inverse);
            (inverse, (nanoseconds as f64 / 1e3).clamp(min, max))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::names::HistogramUnit;
    use super::super::schema::HistogramReport;
    use super::*;
    use crate::stress::latency::Latencies;
    use std::time::Duration;

    fn latency(encoded: String) -> LatencyReport {
        let unit = HistogramUnit::Nanoseconds;
        LatencyReport {
            histogram: Some(HistogramReport { unit, encoded }),
            ..LatencyReport::default()
        }
    }

    #[test]
    fn the_curve_ends_where_ten_samples_exceed_it() {
        let mut latencies = Latencies::<u64>::default();
        for microseconds in 1..=10_000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        let curve = curve(&latency(latencies.encoded().expect("samples")));
        assert_eq!(curve.len(), 61);
        for (index, quantile) in [(0, 0.0), (20, 0.9), (40, 0.99), (60, 0.999)] {
            let (inverse, us) = curve[index];
            assert!((1.0 - 1.0 / inverse - quantile).abs() < 1e-9);
            assert!((us - 1e4 * quantile).abs() < 20.0, "{us} at {quantile}");
        }
        assert!(super::curve(&latency("HISTF".to_owned())).is_empty());
    }

    #[test]
    fn limits_are_drawn_once_and_loss_has_no_chart() {
        let slo = |slo: &str, metric: &str| SloReport {
            slo: slo.to_owned(),
            metric: metric.to_owned(),
            relation: "<".to_owned(),
            limit: 5.0,
            measured: None,
            met: false,
        };
        let slos = [
            slo("p99<5us", "p99"),
            slo("p99<5us", "p99"),
            slo("loss<5", "loss"),
        ];
        assert_eq!(limits(slos.iter()).len(), 1);
    }
}
